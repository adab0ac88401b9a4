import { assert, describe, it } from "@effect/vitest"
import { Cluster, Endpoint, Event } from "@hawser/core"
import { Effect, Fiber, Latch } from "effect"
import { settle } from "../../support/core/parts.ts"

describe("WaitQueue", () => {
  it.effect("gives nothing to a waiter that an event of its own lease made leave", () =>
    Effect.gen(function* () {
      const ready = yield* Latch.make()
      const bus = Event.makeEvents()
      const cluster = yield* Cluster.make({
        target: "t",
        endpoints: [Endpoint.makeUnsafe({ addresses: ["a:1"] })],
        max: 2,
        drain: 0,
        connector: () =>
          Effect.as(ready.await, {
            connection: "c",
            limit: () => 1,
            heardAt: () => 0,
            ended: () => undefined,
            listen: () => {}
          })
      }).pipe(Effect.provideService(Event.Events, bus))
      const waiter = yield* Effect.forkChild(
        cluster.use(() => Effect.never),
        { startImmediately: true }
      )
      assert.strictEqual(cluster.waitingUnsafe(), 1)
      // The lease takes the last permit, so a second connection is dialled before the lease is handed over.
      const dials: Array<Event.DialReason> = []
      yield* bus.listen(({ event }) => {
        if (event._tag !== "Connecting") return
        dials.push(event.why)
        waiter.interruptUnsafe()
      })
      yield* ready.open
      yield* Fiber.await(waiter)
      // It ends within its own lease: what is lent to nobody is given back after that.
      yield* settle
      assert.deepStrictEqual(dials, ["Demand"])
      const { root, waiting } = yield* cluster.snapshot
      assert.deepStrictEqual([root.inFlight, waiting], [0, 0])
      // What it did not take is there for the next.
      assert.strictEqual(yield* cluster.use((lease) => Effect.succeed(lease.connection)), "c")
    })
  )
})
