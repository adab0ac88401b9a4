/**
 * How long to wait before the next try, as Schedules.
 *
 * Jitter is not optional here: a herd that fails together must not come back together.
 */
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import { Issues } from "./OptionsError.ts"

/** The parameters of an exponential backoff. */
export interface BackoffOptions {
  /** Before the second try. Above 0, at most a day. */
  readonly initial: Duration.Input
  /** From 1 to 10. */
  readonly multiplier: number
  /** The cap, before jitter. At least `initial`, at most a day. */
  readonly max: Duration.Input
}

/**
 * Exponential, capped, then jittered by ±20 %: `min(initial × multiplier^n, max) × [0.8, 1.2]`.
 *
 * **Details**: the cap comes before the jitter, as gRPC's connection backoff asks, so that clients at the cap still
 * spread. Throws an `OptionsError` for values out of bounds.
 *
 * ```ts import.meta.vitest
 * import { Backoff } from "@hawser/core"
 *
 * let rule = ""
 * try { Backoff.exponential({ initial: "1 second", multiplier: NaN, max: "2 minutes" }) } catch (e) { rule = (e as Error).message }
 * rule // => "multiplier: expected a number from 1 to 10, got NaN"
 * ```
 */
export const exponential = (options: BackoffOptions): Schedule.Schedule<Duration.Duration> => {
  const issues = new Issues()
  const initial = millis(issues, "initial", options.initial)
  const max = millis(issues, "max", options.max)
  issues.check(
    options.multiplier >= 1 && options.multiplier <= 10,
    "multiplier",
    "a number from 1 to 10",
    options.multiplier
  )
  issues.check(!(max < initial), "max", "at least `initial`", options.max)
  issues.throwIfAny()
  return capped(initial, options.multiplier, max)
}

/**
 * The same in milliseconds, with any multiplier above 0 and any cap, as a gRPC service config may ask for. Nothing is
 * checked here.
 *
 * ```ts import.meta.vitest
 * import { Duration, Effect, Random, Schedule } from "effect"
 * import { Backoff } from "@hawser/core"
 *
 * const delays = Effect.gen(function*() {
 *   const step = yield* Schedule.toStep(Backoff.capped(400, 0.5, 300))
 *   const next = Effect.map(step(0, undefined), ([, delay]) => Math.round(Duration.toMillis(delay)))
 *   return yield* Effect.all([next, next, next])
 * })
 * const middle = Effect.provideService(delays, Random.Random, { nextDoubleUnsafe: () => 0.5, nextIntUnsafe: () => 0 })
 * await Effect.runPromise(middle) // => [300, 200, 100]
 * ```
 */
export const capped = (initial: number, multiplier: number, max: number): Schedule.Schedule<Duration.Duration> =>
  Schedule.min([Schedule.exponential(initial, multiplier), Schedule.spaced(max)]).pipe(
    Schedule.map(({ duration }) => duration),
    Schedule.jittered
  )

const millis = (issues: Issues, path: string, input: Duration.Input): number => {
  let value = NaN
  try {
    value = Duration.toMillis(Duration.fromInputUnsafe(input))
  } catch {
    // reported below
  }
  issues.check(value > 0 && value <= 86_400_000, path, "a duration above 0, at most a day", input)
  return value
}

/**
 * gRPC's connection backoff: 1 s × 1.6, cap 120 s, ±20 % (connection-backoff.md). A subchannel measures it from the
 * start of the attempt that failed. It never gives up.
 *
 * ```ts import.meta.vitest
 * import { Duration, Effect, Random, Schedule } from "effect"
 * import { Backoff } from "@hawser/core"
 *
 * const delays = Effect.gen(function*() {
 *   const step = yield* Schedule.toStep(Backoff.connection)
 *   const next = Effect.map(step(0, undefined), ([, delay]) => Math.round(Duration.toMillis(delay)))
 *   return yield* Effect.all(Array.from({ length: 12 }, () => next))
 * })
 * // Without the jitter: 0.5 is the middle of ±20 %.
 * const middle = Effect.provideService(delays, Random.Random, { nextDoubleUnsafe: () => 0.5, nextIntUnsafe: () => 0 })
 * const millis = await Effect.runPromise(middle)
 * millis.slice(0, 4) // => [1000, 1600, 2560, 4096]
 * millis.at(-1) // => 120_000
 * ```
 */
export const connection: Schedule.Schedule<Duration.Duration> = exponential({
  initial: "1 second",
  multiplier: 1.6,
  max: "2 minutes"
})

/**
 * The default between the attempts of a call: 100 ms × 2, cap 1 s, ±20 % (gRFC A6). How many attempts there are is said
 * elsewhere; alone it goes on for ever.
 *
 * ```ts import.meta.vitest
 * import { Clock, Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Backoff } from "@hawser/core"
 *
 * const starts: Array<number> = []
 * const lookup = Effect.andThen(
 *   Effect.map(Clock.currentTimeMillis, (now) => starts.push(now)),
 *   Effect.fail("unavailable")
 * )
 * const program = Effect.raceFirst(
 *   Effect.retry(lookup, { schedule: Backoff.retry, times: 2 }),
 *   Effect.andThen(TestClock.adjust("1 second"), Effect.never)
 * )
 * await Effect.runPromise(Effect.flip(program).pipe(Effect.provide(TestClock.layer()))) // => "unavailable"
 * starts.length // => 3
 * const second = starts[1]! // between 80 and 120 ms after the first
 * second >= 80 && second <= 120 // => true
 * ```
 */
export const retry: Schedule.Schedule<Duration.Duration> = exponential({
  initial: "100 millis",
  multiplier: 2,
  max: "1 second"
})
