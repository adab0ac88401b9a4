/**
 * Follows calls from their start to their end, of whatever kind: what tracing and logging have in common.
 *
 * A stream ends with its last message, with its reader, or with its scope: whatever comes first. Middleware of
 * `Channel.intercept` sees only how it opens.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Call } from "./Call.ts"
import * as CallMetrics from "./CallMetrics.ts"
import * as Channel from "./Channel.ts"
import * as RpcError from "./RpcError.ts"

/** How a call ended. */
export interface End {
  /** The status; 0 is OK. */
  readonly code: number
  /** Who answered, as in `Reply.connection`. */
  readonly connection: string | undefined
  /** What it failed with, if it failed with one of ours. */
  readonly error: RpcError.RpcError | undefined
  readonly interrupted: boolean
}

/** One call under observation. */
export interface Observed<I, O> {
  /** What goes on to the channel below. */
  readonly call: Call<I, O>
  /** Called once. */
  readonly ended: (end: End) => Effect.Effect<void> | undefined
}

/** Begins to observe a call; a call given back as it is, or changed, passes unobserved. */
export interface Begin {
  <I, O>(call: Call<I, O>, fiber: Fiber.Fiber<unknown, unknown>): Observed<I, O> | Call<I, O>
}

/** Middleware that observes calls. */
export const observe =
  (begin: Begin) =>
  <E, R>(self: Channel.Channel.With<E, R>): Channel.Channel.With<E, R> =>
    Channel.make<E, R>({
      unary: (call) =>
        Effect.withFiber((fiber) => {
          const observed = begin(call, fiber)
          if (!("ended" in observed)) return self.unary(observed)
          return Effect.onExitPrimitive(self.unary(observed.call), (exit) =>
            observed.ended(exit._tag === "Success" ? succeeded(exit.value.connection) : failed(exit.cause, undefined))
          )
        }),
      stream: (call) =>
        Effect.withFiber((fiber) => {
          const observed = begin(call, fiber)
          if (!("ended" in observed)) return self.stream(observed)
          let over = false
          const end = (how: End) => {
            if (over) return undefined
            over = true
            return observed.ended(how)
          }
          const opened = Effect.flatMap(self.stream(observed.call), (replies) => {
            const { connection } = replies
            const told = (replies as CallMetrics.Told)[CallMetrics.told]
            const left = Effect.suspend(() => end(leaving(told?.(), connection)) ?? Effect.void)
            const messages = Stream.transformPull(replies.messages, (pull, scope) =>
              Effect.as(
                Scope.addFinalizer(scope, left),
                Effect.onExitPrimitive(pull, (exit) => {
                  if (exit._tag === "Success") return undefined
                  const done = Pull.doneExitFromCause(exit.cause)
                  return end(done._tag === "Success" ? succeeded(connection) : failed(done.cause, connection))
                })
              )
            )
            return Effect.as(
              Effect.addFinalizer(() => left),
              { ...replies, messages }
            )
          })
          return Effect.onExitPrimitive(opened, (exit) =>
            exit._tag === "Failure" ? end(failed(exit.cause, undefined)) : undefined
          )
        })
    })

const succeeded = (connection: string): End => ({ code: 0, connection, error: undefined, interrupted: false })

const leaving = (told: number | undefined, connection: string): End =>
  told === undefined
    ? { code: RpcError.codes.Cancelled, connection, error: undefined, interrupted: true }
    : { code: told, connection, error: undefined, interrupted: false }

const failed = (cause: Cause.Cause<unknown>, connection: string | undefined): End => {
  if (Cause.hasInterrupts(cause)) {
    return { code: RpcError.codes.Cancelled, connection, error: undefined, interrupted: true }
  }
  const found = cause.reasons.find(Cause.isFailReason)?.error
  const error = RpcError.isRpcError(found) ? found : undefined
  const code = error?.code ?? RpcError.codes.Unknown
  return { code, connection: error?.connection ?? connection, error, interrupted: false }
}

/** The endpoint of a connection: `10.0.0.7:50051` of `10.0.0.7:50051#3`. */
export const endpointOf = ({ connection, error }: End): string | undefined => {
  if (connection === undefined || connection === "") return error?.endpoint
  const hash = connection.lastIndexOf("#")
  return hash < 0 ? connection : connection.slice(0, hash)
}

/**
 * What an error says in words of this side. The server's own may repeat what was sent to it, secrets included, and are
 * left out.
 */
export const wordsOf = (error: RpcError.RpcError): string => (error.progress === "Answered" ? "" : error.reason.details)
