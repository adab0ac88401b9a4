/**
 * The gauges of a cluster: read when they are scraped, so that they cost a call nothing.
 *
 * | gauge | what | attributes |
 * |---|---|---|
 * | `hawser.cluster.waiting` | borrows in the wait queue | `target` |
 * | `hawser.cluster.in_flight` | borrows on connections | `target` |
 * | `hawser.cluster.connections` | connections that lend | `target` |
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"

/** What the gauges show. */
export interface Readings {
  readonly waiting: () => number
  readonly inFlight: () => number
  readonly connections: () => number
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
          const one = (id: string, description: string, read: () => number) =>
            Metric.registerUnsafe(Metric.gauge(id, { description, attributes: { target } }), context, {
              get: () => ({ value: read() }),
              update: () => {},
              modify: () => {}
            })
          return [
            one("hawser.cluster.waiting", "Borrows in the wait queue", readings.waiting),
            one("hawser.cluster.in_flight", "Borrows on connections", readings.inFlight),
            one("hawser.cluster.connections", "Connections that lend", readings.connections)
          ]
        })
      ),
      (registrations) => Effect.sync(() => registrations.forEach((r) => r.remove()))
    )
  )
