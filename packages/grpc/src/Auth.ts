/**
 * Call credentials: a token that goes with every call.
 *
 * A token is fetched once for all calls that need it, kept until it expires, and renewed before. It never goes out in
 * plaintext. A call that gets no token in time fails by itself, unsent.
 */
import { Issues } from "@hawser/core/OptionsError"
import type * as Duration from "effect/Duration"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type Failure, type Flight, type Held, isPrivate, type Source, Tokens, withPrivacy } from "./AuthTokens.ts"
import type { Call } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as Deadline from "./Deadline.ts"
import * as Metadata from "./Metadata.ts"
import * as RpcError from "./RpcError.ts"

const TypeId = "~hawser/Auth"

/** A token that says how long it is good. */
export interface Token {
  readonly token: Redacted.Redacted<string>
  /** From when it was asked for: `expires_in` of OAuth. */
  readonly timeToLive?: Duration.Input | undefined
}

/** How calls are authenticated. `R` is what fetching a token requires. */
export interface Auth<out R = never> extends Source<R> {
  readonly [TypeId]: typeof TypeId
  readonly allowInsecure: boolean
}

/** What `make` takes. */
export interface AuthOptions<E, R> {
  /** Fetches a token. Run again whenever a new one is due. */
  readonly token: Effect.Effect<Redacted.Redacted<string> | Token, E, R>
  /** The metadata key; lower-case text. Default `authorization`. */
  readonly key?: string | undefined
  /** The word before the token; `""` for none. Default `Bearer`. */
  readonly scheme?: string | undefined
  /** How long tokens are good that don't say it. Default: 0, such a token is fetched anew. */
  readonly timeToLive?: Duration.Input | undefined
  /** How long one fetch may take; above 0, at most 24 days. Default 500 ms. */
  readonly timeout?: Duration.Input | undefined
  /** Whether tokens may go out in plaintext, where everybody on the path reads them. Default `false`. */
  readonly allowInsecure?: boolean | undefined
}

const names = ["token", "key", "scheme", "timeToLive", "timeout", "allowInsecure"]

/**
 * Makes a policy; throws an `OptionsError` for options out of bounds.
 *
 * **Details**: a token is renewed in the background when 70 to 90 % of its life are over, and not used in its last second.
 * One that a server answers with `Unauthenticated` is forgotten.
 *
 * ```ts import.meta.vitest
 * import { Effect, Redacted } from "effect"
 * import { Auth } from "@hawser/grpc"
 *
 * const token = Effect.succeed({ token: Redacted.make("s3cret"), timeToLive: "1 hour" } as const)
 * Auth.isAuth(Auth.make({ token })) // => true
 * let message = ""
 * try { Auth.make({ token, key: "Authorization" }) } catch (error) { message = (error as Error).message }
 * message // => 'key: expected a metadata key for text, in lower case, got "Authorization"'
 * ```
 */
export const make = <E, R>(options: AuthOptions<E, R>): Auth<R> => {
  const { allowInsecure = false, key = "authorization", scheme = "Bearer", token } = options
  const timeToLiveMillis = Deadline.millisOf(options.timeToLive ?? 0)
  const timeoutMillis = Deadline.millisOf(options.timeout ?? 500)
  const issues = new Issues()
  // What stands in the place of a token may be one.
  issues.check(Effect.isEffect(token), "token", "an Effect", `a ${typeof token}`)
  const sends = (key: unknown, value: string) =>
    typeof key === "string" && !key.endsWith("-bin") && Metadata.fromEntries([[key, value]]).issues.length === 0
  issues.check(sends(key, "a"), "key", "a metadata key for text, in lower case", key)
  issues.check(typeof scheme === "string" && /^[!-~]*$/.test(scheme), "scheme", "a word, or nothing", scheme)
  issues.check(timeToLiveMillis >= 0, "timeToLive", "a duration", options.timeToLive)
  issues.check(Deadline.isMillis(timeoutMillis), "timeout", Deadline.rule, options.timeout)
  issues.check(typeof allowInsecure === "boolean", "allowInsecure", "true or false", allowInsecure)
  for (const name of Object.keys(options)) {
    issues.check(names.includes(name), name, `one of ${names.join(", ")}`, name)
  }
  issues.throwIfAny()
  return { [TypeId]: TypeId, token, key, scheme, timeToLiveMillis, timeoutMillis, allowInsecure }
}

/** Whether a value is a policy of `make`. */
export const isAuth = (u: unknown): u is Auth<never> => hasProperty(u, TypeId)

/**
 * Middleware that puts a token into each attempt, in the place of what its metadata has under that key.
 *
 * **Details**: without a token the call fails `NotSent`: with `Unauthenticated` where the effect failed, died, or gave
 * what can't be sent; with `Unavailable`, which retry repeats, where it took too long; with `DeadlineExceeded` where the
 * call had no more time. The details never repeat what was thrown; it is the `cause`, redacted. Calls that wait at the same
 * time wait for one fetch, which no interrupt of one of them ends, and which knows nothing of their deadlines.
 *
 * **Gotchas**: belongs below retry, so that a second attempt may have a new token.
 *
 * ```ts import.meta.vitest
 * import { Effect, Redacted } from "effect"
 * import { Auth, Call, Channel } from "@hawser/grpc"
 *
 * const seen: Array<unknown> = []
 * const base = Channel.make({
 *   unary: ({ metadata }) => {
 *     seen.push(metadata?.get("authorization"))
 *     return Effect.die("the end")
 *   }
 * })
 * const channel = base.pipe(Auth.intercept(Auth.make({ token: Effect.sync(() => Redacted.make("s3cret")) })))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * Effect.runSyncExit(channel.unary(call))
 * seen // => ["Bearer s3cret"]
 * ```
 */
export const intercept = <R2>(
  policy: Auth<R2>
): (<E, R>(self: Channel.Channel.With<E, R>) => Channel.Channel.With<E | RpcError.RpcError, R | R2>) => {
  // The channels that this one function wraps share what was fetched.
  const tokens = new Tokens(policy)
  const { allowInsecure, key } = policy
  return <E, R>(self: Channel.Channel.With<E, R>) => {
    const authenticate = <I, O, A>(
      call: Call<I, O>,
      next: (call: Call<I, O>) => Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | RpcError.RpcError, R | R2> =>
      Effect.withFiber((fiber) => {
        const send = (held: Held) =>
          Effect.mapError(next(withToken(call, key, held, allowInsecure)), (error) => {
            const refused = RpcError.isRpcError(error) && error.reason._tag === "Unauthenticated" && !error.isUnsent
            if (refused) tokens.refused(held, Deadline.nowUnsafe(fiber))
            return error
          })
        const now = Deadline.nowUnsafe(fiber)
        const held = tokens.current(fiber, now)
        if (held !== undefined) return send(held)
        return Effect.flatMap(fetched(tokens, tokens.fetch(fiber, now), call, now), send)
      })
    return Channel.intercept(self, authenticate)
  }
}

const withToken = <I, O>(
  call: Call<I, O>,
  key: string,
  { metadata, value }: Held,
  allowInsecure: boolean
): Call<I, O> =>
  withPrivacy(
    {
      ...call,
      metadata: call.metadata === undefined ? metadata : Metadata.set(call.metadata, key, value)
    },
    !allowInsecure
  )

/** Waits for a token, for as long as its fetch and the call may last. */
const fetched = <I, O, R>(
  tokens: Tokens<R>,
  flight: Flight,
  call: Call<I, O>,
  now: number
): Effect.Effect<Held, RpcError.RpcError> => {
  const deadline = call.deadline ?? Infinity
  const late: Effect.Effect<never, Failure | "Late"> = Effect.suspend((): Effect.Effect<never, Failure | "Late"> => {
    if (deadline <= flight.until) return Effect.fail<"Late">("Late")
    tokens.giveUp(flight)
    return Deferred.await(flight.done) as Effect.Effect<never, Failure>
  })
  return Effect.mapError(
    Effect.timeoutOrElse(Deferred.await(flight.done), {
      duration: Math.max(0, Math.min(flight.until, deadline) - now),
      orElse: () => late
    }),
    (failure) => errorOf(call, failure)
  )
}

const errorOf = <I, O>({ attempt, method }: Call<I, O>, failure: Failure | "Late"): RpcError.RpcError => {
  const facts = { attempts: attempt, cause: failure === "Late" ? undefined : failure.cause }
  if (failure === "Late") {
    const details = "Deadline passed while the call waited for a token"
    return RpcError.of(method.path, { _tag: "DeadlineExceeded", details, phase: "Queued", by: "Us" }, "NotSent", facts)
  }
  const { _tag, details } = failure
  const reason =
    _tag === "Unavailable" ? ({ _tag, details, connect: undefined } as const) : ({ _tag, details } as const)
  return RpcError.of(method.path, reason, "NotSent", facts)
}

/**
 * The channel as one that goes out in plaintext: it refuses calls with a token, unless their policy says `allowInsecure`.
 *
 * **When to use**: around a bridge of your own to a network that can be read. Where credentials are `insecure`,
 * `Grpc.layer` does so.
 *
 * ```ts import.meta.vitest
 * import { Effect, Redacted } from "effect"
 * import { Auth, Call, Channel } from "@hawser/grpc"
 *
 * const wire = Channel.make({ unary: () => Effect.die("sent") }).pipe(Auth.plaintext)
 * const channel = wire.pipe(Auth.intercept(Auth.make({ token: Effect.succeed(Redacted.make("s3cret")) })))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const error = Effect.runSync(Effect.flip(channel.unary(call)))
 * error.message // => "/demo.Greeter/SayHello: Unauthenticated Tokens are not sent in plaintext (NotSent)"
 * ```
 */
export const plaintext = <E, R>(self: Channel.Channel.With<E, R>): Channel.Channel.With<E | RpcError.RpcError, R> => {
  const guard = <I, O, A>(
    call: Call<I, O>,
    next: (call: Call<I, O>) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | RpcError.RpcError, R> => {
    if (!isPrivate(call)) return next(call)
    const reason = { _tag: "Unauthenticated", details: "Tokens are not sent in plaintext" } as const
    return Effect.suspend(() =>
      Effect.fail(RpcError.of(call.method.path, reason, "NotSent", { attempts: call.attempt }))
    )
  }
  return Channel.intercept(self, guard)
}

/**
 * Tokens as a layer over another layer's channel. What fetching requires is taken when the layer is built.
 *
 * ```ts import.meta.vitest
 * import { Context, Effect, Layer, Redacted } from "effect"
 * import { Auth, Call, Channel } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * class Vault extends Context.Service<Vault, { readonly read: Effect.Effect<Redacted.Redacted<string>> }>()("app/Vault") {}
 *
 * const server = TestChannel.layer({
 *   "/demo.Greeter/SayHello": (_: string, { metadata }) => Effect.succeed(String(metadata?.get("x-token")))
 * })
 * const token = Effect.flatMap(Vault, ({ read }) => read)
 * const layer = Auth.layer(Auth.make({ token, key: "x-token", scheme: "", timeToLive: "5 minutes" })).pipe(
 *   Layer.provide([server, Layer.succeed(Vault, { read: Effect.succeed(Redacted.make("s3cret")) })])
 * )
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer))
 * const { message } = await Effect.runPromise(program)
 * message // => "s3cret"
 * ```
 */
export const layer = <R>(
  policy: Auth<R>
): Layer.Layer<Channel.Channel, never, Channel.Channel | Exclude<R, Scope.Scope>> =>
  Channel.layerMiddleware((self) => intercept(policy)(self))
