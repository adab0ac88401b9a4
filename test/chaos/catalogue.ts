/** All scenarios, and those that are played elsewhere. */
import type { Scenario } from "./kit/scenario.ts"
import { F01 } from "./scenarios/F01.ts"
import { F02 } from "./scenarios/F02.ts"
import { F03 } from "./scenarios/F03.ts"
import { F04 } from "./scenarios/F04.ts"
import { F05 } from "./scenarios/F05.ts"
import { F06 } from "./scenarios/F06.ts"
import { F08 } from "./scenarios/F08.ts"
import { F09 } from "./scenarios/F09.ts"
import { F10 } from "./scenarios/F10.ts"
import { F11 } from "./scenarios/F11.ts"
import { F12 } from "./scenarios/F12.ts"
import { F13 } from "./scenarios/F13.ts"
import { F14 } from "./scenarios/F14.ts"
import { F15 } from "./scenarios/F15.ts"
import { F16 } from "./scenarios/F16.ts"
import { F18 } from "./scenarios/F18.ts"
import { F19 } from "./scenarios/F19.ts"
import { F20 } from "./scenarios/F20.ts"
import { F21 } from "./scenarios/F21.ts"
import { F22 } from "./scenarios/F22.ts"
import { F23 } from "./scenarios/F23.ts"
import { F24 } from "./scenarios/F24.ts"
import { F27 } from "./scenarios/F27.ts"
import { F28 } from "./scenarios/F28.ts"
import { F29 } from "./scenarios/F29.ts"
import { F30 } from "./scenarios/F30.ts"
import { F38 } from "./scenarios/F38.ts"
import { frozenEwma, frozenEwmaSlow, frozenOff, frozenRoundRobin } from "./scenarios/frozen.ts"
import { l4 } from "./scenarios/l4.ts"
import { nft, nftOff } from "./scenarios/nft.ts"
import { nginx } from "./scenarios/nginx.ts"
import { slowHandlers, slowJump } from "./scenarios/slow.ts"

/**
 * One group after the other, those of a group beside each other: they have little load, and nothing of each other's.
 */
export const groups: ReadonlyArray<ReadonlyArray<Scenario>> = [
  [F01],
  [F02],
  [F03],
  [F05],
  [F06],
  [F04, F08],
  [F09],
  [F10],
  [F11, F12],
  [F13],
  [F14],
  [F15],
  [F16],
  [F18],
  [F19],
  [F20, F21, F22],
  [F23],
  [F24],
  [F27],
  [F28],
  [F29],
  [F30],
  [F38],
  [nft, nftOff],
  [nginx],
  [slowHandlers, slowJump],
  [l4],
  [frozenEwma],
  [frozenRoundRobin],
  [frozenEwmaSlow],
  [frozenOff]
]

export const scenarios: ReadonlyArray<Scenario> = groups.flat()

/** Faults that are better played in a test or under virtual time. */
export const elsewhere: ReadonlyArray<{ readonly id: string; readonly title: string; readonly where: string }> = [
  {
    id: "F-17",
    title: "cut after 1 to 400 bytes",
    where: 'test/integration/cuts.test.ts, "a connection that is cut"'
  },
  {
    id: "F-33",
    title: "200 clients lose one server at once",
    where: "test/simulation/herd.test.ts; spacing: test/simulation/network/reconnect.test.ts"
  },
  {
    id: "F-42",
    title: "two clients of one target in one process",
    where: 'test/integration/sockets.test.ts, "eight layers built apart share no socket" and "share no backoff"'
  }
]
