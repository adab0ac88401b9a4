/**
 * Client-side health checking as gRFC A17 has it: one Watch beside each connection.
 *
 * | the server | the connection |
 * |---|---|
 * | has not answered yet | Connecting |
 * | SERVING | Ready |
 * | anything else, SERVICE_UNKNOWN too | TransientFailure, still connected |
 * | UNIMPLEMENTED | Ready, and not asked again |
 * | ends the Watch in any other way | TransientFailure until it is asked again, after a backoff; Connecting from then on |
 * | ends a Watch on which it had answered | asked again at once |
 *
 * Beyond the document: a first answer has a limit of time; a server that ends one Watch after another is not asked in a spin;
 * one that floods is read in portions; and where only one stream is allowed, Check takes turns with calls.
 */
import type * as Health from "@hawser/core/Health"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { make as makeCall } from "./Call.ts"
import type { Channel } from "./Channel.ts"
import type { Connection } from "./Connection.ts"
import * as Probe from "./HealthProbe.ts"
import { checkMethod, type ServingStatus, watchMethod } from "./HealthMessages.ts"
import { of, type RpcError } from "./RpcError.ts"

/** How it watches. */
export interface WatchPolicy {
  readonly service: string
  /** Between two that came to nothing. */
  readonly backoff: Schedule.Schedule<unknown>
  /** Until the first answer of a Watch, and for a Check. */
  readonly withinMillis: number
  /** Between two Checks, where there is no stream for a Watch. */
  readonly every: Schedule.Schedule<unknown>
}

/** So many answers in a second are a flood: the Watch is left, and begun anew a moment later. */
const maxAnswers = 100
const floodMillis = 1_000
/** A Watch that was answered and ended sooner was short; so many of them in a row are asked again at once. */
const shortMillis = 1_000
const maxShort = 5
/** Where the backoff has no more to say. */
const lastResort = Duration.seconds(120)

/** How a Watch came to its end. */
type End =
  | { readonly _tag: "Ended"; readonly error: RpcError | undefined; readonly answered: boolean }
  | { readonly _tag: "Flood" }
  | { readonly _tag: "Squeezed" }

type Subject = Health.Subject<Connection>

/** Watches one connection, until it is interrupted or there is nothing more to say. */
export const run = Effect.fnUntraced(function* (
  subject: Subject,
  policy: WatchPolicy,
  unsupported: () => Effect.Effect<Health.Verdict>
) {
  const channel = yield* Probe.channelOf(subject)
  const clock = yield* Clock.Clock
  const backoff = new Waits(policy.backoff)
  let short = 0
  for (;;) {
    if (subject.limit() < 2) {
      if (yield* checking(subject, channel, policy, unsupported)) return
      continue
    }
    const startedAt = monotonicMillis(clock)
    const end: End = yield* watching(subject, channel, policy, clock)
    switch (end._tag) {
      case "Squeezed":
        break
      case "Flood":
        // What was said last holds meanwhile.
        yield* Effect.sleep(floodMillis)
        break
      default: {
        const { answered, error } = end
        if (error?.reason._tag === "Unimplemented") return subject.say(yield* unsupported())
        short = answered && monotonicMillis(clock) - startedAt < shortMillis ? short + 1 : 0
        const verdict = Probe.failed("Watch", error)
        if (answered && short <= maxShort) {
          backoff.reset()
          subject.say({ _tag: "Unknown", said: "said" in verdict ? verdict.said! : "" })
        } else {
          subject.say(verdict)
          yield* Effect.sleep(yield* backoff.next(monotonicMillis(clock), verdict))
          subject.say({ _tag: "Unknown" })
        }
      }
    }
  }
})

/** One Watch, on a stream of its own that is taken from those of calls. */
const watching = (subject: Subject, channel: Channel, policy: WatchPolicy, clock: Clock.Clock): Effect.Effect<End> => {
  const { service, withinMillis } = policy
  let answered = false
  const opened = Effect.gen(function* () {
    const { messages } = yield* channel.stream(makeCall(watchMethod, service, { deadline: Infinity }))
    const pull = yield* Stream.toPull(messages)
    return { pull, first: yield* pull }
  })
  const watch = Effect.gen(function* () {
    const orElse = () => Effect.fail(late(withinMillis))
    const { first, pull } = yield* Effect.timeoutOrElse(opened, { duration: withinMillis, orElse })
    let answers: ReadonlyArray<ServingStatus> = first
    let since = monotonicMillis(clock)
    let count = 0
    for (;;) {
      answered = true
      // Of those that came at once, the last one counts.
      subject.say(Probe.verdictOf(answers[answers.length - 1]!))
      const now = monotonicMillis(clock)
      if (now - since >= floodMillis) {
        since = now
        count = 0
      }
      count += answers.length
      if (count > maxAnswers) return { _tag: "Flood" } as const
      answers = yield* pull
    }
  })
  const ended = Effect.map(Effect.exit(watch), (exit): End =>
    Exit.isSuccess(exit) ? exit.value : { _tag: "Ended", error: errorIn(exit.cause), answered }
  )
  const alone = Effect.as(subject.squeezed, { _tag: "Squeezed" } as const)
  return Effect.scoped(
    Effect.andThen(subject.permit, Effect.raceFirst(ended as Effect.Effect<End, never, Scope.Scope>, alone))
  )
}

/** Checks between calls, until there is a stream for a Watch. Whether the server can't be asked. */
const checking = Effect.fnUntraced(function* (
  subject: Subject,
  channel: Channel,
  policy: WatchPolicy,
  unsupported: () => Effect.Effect<Health.Verdict>
) {
  const clock = yield* Clock.Clock
  const waits = new Waits(policy.every)
  do {
    const verdict = yield* Effect.scoped(
      Effect.andThen(
        subject.permit,
        Effect.suspend(() => check(channel, policy.service, policy.withinMillis, unsupported))
      )
    )
    subject.say(verdict)
    if (verdict._tag === "Unsupported") return true
    yield* Effect.sleep(yield* waits.next(monotonicMillis(clock), verdict))
  } while (subject.limit() < 2)
  return false
})

/** One Check, and what its answer says. Never fails. */
export const check = (
  channel: Channel,
  service: string,
  withinMillis: number,
  unsupported: () => Effect.Effect<Health.Verdict>
): Effect.Effect<Health.Verdict> =>
  Effect.flatMap(Clock.Clock, (clock) =>
    channel.unary(makeCall(checkMethod, service, { deadline: monotonicMillis(clock) + withinMillis })).pipe(
      Effect.map(({ message }) => Probe.verdictOf(message)),
      Effect.catch((error) => {
        const { _tag } = error.reason
        if (_tag === "Unimplemented") return unsupported()
        // What Watch says of a service that is not there.
        return Effect.succeed(_tag === "NotFound" ? Probe.verdictOf("SERVICE_UNKNOWN") : Probe.failed("Check", error))
      })
    )
  )

/** The waits of a schedule, one by one; afresh after a reset. */
class Waits {
  private step: Effect.Success<ReturnType<typeof Schedule.toStep<unknown, unknown, never, never>>> | undefined =
    undefined
  private last = lastResort
  private readonly schedule: Schedule.Schedule<unknown>

  constructor(schedule: Schedule.Schedule<unknown>) {
    this.schedule = schedule
  }
  reset(): void {
    this.step = undefined
  }
  next(now: number, input: unknown): Effect.Effect<Duration.Duration> {
    return Effect.gen({ self: this }, function* () {
      const step = (this.step ??= yield* Schedule.toStep(this.schedule))
      return (this.last = yield* Effect.match(step(now, input), {
        onSuccess: ([, delay]) => delay,
        onFailure: () => this.last
      }))
    })
  }
}

const late = (millis: number): RpcError =>
  of(
    watchMethod.path,
    { _tag: "DeadlineExceeded", details: `No answer within ${millis} ms`, phase: "Sent", by: "Us" },
    "MaybeProcessed"
  )

const errorIn = (cause: Cause.Cause<RpcError | Cause.Done>): RpcError | undefined => {
  const error = cause.reasons.find(Cause.isFailReason)?.error
  if (error !== undefined) return Cause.isDone(error) ? undefined : error
  const reason = { _tag: "Internal", details: "The Watch died" } as const
  return of(watchMethod.path, reason, "NotSent", { cause: Cause.squash(cause) })
}
