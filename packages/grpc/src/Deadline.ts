/**
 * By when a call must have ended.
 *
 * A deadline is a moment, not a duration: it is fixed once, where a call or a piece of work begins, and everything below
 * (queue, attempts, backoff, the server) works against the same moment. Of several, the earliest holds. It travels as
 * data, ambient or in the call, and is enforced by the transport; nothing races a timer per call.
 */
import { Issues, OptionsError } from "@hawser/core/OptionsError"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import type { Call } from "./Call.ts"
import { none } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as RpcError from "./RpcError.ts"
import { Ambient } from "./Surroundings.ts"

export {
  /**
   * No deadline, on purpose: for a call (`{ timeout: Deadline.none }`) or as a default (`withDefault`).
   *
   * **Gotchas**: it takes away the default only, never the ambient deadline of `within`.
   *
   * ```ts import.meta.vitest
   * import { Effect } from "effect"
   * import { Call, Channel, Deadline } from "@hawser/grpc"
   *
   * const base = Channel.make({ unary: ({ deadline = 0 }) => Effect.die(deadline < Infinity) })
   * const channel = base.pipe(Deadline.withDefault(Deadline.none))
   * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
   * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
   * const isLimited = Effect.catchDefect(channel.unary(call), Effect.succeed)
   * Effect.runSync(isLimited) // => false
   * Effect.runSync(Deadline.within(isLimited, "1 second")) // => true
   * ```
   */
  none
}

/**
 * The longest time that can be asked for: 24 days. Timers of Node end soon after.
 *
 * ```ts import.meta.vitest
 * import { Deadline } from "@hawser/grpc"
 *
 * Deadline.isMillis(Deadline.maxMillis) // => true
 * Deadline.isMillis(Deadline.maxMillis + 1) // => false
 * Deadline.isMillis(0) // => false
 * Deadline.isMillis(NaN) // => false
 * ```
 */
export const maxMillis = 24 * 86_400_000

/**
 * The default for unary calls in `Grpc.layer`.
 *
 * ```ts import.meta.vitest
 * import { Duration } from "effect"
 * import { Deadline } from "@hawser/grpc"
 *
 * Duration.toSeconds(Deadline.unary) // => 15
 * ```
 */
export const unary: Duration.Duration = Duration.seconds(15)

/**
 * Monotonic milliseconds now, on the fiber's clock: what deadlines are measured on.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Deadline } from "@hawser/grpc"
 *
 * const now = Effect.withFiber((fiber) => Effect.succeed(Deadline.nowUnsafe(fiber)))
 * const program = Effect.gen(function*() {
 *   const before = yield* now
 *   yield* TestClock.adjust("200 millis")
 *   return (yield* now) - before
 * })
 * await Effect.runPromise(Effect.provide(program, TestClock.layer())) // => 200
 * ```
 */
export const nowUnsafe = (fiber: Fiber.Fiber<unknown, unknown>): number => monotonicMillis(fiber.getRef(Clock.Clock))

const units: ReadonlySet<string> = new Set([
  "weeks",
  "days",
  "hours",
  "minutes",
  "seconds",
  "milliseconds",
  "microseconds",
  "nanoseconds"
])

/**
 * The milliseconds of any duration input; NaN for what is none.
 *
 * **Gotchas**: `Duration.fromInput` takes NaN, `{}` and `{ second: 5 }` for zero; this does not.
 *
 * ```ts import.meta.vitest
 * import { Deadline } from "@hawser/grpc"
 *
 * Deadline.millisOf("2 seconds") // => 2_000
 * Deadline.millisOf({ minutes: 1, seconds: 30 }) // => 90_000
 * Deadline.millisOf({ second: 5 }) // => NaN
 * ```
 */
export const millisOf = (input: unknown): number => {
  if (typeof input === "number") return input
  if (typeof input === "object" && !Duration.isDuration(input)) {
    const parts = Object.entries(input ?? {}).filter(([, n]) => n !== undefined)
    const legal = Array.isArray(input) || parts.every(([unit]) => units.has(unit))
    if (parts.length === 0 || !legal || parts.some(([, n]) => typeof n !== "number" || Number.isNaN(n))) return NaN
  }
  try {
    return Duration.toMillis(Duration.fromInputUnsafe(input as Duration.Input))
  } catch {
    return NaN
  }
}

/** Whether it is a time that a call can be given: above 0, at most 24 days. */
export const isMillis = (millis: number): boolean => millis > 0 && millis <= maxMillis

/**
 * The rule that `isMillis` stands for, in words.
 *
 * ```ts import.meta.vitest
 * import { Deadline } from "@hawser/grpc"
 *
 * const problem = (input: unknown) =>
 *   Deadline.isMillis(Deadline.millisOf(input)) ? undefined : `expected ${Deadline.rule}`
 * problem("1 second") // => undefined
 * problem("soon") // => "expected a duration above 0, at most 24 days, or Deadline.none"
 * ```
 */
export const rule = "a duration above 0, at most 24 days, or Deadline.none"

/**
 * Gives everything inside at most this long. Calls inside end by then, whatever their own timeout or default is.
 *
 * **When to use**: around a piece of work of several calls, as a request handler.
 *
 * **Details**: nested ones take the earliest. Zero and less are times that have passed: calls inside fail at once with
 * `DeadlineExceeded`, `NotSent`. What is no duration at all is a defect with an `OptionsError`.
 *
 * **Gotchas**: it bounds calls, not the effect: code between them runs on. Add `Effect.timeout` to cut that too.
 *
 * ```ts import.meta.vitest
 * import { Duration, Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Deadline } from "@hawser/grpc"
 *
 * const program = Effect.andThen(TestClock.adjust("200 millis"), Deadline.remaining).pipe(
 *   Effect.map(Duration.toMillis),
 *   Deadline.within("1 minute"),
 *   Deadline.within("1 second")
 * )
 * await Effect.runPromise(Effect.provide(program, TestClock.layer())) // => 800
 * ```
 */
export const within: {
  (limit: Duration.Input): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, limit: Duration.Input): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, limit: Duration.Input): Effect.Effect<A, E, R> => {
  const millis = millisOf(limit)
  if (Number.isNaN(millis)) return Effect.die(broken("within", "a duration", limit))
  return Effect.withFiber((fiber) =>
    Effect.provideService(self, Ambient, Math.min(fiber.getRef(Ambient), nowUnsafe(fiber) + millis))
  )
})

/**
 * Works for a caller who gave a moment by which to answer: calls inside end by then, and leave it to nobody to wait for
 * an answer that nobody wants.
 *
 * **When to use**: in the handler of a server, with the deadline of the call that came in (`call.getDeadline()` in
 * grpc-js): a `Date`, milliseconds since 1970, or `Infinity` for none.
 *
 * **Details**: it is on the wall clock and is converted once, when the effect starts; from then on the wall clock may
 * step. It never extends the ambient deadline. One that has passed fails calls inside at once, as `within` does. What is
 * no moment at all is a defect with an `OptionsError`.
 *
 * ```ts import.meta.vitest
 * import { Clock, Duration, Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Deadline } from "@hawser/grpc"
 *
 * const handler = Effect.map(Deadline.remaining, Duration.toMillis)
 * const program = Effect.gen(function*() {
 *   const now = yield* Clock.currentTimeMillis
 *   const adopted = yield* Deadline.adopt(handler, new Date(now + 800))
 *   const none = yield* handler.pipe(Deadline.adopt(Infinity), Deadline.within("1 second"))
 *   return [adopted, none]
 * })
 * await Effect.runPromise(Effect.provide(program, TestClock.layer())) // => [800, 1000]
 * ```
 */
export const adopt: {
  (deadline: Date | number): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, deadline: Date | number): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, deadline: Date | number): Effect.Effect<A, E, R> => {
  // `Number(null)` is 0, which would be 1970.
  const at = typeof deadline === "number" || deadline instanceof Date ? Number(deadline) : NaN
  if (Number.isNaN(at)) return Effect.die(broken("adopt", "a Date, or milliseconds since 1970", deadline))
  return Effect.withFiber((fiber) => {
    const left = at - fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    return Effect.provideService(self, Ambient, Math.min(fiber.getRef(Ambient), nowUnsafe(fiber) + left))
  })
})

/** Whether a call ends with one answer. Streams may go on for as long as they like. */
const isShort = <I, O>({ method: { kind } }: Call<I, O>): boolean => kind === "unary" || kind === "clientStreaming"

const broken = (path: string, ruled: string, value: unknown): OptionsError => {
  const issues = new Issues()
  issues.check(false, path, ruled, value)
  return new OptionsError({ issues: issues.list })
}

/**
 * The ambient deadline in monotonic milliseconds; `Infinity` where there is none.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Deadline } from "@hawser/grpc"
 *
 * Effect.runSync(Deadline.current) // => Infinity
 * const inner = Deadline.within(Deadline.current, "1 hour")
 * const both = Deadline.within(Effect.all([Deadline.current, inner]), "1 second")
 * const [outer, nested] = Effect.runSync(both)
 * nested === outer // => true
 * ```
 */
export const current: Effect.Effect<number> = Effect.withFiberSucceed((fiber) => fiber.getRef(Ambient))

/**
 * What is left of the ambient deadline: zero when it has passed, infinite where there is none.
 *
 * ```ts import.meta.vitest
 * import { Duration, Effect } from "effect"
 * import { Deadline } from "@hawser/grpc"
 *
 * const left = Effect.map(Deadline.remaining, Duration.toMillis)
 * Effect.runSync(left) // => Infinity
 * Effect.runSync(Deadline.within(left, "-1 seconds")) // => 0
 * ```
 */
export const remaining: Effect.Effect<Duration.Duration> = Effect.withFiberSucceed((fiber) =>
  Duration.millis(Math.max(0, fiber.getRef(Ambient) - nowUnsafe(fiber)))
)

/**
 * Middleware that fixes the deadline of each call: the earliest of its own, or else `limit`, and the ambient one.
 *
 * **Details**: a deadline that has passed fails the call with `DeadlineExceeded`, phase `Queued`, by `Us`, `NotSent`,
 * without touching the channel. `Grpc.layer` has 15 s here. Throws an `OptionsError` for a limit out of bounds.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, Deadline } from "@hawser/grpc"
 *
 * const base = Channel.make({ unary: (call) => Effect.die((call.deadline ?? 0) > 0) })
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const sent = base.pipe(Deadline.withDefault("5 seconds")).unary(call)
 * Effect.runSync(Effect.catchDefect(sent, Effect.succeed)) // => true
 * ```
 */
export const withDefault: {
  (
    limit: Duration.Input | typeof none
  ): <E, R>(self: Channel.Channel.With<E, R>) => Channel.Channel.With<E | RpcError.RpcError, R>
  <E, R>(
    self: Channel.Channel.With<E, R>,
    limit: Duration.Input | typeof none
  ): Channel.Channel.With<E | RpcError.RpcError, R>
} = dual(
  2,
  <E, R>(
    self: Channel.Channel.With<E, R>,
    limit: Duration.Input | typeof none
  ): Channel.Channel.With<E | RpcError.RpcError, R> => {
    const millis = limit === none ? Infinity : millisOf(limit)
    if (limit !== none && !isMillis(millis)) throw broken("deadline", rule, limit)
    const fix = <I, O, A>(call: Call<I, O>, next: (call: Call<I, O>) => Effect.Effect<A, E, R>) =>
      Effect.withFiber((fiber): Effect.Effect<A, E | RpcError.RpcError, R> => {
        const now = nowUnsafe(fiber)
        const own = call.deadline ?? (isShort(call) ? now + millis : Infinity)
        const ambient = fiber.getRef(Ambient)
        // In this order NaN stays NaN, and has passed: it would otherwise be no deadline at all.
        const deadline = ambient < own ? ambient : own
        if (!(deadline > now)) return passed(call.method.path, call.attempt - 1)
        return next(deadline === call.deadline ? call : { ...call, deadline })
      })
    return Channel.intercept(self, fix)
  }
)

const passed = (method: string, attempts: number): Effect.Effect<never, RpcError.RpcError> =>
  Effect.fail(
    RpcError.of(
      method,
      { _tag: "DeadlineExceeded", details: "Deadline passed before the call was sent", phase: "Queued", by: "Us" },
      "NotSent",
      { attempts }
    )
  )

/**
 * A default deadline as a layer over another layer's channel. Default: 15 s.
 *
 * **When to use**: over `Grpc.layerBare`, or over the channel of a test; `Grpc.layer` has one.
 *
 * **Details**: throws an `OptionsError` for a limit out of bounds, as `withDefault` does.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Call, Channel, Deadline } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const frozen = TestChannel.layer({ "/demo.Greeter/SayHello": () => Effect.never })
 * const layer = Layer.provide(Deadline.layer("5 millis"), frozen)
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer), Effect.flip)
 * const { reason } = await Effect.runPromise(program)
 * reason._tag // => "DeadlineExceeded"
 * ```
 */
export const layer = (
  limit: Duration.Input | typeof none = unary
): Layer.Layer<Channel.Channel, never, Channel.Channel> => {
  const limited = withDefault(limit)
  return Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => limited(channel))
  )
}

/** What the error of `idle` says. */
export interface IdleOptions {
  /** The path of the method; the stream itself does not tell. Default `""`. */
  readonly method?: string | undefined
}

/**
 * Fails a stream with `DeadlineExceeded` by `Us` when no element comes for this long.
 *
 * **When to use**: on the messages of a stream that should never be quiet. Streams have no deadline of their own, and
 * one on the whole call would also end those that are well.
 *
 * **Details**: the time runs only while the reader waits for an element, and starts anew with each; so a slow reader is
 * not an idle stream. What feeds the stream is interrupted, which cancels the call. The error says `MaybeProcessed` and
 * `Sent` before the first element, for the server may not have answered; after it, `Answered` and `Receiving`. Throws an
 * `OptionsError` for a limit out of bounds.
 *
 * **Gotchas**: on the stream of a client's plain method, the wait for the first element includes that for a connection
 * and for the headers. On the `messages` of `.replies`, it begins after them.
 *
 * ```ts import.meta.vitest
 * import { Effect, Fiber, Stream } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Deadline } from "@hawser/grpc"
 *
 * const seen: Array<string> = []
 * const program = Effect.gen(function*() {
 *   const messages = Stream.concat(Stream.make("one", "two"), Stream.never).pipe(Deadline.idle("30 seconds"))
 *   const read = Stream.runForEach(messages, (message) => Effect.sync(() => seen.push(message)))
 *   const fiber = yield* Effect.forkChild(Effect.flip(read))
 *   yield* TestClock.adjust("30 seconds")
 *   return (yield* Fiber.join(fiber)).reason._tag
 * })
 * await Effect.runPromise(Effect.provide(program, TestClock.layer())) // => "DeadlineExceeded"
 * seen // => ["one", "two"]
 * ```
 */
export const idle = (
  duration: Duration.Input,
  options?: IdleOptions | undefined
): (<A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E | RpcError.RpcError, R>) => {
  const millis = millisOf(duration)
  if (!isMillis(millis)) throw broken("idle", "a duration above 0, at most 24 days", duration)
  const quiet = (phase: RpcError.Phase, progress: RpcError.Progress) =>
    Effect.suspend(() => {
      const reason = { _tag: "DeadlineExceeded", details: `No message for ${millis} ms`, phase, by: "Us" } as const
      return Effect.fail(RpcError.of(options?.method ?? "", reason, progress))
    })
  const before = quiet("Sent", "MaybeProcessed")
  const after = quiet("Receiving", "Answered")
  return (self) =>
    Stream.transformPull(self, (pull) =>
      Effect.sync(() => {
        let answered = false
        const noted = Effect.map(pull, (elements) => {
          answered = true
          return elements
        })
        return Effect.timeoutOrElse(noted, { duration: millis, orElse: () => (answered ? after : before) })
      })
    )
}
