/**
 * What follows the first failure of a call: whether it is sent again, when, and with what the last error says.
 *
 * A generator of its own, so that a call that succeeds at once pays for none of it.
 */
import type { RetryBudget } from "@hawser/core/RetryBudget"
import { monotonicMillis } from "@hawser/core/Time"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Pull from "effect/Pull"
import { isDoneCause } from "effect/Pull"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type { Call } from "./Call.ts"
import * as LastError from "./LastError.ts"
import * as Attempt from "./RetryAttempt.ts"
import * as Policy from "./RetryPolicy.ts"
import { Transparent } from "./RetryTransparent.ts"
import * as RpcError from "./RpcError.ts"
import * as Status from "./Status.ts"

type Step = (now: number, error: RpcError.RpcError) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

// Timers of Node may fire a little early.
const toleranceMillis = 2

/** Sends a call again after its first failure, as its policy says, until it succeeds or has failed for good. */
export const again = Effect.fnUntraced(function* <I, O, A, R>(
  policy: Policy.RetryPolicy,
  budget: RetryBudget | undefined,
  clock: Clock.Clock,
  first: Call<I, O>,
  begun: number,
  next: (call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R>,
  error: RpcError.RpcError
): Effect.fn.Return<A, RpcError.RpcError, R> {
  // A stream of requests fails with an error of its own.
  if (!RpcError.isRpcError(error)) return yield* Effect.fail(error)
  const { throttle } = policy
  const limit = Policy.limitOf(policy, first)
  const deadline = first.deadline ?? Infinity
  const free = policy.transparent ? new Transparent(deadline) : undefined
  let call = first
  let last = error
  let reached = false
  let end = Attempt.endOf(policy, call, begun)
  let step: Step | undefined
  for (;;) {
    const now = monotonicMillis(clock)
    const out = last.reason._tag === "DeadlineExceeded" && now >= end - toleranceMillis ? ownTime(policy) : ""
    let delay = free?.next(last, yield* Random.Random)
    let attempt = call.attempt
    if (delay === undefined) {
      const pushback = Policy.pushbackOf(last)
      const retryable = out !== "" || policy.retryable(last)
      if (retryable || pushback === "Never") throttle?.failed()
      const over = pushback === "Never" || !retryable || isCommitted(policy, call, last) || attempt >= limit
      if (over || !Policy.isSafe(policy, call, last)) return yield* ended(last, reached, attempt, out)
      if (throttle?.allows() === false) return yield* ended(last, reached, attempt, out, "retries are throttled")
      step ??= yield* Schedule.toStep(policy.schedule)
      const wait = yield* waitOf(step(now, last))
      if (wait === undefined) return yield* ended(last, reached, attempt, out)
      delay = pushback ?? (call === first && isAtOnce(policy, last) ? 0 : wait)
      if (now + delay >= deadline) return yield* ended(last, reached, attempt, out)
      const spared = call === first && last.reason.details === Status.refusedByGoaway
      if (!spared && budget?.withdraw(now) === false) return yield* ended(last, reached, attempt, out, emptied)
      if (pushback !== undefined) step = undefined
      attempt++
    } else if (now + delay >= deadline) return yield* ended(last, reached, attempt, out)
    if (delay > 0) yield* Effect.sleep(delay)
    const avoid = Attempt.avoiding(call.avoid, last)
    call = { ...call, attempt, avoid }
    reached ||= !last.isUnsent
    const started = monotonicMillis(clock)
    end = Attempt.endOf(policy, call, started)
    const result = yield* Effect.result(Attempt.run(policy, call, started, false, next))
    if (result._tag === "Success") return result.success
    last = result.failure
    if (!RpcError.isRpcError(last)) return yield* Effect.fail(last)
  }
})

/** By its headers. Beyond gRFC A6 not where the answer is one message: nothing of it was handed on. */
const isCommitted = <I, O>({ transparent }: Policy.RetryPolicy, { method }: Call<I, O>, error: RpcError.RpcError) =>
  error.committed === true && (transparent || method.kind !== "unary")

/** Another endpoint may answer now. gRFC A6 has its own rules for what was not sent. */
const isAtOnce = (policy: Policy.RetryPolicy, error: RpcError.RpcError): boolean =>
  (error.isUnsent && !policy.transparent) || error.reason.details === Status.pathGivenUp

/** The wait of one step in milliseconds; `undefined` when the schedule is over. */
export const waitOf = (
  pull: Pull.Pull<[unknown, Duration.Duration], never, unknown>
): Effect.Effect<number | undefined> =>
  Effect.flatMap(Effect.exit(pull), (exit) => {
    if (Exit.isSuccess(exit)) return Effect.succeed(Duration.toMillis(exit.value[1]))
    return isDoneCause(exit.cause) ? Effect.undefined : Effect.failCause(exit.cause as never)
  })

const emptied = "retry budget is empty"

const ownTime = ({ perAttemptMillis }: Policy.RetryPolicy): string =>
  `the attempt's own time of ${perAttemptMillis} ms is up`

const ended = (...facts: Parameters<typeof LastError.of>): Effect.Effect<never, RpcError.RpcError> =>
  Effect.fail(LastError.of(...facts))
