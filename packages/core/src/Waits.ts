/**
 * A Schedule, one wait after another, for loops that sleep by themselves. It starts with the first wait that is asked for.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"

type Step<In> = (now: number, input: In) => Pull.Pull<readonly [unknown, Duration.Duration], never, unknown>

/** The waits of a Schedule. */
export class Waits<In = unknown> {
  private step: Step<In> | undefined = undefined
  private readonly schedule: Schedule.Schedule<unknown, In>

  constructor(schedule: Schedule.Schedule<unknown, In>) {
    this.schedule = schedule
  }

  /** Begins anew with the next wait. */
  reset(): void {
    this.step = undefined
  }

  /** The next wait in milliseconds; `undefined` once the Schedule has ended. */
  next(input: In): Effect.Effect<number | undefined> {
    return Effect.gen({ self: this }, function* () {
      const clock = yield* Clock.Clock
      const step = (this.step ??= yield* Schedule.toStep(this.schedule))
      return yield* Effect.matchCause(step(clock.currentTimeMillisUnsafe(), input), {
        onSuccess: ([, delay]) => Duration.toMillis(delay),
        onFailure: () => undefined
      })
    })
  }
}
