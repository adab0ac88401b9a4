import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** A clock that jumps over a time in which nothing ran here. */
export interface JumpClock extends Clock.Clock {
  /** The process was stopped: both times have gone on. */
  freeze(millis: number): void
  /** The machine slept, or somebody set its clock: only wall time has gone on. */
  wall(millis: number): void
}

/** The clock of the surroundings, and jumps. */
export const make: Effect.Effect<JumpClock> = Effect.map(Clock.Clock, (clock) => {
  let ran = 0
  let slept = 0
  const nanos = (millis: number) => BigInt(Math.round(millis * 1e6))
  const wallMillis = () => clock.currentTimeMillisUnsafe() + ran + slept
  const wallNanos = () => clock.currentTimeNanosUnsafe() + nanos(ran + slept)
  const monotonic = () => clock.monotonicTimeNanosUnsafe() + nanos(ran)
  return {
    freeze: (millis) => {
      ran += millis
    },
    wall: (millis) => {
      slept += millis
    },
    currentTimeMillisUnsafe: wallMillis,
    currentTimeMillis: Effect.sync(wallMillis),
    currentTimeNanosUnsafe: wallNanos,
    currentTimeNanos: Effect.sync(wallNanos),
    monotonicTimeNanosUnsafe: monotonic,
    monotonicTimeNanos: Effect.sync(monotonic),
    sleep: (duration) => clock.sleep(duration)
  }
})
