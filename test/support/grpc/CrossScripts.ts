/** The scripts of the cross-check: what servers and clients do, written once and played on both networks. */
import { answers, resets } from "./CrossScriptsAnswers.ts"
import { connections } from "./CrossScriptsConnections.ts"
import { ends } from "./CrossScriptsEnds.ts"
import { flows, limits, retries } from "./CrossScriptsLimits.ts"
import type { Script } from "./CrossStage.ts"

/** All of them. */
export const scripts: ReadonlyArray<Script> = [
  ...answers,
  ...resets,
  ...connections,
  ...limits,
  ...ends,
  ...retries,
  ...flows
]
