/**
 * What a retry policy is, and what it says about one error. No waiting here: see `RetryLoop.ts`.
 */
import type { RetryBudget } from "@hawser/core/RetryBudget"
import type { RetryThrottle } from "@hawser/core/RetryThrottle"
import type * as Schedule from "effect/Schedule"
import type { Call } from "./Call.ts"
import type * as RpcError from "./RpcError.ts"

/** The mark of retry policies. */
export const TypeId = "~hawser/Retry"

/** One policy for every method, or one that chooses by method. */
export type Retry = RetryPolicy | RetryByMethod

/** A policy for calls; `Retry.make` and `Retry.a6` make it. */
export interface RetryPolicy {
  readonly [TypeId]: typeof TypeId
  /** The first one included. `"unlimited"`: until the deadline, or 5 where there is none. */
  readonly maxAttempts: number | "unlimited"
  /** The waits between attempts. */
  readonly schedule: Schedule.Schedule<unknown, RpcError.RpcError>
  /** Which errors pass. */
  readonly retryable: (error: RpcError.RpcError) => boolean
  /** `false`: none. `undefined`: one with the defaults, made where the policy is used. */
  readonly budget: RetryBudget | false | undefined
  readonly throttle: RetryThrottle | undefined
  /** The time of one attempt. */
  readonly perAttemptMillis: number | undefined
  /** Whether calls that may have been processed are sent again, though their methods are not declared idempotent. */
  readonly resendable: boolean
  /** Whether what no server has looked at is sent again without counting as an attempt (gRFC A6). */
  readonly transparent: boolean
}

/** A policy for each method; `Retry.byMethod` makes it. */
export interface RetryByMethod {
  readonly [TypeId]: typeof TypeId
  /** The policy of a path, `false` for none, `undefined` for `otherwise`. */
  readonly select: (path: string) => Retry | false | undefined
  readonly otherwise: Retry | false
  /** That of policies which name none. */
  readonly budget: RetryBudget | false | undefined
}

/** The policy of a method, if it has one. */
export const policyOf = (retry: Retry | false, path: string): RetryPolicy | undefined => {
  if (retry === false) return undefined
  return "select" in retry ? policyOf(retry.select(path) ?? retry.otherwise, path) : retry
}

/** The attempts of a call whose policy has no limit and which has no deadline. */
const withoutDeadline = 5

/** How many attempts a call may have. */
export const limitOf = <I, O>({ maxAttempts }: RetryPolicy, { deadline = Infinity }: Call<I, O>): number => {
  if (maxAttempts !== "unlimited") return maxAttempts
  return deadline < Infinity ? Infinity : withoutDeadline
}

/** Whether sending the call again after this error can do no harm. */
export const isSafe = <I, O>(policy: RetryPolicy, call: Call<I, O>, error: RpcError.RpcError): boolean =>
  error.isUnsent || policy.resendable || call.method.idempotency !== "Unknown"

/** What the server says about a retry: how long to wait exactly, `Never`, or nothing. */
export const pushbackOf = (error: RpcError.RpcError): number | "Never" | undefined => {
  const said = error.metadata?.get("grpc-retry-pushback-ms")
  if (said === undefined) return undefined
  return typeof said === "string" && /^\d{1,10}$/.test(said) ? Number(said) : "Never"
}

/**
 * Whether the call was given to a connection and never left it. Not so where the cluster had no connection: then the
 * error carries why, and is for the policy to judge.
 */
export const neverLeft = ({ progress, reason }: RpcError.RpcError): boolean =>
  progress === "NotSent" && reason._tag === "Unavailable" && reason.connect === undefined

/**
 * The errors with these status codes that a server may be asked about again. What this client has decided itself (its
 * queue, its limits, its deadline) is none of them, whatever its code.
 */
export const withCodes =
  (codes: ReadonlySet<number>) =>
  ({ code, progress, reason }: RpcError.RpcError): boolean => {
    if (!codes.has(code) || ("by" in reason && reason.by === "Us")) return false
    return progress !== "NotSent" || reason._tag === "Unavailable"
  }
