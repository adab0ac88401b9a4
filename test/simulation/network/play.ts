/**
 * Plays a script on the real client over the virtual network, and says what was wrong.
 */
import * as Exit from "effect/Exit"
import { World } from "@hawser/testing/Simulation"
import { QueueWatch, watch as watchQueue } from "../../support/core/QueueWatch.ts"
import { type Counted, Ledger } from "./ledger.ts"
import { Phases } from "./phases.ts"
import { scenario } from "./scenario.ts"
import type { Script } from "./script.ts"
import { describe } from "./settled.ts"
import { install as installStay } from "./stay.ts"
import { Watch } from "./watch.ts"

/** How a run went. */
export interface Outcome {
  readonly seed: number
  readonly problems: ReadonlyArray<string>
  /** Calls, interrupts, ends. */
  readonly operations: number
  /** Faults that took effect while a call was in flight. */
  readonly faults: Readonly<Partial<Record<Counted, number>>>
  readonly outcomes: Readonly<Record<string, number>>
  readonly steps: number
  readonly millis: number
  readonly hash: number
}

/** Plays one script. */
export const play = async (script: Script, trace?: (line: string) => void): Promise<Outcome> => {
  const { seed, settings } = script
  const problems = new Set<string>()
  const watch = new Watch(problems, settings.max)
  const world: World = new World({ seed, check: () => watch.check(), idle: () => ledger.idle() })
  world.trace = trace
  const queue = new QueueWatch(problems, () => world.clock.now, settings.maxWait)
  const ledger = new Ledger(world, problems)
  const restore = [Watch.install(watch), watchQueue(queue), Phases.install(ledger.phases), installStay(watch)]
  try {
    const result = await world.run(scenario(script, world, watch, queue, ledger))
    if (Exit.isFailure(result.exit)) problems.add(`did not end: ${describe(result.exit)}`)
    if (result.timers > 0) problems.add(`I-10 ${result.timers} timers left`)
    return {
      seed,
      problems: [...problems],
      operations: ledger.operations,
      faults: ledger.faults,
      outcomes: ledger.outcomes,
      steps: result.steps,
      millis: result.millis,
      hash: result.hash
    }
  } finally {
    for (const end of restore) end()
  }
}
