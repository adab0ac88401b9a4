/**
 * Where endpoints come from: a fixed set, anything that pushes sets, and what is made of several resolvers.
 *
 * A resolver is a value that a cluster opens and watches. It says which endpoints there are; which of them is dialled, used
 * or put aside is decided elsewhere. Endpoints that are in one set and in the next keep their connections.
 *
 * **Example** (A registry that forgets, a part of it for each client, and a backup)
 *
 * ```ts import.meta.vitest
 * import { Effect, Stream } from "effect"
 * import { Resolver } from "@hawser/core"
 *
 * const of = (...addresses: ReadonlyArray<string>) => addresses.map((address) => ({ addresses: [address] }))
 * const registry = Resolver.fromStream("registry", Stream.make(of("a:1", "b:1", "c:1", "d:1")))
 * const steady = Resolver.hysteresis(registry, "30 seconds")
 * const few = Resolver.subset(steady, { size: 2, seed: 1 })
 * const resolver = Resolver.merge([few, Resolver.fixed(of("backup:1"))])
 *
 * const program = Effect.gen(function*() {
 *   const { updates } = yield* resolver.open
 *   const whole = Stream.filter(updates, (update) => update._tag === "Endpoints" && update.endpoints.length === 3)
 *   const [update] = yield* Stream.runCollect(Stream.take(whole, 1))
 *   return update?._tag === "Endpoints" ? update.endpoints.map(({ priority }) => priority) : []
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => [0, 0, 1]
 * ```
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Backoff from "./Backoff.ts"
import { ConnectError } from "./ConnectError.ts"
import type { Endpoint, EndpointOptions } from "./Endpoint.ts"
import { makeUnsafe } from "./Endpoint.ts"
import * as EndpointSet from "./EndpointSet.ts"
import { Issues } from "./OptionsError.ts"
import * as Publisher from "./Publisher.ts"
import { Waits } from "./Waits.ts"
import type { Resolver, Watch } from "./Watch.ts"

export {
  /** Keeps an endpoint that has disappeared for a grace period. */
  hysteresis
} from "./Hysteresis.ts"
export type {
  /** What hysteresis makes of an empty set. */
  HysteresisOptions
} from "./Hysteresis.ts"
export {
  /** Several resolvers as one, in the order in which they are used. */
  merge
} from "./Merge.ts"
export type {
  /** A resolver, and where it stands. */
  Placed
} from "./Merge.ts"
export {
  /** Leaves each client a subset. */
  subset
} from "./Subset.ts"
export type {
  /** How a subset is chosen. */
  SubsetOptions
} from "./Subset.ts"
export type {
  /** Endpoints that were left out of an answer. */
  Dropped,
  /** Where endpoints come from. */
  Resolver,
  /** What a resolver says. */
  Update,
  /** A resolver at work. */
  Watch
} from "./Watch.ts"

/**
 * Whether something has the shape of a resolver.
 *
 * ```ts import.meta.vitest
 * import { Resolver } from "@hawser/core"
 *
 * Resolver.isResolver(Resolver.fixed([])) // => true
 * Resolver.isResolver({ name: "greeter" }) // => false
 * ```
 */
export const isResolver = (u: unknown): u is Resolver =>
  typeof u === "object" &&
  u !== null &&
  typeof (u as Resolver).name === "string" &&
  Effect.isEffect((u as Resolver).open)

/**
 * A set that never changes. Throws an `OptionsError` where an endpoint breaks a rule.
 *
 * ```ts import.meta.vitest
 * import { Effect, Stream } from "effect"
 * import { Resolver } from "@hawser/core"
 *
 * const resolver = Resolver.fixed([{ addresses: ["10.0.0.1:50051"] }, { addresses: ["10.0.0.2:50051"], priority: 1 }])
 * const program = Effect.flatMap(resolver.open, ({ updates }) => Stream.runCollect(updates))
 * const [update] = await Effect.runPromise(Effect.scoped(program))
 * const endpoints = update?._tag === "Endpoints" ? update.endpoints : []
 * endpoints.map(({ priority }) => priority) // => [0, 1]
 * ```
 */
export const fixed = (endpoints: ReadonlyArray<EndpointOptions>, name = "fixed"): Resolver => {
  const set: ReadonlyArray<Endpoint> = endpoints.map(makeUnsafe)
  const watch: Watch = { updates: Stream.make({ _tag: "Endpoints", endpoints: set }), refresh: () => {} }
  return { name, open: Effect.succeed(watch) }
}

/** How pushed sets are taken. */
export interface FromStreamOptions {
  /** Endpoints of one set at most; the rest is dropped. 1 to 100,000, default 1,000. */
  readonly max?: number | undefined
  /** Between two updates at least; sets that come sooner wait, and the newest one counts. 0 to 1 h, default 100 ms. */
  readonly minInterval?: Duration.Input | undefined
  /** How long the last set stays in use after a failure; 0 to 24 days, default 10 min. */
  readonly keep?: Duration.Input | undefined
  /** When a stream that has failed is run again. Default 1 s × 1.6, ±20 %, up to 30 s. */
  readonly retry?: Schedule.Schedule<unknown, ConnectError> | undefined
  /** What to do when connections fail: poke whoever pushes. Called as often as it happens. Default: nothing. */
  readonly refresh?: (() => void) | undefined
}

/** At the cap a source that is back is found within half a minute. */
const defaultRetry = Backoff.exponential({ initial: "1 second", multiplier: 1.6, max: "30 seconds" })

/**
 * Sets that somebody pushes: a watch of Kubernetes' EndpointSlices, a registry, a file.
 *
 * **When to use**: whenever endpoints come from elsewhere than DNS. Each element of the stream is the whole set.
 *
 * **Details**: an empty set is taken at its word. Entries that are no endpoints, that come twice, or that are beyond `max`
 * are left out; where nothing is left of a set that had entries, it counts as a failure. A stream that fails, in whatever
 * way, is run again, and the last set stays in use for `keep`; then borrows fail with `Resolution` until a set comes.
 * Throws an `OptionsError` for options out of bounds.
 *
 * **Gotchas**: a stream that ends without an error has said its last word, which stays. Let a watch that is closed by the
 * other side fail, or repeat it with `Stream.forever`.
 *
 * **Example** (A registry)
 *
 * ```ts import.meta.vitest
 * import { Effect, Queue, Stream } from "effect"
 * import { Resolver } from "@hawser/core"
 *
 * const program = Effect.gen(function*() {
 *   const registry = yield* Queue.unbounded<ReadonlyArray<string>>()
 *   const sets = Stream.map(Stream.fromQueue(registry), (list) => list.map((address) => ({ addresses: [address] })))
 *   const { updates } = yield* Resolver.fromStream("registry", sets).open
 *   yield* Queue.offer(registry, ["10.0.0.1:50051", "10.0.0.2:50051", "10.0.0.1:50051", "10.0.0.3:0"])
 *   return yield* Stream.runCollect(Stream.take(updates, 1))
 * })
 * const [update] = await Effect.runPromise(Effect.scoped(program))
 * const found = update?._tag === "Endpoints" ? update : undefined
 * found?.endpoints.length // => 2
 * found?.dropped // => { count: 1, why: 'not an address: "10.0.0.3:0"' }
 * ```
 */
export const fromStream = (
  name: string,
  sets: Stream.Stream<ReadonlyArray<EndpointOptions>, unknown>,
  options: FromStreamOptions = {}
): Resolver => {
  const { refresh = () => {}, retry = defaultRetry } = options
  const rules = check(name, options)
  const open = Effect.gen(function* () {
    const publisher = yield* Publisher.make(rules)
    const waits = new Waits(retry)
    const once = Stream.runForEach(sets, (set) =>
      Effect.sync(() => {
        waits.reset()
        publisher.publish(set)
      })
    )
    const watched = Effect.gen(function* () {
      while (true) {
        const exit = yield* Effect.exit(once)
        if (Exit.isSuccess(exit)) return
        if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
        const error = toConnectError(name, Cause.squash(exit.cause))
        publisher.fail(error)
        yield* Effect.sleep((yield* waits.next(error)) ?? lastResortMillis)
      }
    })
    yield* Effect.forkScoped(watched)
    return { updates: publisher.updates, refresh }
  })
  return { name, open }
}

/** A schedule that has ended goes on with its longest wait. */
const lastResortMillis = 30_000

const toConnectError = (name: string, cause: unknown): ConnectError =>
  cause instanceof ConnectError ? cause : new ConnectError({ reason: { _tag: "Resolution", target: name }, cause })

const check = (name: string, options: FromStreamOptions): Publisher.PublisherOptions => {
  const issues = new Issues()
  const { keep = "10 minutes", max = EndpointSet.maxEndpoints, minInterval = 100 } = options
  const millis = (path: string, input: Duration.Input, most: number, rule: string) => {
    let value = NaN
    try {
      // Duration takes NaN for 0.
      value = typeof input === "number" ? input : Duration.toMillis(Duration.fromInputUnsafe(input))
    } catch {
      // reported below
    }
    issues.check(value >= 0 && value <= most, path, rule, input)
    return value
  }
  issues.check(Number.isInteger(max) && max >= 1 && max <= 100_000, "max", "an integer from 1 to 100,000", max)
  const rules = {
    name,
    max,
    minIntervalMillis: millis("minInterval", minInterval, 3_600_000, "a duration from 0 to 1 hour"),
    keepMillis: millis("keep", keep, 2_147_483_647, "a duration from 0 to 24 days")
  }
  issues.throwIfAny()
  return rules
}
