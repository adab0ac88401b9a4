import { assert, describe, it } from "@effect/vitest"
import { Cluster, Endpoint } from "@hawser/core"
import { Effect, Fiber, Option, Scheduler } from "effect"

/** Below this Effect would only ever give way. */
const smallestBudget = 3

describe("Drain", () => {
  for (const turns of [0, 1, 2, 3, 4, 5]) {
    it.live(`comes to its end although the first to ask is interrupted, after ${turns} steps`, () =>
      Effect.gen(function* () {
        const cluster = yield* Cluster.make({
          target: "t",
          endpoints: [Endpoint.makeUnsafe({ addresses: ["a:1"] })],
          connector: () => Effect.never
        })
        const first = yield* Effect.forkChild(
          Effect.provideService(cluster.drain, Scheduler.MaxOpsBeforeYield, smallestBudget),
          { startImmediately: true }
        )
        for (let i = 0; i < turns; i++) yield* Effect.yieldNow
        yield* Fiber.interrupt(first)
        // Bounded, so that the scope's own drain is reached.
        const report = yield* Effect.timeoutOption(cluster.drain, "5 seconds")
        assert.deepStrictEqual(
          Option.map(report, ({ cancelled, refused }) => [cancelled, refused]),
          Option.some([0, 0])
        )
      })
    )
  }
})
