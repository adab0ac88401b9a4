/**
 * Asks DNS again and again: on a Schedule, when a time to live is over, and when connections fail.
 *
 * One question is on its way at a time. Between two there is a minimum, whoever asks; after a failure there is a backoff,
 * which nothing shortens. What was known stays in use for a while.
 */
import { ConnectError } from "@hawser/core/ConnectError"
import * as EndpointSet from "@hawser/core/EndpointSet"
import * as Publisher from "@hawser/core/Publisher"
import type { Resolver } from "@hawser/core/Resolver"
import { monotonicMillis } from "@hawser/core/Time"
import { Waits } from "@hawser/core/Waits"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import type { Answer } from "./DnsAnswer.ts"

/** When to ask, and how long to believe. */
export interface RefreshOptions {
  /** After an answer. Once it ends, only failed connections ask. */
  readonly refresh: Schedule.Schedule<unknown>
  /** After a failure. */
  readonly backoff: Schedule.Schedule<unknown, ConnectError>
  readonly timeoutMillis: number
  readonly minIntervalMillis: number
  readonly keepMillis: number
  /** What no addresses mean: the last ones stay, or there are none. */
  readonly empty: "Keep" | "Accept"
}

/** A backoff that has ended goes on with this wait. */
const lastResortMillis = 30_000

/** A resolver that asks. `ask` is made anew for each watch. */
export const resolver = (
  name: string,
  ask: Effect.Effect<Effect.Effect<Answer, ConnectError>>,
  options: RefreshOptions
): Resolver => ({
  name,
  open: Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const { keepMillis } = options
    const publisher = yield* Publisher.make({ name, max: EndpointSet.maxEndpoints, minIntervalMillis: 0, keepMillis })
    const asking = new Asking(yield* ask, name, publisher, options, () => monotonicMillis(clock))
    yield* Effect.forkScoped(asking.forever)
    return { updates: publisher.updates, refresh: asking.refresh }
  })
})

class Asking {
  private readonly wanted = Latch.makeUnsafe(false)
  private goodAt = 0
  private readonly scheduled: Waits
  private readonly backoff: Waits<ConnectError>
  private readonly ask: Effect.Effect<Answer, ConnectError>
  private readonly name: string
  private readonly publisher: Publisher.Publisher
  private readonly options: RefreshOptions
  private readonly now: () => number

  constructor(
    ask: Effect.Effect<Answer, ConnectError>,
    name: string,
    publisher: Publisher.Publisher,
    options: RefreshOptions,
    now: () => number
  ) {
    this.ask = Effect.timeoutOrElse(ask, {
      duration: options.timeoutMillis,
      orElse: () => Effect.fail(this.unresolved(`no answer within ${options.timeoutMillis} ms`))
    })
    this.name = name
    this.publisher = publisher
    this.options = options
    this.now = now
    this.scheduled = new Waits(options.refresh)
    this.backoff = new Waits(options.backoff)
  }

  readonly refresh = (): void => {
    this.wanted.openUnsafe()
  }

  readonly forever: Effect.Effect<void> = Effect.forever(
    Effect.gen({ self: this }, function* () {
      this.wanted.closeUnsafe()
      const startedAt = this.now()
      const result = yield* Effect.result(this.ask)
      const error = Result.isFailure(result) ? result.failure : this.take(result.success)
      if (error === undefined) {
        this.backoff.reset()
        yield* this.untilDue(startedAt, Result.getOrThrow(result).ttlMillis)
      } else {
        this.publisher.fail(error, this.now() - this.goodAt)
        yield* Effect.sleep((yield* this.backoff.next(error)) ?? lastResortMillis)
      }
    })
  )

  /** Passes an answer on, or says what is wrong with it. */
  private take(answer: Answer): ConnectError | undefined {
    const { dropped, endpoints } = answer
    if (endpoints.length === 0 && (dropped !== undefined || this.options.empty === "Keep")) {
      return this.unresolved(dropped === undefined ? "no addresses" : dropped.why)
    }
    this.goodAt = this.now()
    this.publisher.publish(endpoints, dropped)
    return undefined
  }

  private untilDue(startedAt: number, ttlMillis: number | undefined): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const planned = (yield* this.scheduled.next(undefined)) ?? Infinity
      const { minIntervalMillis } = this.options
      const due = Math.min(planned, Math.max(ttlMillis ?? Infinity, minIntervalMillis))
      const asked = this.wanted.await
      yield* due === Infinity ? asked : Effect.raceFirst(Effect.sleep(due), asked)
      const left = startedAt + minIntervalMillis - this.now()
      if (left > 0) yield* Effect.sleep(left)
    })
  }

  private unresolved(why: string): ConnectError {
    return new ConnectError({ reason: { _tag: "Resolution", target: this.name }, cause: new Error(why) })
  }
}
