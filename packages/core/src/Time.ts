/**
 * Monotonic milliseconds from Effect's `Clock`: the unit of every age, latency and deadline in Hawser.
 */
import type * as Clock from "effect/Clock"

/** Before all others. A small integer, which takes no memory of its own, as `-Infinity` does where there are thousands. */
export const longAgo = -(2 ** 30)

/** Monotonic milliseconds on `clock`, with a fraction. Never steps back, unlike wall time. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
