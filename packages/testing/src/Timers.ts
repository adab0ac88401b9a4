/**
 * Things to be done later, on the clock and the scheduler of the program under test.
 *
 * Nothing here knows real time: under `TestClock` or in a simulation, later is when virtual time gets there.
 */
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"

/** Things to be done later. */
export interface Timers {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Runs a task in a turn of its own, without time passing. */
  readonly soon: (task: () => void) => void
  /** Runs a task after so many milliseconds. Returns what cancels it. */
  readonly after: (millis: number, task: () => void) => () => void
}

/** A clock that runs tasks by itself, without a fiber for each. */
export interface TaskClock extends Clock.Clock {
  readonly after: (millis: number, task: () => void) => () => void
}

const isTaskClock = (clock: Clock.Clock): clock is TaskClock => "after" in clock

/** Timers on the clock and scheduler of the surroundings, for as long as the scope is open. */
export const make: Effect.Effect<Timers, never, Scope.Scope> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const dispatcher = (yield* Scheduler.Scheduler).makeDispatcher()
  const now = () => monotonicMillis(clock)
  const soon = (task: () => void) => dispatcher.scheduleTask(task, 0)
  if (isTaskClock(clock)) return { now, soon, after: clock.after }
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  return {
    now,
    soon,
    after: (millis, task) => {
      const fiber = run(Effect.andThen(Effect.sleep(millis), Effect.sync(task)))
      return () => fiber.interruptUnsafe()
    }
  }
})
