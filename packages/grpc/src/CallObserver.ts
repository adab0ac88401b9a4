/**
 * Follows calls from their start to their end, of whatever kind: what tracing and logging have in common.
 *
 * A stream ends with its last message, with its reader, or with its scope: whatever comes first. Middleware of
 * `Channel.intercept` sees only how it opens.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Call } from "./Call.ts"
import { type End, endOf, failed, leaving, succeeded } from "./CallEnd.ts"
import * as CallMetrics from "./CallMetrics.ts"
import * as Channel from "./Channel.ts"

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
          return Effect.onExitPrimitive(self.unary(observed.call), (exit) => observed.ended(endOf(exit)))
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
