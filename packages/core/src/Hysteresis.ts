/**
 * Slow to believe that an endpoint is gone: Finagle's StabilizingAddr.
 *
 * A registry that restarts, or a name server that is asked in the wrong moment, forgets endpoints that are well. Who comes is
 * used at once; who goes stays for a grace period, and longer while the source itself is failing.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Stream from "effect/Stream"
import type { Endpoint } from "./Endpoint.ts"
import * as EndpointSet from "./EndpointSet.ts"
import { Issues } from "./OptionsError.ts"
import * as Outbox from "./Outbox.ts"
import { monotonicMillis } from "./Time.ts"
import type { Resolver, Update } from "./Watch.ts"

/** What hysteresis makes of an empty set. */
export interface HysteresisOptions {
  /**
   * `Grace`: all of its endpoints are gone, and stay for the grace period. `AtOnce`: somebody means it, and none stays.
   * Default `Grace`.
   */
  readonly empty?: "Grace" | "AtOnce" | undefined
}

/**
 * Keeps an endpoint that has disappeared for a grace period.
 *
 * **When to use**: around a source that forgets. Not around one that is right: calls go to an endpoint that was scaled away
 * until its connection ends.
 *
 * **Details**: `grace` is above 0, at most 24 days. An endpoint that comes back has never been away, and changes of weight,
 * priority, zone or attributes are passed on at once. While the source fails nothing is removed; when it says that its set
 * is no longer valid, everything is. At most 1,000 endpoints beyond those of the last set are kept, the latest to go. Throws
 * an `OptionsError` for options that break a rule.
 */
export const hysteresis = (resolver: Resolver, grace: Duration.Input, options: HysteresisOptions = {}): Resolver => {
  const { empty = "Grace" } = options
  const graceMillis = check(grace, empty)
  const open = Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const now = () => monotonicMillis(clock)
    const run = yield* FiberSet.makeRuntime<never, void, never>()
    const outbox = yield* Outbox.make()
    let current: ReadonlyArray<Endpoint> = []
    let failing = false
    let timing = false
    /** The gone ones, in the order in which they went. */
    const kept = new Map<string, { readonly endpoint: Endpoint; readonly until: number }>()
    const expire = (): void => {
      for (const [key, { until }] of kept) {
        if (until > now()) break
        kept.delete(key)
      }
    }
    const publish = (dropped?: Extract<Update, { _tag: "Endpoints" }>["dropped"]): void => {
      outbox.set([...current, ...Array.from(kept.values(), ({ endpoint }) => endpoint)], dropped)
      const first = kept.values().next().value
      if (first === undefined || timing) return
      timing = true
      run(Effect.delay(Effect.sync(due), first.until - now()))
    }
    const due = (): void => {
      timing = false
      // The next good set looks at them again.
      if (failing) return
      expire()
      publish()
    }
    const take = (update: Update): void => {
      failing = update._tag === "Failed"
      if (update._tag === "Failed") {
        if (update.keptForMillis === 0) {
          current = []
          kept.clear()
        }
        return outbox.failed(update.error, update.keptForMillis)
      }
      const there = new Set(update.endpoints.map(EndpointSet.key))
      for (const endpoint of current) {
        const key = EndpointSet.key(endpoint)
        if (!there.has(key)) kept.set(key, { endpoint, until: now() + graceMillis })
      }
      for (const key of there) kept.delete(key)
      current = update.endpoints
      if (empty === "AtOnce" && current.length === 0) kept.clear()
      expire()
      for (const key of kept.keys()) {
        if (kept.size <= EndpointSet.maxEndpoints) break
        kept.delete(key)
      }
      publish(update.dropped)
    }
    const watch = yield* resolver.open
    yield* Effect.forkScoped(Stream.runForEach(watch.updates, (update) => Effect.sync(() => take(update))))
    return { updates: outbox.updates, refresh: watch.refresh }
  })
  return { name: resolver.name, open }
}

const check = (grace: Duration.Input, empty: unknown): number => {
  const issues = new Issues()
  let millis = NaN
  try {
    millis = Duration.toMillis(Duration.fromInputUnsafe(grace))
  } catch {
    // reported below
  }
  issues.check(millis > 0 && millis <= 2_147_483_647, "grace", "a duration above 0, at most 24 days", grace)
  issues.check(empty === "Grace" || empty === "AtOnce", "empty", '"Grace" or "AtOnce"', empty)
  issues.throwIfAny()
  return millis
}
