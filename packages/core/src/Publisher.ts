/**
 * The outlet of a resolver: what it finds goes in, updates for one reader come out.
 *
 * Between the two lie the rules that hold for every resolver: sets are cleaned and bounded, an equal set is no update, a
 * hundred sets a second are as good as the newest of them, and the last good set outlives failures for a while.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ConnectError } from "./ConnectError.ts"
import type { Endpoint, EndpointOptions } from "./Endpoint.ts"
import { clean, isEqual } from "./EndpointSet.ts"
import { monotonicMillis } from "./Time.ts"
import type { Update } from "./Watch.ts"

/** The rules of one outlet. */
export interface PublisherOptions {
  /** The name of the resolver, for errors. */
  readonly name: string
  /** Endpoints of one set. */
  readonly max: number
  /** Between two updates at least. The first one waits for nothing. */
  readonly minIntervalMillis: number
  /** How long the last good set stays in use while there is no other. */
  readonly keepMillis: number
}

/** Where a resolver says what it has found. */
export interface Publisher {
  /** A set. One that has entries of which none can be used is a failure. */
  readonly publish: (endpoints: ReadonlyArray<EndpointOptions>) => void
  /** It could not be found out. `goodMillisAgo`: since when the last set is of unknown worth; default: since now. */
  readonly fail: (error: ConnectError, goodMillisAgo?: number) => void
  /** Whether there is a set in use. */
  readonly hasSet: () => boolean
  /** For one reader. */
  readonly updates: Stream.Stream<Update>
}

type Found = Extract<Update, { _tag: "Endpoints" }>
type Failed = Extract<Update, { _tag: "Failed" }>

/** Makes an outlet, for as long as the scope is open. */
export const make = Effect.fnUntraced(function* (
  options: PublisherOptions
): Effect.fn.Return<Publisher, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  return new Outlet(options, () => monotonicMillis(clock), run)
})

class Outlet implements Publisher {
  /** What the reader has not seen yet: the set, then the failure that came after it. */
  private found: Found | undefined = undefined
  private failed: Failed | undefined = undefined
  private lastFailure: ConnectError | undefined = undefined
  /** What the reader has seen last. */
  private delivered: ReadonlyArray<Endpoint> | undefined = undefined
  private wellDelivered = false
  private deliveredAt = -Infinity
  private known = false
  private expiry: { readonly at: number; readonly fiber: Fiber.Fiber<void> } | undefined = undefined
  private wake: () => void = () => {}
  private readonly options: PublisherOptions
  private readonly now: () => number
  private readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>

  constructor(options: PublisherOptions, now: () => number, run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.options = options
    this.now = now
    this.run = run
  }

  readonly publish = (input: ReadonlyArray<EndpointOptions>): void => {
    const { dropped, endpoints } = clean(input, this.options.max)
    if (endpoints.length === 0 && dropped !== undefined) return this.fail(this.unusable(dropped.why))
    this.expiry?.fiber.interruptUnsafe()
    this.expiry = undefined
    this.known = true
    this.failed = undefined
    this.found = dropped === undefined ? { _tag: "Endpoints", endpoints } : { _tag: "Endpoints", endpoints, dropped }
    this.wake()
  }

  readonly fail = (error: ConnectError, goodMillisAgo = 0): void => {
    const now = this.now()
    this.lastFailure = error
    if (this.known && this.expiry === undefined) {
      const left = this.options.keepMillis - goodMillisAgo
      if (left > 0) this.expiry = { at: now + left, fiber: this.run(Effect.delay(Effect.sync(this.expire), left)) }
      else this.known = false
    }
    this.failed = { _tag: "Failed", error, keptForMillis: this.expiry === undefined ? 0 : this.expiry.at - now }
    if (!this.known) this.found = undefined
    this.wake()
  }

  readonly hasSet = (): boolean => this.known

  private readonly expire = (): void => {
    this.expiry = undefined
    this.known = false
    this.found = undefined
    this.failed = { _tag: "Failed", error: this.lastFailure!, keptForMillis: 0 }
    this.wake()
  }

  private unusable(why: string): ConnectError {
    return new ConnectError({ reason: { _tag: "Resolution", target: this.options.name }, cause: new Error(why) })
  }

  private readonly pending: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.found !== undefined || this.failed !== undefined) return resume(Effect.void)
    this.wake = () => resume(Effect.void)
    return Effect.sync(() => {
      this.wake = () => {}
    })
  })

  private readonly paced: Effect.Effect<void> = Effect.suspend(() => {
    const wait = this.deliveredAt + this.options.minIntervalMillis - this.now()
    return wait > 0 ? Effect.sleep(wait) : Effect.void
  })

  /** What is news to the reader. */
  private take(): ReadonlyArray<Update> {
    const { failed, found } = this
    this.found = this.failed = undefined
    const out: Array<Update> = []
    if (found !== undefined && !(this.wellDelivered && isEqual(this.delivered!, found.endpoints))) {
      out.push(found)
      this.delivered = found.endpoints
      this.wellDelivered = true
    }
    if (failed !== undefined) {
      out.push(failed)
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
