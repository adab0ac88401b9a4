/**
 * Counts attempts and times calls, under the names of gRFC A66.
 *
 * | metric | kind | attributes |
 * |---|---|---|
 * | `grpc.client.attempt.started` | counter, attempts | `grpc.method`, `grpc.target` |
 * | `grpc.client.call.duration` | histogram, seconds | `grpc.method`, `grpc.target`, `grpc.status` |
 *
 * The histogram's count is the number of calls that ended, by status. Every series is bound once, on its first use; a
 * call then pays for two map look-ups and two updates. Series are bounded: methods come from definitions, statuses are
 * 17, and from the 1,000th method on it is `other`.
 */
import { monotonicMillis } from "@hawser/core/Time"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Call } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as RpcError from "./RpcError.ts"

/**
 * Upper bounds of the histogram's buckets in seconds, as gRFC A66 has them.
 *
 * ```ts import.meta.vitest
 * import { CallMetrics } from "@hawser/grpc"
 *
 * CallMetrics.boundaries.length // => 41
 * CallMetrics.maxMethods // => 1000
 * ```
 */
export const boundaries: ReadonlyArray<number> = [
  0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.013,
  0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1, 2, 5, 10,
  20, 50, 100
]

/** The most methods that have series of their own. */
export const maxMethods = 1_000

/** The counters of one target. Safe to call from any callback. */
export interface CallMetrics {
  /** An attempt begins. */
  readonly attemptStarted: (method: string) => void
  /** A call has ended with a status code, after so many seconds. */
  readonly callEnded: (method: string, code: number, seconds: number) => void
}

interface Series {
  readonly started: Metric.Counter<number>
  /** By status code, on first use. */
  readonly durations: Array<Metric.Histogram<number> | undefined>
}

/** Counters for a target, in the metric registry of a context. `Effect.map(Effect.context(), …)` has the current one. */
export const make = (target: string, context: Context.Context<never>): CallMetrics => {
  const all = new Map<string, Series>()
  const bind = (path: string): Series => {
    const method = all.size < maxMethods ? path : "other"
    const found = all.get(method)
    if (found !== undefined) return found
    const series: Series = { started: started(method, target), durations: [] }
    all.set(method, series)
    return series
  }
  return {
    attemptStarted: (method) => (all.get(method) ?? bind(method)).started.updateUnsafe(1, context),
    callEnded: (path, code, seconds) => {
      const { durations } = all.get(path) ?? bind(path)
      const known = RpcError.statusNames[code] === undefined ? RpcError.codes.Unknown : code
      const duration = (durations[known] ??= durationOf(all.has(path) ? path : "other", target, known))
      duration.updateUnsafe(seconds, context)
    }
  }
}

// RPC methods and targets, as A66 labels them.
const attributes = (method: string, target: string) => ({
  // Without the leading slash: `package.Service/Method`.
  "grpc.method": method.startsWith("/") ? method.slice(1) : method,
  "grpc.target": target
})

const started = (method: string, target: string): Metric.Counter<number> =>
  Metric.counter("grpc.client.attempt.started", {
    description: "Attempts of RPCs that were started",
    attributes: attributes(method, target),
    incremental: true
  })

const durationOf = (method: string, target: string, code: number): Metric.Histogram<number> =>
  Metric.histogram("grpc.client.call.duration", {
    description: "Time from the start of an RPC to its end, retries and waiting included, in seconds",
    attributes: { ...attributes(method, target), "grpc.status": RpcError.statusNames[code]!, unit: "s" },
    boundaries
  })

/**
 * Where the answers of a stream tell the status of their call: their reader may leave without having come to it.
 *
 * ```ts import.meta.vitest
 * import { Effect, Metric, Stream } from "effect"
 * import { Call, CallMetrics, Channel, Metadata } from "@hawser/grpc"
 *
 * const base = Channel.make({
 *   stream: ({ method }) =>
 *     Effect.succeed({
 *       [CallMetrics.told]: () => 5,
 *       messages: Stream.forever(Stream.sync(() => method.decode(Buffer.from("hi")))),
 *       headers: Metadata.empty,
 *       trailers: Effect.succeed(Metadata.empty),
 *       connection: "here#1"
 *     })
 * })
 * const method = { path: "/demo.Greeter/Watch", kind: "serverStreaming", idempotency: "Unknown" } as const
 * const call = Call.make({ ...method, encode: (text: string) => Buffer.from(text), decode: String }, "ada")
 * const program = Effect.gen(function*() {
 *   const metrics = CallMetrics.make("greeter", yield* Effect.context())
 *   const channel = base.pipe(CallMetrics.perAttempt(metrics), CallMetrics.perCall(metrics))
 *   const { messages } = yield* channel.stream(call)
 *   yield* Stream.runDrain(Stream.take(messages, 1))
 *   const all = yield* Metric.snapshot
 *   return all.map((metric) => metric.attributes?.["grpc.status"] ?? metric.id)
 * })
 * const isolated = Effect.provideService(Effect.scoped(program), Metric.MetricRegistry, new Map())
 * Effect.runSync(isolated) // => ["grpc.client.attempt.started", "NOT_FOUND"]
 * ```
 */
export const told: unique symbol = Symbol.for("hawser/CallMetrics/told")

/** Answers that tell the status of their call. */
export interface Told {
  /** `undefined` while there is none. */
  readonly [told]?: (() => number | undefined) | undefined
}

/** Middleware that counts what passes. Belongs below retries: it sees attempts. */
export const perAttempt =
  (metrics: CallMetrics) =>
  <E, R>(self: Channel.Channel.With<E, R>): Channel.Channel.With<E, R> => {
    const count = <I, O, A>(call: Call<I, O>, next: (call: Call<I, O>) => Effect.Effect<A, E, R>) =>
      Effect.suspend(() => {
        metrics.attemptStarted(call.method.path)
        return next(call)
      })
    return Channel.intercept(self, count)
  }

/**
 * Middleware that times calls. Belongs outermost: it sees everything that a call waits for.
 *
 * **Details**: an interrupted call counts as `CANCELLED`, one that ends in a defect as `UNKNOWN`. A stream whose reader
 * leaves early counts as `CANCELLED`, or by its status where that has come already.
 *
 * ```ts import.meta.vitest
 * import { Effect, Metric } from "effect"
 * import { Call, CallMetrics, Channel } from "@hawser/grpc"
 *
 * const method = { path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown" } as const
 * const call = Call.make({ ...method, encode: (text: string) => Buffer.from(text), decode: String }, "ada")
 * const program = Effect.gen(function*() {
 *   const metrics = CallMetrics.make("greeter", yield* Effect.context())
 *   const channel = Channel.make({ unary: () => Effect.interrupt }).pipe(CallMetrics.perCall(metrics))
 *   yield* Effect.exit(channel.unary(call))
 *   const all = yield* Metric.snapshot
 *   return all.map((metric) => metric.attributes?.["grpc.status"])
 * })
 * Effect.runSync(Effect.provideService(program, Metric.MetricRegistry, new Map())) // => ["CANCELLED"]
 * ```
 */
export const perCall =
  (metrics: CallMetrics) =>
  <E, R>(self: Channel.Channel.With<E, R>): Channel.Channel.With<E, R> => {
    const timed = (path: string, fiber: Fiber.Fiber<unknown, unknown>) => {
      const clock = fiber.getRef(Clock.Clock)
      const start = monotonicMillis(clock)
      let ended = false
      return (exit: Exit.Exit<unknown, unknown>, code: number = codeOf(exit)): undefined => {
        if (ended) return
        ended = true
        metrics.callEnded(path, code, (monotonicMillis(clock) - start) / 1000)
      }
    }
    return Channel.make<E, R>({
      unary: (call) =>
        Effect.withFiber((fiber) => Effect.onExitPrimitive(self.unary(call), timed(call.method.path, fiber))),
      // A stream ends with its last message, with its reader, or with its scope: whatever comes first.
      stream: (call) =>
        Effect.withFiber((fiber) => {
          const end = timed(call.method.path, fiber)
          const opened = Effect.flatMap(self.stream(call), (replies) => {
            const code = (replies as Told)[told]
            const left = Effect.sync(() => end(Exit.interrupt(), code?.()))
            const messages = Stream.transformPull(replies.messages, (pull, scope) =>
              Effect.as(
                Scope.addFinalizer(scope, left),
                Effect.onExitPrimitive(pull, (exit) =>
                  exit._tag === "Failure" ? end(Pull.doneExitFromCause(exit.cause)) : undefined
                )
              )
            )
            return Effect.as(
              Effect.addFinalizer(() => left),
              { ...replies, messages }
            )
          })
          return Effect.onExitPrimitive(opened, (exit) => (exit._tag === "Failure" ? end(exit) : undefined))
        })
    })
  }

const codeOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (exit._tag === "Success") return 0
  if (Cause.hasInterrupts(exit.cause)) return RpcError.codes.Cancelled
  const fail = exit.cause.reasons.find(Cause.isFailReason)
  return RpcError.isRpcError(fail?.error) ? fail.error.code : RpcError.codes.Unknown
}

/**
 * The metrics of calls as a layer over another layer's channel, in the metric registry of its surroundings. `target` is
 * what they are labelled with.
 *
 * **When to use**: over `Grpc.layerBare`, or over the channel of a test; `Grpc.layer` has them.
 *
 * **Gotchas**: whatever retries between it and the wire is one attempt to it. `perAttempt` in
 * `Channel.layerMiddleware` belongs below that.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer, Metric } from "effect"
 * import { Call, CallMetrics, Channel } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const base = TestChannel.layer({ "/demo.Greeter/SayHello": (name: string) => Effect.succeed(name) })
 * const layer = Layer.provide(CallMetrics.layer("greeter"), base)
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Effect.gen(function*() {
 *   const { unary } = yield* Channel.Channel
 *   yield* unary(call)
 *   return (yield* Metric.snapshot).map((metric) => metric.id)
 * }).pipe(Effect.provide(layer), Effect.provideService(Metric.MetricRegistry, new Map()))
 * await Effect.runPromise(program) // => ["grpc.client.attempt.started", "grpc.client.call.duration"]
 * ```
 */
export const layer = (target: string): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.contextWith((context: Context.Context<Channel.Channel>) => {
      const metrics = make(target, context as Context.Context<never>)
      return Effect.succeed(Context.get(context, Channel.Channel).pipe(perAttempt(metrics), perCall(metrics)))
    })
  )
