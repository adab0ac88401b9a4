import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** How many sleeps are going on. */
export interface Sleeps {
  now: number
}

/** Runs with the clock of the surroundings, counting who sleeps on it. */
export const counted = <A, E, R>(sleeps: Sleeps, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.Clock, (clock) =>
    Effect.provideService(effect, Clock.Clock, {
      ...clock,
      sleep: (duration: Duration.Duration) =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            sleeps.now++
          }),
          () => clock.sleep(duration),
          () =>
            Effect.sync(() => {
              sleeps.now--
            })
        )
    })
  )
