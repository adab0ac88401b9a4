/**
 * Sends a call again where that is safe, worth it and affordable.
 *
 * Safe: it is proved that no server acted on it (`NotSent`, `Refused`), or the method is idempotent. Worth it: the error
 * is of a passing kind, there are attempts left, and the backoff ends before the deadline. Affordable: the budget, which
 * all calls share, has one to spend. A call that succeeds pays for none of this: the schedule starts after the first
 * failure.
 */
import * as Backoff from "@hawser/core/Backoff"
import { Issues } from "@hawser/core/OptionsError"
import * as RetryBudget from "@hawser/core/RetryBudget"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import type * as Pull from "effect/Pull"
import { isDoneCause } from "effect/Pull"
import * as Schedule from "effect/Schedule"
import type { Call } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as RpcError from "./RpcError.ts"
import * as Status from "./Status.ts"

const TypeId = "~hawser/Retry"

/** A retry policy. */
export interface Retry {
  readonly [TypeId]: typeof TypeId
  /** The first one included; 2 to 100. */
  readonly attempts: number
  /** The waits between attempts. */
  readonly schedule: Schedule.Schedule<unknown, RpcError.RpcError>
  /** Asked only about errors that are safe to repeat. */
  readonly retryable: (error: RpcError.RpcError) => boolean
  /** `false`: none. `undefined`: one with the defaults, made where the policy is used. */
  readonly budget: RetryBudget.RetryBudget | false | undefined
}

/** What `make` takes. */
export interface RetryOptions {
  /**
   * The first one included; 2 to 100, and `retry: false` for one. Default 3 (gRFC A6); where there is a `schedule`, as
   * many as that has, and 100 at most.
   */
  readonly attempts?: number | undefined
  /** The waits between attempts. Default 100 ms × 2, up to 1 s, ±20 % (gRFC A6). It starts with the first failure. */
  readonly schedule?: Schedule.Schedule<unknown, RpcError.RpcError> | undefined
  /** Which errors pass. Default: `Unavailable`. Only those that are safe to repeat are asked about. */
  readonly retryable?: ((error: RpcError.RpcError) => boolean) | undefined
  /** Shared by all calls; `false` for none. Default: 20 % of the calls and 10 per second (`RetryBudget.make()`). */
  readonly budget?: RetryBudget.RetryBudget | false | undefined
}

const maxAttempts = 100

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
 * retry. A wait that would pass the deadline is not begun.
 *
 * ```ts import.meta.vitest
 * import { Schedule } from "effect"
 * import { Retry } from "@hawser/grpc"
 *
 * Retry.make().attempts // => 3
 * const patient = Retry.make({ schedule: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 5 })), budget: false })
 * patient.attempts // => 100
 * ```
 */
export const make = (options: RetryOptions = {}): Retry => {
  const { schedule, retryable, budget } = options
  const { attempts = schedule === undefined ? 3 : maxAttempts } = options
  const issues = new Issues()
  const whole = Number.isInteger(attempts) && attempts >= 2 && attempts <= maxAttempts
  issues.check(whole, "attempts", `an integer from 2 to ${maxAttempts}`, attempts)
  issues.check(schedule === undefined || Schedule.isSchedule(schedule), "schedule", "a Schedule", schedule)
  issues.check(retryable === undefined || typeof retryable === "function", "retryable", "a function", retryable)
  issues.check(!budget || hasProperty(budget, "withdraw"), "budget", "a RetryBudget, or false", budget)
  for (const key of Object.keys(options)) {
    issues.check(known.has(key), key, "one of attempts, schedule, retryable, budget", key)
  }
  issues.throwIfAny()
  return {
    [TypeId]: TypeId,
    attempts,
    schedule: schedule ?? Backoff.retry,
    retryable: retryable ?? isUnavailable,
    budget
  }
}

const known: ReadonlySet<string> = new Set(["attempts", "schedule", "retryable", "budget"])

/**
 * Whether a value is a retry policy. What only looks like one is none: `make` has checked no bound of it.
 *
 * ```ts import.meta.vitest
 * import { Retry } from "@hawser/grpc"
 *
 * Retry.isRetry(Retry.make({ attempts: 5 })) // => true
 * Retry.isRetry({ attempts: 5 }) // => false
 * ```
 */
export const isRetry = (u: unknown): u is Retry => hasProperty(u, TypeId)

/** Whether the call may be sent again after this error, time and budget aside. */
const repeats = <I, O>(policy: Retry, call: Call<I, O>, error: RpcError.RpcError): boolean =>
  (error.isUnsent || call.method.idempotency !== "Unknown") && policy.retryable(error)

/**
 * Middleware that retries.
 *
 * **Details**: each attempt is told its number and the endpoints that failed (`call.attempt`, `call.avoid`), and when to
 * let itself be sent again (`call.resend`). The last error carries `attempts`; where the budget was empty, its details
 * say so.
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
  (policy: Retry) =>
  <R>(self: Channel.Channel.With<RpcError.RpcError, R>): Channel.Channel.With<RpcError.RpcError, R> => {
    const budget =
      policy.budget === undefined ? RetryBudget.make() : policy.budget === false ? undefined : policy.budget
    // The clock of the last call: `resend` is asked from outside any fiber.
    let clock: Clock.Clock | undefined
    const resend = <I, O>(call: Call<I, O>): boolean => {
      if (clock === undefined || call.attempt >= policy.attempts) return false
      const now = monotonicMillis(clock)
      const { deadline, method } = call
      if (deadline !== undefined && deadline <= now) return false
      if (budget !== undefined && budget.balance(now) < 1) return false
      return repeats(policy, call, RpcError.of(method.path, givenUp, "MaybeProcessed", { attempts: call.attempt }))
    }
    const attempt = <I, O, A>(
      call: Call<I, O>,
      next: (call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R>
    ): Effect.Effect<A, RpcError.RpcError, R> =>
      Effect.withFiber((fiber) => {
        const now = (clock = fiber.getRef(Clock.Clock))
        budget?.deposit(monotonicMillis(now))
        const first = { ...call, resend }
        return Effect.catch(next(first), (error) => again(policy, budget, now, first, next, error))
      })
    return Channel.intercept(self, attempt)
  }

const givenUp: RpcError.RpcReason = { _tag: "Unavailable", details: Status.pathGivenUp, connect: undefined }

type Step = (now: number, error: RpcError.RpcError) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

const again = Effect.fnUntraced(function* <I, O, A, R>(
  policy: Retry,
  budget: RetryBudget.RetryBudget | undefined,
  clock: Clock.Clock,
  first: Call<I, O>,
  next: (call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R>,
  error: RpcError.RpcError
): Effect.fn.Return<A, RpcError.RpcError, R> {
  let call = first
  let last = error
  let step: Step | undefined
  // A stream of requests fails with an error of its own.
  if (!RpcError.isRpcError(error)) return yield* Effect.fail(error)
  while (call.attempt < policy.attempts && repeats(policy, call, last)) {
    const pushback = pushbackOf(last)
    if (pushback === "Never") break
    step ??= yield* Schedule.toStep(policy.schedule)
    const now = monotonicMillis(clock)
    const wait = yield* waitOf(step(now, last))
    if (wait === undefined) break
    const atOnce = call === first && (last.isUnsent || last.reason.details === Status.pathGivenUp)
    const delay = pushback ?? (atOnce ? 0 : wait)
    if (call.deadline !== undefined && now + delay >= call.deadline) break
    if (budget?.withdraw(now) === false) {
      return yield* ended(last, call.attempt, "retry budget is empty")
    }
    if (pushback !== undefined) step = undefined
    if (delay > 0) yield* Effect.sleep(delay)
    const avoid = last.endpoint === undefined ? call.avoid : new Set(call.avoid).add(last.endpoint)
    call = { ...call, attempt: call.attempt + 1, avoid }
    const exit = yield* Effect.result(next(call))
    if (exit._tag === "Success") return exit.success
    last = exit.failure
  }
  return yield* ended(last, call.attempt)
})

/** The wait of one step in milliseconds; `undefined` when the schedule is over. */
const waitOf = (pull: Pull.Pull<[unknown, Duration.Duration], never, unknown>): Effect.Effect<number | undefined> =>
  Effect.flatMap(Effect.exit(pull), (exit) => {
    if (Exit.isSuccess(exit)) return Effect.succeed(Duration.toMillis(exit.value[1]))
    return isDoneCause(exit.cause) ? Effect.undefined : Effect.failCause(exit.cause as never)
  })

/** The last error, with what retry knows: how often it was tried, and why not once more. */
const ended = (error: RpcError.RpcError, attempts: number, note?: string): Effect.Effect<never, RpcError.RpcError> => {
  if (error.attempts === attempts && note === undefined) return Effect.fail(error)
  const { details } = error.reason
  const reason =
    note === undefined ? error.reason : { ...error.reason, details: details === "" ? note : `${details}; ${note}` }
  return Effect.fail(RpcError.of(error.method, reason, error.progress, { ...error, attempts }))
}

/** What the server says about a retry: how long to wait exactly, `Never`, or nothing. */
const pushbackOf = (error: RpcError.RpcError): number | "Never" | undefined => {
  const said = error.metadata?.get("grpc-retry-pushback-ms")
  if (said === undefined) return undefined
  return typeof said === "string" && /^\d{1,10}$/.test(said) ? Number(said) : "Never"
}

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
export const layer = (policy: Retry = make()): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => intercept(policy)(channel))
  )
