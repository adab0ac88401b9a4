/**
 * The outlet of a resolver that finds things out: sets and failures go in, updates come out.
 *
 * Between the two lie the rules that hold whoever finds out: sets are cleaned and bounded, and the last good one outlives
 * failures for a while.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { ConnectError } from "./ConnectError.ts"
import type { EndpointOptions } from "./Endpoint.ts"
import { clean } from "./EndpointSet.ts"
import * as Outbox from "./Outbox.ts"
import { monotonicMillis } from "./Time.ts"
import type { Dropped, Update } from "./Watch.ts"

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
  /** A set, without what was `dropped` of it already. One that has entries of which none can be used is a failure. */
  readonly publish: (endpoints: ReadonlyArray<EndpointOptions>, dropped?: Dropped) => void
  /** It could not be found out. `goodMillisAgo`: since when the last set is of unknown worth; default: since now. */
  readonly fail: (error: ConnectError, goodMillisAgo?: number) => void
  /** For one reader. */
  readonly updates: Stream.Stream<Update>
}

/** Makes an outlet, for as long as the scope is open. */
export const make = Effect.fnUntraced(function* (
  options: PublisherOptions
): Effect.fn.Return<Publisher, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const now = () => monotonicMillis(clock)
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  const outbox = yield* Outbox.make(options.minIntervalMillis)
  let known = false
  let lastFailure: ConnectError | undefined
  let expiry: { readonly at: number; readonly fiber: Fiber.Fiber<void> } | undefined
  const expire = (): void => {
    expiry = undefined
    known = false
    outbox.failed(lastFailure!, 0)
  }
  const fail = (error: ConnectError, goodMillisAgo = 0): void => {
    lastFailure = error
    if (known && expiry === undefined) {
      const left = options.keepMillis - goodMillisAgo
      if (left > 0) expiry = { at: now() + left, fiber: run(Effect.delay(Effect.sync(expire), left)) }
      else known = false
    }
    outbox.failed(error, expiry === undefined ? 0 : expiry.at - now())
  }
  const publish = (input: ReadonlyArray<EndpointOptions>, before?: Dropped): void => {
    const { dropped: here, endpoints } = clean(input, options.max)
    const dropped = before === undefined ? here : { ...before, count: before.count + (here?.count ?? 0) }
    if (endpoints.length === 0 && dropped !== undefined) {
      const cause = new Error(dropped.why)
      return fail(new ConnectError({ reason: { _tag: "Resolution", target: options.name }, cause }))
    }
    expiry?.fiber.interruptUnsafe()
    expiry = undefined
    known = true
    outbox.set(endpoints, dropped)
  }
  return { publish, fail, updates: outbox.updates }
})
