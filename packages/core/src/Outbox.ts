/**
 * The newest word of a resolver, for one reader: what it has not seen yet is replaced, not queued.
 *
 * A set that says the same as the one that was delivered is no news, and between two deliveries lies a minimum.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { ConnectError } from "./ConnectError.ts"
import type { Endpoint } from "./Endpoint.ts"
import { isEqual } from "./EndpointSet.ts"
import { monotonicMillis } from "./Time.ts"
import type { Dropped, Update } from "./Watch.ts"

/** The newest word of a resolver. */
export interface Outbox {
  readonly set: (endpoints: ReadonlyArray<Endpoint>, dropped: Dropped | undefined) => void
  /** Above 0: after the last set, which stays. 0: in its place. */
  readonly failed: (error: ConnectError, keptForMillis: number) => void
  /** For one reader. */
  readonly updates: Stream.Stream<Update>
}

type Found = Extract<Update, { _tag: "Endpoints" }>
type Failed = Extract<Update, { _tag: "Failed" }>

/** Makes one. */
export const make = (minIntervalMillis = 0): Effect.Effect<Outbox> =>
  Effect.map(Clock.Clock, (clock) => new Newest(minIntervalMillis, () => monotonicMillis(clock)))

class Newest implements Outbox {
  /** What the reader has not seen yet: the set, then the failure that came after it. */
  private found: Found | undefined = undefined
  private failure: Failed | undefined = undefined
  /** What the reader has seen last. */
  private delivered: ReadonlyArray<Endpoint> | undefined = undefined
  private wellDelivered = false
  private deliveredAt = -Infinity
  private wake: () => void = () => {}
  private readonly minIntervalMillis: number
  private readonly now: () => number

  constructor(minIntervalMillis: number, now: () => number) {
    this.minIntervalMillis = minIntervalMillis
    this.now = now
  }

  readonly set = (endpoints: ReadonlyArray<Endpoint>, dropped: Dropped | undefined): void => {
    this.failure = undefined
    this.found = dropped === undefined ? { _tag: "Endpoints", endpoints } : { _tag: "Endpoints", endpoints, dropped }
    this.wake()
  }

  readonly failed = (error: ConnectError, keptForMillis: number): void => {
    if (keptForMillis <= 0) this.found = undefined
    this.failure = { _tag: "Failed", error, keptForMillis }
    this.wake()
  }

  private readonly pending: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.found !== undefined || this.failure !== undefined) return resume(Effect.void)
    this.wake = () => resume(Effect.void)
    return Effect.sync(() => {
      this.wake = () => {}
    })
  })

  private readonly paced: Effect.Effect<void> = Effect.suspend(() => {
    const wait = this.deliveredAt + this.minIntervalMillis - this.now()
    return wait > 0 ? Effect.sleep(wait) : Effect.void
  })

  /** What is news to the reader. */
  private take(): ReadonlyArray<Update> {
    const { failure, found } = this
    this.found = this.failure = undefined
    const out: Array<Update> = []
    if (found !== undefined && !(this.wellDelivered && isEqual(this.delivered!, found.endpoints))) {
      out.push(found)
      this.delivered = found.endpoints
      this.wellDelivered = true
    }
    if (failure !== undefined) {
      out.push(failure)
      this.wellDelivered = false
    }
    if (out.length > 0) this.deliveredAt = this.now()
    return out
  }

  private readonly pull: Effect.Effect<readonly [Update, ...Array<Update>]> = Effect.suspend(() =>
    this.pending.pipe(
      Effect.andThen(this.paced),
      Effect.flatMap(() => {
        const [first, ...rest] = this.take()
        return first === undefined ? this.pull : Effect.succeed([first, ...rest] as const)
      })
    )
  )

  readonly updates: Stream.Stream<Update> = Stream.fromPull(Effect.succeed(this.pull))
}
