/**
 * The waits between dials: a Schedule that starts with the first failure since a connection has proved itself.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import type { ConnectError } from "./ConnectError.ts"

/** The longest wait when the Schedule has nothing more to say: the cap of connection-backoff.md. */
const lastResort = Duration.seconds(120)

/** The failures since the last connection that has proved itself. */
interface Failures {
  readonly next: (now: number, error: ConnectError) => Pull.Pull<readonly [unknown, Duration.Duration], never, unknown>
  /** What was waited last. */
  delay: Duration.Duration
  /** Connections in a row that ended before they had proved anything. */
  unproven: number
}

/** The waits between dials. */
export class Reconnect {
  private failures: Failures | undefined = undefined
  private readonly schedule: Schedule.Schedule<unknown, ConnectError>

  constructor(schedule: Schedule.Schedule<unknown, ConnectError>) {
    this.schedule = schedule
  }

  /** A connection has proved itself. */
  reset(): void {
    this.failures = undefined
  }

  /** Connections in a row that ended before they had proved anything. */
  get unproven(): number {
    return this.failures?.unproven ?? 0
  }

  /** Milliseconds from the start of this attempt to the start of the next. `lost`: it had succeeded, but came to nothing. */
  delay(now: number, error: ConnectError, lost: boolean): Effect.Effect<number> {
    return Effect.gen({ self: this }, function* () {
      const failures = (this.failures ??= {
        next: yield* Schedule.toStep(this.schedule),
        delay: lastResort,
        unproven: 0
      })
      if (lost) failures.unproven++
      failures.delay = yield* Effect.match(failures.next(now, error), {
        onSuccess: ([, delay]) => delay,
        onFailure: () => failures.delay
      })
      return Duration.toMillis(failures.delay)
    })
  }
}
