/**
 * What answers when a service does not: another channel, or an answer of this program's own.
 *
 * Outermost but for call metrics and the deadline: it sees what retries and the breaker could not mend.
 */
import { Issues } from "@hawser/core/OptionsError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type { Call, Replies, Reply } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as Deadline from "./Deadline.ts"
import * as Metadata from "./Metadata.ts"
import type { FromDefinition, Method } from "./Method.ts"
import * as RpcError from "./RpcError.ts"
import { furthest } from "./Status.ts"

const TypeId = "~hawser/Fallback"

/** The answer of this program to a call that failed. */
type Answer = (input: never, error: RpcError.RpcError) => Effect.Effect<unknown, RpcError.RpcError>

/** A fallback. */
export interface Fallback {
  readonly [TypeId]: typeof TypeId
  readonly when: (error: RpcError.RpcError) => boolean
  readonly channel: Channel.Channel | undefined
  /** By path. */
  readonly answers: ReadonlyMap<string, Answer>
}

/** What `to` and `orElse` take. */
export interface FallbackOptions {
  /** Which errors are answered otherwise. Default: `isDown`. */
  readonly when?: ((error: RpcError.RpcError) => boolean) | undefined
}

/** Answers for the unary methods of a definition, by its own names. They get the request and what happened to it. */
export type Answers<S> = {
  readonly [K in keyof S as [AnswerFor<S[K]>] extends [never] ? never : K]?: AnswerFor<S[K]> | undefined
}

type AnswerFor<D> =
  FromDefinition<D> extends Method<infer I, infer O, infer K>
    ? [K] extends ["unary"]
      ? (input: I, error: RpcError.RpcError) => Effect.Effect<O, RpcError.RpcError>
      : never
    : never

/**
 * The default of `when`: `Unavailable`, `ResourceExhausted`, and a `DeadlineExceeded` of this client's.
 *
 * ```ts import.meta.vitest
 * import { Fallback, RpcError } from "@hawser/grpc"
 *
 * const late = (by: RpcError.By) =>
 *   RpcError.of("/demo.Shop/Buy", { _tag: "DeadlineExceeded", details: "", phase: "Sent", by }, "MaybeProcessed")
 * Fallback.isDown(late("Us")) // => true
 * Fallback.isDown(late("Server")) // => false
 * ```
 */
export const isDown = ({ reason }: RpcError.RpcError): boolean =>
  reason._tag === "Unavailable" ||
  reason._tag === "ResourceExhausted" ||
  (reason._tag === "DeadlineExceeded" && reason.by === "Us")

const optionsOf = (options: FallbackOptions, issues: Issues): ((error: RpcError.RpcError) => boolean) => {
  const { when = isDown } = options
  issues.check(typeof when === "function", "when", "a function", when)
  for (const key of Object.keys(options)) issues.check(key === "when", key, "when", key)
  return when
}

/**
 * Sends what failed to another channel: another region, an older version, a replica that only reads.
 *
 * **Details**: as a first attempt, within the same deadline; where that has passed, the error stays. A call that may have
 * been processed goes there only if its method may be called twice. Streams are sent there until their headers have come.
 * If the other channel fails too, the call fails with its error, whose `cause` is the first one where it has none. Throws
 * an `OptionsError`.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, Fallback, Metadata, RpcError } from "@hawser/grpc"
 *
 * const down = Channel.make<RpcError.RpcError>({
 *   unary: ({ method }) =>
 *     Effect.fail(RpcError.of(method.path, { _tag: "Unavailable", details: "", connect: undefined }, "NotSent"))
 * })
 * const other = Channel.make<RpcError.RpcError>({
 *   unary: ({ input, method }) =>
 *     Effect.succeed({
 *       message: method.decode(method.encode(input)),
 *       headers: Metadata.empty,
 *       trailers: Metadata.empty,
 *       connection: "other#1"
 *     })
 * })
 * const channel = down.pipe(Fallback.intercept(Fallback.to(other)))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * Effect.runSync(channel.unary(call)).connection // => "other#1"
 * ```
 */
export const to = (channel: Channel.Channel, options: FallbackOptions = {}): Fallback => {
  const issues = new Issues()
  issues.check(Channel.isChannel(channel), "channel", "a Channel", typeof channel)
  const when = optionsOf(options, issues)
  issues.throwIfAny()
  return { [TypeId]: TypeId, when, channel, answers: new Map() }
}

/**
 * Answers what failed by itself: from a cache, with less, with nothing.
 *
 * **Details**: for unary methods, under the names of the definition. A method without an answer fails as it did; so do
 * streams. Throws an `OptionsError` for names that are no unary methods.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Channel, Client, Fallback, RpcError } from "@hawser/grpc"
 *
 * const Shop = {
 *   price: {
 *     path: "/demo.Shop/Price",
 *     requestStream: false,
 *     responseStream: false,
 *     requestSerialize: (article: string) => Buffer.from(article),
 *     responseDeserialize: (bytes: Buffer) => Number(String(bytes))
 *   }
 * } as const
 * const down = Channel.make<RpcError.RpcError>({
 *   unary: ({ method }) =>
 *     Effect.fail(RpcError.of(method.path, { _tag: "Unavailable", details: "", connect: undefined }, "NotSent"))
 * })
 * const lastKnown = new Map([["tea", 3]])
 * const fallback = Fallback.orElse(Shop, { price: (article) => Effect.succeed(lastKnown.get(article) ?? 0) })
 * const shop = Client.make(Shop, down.pipe(Fallback.intercept(fallback)))
 * Effect.runSync(shop.price("tea")) // => 3
 * ```
 */
export const orElse = <const S extends object>(
  definition: S,
  answers: Answers<S>,
  options: FallbackOptions = {}
): Fallback => {
  const issues = new Issues()
  const byPath = new Map<string, Answer>()
  const methods = new Map(Object.entries<Partial<Flags>>(definition as {}))
  for (const [name, answer] of Object.entries<Answer | undefined>(answers)) {
    if (answer === undefined) continue
    const { path, requestStream, responseStream } = methods.get(name) ?? {}
    const unary = path !== undefined && requestStream === false && responseStream === false
    issues.check(unary, `answers.${name}`, "the name of a unary method", name)
    issues.check(typeof answer === "function", `answers.${name}`, "a function", answer)
    if (unary) byPath.set(path, answer)
  }
  const when = optionsOf(options, issues)
  issues.throwIfAny()
  return { [TypeId]: TypeId, when, channel: undefined, answers: byPath }
}

interface Flags {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
}

/**
 * Whether a value is a fallback. What only looks like one is none.
 *
 * ```ts import.meta.vitest
 * import { Fallback } from "@hawser/grpc"
 *
 * Fallback.isFallback(Fallback.orElse({}, {})) // => true
 * Fallback.isFallback({ answers: {} }) // => false
 * ```
 */
export const isFallback = (u: unknown): u is Fallback => hasProperty(u, TypeId)

/**
 * Middleware that falls back. A call that does not fail passes through untouched.
 *
 * **Gotchas**: above breaker and retry, so that it is asked last. An answer of this program's own has no headers, and
 * `fallback` as its `connection`. Several compose: the outermost is asked last.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, Fallback, RpcError } from "@hawser/grpc"
 *
 * const broken = Channel.make<RpcError.RpcError>({
 *   unary: ({ method }) => Effect.fail(RpcError.of(method.path, { _tag: "NotFound", details: "" }, "Answered"))
 * })
 * const channel = broken.pipe(Fallback.intercept(Fallback.to(Channel.make({ unary: () => Effect.die("never asked") }))))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Shop/Price", kind: "unary", idempotency: "Unknown", ...codec }, "tea")
 * Effect.runSync(Effect.flip(channel.unary(call))).reason._tag // => "NotFound"
 * ```
 */
export const intercept =
  (policy: Fallback) =>
  <R>(self: Channel.Channel.With<RpcError.RpcError, R>): Channel.Channel.With<RpcError.RpcError, R> => {
    const { answers, channel, when } = policy
    // A stream of requests fails with an error of its own.
    const falls = (error: RpcError.RpcError): boolean => RpcError.isRpcError(error) && when(error)
    const elsewhere = <I, O, A, R2>(
      call: Call<I, O>,
      error: RpcError.RpcError,
      send: (channel: Channel.Channel, call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R2>
    ): Effect.Effect<A, RpcError.RpcError, R2> =>
      Effect.withFiber((fiber) => {
        const safe = error.isUnsent || call.method.idempotency !== "Unknown"
        const late = call.deadline !== undefined && call.deadline <= Deadline.nowUnsafe(fiber)
        if (channel === undefined || !safe || late) return Effect.fail(error)
        const first = { ...call, attempt: 1, avoid: undefined, resend: undefined }
        return Effect.mapError(send(channel, first), (second) => causedBy(second, error))
      })
    return Channel.make<RpcError.RpcError, R>({
      unary: <I, O>(call: Call<I, O>): Effect.Effect<Reply<O>, RpcError.RpcError, R> =>
        Effect.catchIf(self.unary(call), falls, (error): Effect.Effect<Reply<O>, RpcError.RpcError, R> => {
          const answer = answers.get(call.method.path)
          if (answer === undefined) return elsewhere(call, error, (other, first) => other.unary(first))
          return Effect.map(answer(call.input as never, error), own<O>)
        }),
      stream: <I, O>(
        call: Call<I, O>
      ): Effect.Effect<Replies<O, RpcError.RpcError, R>, RpcError.RpcError, R | Scope.Scope> =>
        Effect.catchIf(self.stream(call), falls, (error) =>
          elsewhere(call, error, (other, first) => other.stream(first))
        )
    })
  }

const own = <O>(message: unknown): Reply<O> => ({
  message: message as O,
  headers: Metadata.empty,
  trailers: Metadata.empty,
  connection: "fallback"
})

const causedBy = (error: RpcError.RpcError, first: RpcError.RpcError): RpcError.RpcError => {
  if (!RpcError.isRpcError(error)) return error
  const progress = furthest(error.progress, !first.isUnsent)
  if (error.cause !== undefined && progress === error.progress) return error
  return RpcError.of(error.method, error.reason, progress, { ...error, cause: error.cause ?? first })
}

/**
 * A fallback as a layer over another layer's channel.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Channel, Client, Fallback } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const Shop = {
 *   price: {
 *     path: "/demo.Shop/Price",
 *     requestStream: false,
 *     responseStream: false,
 *     requestSerialize: (article: string) => Buffer.from(article),
 *     responseDeserialize: (bytes: Buffer) => Number(String(bytes))
 *   }
 * } as const
 * const down = TestChannel.layer({ "/demo.Shop/Price": () => Effect.fail({ _tag: "Unavailable" }) })
 * const layer = Layer.provide(Fallback.layer(Fallback.orElse(Shop, { price: () => Effect.succeed(3) })), down)
 * const program = Channel.Channel.use((channel) => Client.make(Shop, channel).price("tea"))
 * await Effect.runPromise(Effect.provide(program, layer)) // => 3
 * ```
 */
export const layer = (policy: Fallback): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => intercept(policy)(channel))
  )
