/**
 * The gauges of a cluster: read when they are scraped, so that they cost a call nothing.
 *
 * | gauge | what | attributes |
 * |---|---|---|
 * | `hawser.cluster.waiting` | borrows in the wait queue | `target` |
 * | `hawser.cluster.in_flight` | borrows on connections | `target` |
 * | `hawser.cluster.connections` | connections that lend | `target` |
 * | `hawser.cluster.ejected` | endpoints that are ejected, by outlier rules or for silence | `target` |
 * | `hawser.cluster.endpoints` | endpoints by `health`: `healthy`, `unhealthy`, `unknown` | `target`, `health` |
 * | `hawser.cluster.event_loop_lag` | the longest stall of this process in the last 30 to 60 s, in milliseconds | `target` |
 * | `hawser.cluster.too_many_pings` | how often a peer has ended a connection for that | `target` |
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { HealthStats } from "./HealthStats.ts"

/** What the gauges show. */
export interface Readings {
  readonly waiting: () => number
  readonly inFlight: () => number
  readonly connections: () => number
  readonly ejected: () => number
  readonly health: () => HealthStats
  readonly lagMillis: () => number
  readonly tooManyPings: () => number
}

/**
 * Registers the gauges in the context's metric registry, until the scope closes.
 *
 * **Gotchas**: of two clusters with one target name, the later one is shown.
 */
export const register = (target: string, readings: Readings): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.contextWith((context) =>
        Effect.sync(() => {
          const one = (id: string, description: string, read: () => number, more: Record<string, string> = {}) =>
            Metric.registerUnsafe(Metric.gauge(id, { description, attributes: { target, ...more } }), context, {
              get: () => ({ value: read() }),
              update: () => {},
              modify: () => {}
            })
          return [
            one("hawser.cluster.waiting", "Borrows in the wait queue", readings.waiting),
            one("hawser.cluster.in_flight", "Borrows on connections", readings.inFlight),
            one("hawser.cluster.connections", "Connections that lend", readings.connections),
            one("hawser.cluster.ejected", "Endpoints that are ejected", readings.ejected),
            ...(["healthy", "unhealthy", "unknown"] as const).map((health) =>
              one("hawser.cluster.endpoints", "Endpoints by health", () => readings.health()[health], { health })
            ),
            one("hawser.cluster.event_loop_lag", "Longest stall of this process, in milliseconds", readings.lagMillis),
            one("hawser.cluster.too_many_pings", "Connections that peers ended for it", readings.tooManyPings)
          ]
        })
      ),
      (registrations) => Effect.sync(() => registrations.forEach((r) => r.remove()))
    )
  )
