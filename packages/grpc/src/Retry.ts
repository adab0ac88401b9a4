/**
 * Sends a call again where that is safe, worth it and affordable.
 *
 * Safe: it is proved that no server acted on it (`NotSent`, `Refused`), or the method is idempotent or declared to be
 * resendable; and no response headers have come. Worth it: the error is of a passing kind, there are attempts left, and the backoff ends before the deadline.
 * Affordable: the budget, which all calls share, has one to spend, and the throttle of the server allows it. A call that
 * succeeds pays for none of this: the schedule starts after the first failure.
 */
import * as Backoff from "@hawser/core/Backoff"
import { Issues } from "@hawser/core/OptionsError"
import * as RetryBudget from "@hawser/core/RetryBudget"
import type { RetryThrottle } from "@hawser/core/RetryThrottle"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Call } from "./Call.ts"
import * as Channel from "./Channel.ts"
import { isMillis, millisOf } from "./Deadline.ts"
import * as Attempt from "./RetryAttempt.ts"
import * as RetryGauge from "./RetryGauge.ts"
import { again } from "./RetryLoop.ts"
import { isWatched, RetryPlan } from "./RetryPlan.ts"
import * as Policy from "./RetryPolicy.ts"
import { TypeId } from "./RetryPolicy.ts"
import * as RpcError from "./RpcError.ts"

export type { Retry, RetryByMethod, RetryPolicy } from "./RetryPolicy.ts"

/** What `make` takes. */
export interface RetryOptions {
  /**
   * The first one included; 2 to 100, and `retry: false` for one. `"unlimited"`: until the deadline; a call that has none
   * gets 5. Default 3 (gRFC A6); 5 where there is a `schedule`.
   */
  readonly maxAttempts?: number | "unlimited" | undefined
  /** The waits between attempts. Default 100 ms × 2, up to 1 s, ±20 % (gRFC A6). It starts with the first failure. */
  readonly schedule?: Schedule.Schedule<unknown, RpcError.RpcError> | undefined
  /** Which errors pass. Default: `Unavailable`. */
  readonly retryable?: ((error: RpcError.RpcError) => boolean) | undefined
  /**
   * How long one attempt may take, from its place in the queue to its answer, or to the headers where there are many
   * answers; above 0, at most 24 days. One that takes longer is given up, and sent again where that is safe and its
   * headers have not come. Default: the
   * time that the call has left.
   */
  readonly perAttempt?: Duration.Input | undefined
  /** Shared by all calls; `false` for none. Default: 20 % of the calls and 10 per second (`RetryBudget.make()`). */
  readonly budget?: RetryBudget.RetryBudget | false | undefined
  /** Stops retries to a server that fails most calls (gRFC A6). Default: none. */
  readonly throttle?: RetryThrottle | undefined
  /**
   * Declares that calls may be sent again though the server may have acted on them, as naming a method in the
   * `retryPolicy` of a service config does. Default `false`: only idempotent methods.
   */
  readonly resendable?: boolean | undefined
}

/** What `a6` takes: a `retryPolicy` of a service config, and what belongs to the client. */
export interface A6Options {
  /** The first one included; an integer from 2 on. What is above `maxAttemptsCap` counts as that. */
  readonly maxAttempts: number
  /** 2 to 100. Default 5. */
  readonly maxAttemptsCap?: number | undefined
  /** Before the first retry; above 0, at most 24 days. */
  readonly initialBackoff: Duration.Input
  /** Above 0, at most 24 days; may be less than `initialBackoff`. */
  readonly maxBackoff: Duration.Input
  /** Above 0. */
  readonly backoffMultiplier: number
  /** Not empty; names in any case (`"unavailable"`), or numbers (14). */
  readonly retryableStatusCodes: ReadonlyArray<string | number>
  /** Shared by all methods of one server name. Default: none. */
  readonly throttle?: RetryThrottle | undefined
  /** Default `false`: gRFC A6 has none. */
  readonly budget?: RetryBudget.RetryBudget | false | undefined
}

const mostAttempts = 100
const given = 5

/**
 * The default of `retryable`: no connection, a lost one, a refused call.
 *
 * **When to use**: to widen the default instead of replacing it.
 *
 * ```ts import.meta.vitest
 * import { Retry, RpcError } from "@hawser/grpc"
 *
 * const policy = Retry.make({ retryable: (error) => Retry.isUnavailable(error) || error.reason._tag === "Aborted" })
 * const aborted = RpcError.of("/demo.Shop/Buy", { _tag: "Aborted", details: "" }, "Answered")
 * Retry.isUnavailable(aborted) // => false
 * policy.retryable(aborted) // => true
 * ```
 */
export const isUnavailable = (error: RpcError.RpcError): boolean => error.reason._tag === "Unavailable"

/**
 * Makes a policy; throws an `OptionsError` for options out of bounds.
 *
 * **Details**: every retry takes one step of the schedule. The first one goes out at once, without the wait, where the
 * call was never sent, was refused, or its path was given up: another endpoint may answer now. A server's
 * `grpc-retry-pushback-ms` replaces the wait and starts the schedule afresh; a negative or unreadable one forbids the
 * retry. A wait that would pass the deadline is not begun. A stream that has failed after its response headers is not sent
 * again, whatever its error and its method: the headers commit the call to that attempt. A call with one request and one answer
 * is: nothing was handed on, and a server that is killed between headers and answer costs nobody a call. gRFC A6 commits that
 * one, too, and so does `a6`.
 *
 * **Gotchas**: `Grpc.layer` refuses `"unlimited"` where calls have no deadline by default.
 *
 * ```ts import.meta.vitest
 * import { Schedule } from "effect"
 * import { Retry } from "@hawser/grpc"
 *
 * Retry.make().maxAttempts // => 3
 * const patient = Retry.make({ schedule: Schedule.spaced("1 second"), maxAttempts: "unlimited", perAttempt: "2 seconds" })
 * patient.perAttemptMillis // => 2_000
 * ```
 */
export const make = (options: RetryOptions = {}): Policy.RetryPolicy => {
  const { schedule, retryable, budget, throttle, perAttempt, resendable = false } = options
  const { maxAttempts = schedule === undefined ? 3 : given } = options
  const issues = new Issues()
  const whole = maxAttempts === "unlimited" || between(maxAttempts, 2, mostAttempts)
  issues.check(whole, "maxAttempts", `an integer from 2 to ${mostAttempts}, or "unlimited"`, maxAttempts)
  issues.check(schedule === undefined || Schedule.isSchedule(schedule), "schedule", "a Schedule", schedule)
  issues.check(retryable === undefined || typeof retryable === "function", "retryable", "a function", retryable)
  const perAttemptMillis = perAttempt === undefined ? undefined : duration(issues, "perAttempt", perAttempt)
  shared(issues, budget, throttle)
  issues.check(typeof resendable === "boolean", "resendable", "true or false", resendable)
  unknown(issues, options, known)
  issues.throwIfAny()
  return {
    [TypeId]: TypeId,
    maxAttempts,
    schedule: schedule ?? Backoff.retry,
    retryable: retryable ?? isUnavailable,
    budget,
    throttle,
    perAttemptMillis,
    resendable,
    transparent: false
  }
}

const known = ["maxAttempts", "schedule", "retryable", "perAttempt", "budget", "throttle", "resendable"]

const between = (n: unknown, min: number, max: number): boolean =>
  Number.isInteger(n) && (n as number) >= min && (n as number) <= max

const duration = (issues: Issues, path: string, input: unknown): number => {
  const millis = millisOf(input)
  issues.check(isMillis(millis), path, "a duration above 0, at most 24 days", input)
  return millis
}

const shared = (issues: Issues, budget: unknown, throttle: unknown): void => {
  const none = budget === undefined || budget === false
  issues.check(none || hasProperty(budget, "withdraw"), "budget", "a RetryBudget, or false", budget)
  issues.check(throttle === undefined || hasProperty(throttle, "allows"), "throttle", "a RetryThrottle", throttle)
}

const unknown = (issues: Issues, options: object, keys: ReadonlyArray<string>): void => {
  for (const key of Object.keys(options)) issues.check(keys.includes(key), key, `one of ${keys.join(", ")}`, key)
}

/**
 * The retry policy of gRFC A6, as a service config states it; throws an `OptionsError` for what A6 does not allow.
 *
 * **Details**: naming a method in such a policy declares that it may be sent again, idempotent or not. The wait before
 * retry n is `min(initialBackoff × backoffMultiplier^(n−1), maxBackoff)` ±20 %, or what the server asks for by
 * `grpc-retry-pushback-ms`. What no server has looked at is sent again without counting as an attempt and without a
 * token: once where it was refused (REFUSED_STREAM, or above a GOAWAY's last id), and until the deadline where it never
 * left this process. A call is committed by its response headers, one with one answer as much as a stream; a status
 * that comes alone is no commitment. Requests are not buffered: that of a call with one is at hand, and a stream of
 * requests is run anew, so that none is committed for the size of a buffer.
 *
 * **Gotchas**: as in A6 there is no budget, only the throttle; `budget` adds one.
 *
 * ```ts import.meta.vitest
 * import { RetryThrottle } from "@hawser/core"
 * import { Retry, RpcError } from "@hawser/grpc"
 *
 * const policy = Retry.a6({
 *   maxAttempts: 9,
 *   initialBackoff: "100 millis",
 *   maxBackoff: "1 second",
 *   backoffMultiplier: 2,
 *   retryableStatusCodes: ["unavailable", 10],
 *   throttle: RetryThrottle.make({ maxTokens: 10, tokenRatio: 0.1 })
 * })
 * policy.maxAttempts // => 5
 * policy.retryable(RpcError.of("/demo.Shop/Buy", { _tag: "Aborted", details: "" }, "Answered")) // => true
 * ```
 */
export const a6 = (options: A6Options): Policy.RetryPolicy => {
  const { backoffMultiplier, budget = false, maxAttempts, maxAttemptsCap = 5, throttle } = options
  const issues = new Issues()
  issues.check(between(maxAttempts, 2, Infinity), "maxAttempts", "an integer from 2 on", maxAttempts)
  const cap = between(maxAttemptsCap, 2, mostAttempts)
  issues.check(cap, "maxAttemptsCap", `an integer from 2 to ${mostAttempts}`, maxAttemptsCap)
  const initial = duration(issues, "initialBackoff", options.initialBackoff)
  const max = duration(issues, "maxBackoff", options.maxBackoff)
  const positive = Number.isFinite(backoffMultiplier) && backoffMultiplier > 0
  issues.check(positive, "backoffMultiplier", "a number above 0", backoffMultiplier)
  const codes = codesOf(issues, options.retryableStatusCodes)
  shared(issues, budget, throttle)
  unknown(issues, options, knownA6)
  issues.throwIfAny()
  return {
    [TypeId]: TypeId,
    maxAttempts: Math.min(maxAttempts, maxAttemptsCap),
    schedule: Backoff.capped(initial, backoffMultiplier, max),
    retryable: Policy.withCodes(codes),
    budget,
    throttle,
    perAttemptMillis: undefined,
    resendable: true,
    transparent: true
  }
}

const knownA6 = [
  "maxAttempts",
  "maxAttemptsCap",
  "initialBackoff",
  "maxBackoff",
  "backoffMultiplier",
  "retryableStatusCodes",
  "throttle",
  "budget"
]

const codesOf = (issues: Issues, codes: unknown): ReadonlySet<number> => {
  const list: ReadonlyArray<unknown> = Array.isArray(codes) ? codes : []
  issues.check(list.length > 0, "retryableStatusCodes", "a list of status codes, not empty", codes)
  return new Set(
    list.map((said, i) => {
      const code = typeof said === "string" ? RpcError.statusNames.indexOf(said.toUpperCase()) : said
      const rule = "the name or the number of a status other than OK"
      issues.check(between(code, 1, 16), `retryableStatusCodes[${i}]`, rule, said)
      return code as number
    })
  )
}

/**
 * A policy for each method.
 *
 * **Details**: `select` gets the full path, `/package.Service/Method`; `false` is no retry, `undefined` is `otherwise`.
 * Policies that name no budget share one. Throws an `OptionsError` where `otherwise` is no policy.
 *
 * ```ts import.meta.vitest
 * import { Retry } from "@hawser/grpc"
 *
 * const orders = Retry.make({ maxAttempts: 2, perAttempt: "500 millis" })
 * const retry = Retry.byMethod(
 *   (path) => path === "/demo.Shop/Buy" ? false : path.startsWith("/demo.Shop/") ? orders : undefined,
 *   Retry.make()
 * )
 * Retry.isRetry(retry) // => true
 * ```
 */
export const byMethod = (
  select: (path: string) => Policy.Retry | false | undefined,
  otherwise: Policy.Retry | false
): Policy.RetryByMethod => {
  const issues = new Issues()
  issues.check(typeof select === "function", "select", "a function", select)
  issues.check(otherwise === false || isRetry(otherwise), "otherwise", "Retry.make({ … }) or false", otherwise)
  issues.throwIfAny()
  return { [TypeId]: TypeId, select, otherwise, budget: undefined }
}

/**
 * Whether a value is a retry policy. What only looks like one is none: `make` has checked no bound of it.
 *
 * ```ts import.meta.vitest
 * import { Retry } from "@hawser/grpc"
 *
 * Retry.isRetry(Retry.make({ maxAttempts: 5 })) // => true
 * Retry.isRetry({ maxAttempts: 5 }) // => false
 * ```
 */
export const isRetry = (u: unknown): u is Policy.Retry => hasProperty(u, TypeId)

/**
 * Whether a policy has no limit but the deadline, and so needs one.
 *
 * **Details**: of a policy by method, `otherwise` is asked. Where a call has no deadline, 5 attempts are the limit.
 *
 * ```ts import.meta.vitest
 * import { Retry } from "@hawser/grpc"
 *
 * Retry.isUnlimited(Retry.make({ maxAttempts: "unlimited" })) // => true
 * Retry.isUnlimited(Retry.make()) // => false
 * ```
 */
export const isUnlimited = (retry: Policy.Retry): boolean =>
  "select" in retry ? retry.otherwise !== false && isUnlimited(retry.otherwise) : retry.maxAttempts === "unlimited"

/**
 * Middleware that retries.
 *
 * **Details**: each attempt is told its number and the endpoints that failed (`call.attempt`, `call.avoid`), and when to
 * let itself be sent again (`call.resend`). The last error carries `attempts`; where the budget was empty, the
 * throttle closed or the attempt's own time up, its details say so.
 *
 * **Gotchas**: below call metrics and the deadline, above whatever is to see attempts. Retry or hedge, never both.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, Metadata, Retry, RpcError } from "@hawser/grpc"
 *
 * const attempts: Array<number> = []
 * const flaky = Channel.make({
 *   unary: ({ attempt, input, method }) => {
 *     attempts.push(attempt)
 *     const message = method.decode(method.encode(input))
 *     return attempt === 1
 *       ? Effect.fail(RpcError.of(method.path, { _tag: "Unavailable", details: "", connect: undefined }, "NotSent"))
 *       : Effect.succeed({ message, headers: Metadata.empty, trailers: Metadata.empty, connection: "b#1" })
 *   }
 * })
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const answer = flaky.pipe(Retry.intercept(Retry.make())).unary(call)
 * Effect.runSync(answer).message // => "ada"
 * attempts // => [1, 2]
 * ```
 */
export const intercept =
  (retry: Policy.Retry) =>
  <R>(self: Channel.Channel.With<RpcError.RpcError, R>): Channel.Channel.With<RpcError.RpcError, R> => {
    const plan = new RetryPlan(retry)
    const attempt = <I, O, A>(
      call: Call<I, O>,
      next: (call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R>
    ): Effect.Effect<A, RpcError.RpcError, R> =>
      Effect.withFiber((fiber) => {
        const policy = plan.of(call.method.path)
        if (policy === undefined) return next(call)
        const clock = fiber.getRef(Clock.Clock)
        const budget = plan.begin(policy, clock, monotonicMillis(clock))
        const first = { ...call, resend: plan.resend }
        if (isWatched(policy)) return watched(policy, budget, clock, first, next)
        return Effect.catch(next(first), (error) => again(policy, budget, clock, first, 0, next, error))
      })
    return Channel.intercept(self, attempt)
  }

/** With what only some policies need. */
const watched = <I, O, A, R>(
  policy: Policy.RetryPolicy,
  budget: RetryBudget.RetryBudget | undefined,
  clock: Clock.Clock,
  first: Call<I, O>,
  next: (call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R>
): Effect.Effect<A, RpcError.RpcError, R> => {
  const now = monotonicMillis(clock)
  return Effect.catch(Attempt.run(policy, first, now, true, next), (error) =>
    again(policy, budget, clock, first, now, next, error)
  )
}

/**
 * The policy with its budget shown as the gauge `hawser.retry.budget.balance`, with the attribute `target`, until the
 * scope closes. Use what it returns: where no budget was named, that has one.
 *
 * **Details**: read when it is scraped. Of a policy by method, the budget that its policies share is shown.
 *
 * ```ts import.meta.vitest
 * import { Effect, Metric } from "effect"
 * import { Retry } from "@hawser/grpc"
 *
 * const program = Effect.gen(function*() {
 *   yield* Retry.gauged(Retry.make(), "dns:///greeter:50051")
 *   const [gauge] = yield* Metric.snapshot
 *   return gauge?.type === "Gauge" ? gauge.state.value : undefined
 * })
 * const isolated = Effect.provideService(Effect.scoped(program), Metric.MetricRegistry, new Map())
 * Effect.runSync(isolated) // => 100
 * ```
 */
export const gauged = <P extends Policy.Retry>(retry: P, target: string): Effect.Effect<P, never, Scope.Scope> =>
  Effect.suspend(() => {
    const budget = retry.budget ?? RetryBudget.make()
    return budget === false
      ? Effect.succeed(retry)
      : Effect.as(RetryGauge.register(target, budget), { ...retry, budget })
  })

/**
 * Retries as a layer over another layer's channel.
 *
 * **When to use**: over `Grpc.layerBare`, over a `Grpc.layer` with `retry: false`, or over the channel of a test; in
 * the `retry` slot of `Grpc.layer` otherwise.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer, Schedule } from "effect"
 * import { Call, Channel, Retry } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const flaky = TestChannel.layer({
 *   "/demo.Greeter/SayHello": (name: string, { attempt }) =>
 *     attempt < 3 ? Effect.fail({ _tag: "Unavailable" }) : Effect.succeed(`hello ${name}`)
 * })
 * const layer = Layer.provide(Retry.layer(Retry.make({ schedule: Schedule.recurs(4) })), flaky)
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Idempotent", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer))
 * const { message } = await Effect.runPromise(program)
 * message // => "hello ada"
 * ```
 */
export const layer = (retry: Policy.Retry = make()): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => intercept(retry)(channel))
  )
