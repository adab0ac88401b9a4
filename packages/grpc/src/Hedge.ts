/**
 * Sends a call that is slow a second time, and takes the answer that comes first.
 *
 * Why: of a hundred calls the slowest is often ten times as slow as the rest, because of one server that pauses, and a
 * second server would have answered long before it. It costs a few calls more, so it is for methods that may be called
 * twice, after a delay that most calls don't need, and within a budget. gRFC A6, with a delay that can be learned.
 *
 * Retry or hedge, never both for one method: a hedge already sends again what failed.
 */
import { Issues } from "@hawser/core/OptionsError"
import * as RetryBudget from "@hawser/core/RetryBudget"
import type { RetryThrottle } from "@hawser/core/RetryThrottle"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Call, Replies } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as Deadline from "./Deadline.ts"
import * as HedgeDelay from "./HedgeDelay.ts"
import { type Rules, run } from "./HedgeRace.ts"
import { withCodes } from "./RetryPolicy.ts"
import * as RpcError from "./RpcError.ts"

const TypeId = "~hawser/Hedge"

/** A hedging policy. */
export interface Hedge {
  readonly [TypeId]: typeof TypeId
  /** Milliseconds, or how they are learned. */
  readonly delay: number | HedgeDelay.Percentile
  /** The first one included; 2 to 5. */
  readonly attempts: number
  /** Errors that leave the other attempts running. */
  readonly nonFatal: (error: RpcError.RpcError) => boolean
  /** `false`: none. `undefined`: one with the defaults, made where the policy is used. */
  readonly budget: RetryBudget.RetryBudget | false | undefined
  readonly throttle: RetryThrottle | undefined
  /** Whether methods that are not declared idempotent are hedged too. */
  readonly resendable: boolean
  /** Whether what no server has looked at is sent again without counting (gRFC A6). */
  readonly transparent: boolean
}

/** A delay that is learned: most calls of a method are answered before it. */
export interface PercentileOptions {
  /** 0.5 to 0.999: the share of calls that are to need no hedge. */
  readonly percentile: number
  /** Default 1 ms. */
  readonly atLeast?: Duration.Input | undefined
  /** Also holds while nothing is known of a method. Default: none; then only failures send a hedge until 20 calls are known. */
  readonly atMost?: Duration.Input | undefined
}

/** What `make` takes. */
export interface HedgeOptions {
  /** The wait before each next attempt: 0 to 24 days, or a percentile of what the method takes. */
  readonly delay: Duration.Input | PercentileOptions
  /** The first one included; 2 to 5. Default 2. */
  readonly attempts?: number | undefined
  /** Errors after which the next attempt is sent at once; any other ends the call. Default: `Unavailable`. */
  readonly nonFatal?: ((error: RpcError.RpcError) => boolean) | undefined
  /** Shared by all calls, and with retries where it is the same value; `false` for none. Default: `RetryBudget.make()`. */
  readonly budget?: RetryBudget.RetryBudget | false | undefined
  /** Stops hedges to a server that fails most calls. Default: none. */
  readonly throttle?: RetryThrottle | undefined
  /** Declares that calls of any method may be sent twice. Default `false`: only those of idempotent methods. */
  readonly resendable?: boolean | undefined
}

/** A `hedgingPolicy` of a service config, as data. */
export interface A6Options {
  /** The first one included; an integer from 2. More than 5 are 5. */
  readonly maxAttempts: number
  /** 0 to 24 days. Default 0: all attempts at once. */
  readonly hedgingDelay?: Duration.Input | undefined
  /** Names in any case, or numbers. Default: none, so that every failure ends the call. */
  readonly nonFatalStatusCodes?: ReadonlyArray<string | number> | undefined
  /** `retryThrottling`. Default: none. */
  readonly throttle?: RetryThrottle | undefined
  /** A brake that gRFC A6 does not know. Default `false`. */
  readonly budget?: RetryBudget.RetryBudget | false | undefined
}

const known: ReadonlyArray<string> = ["delay", "attempts", "nonFatal", "budget", "throttle", "resendable"]
const knownA6: ReadonlyArray<string> = ["maxAttempts", "hedgingDelay", "nonFatalStatusCodes", "throttle", "budget"]
const knownPercentile: ReadonlyArray<string> = ["percentile", "atLeast", "atMost"]

const isUnavailable = (error: RpcError.RpcError): boolean => error.reason._tag === "Unavailable"

/**
 * Makes a policy; throws an `OptionsError` that lists all that is wrong with the options.
 *
 * **Details**: a delay that ends after the deadline is never over, so no hedge is sent by time. What is learned is
 * learned for each method, from the first attempts of hedged calls; 1,000 methods are told apart.
 *
 * ```ts import.meta.vitest
 * import { Hedge } from "@hawser/grpc"
 *
 * Hedge.make({ delay: "50 millis" }).attempts // => 2
 * const learned = Hedge.make({ delay: { percentile: 0.95, atMost: "1 second" }, attempts: 3 })
 * learned.delay // => { percentile: 0.95, atLeastMillis: 1, atMostMillis: 1_000 }
 *
 * let message = ""
 * try { Hedge.make({ delay: "soon" as "1 second", attempts: 9 }) } catch (e) { message = (e as Error).message }
 * message.split("\n").length // => 2
 * ```
 */
export const make = (options: HedgeOptions): Hedge => {
  const { attempts = 2, budget, delay, nonFatal = isUnavailable, resendable = false, throttle } = options
  const issues = new Issues()
  const checked = isPercentile(delay) ? percentileOf(delay, issues) : millisOf(delay, "delay", issues)
  const whole = Number.isInteger(attempts) && attempts >= 2 && attempts <= maxAttempts
  issues.check(whole, "attempts", `an integer from 2 to ${maxAttempts}`, attempts)
  issues.check(typeof nonFatal === "function", "nonFatal", "a function", nonFatal)
  issues.check(typeof resendable === "boolean", "resendable", "true or false", resendable)
  checkBrakes(budget, throttle, issues)
  checkKeys(options, known, "", issues)
  issues.throwIfAny()
  return { [TypeId]: TypeId, delay: checked, attempts, nonFatal, budget, throttle, resendable, transparent: false }
}

const maxAttempts = 5

const isPercentile = (delay: unknown): delay is PercentileOptions => hasProperty(delay, "percentile")

const percentileOf = (delay: PercentileOptions, issues: Issues): HedgeDelay.Percentile => {
  const { atLeast = 1, atMost, percentile } = delay
  const inside = typeof percentile === "number" && percentile >= 0.5 && percentile <= 0.999
  issues.check(inside, "delay.percentile", "a number from 0.5 to 0.999", percentile)
  const atLeastMillis = millisOf(atLeast, "delay.atLeast", issues)
  const atMostMillis = atMost === undefined ? undefined : millisOf(atMost, "delay.atMost", issues)
  const inOrder = atMostMillis === undefined || !(atMostMillis < atLeastMillis)
  issues.check(inOrder, "delay.atMost", "no less than atLeast", atMost)
  checkKeys(delay, knownPercentile, "delay.", issues)
  return { percentile, atLeastMillis, atMostMillis }
}

const millisOf = (input: unknown, path: string, issues: Issues): number => {
  const millis = Deadline.millisOf(input)
  issues.check(millis >= 0 && millis <= Deadline.maxMillis, path, "a duration from 0 to 24 days", input)
  return millis
}

const checkBrakes = (budget: unknown, throttle: unknown, issues: Issues): void => {
  issues.check(!budget || hasProperty(budget, "withdraw"), "budget", "a RetryBudget, or false", budget)
  issues.check(throttle === undefined || hasProperty(throttle, "allows"), "throttle", "a RetryThrottle", throttle)
}

const checkKeys = (options: object, keys: ReadonlyArray<string>, path: string, issues: Issues): void => {
  for (const key of Object.keys(options)) {
    issues.check(keys.includes(key), `${path}${key}`, `one of ${keys.join(", ")}`, key)
  }
}

/**
 * Makes a policy of a service config's `hedgingPolicy`, by the rules of gRFC A6; throws an `OptionsError` likewise.
 *
 * **Details**: naming a method there declares that it may be sent twice, so any method is hedged. What the client decides
 * itself (its queue, its limits, its deadline) is fatal whatever its code. What no server has looked at is sent again
 * without counting as an attempt or a failure, as `Retry.a6` does it: once for each call where it was refused, and until
 * the deadline where it never left this process.
 *
 * ```ts import.meta.vitest
 * import { Hedge, RpcError } from "@hawser/grpc"
 *
 * const policy = Hedge.a6({ maxAttempts: 9, hedgingDelay: "500 millis", nonFatalStatusCodes: ["unavailable", 10] })
 * policy.attempts // => 5
 * policy.nonFatal(RpcError.of("/demo.Shop/Buy", { _tag: "Aborted", details: "" }, "Answered")) // => true
 * policy.nonFatal(RpcError.of("/demo.Shop/Buy", { _tag: "Internal", details: "" }, "Answered")) // => false
 * ```
 */
export const a6 = (options: A6Options): Hedge => {
  const { budget = false, hedgingDelay = 0, maxAttempts: attempts, nonFatalStatusCodes = [], throttle } = options
  const issues = new Issues()
  issues.check(Number.isInteger(attempts) && attempts >= 2, "maxAttempts", "an integer of 2 or more", attempts)
  const delay = millisOf(hedgingDelay, "hedgingDelay", issues)
  const nonFatal = withCodes(codesOf(nonFatalStatusCodes, issues))
  checkBrakes(budget, throttle, issues)
  checkKeys(options, knownA6, "", issues)
  issues.throwIfAny()
  return {
    [TypeId]: TypeId,
    delay,
    attempts: Math.min(attempts, maxAttempts),
    nonFatal,
    budget,
    throttle,
    resendable: true,
    transparent: true
  }
}

const codesOf = (codes: unknown, issues: Issues): ReadonlySet<number> => {
  const path = "nonFatalStatusCodes"
  issues.check(Array.isArray(codes), path, "a list of status codes", codes)
  const found = (Array.isArray(codes) ? codes : []).map((said: unknown, i) => {
    const code = typeof said === "string" ? RpcError.statusNames.indexOf(said.toUpperCase()) : said
    const exists = typeof code === "number" && RpcError.tagOf(code) !== undefined
    issues.check(exists, `${path}[${i}]`, 'a status other than OK, such as "UNAVAILABLE" or 14', said)
    return code as number
  })
  return new Set(found)
}

/**
 * Whether a value is a hedging policy. What only looks like one is none: `make` has checked no bound of it.
 *
 * ```ts import.meta.vitest
 * import { Hedge } from "@hawser/grpc"
 *
 * Hedge.isHedge(Hedge.make({ delay: "50 millis" })) // => true
 * Hedge.isHedge({ delay: 50, attempts: 2 }) // => false
 * ```
 */
export const isHedge = (u: unknown): u is Hedge => hasProperty(u, TypeId)

/**
 * Whether calls of a method are hedged.
 *
 * **Details**: those with one request that may be sent twice. Their answers may be many: then the headers decide who has
 * won. A stream of requests can't be run for two servers at once.
 *
 * ```ts import.meta.vitest
 * import { Hedge } from "@hawser/grpc"
 *
 * const policy = Hedge.make({ delay: "50 millis" })
 * Hedge.isHedged(policy, { kind: "unary", idempotency: "NoSideEffects" }) // => true
 * Hedge.isHedged(policy, { kind: "unary", idempotency: "Unknown" }) // => false
 * Hedge.isHedged(policy, { kind: "bidiStreaming", idempotency: "NoSideEffects" }) // => false
 * ```
 */
export const isHedged = (
  policy: Hedge,
  { idempotency, kind }: Pick<Call<never, unknown>["method"], "kind" | "idempotency">
): boolean => (kind === "unary" || kind === "serverStreaming") && (policy.resendable || idempotency !== "Unknown")

/**
 * Middleware that hedges. Calls that are not hedged pass through untouched.
 *
 * **Details**: the first attempt goes out at once, the next one after the delay, and so on. An attempt that fails with a
 * non-fatal error sends the next one at once, and the delay begins anew. The first success, or fatal error, ends the
 * call, and the other attempts are interrupted, which cancels them at their servers and counts neither for nor against
 * them. Response headers of a stream decide as much: the attempt that has them is the call from then on, however it ends,
 * and the others are cancelled. With `a6` those of a call with one answer do, too (gRFC A6). A status that comes without
 * headers decides nothing by itself. A server's `grpc-retry-pushback-ms` moves the next attempt; a negative or unreadable one
 * forbids it. Each attempt avoids the endpoints of the others. If all fail, the last error is the call's, with `attempts`.
 *
 * **Gotchas**: below call metrics and the deadline, above whatever is to see attempts; in the place of retry.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, Hedge, Metadata } from "@hawser/grpc"
 *
 * // The first server never answers.
 * const channel = Channel.make({
 *   unary: ({ attempt, input, method }) =>
 *     attempt === 1
 *       ? Effect.never
 *       : Effect.succeed({
 *           message: method.decode(method.encode(input)),
 *           headers: Metadata.empty,
 *           trailers: Metadata.empty,
 *           connection: `b#${attempt}`
 *         })
 * })
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Idempotent", ...codec }, "ada")
 * const hedged = channel.pipe(Hedge.intercept(Hedge.make({ delay: "5 millis" })))
 * const { connection, message } = await Effect.runPromise(hedged.unary(call))
 * message // => "ada"
 * connection // => "b#2"
 * ```
 */
export const intercept =
  (policy: Hedge) =>
  <R>(self: Channel.Channel.With<RpcError.RpcError, R>): Channel.Channel.With<RpcError.RpcError, R> => {
    const { attempts, nonFatal, throttle, transparent } = policy
    const budget = policy.budget === undefined ? RetryBudget.make() : policy.budget || undefined
    const delay = HedgeDelay.make(policy.delay)
    const rules: Rules = { attempts, nonFatal, throttle, transparent, budget, delay, commits: true }
    // Of one answer nothing is handed on before it is whole.
    const single: Rules = { ...rules, commits: transparent }
    return Channel.make<RpcError.RpcError, R>({
      unary: (call) => {
        if (!isHedged(policy, call.method)) return self.unary(call)
        const raced = run(single, call, { send: (one) => self.unary(one), undo: undefined })
        if (throttle === undefined) return raced
        return Effect.tap(raced, () => Effect.sync(() => throttle.succeeded()))
      },
      stream: (call) => {
        if (!isHedged(policy, call.method)) return self.stream(call)
        return Effect.flatMap(Effect.scope, (scope) =>
          Effect.map(run(rules, call, { send: (one) => opened(scope, self.stream(one)), undo }), ({ replies }) =>
            counted(policy, replies)
          )
        )
      }
    })
  }

/** A stream in a scope of its own: that of a loser closes, that of the winner with the caller's. */
interface Opened<O, R> {
  readonly replies: Replies<O, RpcError.RpcError, R>
  readonly scope: Scope.Closeable
}

const undo = ({ scope }: Opened<unknown, unknown>): Effect.Effect<void> => Scope.close(scope, Exit.void)

const opened = <O, R>(
  outer: Scope.Scope,
  opening: Effect.Effect<Replies<O, RpcError.RpcError, R>, RpcError.RpcError, R | Scope.Scope>
): Effect.Effect<Opened<O, R>, RpcError.RpcError, Exclude<R, Scope.Scope>> =>
  Effect.suspend(() => {
    const scope = Scope.forkUnsafe(outer)
    return Effect.onExit(
      Effect.map(Effect.interruptible(Scope.provide(opening, scope)), (replies) => ({ replies, scope })),
      (exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void)
    )
  })

/** A stream has succeeded with its last message, not with its headers. */
const counted = <O, R>(
  { nonFatal, throttle }: Hedge,
  replies: Replies<O, RpcError.RpcError, R>
): Replies<O, RpcError.RpcError, R> => {
  if (throttle === undefined) return replies
  const end = (exit: Exit.Exit<unknown, unknown>): undefined => {
    if (Exit.isSuccess(exit)) return void throttle.succeeded()
    const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error as RpcError.RpcError | undefined
    if (error?._tag === "RpcError" && nonFatal(error)) throttle.failed()
  }
  const messages = Stream.transformPull(replies.messages, (pull) =>
    Effect.succeed(
      Effect.onExitPrimitive(pull, (exit) =>
        exit._tag === "Failure" ? end(Pull.doneExitFromCause(exit.cause)) : undefined
      )
    )
  )
  return { ...replies, messages }
}

/**
 * Hedging as a layer over another layer's channel.
 *
 * **When to use**: over `Grpc.layerBare`, over a `Grpc.layer` with `retry: false`, or over the channel of a test.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Call, Channel, Hedge } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const slow = TestChannel.layer({
 *   "/demo.Greeter/SayHello": (name: string, { attempt }) =>
 *     attempt === 1 ? Effect.never : Effect.succeed(`hello ${name}`)
 * })
 * const layer = Layer.provide(Hedge.layer(Hedge.make({ delay: "5 millis" })), slow)
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Idempotent", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer))
 * const { message } = await Effect.runPromise(program)
 * message // => "hello ada"
 * ```
 */
export const layer = (policy: Hedge): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => intercept(policy)(channel))
  )
