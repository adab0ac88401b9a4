/**
 * A channel opens calls. Everything that happens to a call as a call is middleware, `Channel → Channel`: deadlines,
 * retries, metrics, authentication.
 *
 * The twin of effect's `HttpClient.With`. A channel knows nothing of connections; below the last middleware, the bridge
 * takes a permit and sends.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import { pipeArguments } from "effect/Pipeable"
import { hasProperty } from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Call, Replies, Reply } from "./Call.ts"
import type { RpcError } from "./RpcError.ts"

const TypeId = "~hawser/Channel"

/** The channel that clients call. */
export interface Channel extends Channel.With<RpcError> {}

/** Types of channels that fail and require otherwise. */
export declare namespace Channel {
  /** A channel that fails with `E` and requires `R`. */
  export interface With<out E, out R = never> extends Pipeable {
    readonly [TypeId]: typeof TypeId
    /** One message back: unary and client-streaming methods. */
    readonly unary: <I, O>(call: Call<I, O>) => Effect.Effect<Reply<O>, E, R>
    /**
     * Many messages back: server-streaming and bidirectional methods. Ends at the response headers, which is where gRPC
     * commits an attempt: failing before is retried like a unary, failing after is in `messages`. The scope holds the call.
     */
    readonly stream: <I, O>(call: Call<I, O>) => Effect.Effect<Replies<O, E, R>, E, R | Scope.Scope>
  }
}

/** The channel that clients call, as a service. `Grpc.layer` provides it. */
export const Channel: Context.Service<Channel, Channel> = Context.Service<Channel, Channel>("hawser/Channel")

/**
 * Whether a value is a channel. What only looks like one is none: `make` turns it into one.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Channel } from "@hawser/grpc"
 *
 * const functions = { unary: () => Effect.never }
 * Channel.isChannel(functions) // => false
 * Channel.isChannel(Channel.make(functions)) // => true
 * ```
 */
export const isChannel = (u: unknown): u is Channel => hasProperty(u, TypeId)

const Proto = {
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  }
}

/**
 * A channel from its functions.
 *
 * **Details**: one that is left out, as in mocks, is a defect in whoever calls it.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, Metadata, Method } from "@hawser/grpc"
 *
 * const echo = Channel.make({
 *   unary: (call) =>
 *     Effect.succeed({
 *       message: call.method.decode(call.method.encode(call.input)),
 *       headers: Metadata.empty,
 *       trailers: Metadata.empty,
 *       connection: "here#1"
 *     })
 * })
 * const method: Method.Method<string, string> = {
 *   path: "/demo.Greeter/SayHello",
 *   kind: "unary",
 *   idempotency: "Unknown",
 *   encode: (text) => new TextEncoder().encode(text),
 *   decode: (bytes) => new TextDecoder().decode(bytes)
 * }
 * Effect.runSync(echo.unary(Call.make(method, "ada"))).message // => "ada"
 * ```
 */
export const make = <E, R = never>(impl: Partial<Pick<Channel.With<E, R>, "unary" | "stream">>): Channel.With<E, R> =>
  Object.assign(Object.create(Proto), {
    unary: impl.unary ?? missing("unary"),
    stream: impl.stream ?? missing("stream")
  })

const missing = (name: string) => (call: Call<never, unknown>) =>
  Effect.die(new Error(`This channel was made without \`${name}\`, which ${call.method.path} needs`))

/**
 * Sees each call and decides what to send on, how often and when. `A` is the answer: opaque, it can only come from
 * `next`, so that one middleware serves every kind of call.
 */
export interface Middleware<E, R, E2, R2> {
  <I, O, A>(call: Call<I, O>, next: (call: Call<I, O>) => Effect.Effect<A, E, R>): Effect.Effect<A, E2, R2>
}

/**
 * Wraps a channel. May add errors and requirements; both are inferred.
 *
 * **Details**: the last wrap is the outermost: it sees the call first. The result keeps `E` and `R` beside what the
 * middleware adds; to change the error, use `mapError`.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel } from "@hawser/grpc"
 *
 * const seen: Array<number> = []
 * const channel = Channel.make({
 *   unary: (call) => {
 *     seen.push(call.priority)
 *     return Effect.die("the end")
 *   }
 * })
 * const bulk = channel.pipe(Channel.intercept((call, next) => next({ ...call, priority: 2 })))
 * const method = { path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown" } as const
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * Effect.runSyncExit(bulk.unary(Call.make({ ...method, ...codec }, "ada")))
 * seen // => [2]
 * ```
 */
export const intercept: {
  <E, R, E2, R2>(middleware: Middleware<E, R, E2, R2>): (self: Channel.With<E, R>) => Channel.With<E | E2, R | R2>
  <E, R, E2, R2>(self: Channel.With<E, R>, middleware: Middleware<E, R, E2, R2>): Channel.With<E | E2, R | R2>
} = dual(
  2,
  <E, R, E2, R2>(self: Channel.With<E, R>, middleware: Middleware<E, R, E2, R2>): Channel.With<E | E2, R | R2> =>
    make<E | E2, R | R2>({
      unary: (call) => middleware(call, self.unary),
      // The scope passes through unseen: only what opens a stream needs it.
      stream: (call) => middleware(call, self.stream as never) as never
    })
)

/**
 * Changes the error of every call, and of the messages of every stream.
 *
 * **When to use**: outermost, to give an application its own errors. `Retry` and metrics below it still see `RpcError`.
 *
 * ```ts import.meta.vitest
 * import { Data, Effect } from "effect"
 * import { Call, Channel, RpcError } from "@hawser/grpc"
 *
 * class ShopDown extends Data.TaggedError("ShopDown")<{ readonly cause: RpcError.RpcError }> {}
 *
 * const channel = Channel.make<RpcError.RpcError>({
 *   unary: ({ method }) => Effect.fail(RpcError.of(method.path, { _tag: "Internal", details: "" }, "Answered"))
 * }).pipe(Channel.mapError((cause) => new ShopDown({ cause })))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Shop/Buy", kind: "unary", idempotency: "Unknown", ...codec }, "tea")
 * const program = channel.unary(call).pipe(Effect.catchTag("ShopDown", ({ cause }) => Effect.succeed(cause.method)))
 * Effect.runSync(program) // => "/demo.Shop/Buy"
 * ```
 */
export const mapError: {
  <E, E2>(f: (error: E) => E2): <R>(self: Channel.With<E, R>) => Channel.With<E2, R>
  <E, R, E2>(self: Channel.With<E, R>, f: (error: E) => E2): Channel.With<E2, R>
} = dual(2, <E, R, E2>(self: Channel.With<E, R>, f: (error: E) => E2): Channel.With<E2, R> =>
  make<E2, R>({
    unary: (call) => Effect.mapError(self.unary(call), f),
    stream: (call) =>
      Effect.mapBoth(self.stream(call), {
        onFailure: f,
        onSuccess: (replies) => ({ ...replies, messages: Stream.mapError(replies.messages, f) })
      })
  })
)

/**
 * Middleware as a layer over another layer's channel. What it requires is taken when the layer is built.
 *
 * **When to use**: to put middleware on a channel that comes from a layer, and to give it services of its own.
 *
 * **Details**: the caller's own context goes before that of the layer, so a call keeps its tracer, clock and deadline.
 *
 * ```ts import.meta.vitest
 * import { Context, Effect, Layer } from "effect"
 * import { Call, Channel } from "@hawser/grpc"
 *
 * class Tenant extends Context.Service<Tenant, { readonly id: string }>()("app/Tenant") {}
 * const affinity = Channel.layerMiddleware((self) =>
 *   Channel.intercept(self, (call, next) =>
 *     Tenant.use(({ id }) => next({ ...call, affinity: { key: id, hard: false } })))
 * )
 * const base = Layer.succeed(Channel.Channel, Channel.make({ unary: (call) => Effect.die(call.affinity?.key) }))
 * const layer = affinity.pipe(Layer.provide([base, Layer.succeed(Tenant, { id: "acme" })]))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer))
 * Effect.runSync(Effect.catchDefect(program, Effect.succeed)) // => "acme"
 * ```
 */
export const layerMiddleware = <R>(
  f: (self: Channel) => Channel.With<RpcError, R>
): Layer.Layer<Channel, never, Channel | Exclude<R, Scope.Scope>> =>
  Layer.effect(
    Channel,
    Effect.contextWith((context: Context.Context<R | Channel>) => {
      const { stream, unary } = f(Context.get(context, Channel))
      const merge = lastMerge(context)
      return Effect.succeed(
        make<RpcError>({
          unary: (call) => Effect.updateContext(unary(call), merge),
          stream: (call) =>
            Effect.map(Effect.updateContext(stream(call), merge as never), (replies) => ({
              ...replies,
              messages: Stream.updateContext(replies.messages, merge)
            })) as never
        })
      )
    })
  ) as Layer.Layer<Channel, never, Channel | Exclude<R, Scope.Scope>>

// Calls of one fiber mostly bring the same context: the last merge is kept.
const lastMerge = <R>(base: Context.Context<R>) => {
  let from: Context.Context<never> | undefined
  let merged: Context.Context<R> = base
  return (own: Context.Context<never>): Context.Context<R> => {
    if (own !== from) {
      from = own
      merged = Context.merge(base, own)
    }
    return merged
  }
}
