/**
 * A part of the endpoints for each client: gRFC A68.
 *
 * A thousand clients of a thousand servers are a million connections. With a subset each client has a few, and each server is
 * in about as many subsets as any other.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { Endpoint } from "./Endpoint.ts"
import * as EndpointSet from "./EndpointSet.ts"
import { fnv1a, mix } from "./Hash.ts"
import { Issues } from "./OptionsError.ts"
import * as Outbox from "./Outbox.ts"
import type { Resolver } from "./Watch.ts"

/** How a subset is chosen. */
export interface SubsetOptions {
  /** Endpoints of each priority, 1 to 1,000; all of them where there are no more. A68 wants at least 20. */
  readonly size: number
  /** An integer: who has the same one chooses the same endpoints. Default: drawn when the resolver is opened. */
  readonly seed?: number | undefined
}

/**
 * Leaves each client a subset, by rendezvous hashing.
 *
 * **When to use**: where there are so many clients and servers that connections cost more than calls.
 *
 * **Details**: an endpoint that comes or goes changes at most one place of the subset. How often an endpoint is chosen by
 * many clients varies as chance does: with 1,000 clients that take 20 of 100 it is 200 ± 13 (one standard deviation). Throws
 * an `OptionsError` for options that break a rule.
 *
 * **Gotchas**: what is chosen may not be in one zone, or be well. Prefer a zone before this, not after.
 */
export const subset = (resolver: Resolver, { seed, size }: SubsetOptions): Resolver => {
  const issues = new Issues()
  issues.check(Number.isInteger(size) && size >= 1 && size <= 1_000, "size", "an integer from 1 to 1000", size)
  issues.check(seed === undefined || Number.isSafeInteger(seed), "seed", "an integer", seed)
  issues.throwIfAny()
  const open = Effect.gen(function* () {
    const outbox = yield* Outbox.make()
    const own = seed ?? (yield* Random.nextInt)
    const watch = yield* resolver.open
    yield* Effect.forkScoped(
      Stream.runForEach(watch.updates, (update) =>
        Effect.sync(() => {
          if (update._tag === "Failed") outbox.failed(update.error, update.keptForMillis)
          else outbox.set(choose(update.endpoints, size, own), update.dropped)
        })
      )
    )
    return { updates: outbox.updates, refresh: watch.refresh }
  })
  return { name: resolver.name, open }
}

const choose = (endpoints: ReadonlyArray<Endpoint>, size: number, seed: number): ReadonlyArray<Endpoint> => {
  if (endpoints.length <= size) return endpoints
  const salt = mix(fnv1a(String(seed)))
  const tiers = new Map<number, Array<{ readonly endpoint: Endpoint; readonly rank: number; readonly key: string }>>()
  for (const endpoint of endpoints) {
    const key = EndpointSet.key(endpoint)
    const tier = tiers.get(endpoint.priority) ?? []
    tier.push({ endpoint, rank: mix(fnv1a(key) ^ salt), key })
    tiers.set(endpoint.priority, tier)
  }
  const chosen = new Set<Endpoint>()
  for (const tier of tiers.values()) {
    tier.sort((a, b) => a.rank - b.rank || (a.key < b.key ? -1 : 1))
    for (const { endpoint } of tier.slice(0, size)) chosen.add(endpoint)
  }
  return endpoints.filter((endpoint) => chosen.has(endpoint))
}
