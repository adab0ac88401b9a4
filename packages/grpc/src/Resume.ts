/**
 * Subscriptions that outlive their connections: a stream that breaks is asked for anew, from where it was.
 *
 * Retry ends with the headers of a stream: what comes after them can't be sent again by something that knows no messages.
 * Here the program says how: it makes the next request from the last message that it got. Nothing is kept but that one
 * message, so nothing can be lost, doubled or piled up on this side.
 */
import * as Backoff from "@hawser/core/Backoff"
import { Issues } from "@hawser/core/OptionsError"
import type { RetryBudget } from "@hawser/core/RetryBudget"
import type * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { hasProperty } from "effect/Predicate"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Deadline from "./Deadline.ts"
import { pushbackOf } from "./RetryPolicy.ts"
import * as RpcError from "./RpcError.ts"

/** What `stream` takes. */
export interface ResumeOptions<out I, in out O, in out E> {
  /**
   * The request that goes on after this message, the last that was got in all; `undefined`: none came yet. `Option.none()`
   * gives up: the stream fails with the error.
   */
  readonly resume: (last: O | undefined, error: E) => Option.Option<I>
  /**
   * The waits before each new request. It starts anew after a message; when it is over, the stream fails with the last
   * error. Default: 100 ms × 2, up to 30 s, ±20 %, for ever.
   */
  readonly schedule?: Schedule.Schedule<unknown, E> | undefined
  /** Which errors pass. Default: `isLost`. */
  readonly retryable?: ((error: E) => boolean) | undefined
  /**
   * Shared with retries: each new request takes one. Where it is empty, the next step of the schedule is waited for. Calls
   * are paid in by `Retry`, not here. Default: none.
   */
  readonly budget?: RetryBudget | undefined
}

const known: ReadonlyArray<string> = ["resume", "schedule", "retryable", "budget"]

/**
 * The default of `retryable`: the connection was lost or there is none (`Unavailable`), or this client's time ran out
 * while the server owed messages: that of one request, or of `Deadline.idle`.
 *
 * **When to use**: to widen the default instead of replacing it.
 *
 * ```ts import.meta.vitest
 * import { Resume, RpcError } from "@hawser/grpc"
 *
 * const error = (reason: RpcError.RpcReason) => RpcError.of("/demo.Shop/Watch", reason, "Answered")
 * Resume.isLost(error({ _tag: "Unavailable", details: "read ECONNRESET", connect: undefined })) // => true
 * Resume.isLost(error({ _tag: "DeadlineExceeded", details: "", phase: "Receiving", by: "Us" })) // => true
 * Resume.isLost(error({ _tag: "DeadlineExceeded", details: "", phase: "Receiving", by: "Server" })) // => false
 * Resume.isLost(error({ _tag: "PermissionDenied", details: "" })) // => false
 * ```
 */
export const isLost = (error: unknown): boolean => {
  if (!RpcError.isRpcError(error)) return false
  const { reason } = error
  if (reason._tag === "Unavailable") return true
  return reason._tag === "DeadlineExceeded" && reason.by === "Us" && error.progress !== "NotSent"
}

const patient = Backoff.exponential({ initial: "100 millis", multiplier: 2, max: "30 seconds" })

/**
 * A stream that is asked for anew when it breaks. `method` is a server-streaming method of a client, or any function from
 * a request to a stream.
 *
 * **When to use**: for subscriptions whose requests say where to begin: an offset, a version, a resume token. Give
 * `method` a `Deadline.idle`, so that a server that falls silent counts as lost.
 *
 * **Details**: messages come in the order in which they were got, each once; what the server itself repeats or leaves out
 * after a request is between it and `resume`. The end of a stream is the end, and so are errors that do not pass, defects
 * and interrupts. The call before is over when the next one begins. A wait is no shorter than a
 * server's `grpc-retry-pushback-ms`; a negative or unreadable one forbids the request. A wait that would pass the ambient
 * deadline is not begun: the stream fails with the last error. Each run begins with `request` again. Throws an
 * `OptionsError` that lists all that is wrong with the options.
 *
 * **Gotchas**: below it, retry still sends again what fails before its headers. What one message can't tell, such as a
 * count of all, is to be kept by `resume` itself.
 *
 * ```ts import.meta.vitest
 * import { Effect, Option, Schedule, Stream } from "effect"
 * import { Resume, RpcError } from "@hawser/grpc"
 *
 * const lost = RpcError.of("/demo.Log/Tail", { _tag: "Unavailable", details: "", connect: undefined }, "Answered")
 * const asked: Array<number> = []
 * // Three lines at a time, then the connection breaks.
 * const tail = ({ from }: { readonly from: number }) => {
 *   asked.push(from)
 *   const lines = Stream.range(from, Math.min(from + 2, 7))
 *   return from + 2 < 7 ? Stream.concat(lines, Stream.fail(lost)) : lines
 * }
 * const lines = Resume.stream(tail, { from: 1 }, {
 *   resume: (last = 0) => Option.some({ from: last + 1 }),
 *   schedule: Schedule.spaced("1 milli")
 * })
 * await Effect.runPromise(Stream.runCollect(lines)) // => [1, 2, 3, 4, 5, 6, 7]
 * asked // => [1, 4, 7]
 * ```
 */
export const stream = <I, O, E, R>(
  method: (request: I) => Stream.Stream<O, E, R>,
  request: NoInfer<I>,
  options: ResumeOptions<NoInfer<I>, NoInfer<O>, NoInfer<E>>
): Stream.Stream<O, E, R> => {
  const { budget, resume, retryable = isLost, schedule = patient } = options
  const issues = new Issues()
  issues.check(typeof method === "function", "method", "a function from a request to a stream", method)
  issues.check(typeof resume === "function", "resume", "a function", resume)
  issues.check(Schedule.isSchedule(schedule), "schedule", "a Schedule", schedule)
  issues.check(typeof retryable === "function", "retryable", "a function", retryable)
  issues.check(budget === undefined || hasProperty(budget, "withdraw"), "budget", "a RetryBudget", budget)
  for (const key of Object.keys(options)) issues.check(known.includes(key), key, `one of ${known.join(", ")}`, key)
  issues.throwIfAny()
  const policy: Policy<I, O, E> = { resume, schedule, retryable, budget }
  return Stream.fromChannel(
    Channel.fromTransform((_, scope) => Effect.sync(() => new Subscription(method, request, policy, scope).pull))
  )
}

interface Policy<I, O, E> extends Pick<ResumeOptions<I, O, E>, "resume" | "budget"> {
  readonly schedule: Schedule.Schedule<unknown, E>
  readonly retryable: (error: E) => boolean
}

type Messages<O, E, R> = Pull.Pull<readonly [O, ...Array<O>], E, void, R>
type Step<E> = (now: number, error: E) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

/** One run. */
class Subscription<I, O, E, R> {
  private readonly method: (request: I) => Stream.Stream<O, E, R>
  private readonly policy: Policy<I, O, E>
  private readonly scope: Scope.Scope
  private request: I
  private last: O | undefined = undefined
  private step: Step<E> | undefined = undefined
  /** The call that runs. */
  private call: Scope.Closeable | undefined = undefined
  private messages: Messages<O, E, R> | undefined = undefined

  constructor(method: (request: I) => Stream.Stream<O, E, R>, request: I, policy: Policy<I, O, E>, scope: Scope.Scope) {
    this.method = method
    this.request = request
    this.policy = policy
    this.scope = scope
  }

  /** The next messages, of whichever call. */
  readonly pull: Messages<O, E, R> = Effect.suspend(() => Effect.catchCause(this.read, this.failed))

  private get read(): Messages<O, E, R> {
    return Effect.map(this.messages ?? this.open, (messages) => {
      this.last = messages.at(-1)
      this.step = undefined
      return messages
    })
  }

  private readonly open: Messages<O, E, R> = Effect.suspend(() => {
    this.call = Scope.forkUnsafe(this.scope)
    const { channel } = this.method(this.request)
    return Effect.flatMap(Channel.toPullScoped(channel, this.call), (messages) => {
      this.messages = messages as Messages<O, E, R>
      return this.messages
    })
  })

  private readonly failed = (cause: Cause.Cause<E | Cause.Done>): Messages<O, E, R> => {
    const [first] = cause.reasons
    const alone = cause.reasons.length === 1 && first?._tag === "Fail" && !Pull.isDoneCause(cause)
    if (!alone) return Effect.failCause(cause)
    const error = first.error as E
    if (!this.policy.retryable(error)) return Effect.fail(error)
    return Effect.flatMap(this.next(error), (next) => {
      if (Option.isNone(next)) return Effect.fail(error)
      this.request = next.value
      return this.pull
    })
  }

  /** Ends the call that failed, waits until the next may begin, and makes its request. */
  private next(error: E): Effect.Effect<Option.Option<I>> {
    return Effect.gen({ self: this }, function* () {
      const { budget, resume, schedule } = this.policy
      if (this.call !== undefined) yield* Scope.close(this.call, Exit.fail(error))
      this.call = this.messages = undefined
      const pushback = RpcError.isRpcError(error) ? pushbackOf(error) : undefined
      if (pushback === "Never") return Option.none()
      let atLeast = pushback ?? 0
      for (;;) {
        this.step ??= yield* Schedule.toStep(schedule)
        const now = yield* Effect.withFiberSucceed(Deadline.nowUnsafe)
        const wait = yield* Effect.exit(this.step(now, error))
        if (Exit.isFailure(wait)) {
          // The types allow a schedule no other failure: what else there is, is a defect or an interrupt.
          return Pull.isDoneCause(wait.cause)
            ? Option.none()
            : yield* Effect.failCause(wait.cause as Cause.Cause<never>)
        }
        const millis = Math.max(Duration.toMillis(wait.value[1]), atLeast)
        if (now + millis >= (yield* Deadline.current)) return Option.none()
        yield* Effect.sleep(millis)
        atLeast = 0
        if (budget?.withdraw(yield* Effect.withFiberSucceed(Deadline.nowUnsafe)) !== false) break
      }
      return resume(this.last, error)
    })
  }
}
