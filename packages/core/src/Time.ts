/**
 * Monotonic milliseconds from Effect's `Clock`: the unit of every age, latency and deadline in Hawser.
 */
import type * as Clock from "effect/Clock"

/** Monotonic milliseconds on `clock`, with a fraction. Never steps back, unlike wall time. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
