import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Metric, Scope } from "effect"
import { make } from "../../support/core/clusters.ts"
import { settle, Waiter } from "../../support/core/parts.ts"

/** The gauges of the cluster `test`, as they are scraped. */
const gauges = Effect.map(Metric.snapshot, (all) =>
  all.flatMap((metric) =>
    metric.type === "Gauge" && metric.attributes?.["target"] === "test"
      ? [[`${metric.id} ${metric.attributes["health"] ?? ""}`.trim(), metric.state.value]]
      : []
  )
)

describe("the gauges of a cluster", () => {
  it.effect("show who waits, what is in flight and what lends, until it is closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { cluster } = yield* Scope.provide(make({ addresses: ["a", "b"], limit: 2, max: 1 }), scope)
      yield* settle
      for (let i = 0; i < 5; i++) cluster.borrowUnsafe(new Waiter(`${i}`))
      assert.deepStrictEqual(Object.fromEntries(yield* gauges), {
        "hawser.cluster.waiting": 1,
        "hawser.cluster.in_flight": 4,
        "hawser.cluster.connections": 2,
        "hawser.cluster.ejected": 0,
        "hawser.cluster.endpoints healthy": 2,
        "hawser.cluster.endpoints unhealthy": 0,
        "hawser.cluster.endpoints unknown": 0,
        "hawser.cluster.event_loop_lag": 0,
        "hawser.cluster.too_many_pings": 0
      })
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* gauges, [])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})
