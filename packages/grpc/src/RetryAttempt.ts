/**
 * One attempt of a retried call: its own time, its own scope, and what its end tells the throttle.
 */
import type { RetryThrottle } from "@hawser/core/RetryThrottle"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Call, Replies } from "./Call.ts"
import type { RetryPolicy } from "./RetryPolicy.ts"
import * as RpcError from "./RpcError.ts"

/** When the attempt's own time is up; infinite where the call's own deadline comes first. */
export const endOf = <I, O>(policy: RetryPolicy, call: Call<I, O>, now: number): number => {
  const end = now + (policy.perAttemptMillis ?? Infinity)
  return end < (call.deadline ?? Infinity) ? end : Infinity
}

/**
 * Runs an attempt.
 *
 * **Details**: its own time is a deadline, but for answers of many messages: those end the attempt with their headers, and
 * may go on for as long as the call.
 */
export const run = <I, O, A, R>(
  policy: RetryPolicy,
  call: Call<I, O>,
  now: number,
  isFirst: boolean,
  next: (call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R>
): Effect.Effect<A, RpcError.RpcError, R> => {
  const end = endOf(policy, call, now)
  const { kind } = call.method
  const many = kind === "serverStreaming" || kind === "bidiStreaming"
  const attempt =
    many && (end < Infinity || !isFirst)
      ? opened(call, next, end, now)
      : next(end === Infinity ? call : { ...call, deadline: end })
  const { throttle } = policy
  if (throttle === undefined) return attempt
  if (many) return Effect.map(attempt, (replies) => counted(policy, throttle, replies as never) as A)
  return Effect.tap(attempt, () => Effect.sync(() => throttle.succeeded()))
}

/**
 * Opens a stream in a scope of its own: what fails leaves nothing behind in that of the caller, and what takes too long
 * is cancelled.
 *
 * **Details**: while it waits for its turn, it is the queue that turns it away when its time is up: only that knows what it
 * waits for.
 */
const opened = <I, O, A, R>(
  call: Call<I, O>,
  next: (call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R>,
  end: number,
  now: number
): Effect.Effect<A, RpcError.RpcError, R> => {
  const inScope = Effect.flatMap(Effect.scope, (outer) => {
    const inner = Scope.forkUnsafe(outer)
    let late = false
    let granted = false
    const picked = (endpoint: string, connection: string): void => {
      granted = true
      call.picked?.(endpoint, connection)
    }
    // In the very moment, maybe.
    let headers = false
    const committed = (): void => {
      headers = true
      call.committed?.()
    }
    const waitUntil = Math.min(call.waitUntil ?? Infinity, end)
    const opening = next(end === Infinity ? call : { ...call, picked, committed, waitUntil })
    const over = (ended?: RpcError.RpcError) => Effect.suspend(() => overdue(call, headers, ended))
    const close = Effect.suspend(() => {
      late = true
      // The opening ends by that, and says how far it got; it is given a turn for it.
      return Effect.andThen(Scope.close(inner, Exit.void), Effect.andThen(Effect.yieldNow, over()))
    })
    // The queue is given a moment; below a channel of a test there may be none.
    const cut = Effect.suspend(() => (granted ? close : Effect.delay(close, 5)))
    const provided = Scope.provide(opening, inner)
    const limited = end === Infinity ? provided : Effect.raceFirst(provided, Effect.delay(cut, end - now))
    const settled = Effect.catchCause(limited, (cause) => {
      const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
      const known = RpcError.isRpcError(error) && error.reason._tag !== "Cancelled"
      return late && !known ? over(RpcError.isRpcError(error) ? error : undefined) : Effect.failCause(cause)
    })
    const kept = Effect.filterOrElse(
      settled,
      () => !late,
      () => over()
    )
    return Effect.onExit(kept, (exit) => (Exit.isFailure(exit) ? Scope.close(inner, exit) : Effect.void))
  })
  // The scope is that of whoever opens the stream; middleware does not see it.
  return inScope as Effect.Effect<A, RpcError.RpcError, R>
}

const overdue = <I, O>(
  { attempt, method }: Call<I, O>,
  headers: boolean,
  ended: RpcError.RpcError | undefined
): Effect.Effect<never, RpcError.RpcError> => {
  const progress = headers ? "Answered" : (ended?.progress ?? "MaybeProcessed")
  const phase: RpcError.Phase = headers ? "Receiving" : progress === "NotSent" ? "Queued" : "Sent"
  const reason = { _tag: "DeadlineExceeded", details: "", phase, by: "Us" } as const
  return Effect.fail(RpcError.of(method.path, reason, progress, { ...ended, attempts: attempt, committed: headers }))
}

/** A stream has succeeded with its last message, not with its headers. */
const counted = <R>(
  policy: RetryPolicy,
  throttle: RetryThrottle,
  replies: Replies<unknown, RpcError.RpcError, R>
): Replies<unknown, RpcError.RpcError, R> => {
  const end = (exit: Exit.Exit<unknown, unknown>): void => {
    if (Exit.isSuccess(exit)) return throttle.succeeded()
    const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
    if (RpcError.isRpcError(error) && policy.retryable(error)) throttle.failed()
  }
  const messages = Stream.transformPull(replies.messages, (pull) =>
    Effect.succeed(
      Effect.onExitPrimitive(pull, (exit) =>
        exit._tag === "Failure" ? void end(Pull.doneExitFromCause(exit.cause)) : undefined
      )
    )
  )
  return { ...replies, messages }
}

/** What the next attempt leaves alone: where this one was, by name and by connection. */
export const avoiding = (
  avoid: ReadonlySet<string> | undefined,
  { connection, endpoint }: RpcError.RpcError
): ReadonlySet<string> | undefined => {
  if (endpoint === undefined) return avoid
  const more = new Set(avoid).add(endpoint)
  return connection === undefined ? more : more.add(connection)
}
