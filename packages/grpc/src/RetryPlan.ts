/**
 * What retry knows before anything has failed: the policy of a method, the budget, and whether a call whose path is given
 * up may be sent again.
 */
import * as RetryBudget from "@hawser/core/RetryBudget"
import { monotonicMillis } from "@hawser/core/Time"
import type * as Clock from "effect/Clock"
import type { Call } from "./Call.ts"
import * as Policy from "./RetryPolicy.ts"
import * as RpcError from "./RpcError.ts"
import * as Status from "./Status.ts"

/** Whether a policy has to look at attempts that succeed, too. */
export const isWatched = ({ perAttemptMillis, throttle }: Policy.RetryPolicy): boolean =>
  perAttemptMillis !== undefined || throttle !== undefined

/** The policy of a channel, ready for its calls. */
export class RetryPlan {
  private readonly retry: Policy.Retry
  private readonly only: Policy.RetryPolicy | undefined
  private readonly common: RetryBudget.RetryBudget | false
  /** That of the last call: `resend` is asked from outside any fiber. */
  private clock: Clock.Clock | undefined = undefined

  constructor(retry: Policy.Retry) {
    this.retry = retry
    this.only = "select" in retry ? undefined : retry
    this.common = retry.budget ?? RetryBudget.make()
  }

  /** The policy of a method, if it has one. */
  of(path: string): Policy.RetryPolicy | undefined {
    return this.only ?? Policy.policyOf(this.retry, path)
  }

  /** A call begins. Returns the budget that its retries are paid from. */
  begin(policy: Policy.RetryPolicy, clock: Clock.Clock, now: number): RetryBudget.RetryBudget | undefined {
    this.clock = clock
    const budget = this.budgetOf(policy)
    budget?.deposit(now)
    return budget
  }

  /** Whether a call whose path is given up would be sent again now. */
  readonly resend = <I, O>(call: Call<I, O>): boolean => {
    const { clock } = this
    const policy = this.of(call.method.path)
    if (clock === undefined || policy === undefined || call.attempt >= Policy.limitOf(policy, call)) return false
    const now = monotonicMillis(clock)
    if (call.deadline !== undefined && call.deadline <= now) return false
    const budget = this.budgetOf(policy)
    if ((budget !== undefined && budget.balance(now) < 1) || policy.throttle?.allows() === false) return false
    const error = RpcError.of(call.method.path, givenUp, "MaybeProcessed", { attempts: call.attempt })
    return policy.retryable(error) && Policy.isSafe(policy, call, error)
  }

  private budgetOf({ budget = this.common }: Policy.RetryPolicy): RetryBudget.RetryBudget | undefined {
    return budget === false ? undefined : budget
  }
}

const givenUp: RpcError.RpcReason = { _tag: "Unavailable", details: Status.pathGivenUp, connect: undefined }
