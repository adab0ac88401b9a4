/** Attempts that follow a script, and when each began and ended, for tests of hedging. */
import { type Call, Channel, Hedge, Metadata, type Method, RpcError } from "@hawser/grpc"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { call, reply } from "../channels.ts"

/** What an attempt does: after so many ms (`Infinity`: never) it answers, fails, or runs an effect. */
export type Step = readonly [millis: number, end: "ok" | RpcError.RpcError | Effect.Effect<never, RpcError.RpcError>]

/** One attempt as it went. */
export interface Seen {
  readonly at: number
  readonly call: Call.Call<unknown, unknown>
  ended: number | undefined
  how: "ok" | "failed" | "interrupted" | undefined
}

export const now: Effect.Effect<number> = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

/** A channel whose nth attempt does the nth step; the last one repeats. Attempt n runs on `e${n}:1`. */
export const script = (...steps: ReadonlyArray<Step>) => {
  const seen: Array<Seen> = []
  const channel = Channel.make<RpcError.RpcError>({
    unary: <I, O>(one: Call.Call<I, O>) =>
      Effect.gen(function* () {
        const at = yield* now
        const n = seen.length
        const [millis, end] = steps[Math.min(n, steps.length - 1)]!
        const attempt: Seen = {
          at,
          call: one as unknown as Call.Call<unknown, unknown>,
          ended: undefined,
          how: undefined
        }
        seen.push(attempt)
        ;(one as Call.Call<unknown, unknown>).picked?.(`e${n + 1}:1`, `e${n + 1}:1`)
        const note = (how: Seen["how"]) =>
          Effect.map(now, (ended) => {
            attempt.ended = ended
            attempt.how = how
          })
        const wait = millis === Infinity ? Effect.never : millis === 0 ? Effect.void : Effect.sleep(millis)
        const finish = end === "ok" ? Effect.succeed(reply(one, `e${n + 1}:1#1`)) : Effect.andThen(Effect.void, end)
        return yield* Effect.andThen(wait, finish).pipe(
          Effect.onExit((exit) =>
            note(
              exit._tag === "Success"
                ? "ok"
                : exit.cause.reasons.some((r) => r._tag === "Fail")
                  ? "failed"
                  : "interrupted"
            )
          )
        )
      })
  })
  return { channel, seen }
}

export const idempotent = { idempotency: "Idempotent" as Method.Idempotency }

export const failure = (
  tag: "Unavailable" | "Aborted" | "Internal" | "NotFound",
  pushback?: string,
  progress: RpcError.Progress = "Answered",
  endpoint?: string,
  committed = false
): RpcError.RpcError =>
  RpcError.of(
    call().method.path,
    tag === "Unavailable" ? { _tag: tag, details: tag, connect: undefined } : { _tag: tag, details: tag },
    progress,
    {
      endpoint,
      committed,
      metadata: pushback === undefined ? undefined : Metadata.fromRecord({ "grpc-retry-pushback-ms": pushback })
    }
  )

/** Runs one call against a script and says how it went, and when it ended. */
export const play = (policy: Hedge.Hedge, steps: ReadonlyArray<Step>, one: Parameters<typeof call>[0] = idempotent) =>
  Effect.gen(function* () {
    const { channel, seen } = script(...steps)
    const hedged = Hedge.intercept(policy)(channel)
    const start = yield* now
    let endedAt = NaN
    const fiber = yield* Effect.forkChild(
      Effect.ensuring(
        hedged.unary(call(one)),
        Effect.map(now, (at) => {
          endedAt = at - start
        })
      )
    )
    yield* TestClock.adjust("1 hour")
    const exit = yield* Fiber.await(fiber)
    const error =
      exit._tag === "Failure" ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined
    return {
      seen,
      times: seen.map(({ at }) => at - start),
      how: seen.map((attempt) => attempt.how),
      endedAt,
      exit,
      error,
      by: exit._tag === "Success" ? exit.value.connection : undefined
    }
  })
