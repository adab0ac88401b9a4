/** All scenarios, in the order in which they are played, and those that are played elsewhere. */
import type { Scenario } from "./kit/scenario.ts"
import { F01 } from "./scenarios/F01.ts"
import { F02 } from "./scenarios/F02.ts"
import { F03 } from "./scenarios/F03.ts"
import { F05 } from "./scenarios/F05.ts"
import { F06 } from "./scenarios/F06.ts"
import { F09 } from "./scenarios/F09.ts"
import { F10 } from "./scenarios/F10.ts"
import { F11 } from "./scenarios/F11.ts"
import { F12 } from "./scenarios/F12.ts"
import { F13 } from "./scenarios/F13.ts"
import { F14 } from "./scenarios/F14.ts"
import { F15 } from "./scenarios/F15.ts"
import { F23 } from "./scenarios/F23.ts"
import { F24 } from "./scenarios/F24.ts"
import { F27 } from "./scenarios/F27.ts"
import { frozenEwma, frozenEwmaSlow, frozenOff, frozenRoundRobin } from "./scenarios/frozen.ts"
import { nft, nftOff } from "./scenarios/nft.ts"
import { nginx } from "./scenarios/nginx.ts"
import { slowHandlers, slowJump } from "./scenarios/slow.ts"

export const scenarios: ReadonlyArray<Scenario> = [
  F01,
  F02,
  F03,
  F05,
  F06,
  F09,
  F10,
  F11,
  F12,
  F13,
  F14,
  F15,
  F23,
  F24,
  F27,
  nft,
  nftOff,
  nginx,
  slowHandlers,
  slowJump,
  frozenEwma,
  frozenRoundRobin,
  frozenEwmaSlow,
  frozenOff
]

/** Faults that are better played in a test or under virtual time. */
export const elsewhere: ReadonlyArray<{ readonly id: string; readonly title: string; readonly where: string }> = []
