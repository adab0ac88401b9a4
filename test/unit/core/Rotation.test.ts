import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { make as demand } from "@hawser/core/Demand"
import * as RoundRobin from "@hawser/core/RoundRobin"
import * as Rotation from "@hawser/core/Rotation"
import * as Clusters from "../../support/core/clusters.ts"
import { mulberry } from "../../support/core/prng.ts"
import { settle } from "../../support/core/parts.ts"

const closed = ({ recorder }: Clusters.TestCluster) =>
  recorder.of("Closed").map(({ connection, why }) => `${connection} ${why}`)

describe("a connection's age", () => {
  it("is within a tenth of what it should be, spread evenly", () => {
    const random = mulberry(7)
    const ages = Array.from({ length: 1_000 }, () => Rotation.lifetime(1_000, random))
    assert.isAtLeast(Math.min(...ages), 900)
    assert.isAtMost(Math.max(...ages), 1_100)
    const young = ages.filter((age) => age < 1_000).length
    assert.isAbove(young, 430)
    assert.isBelow(young, 570)
    assert.strictEqual(Rotation.lifetime(Infinity, random), Infinity)
  })

  it.effect("ends it when another one is Ready in its place, and its calls run on", () =>
    Effect.gen(function* () {
      const test = yield* Clusters.make({ maxAge: "1 minute" })
      const { cluster, connector, session } = test
      const lease = yield* cluster.get()
      const old = session("a")
      connector.script = () => ({ _tag: "Hang" })
      yield* TestClock.adjust("70 seconds")
      assert.strictEqual(connector.pending.length, 1)
      // The old one lends until the new one is Ready.
      assert.strictEqual(yield* cluster.use((l) => Effect.succeed(l.id)), "a#1")
      assert.deepStrictEqual(closed(test), [])
      connector.dials[1]!.open()
      yield* settle
      assert.deepStrictEqual(closed(test), ["a#1 Age"])
      assert.strictEqual(yield* cluster.use((l) => Effect.succeed(l.id)), "a#2")
      assert.isFalse(old.closed)
      lease.release("Success")
      yield* settle
      assert.isTrue(old.closed)
      assert.strictEqual(connector.opened - connector.closed, 1)
    })
  )

  it.effect("does not end it while another one can't be had", () =>
    Effect.gen(function* () {
      const test = yield* Clusters.make({ maxAge: "1 minute" })
      const { cluster, connector } = test
      yield* settle
      connector.script = () => ({ _tag: "Refuse" })
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* cluster.use((l) => Effect.succeed(l.id)), "a#1")
      assert.deepStrictEqual(closed(test), [])
      connector.script = () => ({ _tag: "Open" })
      yield* TestClock.adjust("3 minutes")
      assert.isAbove(closed(test).length, 0)
      assert.strictEqual(connector.opened - connector.closed, 1)
    })
  )

  it.effect("one at a time where there are many", () =>
    Effect.gen(function* () {
      const { connector } = yield* Clusters.make({ maxAge: "1 minute", min: 4 })
      yield* settle
      connector.script = () => ({ _tag: "Hang" })
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(connector.pending.length, 1)
      assert.strictEqual(connector.sessions.length, 4)
      connector.script = () => ({ _tag: "Open" })
      connector.pending[0]!.open()
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(connector.opened - connector.closed, 4)
      assert.isAtLeast(connector.closed, 4)
    })
  )

  it.effect("one that nobody uses is not made anew where none is kept", () =>
    Effect.gen(function* () {
      const test = yield* Clusters.make({ maxAge: "30 seconds", min: 0 })
      yield* test.cluster.use(() => Effect.void)
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(closed(test), ["a#1 Age"])
      assert.strictEqual(test.connector.dials.length, 1)
    })
  )

  it.effect("is none at all with Infinity", () =>
    Effect.gen(function* () {
      const { connector } = yield* Clusters.make({ maxAge: Infinity })
      yield* TestClock.adjust("30 days")
      assert.strictEqual(connector.dials.length, 1)
    })
  )
})

describe("many cancelled borrows in a short time", () => {
  it.effect("exchange their connection before the server takes offence", () =>
    Effect.gen(function* () {
      const test = yield* Clusters.make({ min: 1, max: 1 })
      const { cluster } = test
      yield* cluster.awaitReady()
      const one = Effect.gen(function* () {
        const lease = yield* cluster.get()
        lease.release("Neutral")
      }).pipe(Effect.scoped)
      for (let i = 0; i < 499; i++) yield* one
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(closed(test), [])
      yield* one
      const busy = yield* cluster.get()
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(closed(test), ["a#1 Cancels"])
      busy.release("Success")
    })
  )

  it.effect("spread over a long time do nothing", () =>
    Effect.gen(function* () {
      const test = yield* Clusters.make()
      const { cluster } = test
      for (let i = 0; i < 60; i++) {
        for (let k = 0; k < 100; k++) {
          yield* Effect.scoped(Effect.map(cluster.get(), (lease) => lease.release("Neutral")))
        }
        yield* TestClock.adjust("4 seconds")
      }
      assert.deepStrictEqual(closed(test), [])
    })
  )
})

describe("connections as members (l4)", () => {
  it.effect("there are six of them, each picked and judged by itself", () =>
    Effect.gen(function* () {
      const { cluster, connector } = yield* Clusters.make({ l4: true })
      yield* cluster.awaitReady(6)
      const ids = new Set<string>()
      for (let i = 0; i < 300; i++) ids.add(yield* cluster.use((lease) => Effect.succeed(lease.id)))
      assert.strictEqual(ids.size, 6)
      assert.strictEqual(connector.dials.length, 6)
      const { root } = yield* cluster.snapshot
      assert.deepStrictEqual(
        root.children.map((child) => child.name),
        ["a/1", "a/2", "a/3", "a/4", "a/5", "a/6"]
      )
    })
  )

  it.effect("more are opened when nine tenths of the permits are taken, up to the maximum, and given back", () =>
    Effect.gen(function* () {
      const { cluster, connector } = yield* Clusters.make({ l4: true, max: 8, limit: 2 })
      yield* cluster.awaitReady(6)
      const leases = yield* Effect.all(Array.from({ length: 11 }, () => cluster.get()))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(connector.sessions.length, 7)
      leases.push(...(yield* Effect.all(Array.from({ length: 3 }, () => cluster.get()))))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(connector.sessions.length, 8)
      for (const lease of leases) lease.release("Success")
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(connector.opened - connector.closed, 6)
    })
  )

  it.effect("one that keeps failing is exchanged, for what is behind it may be another server", () =>
    Effect.gen(function* () {
      const { cluster, recorder } = yield* Clusters.make({ l4: true, min: 3, max: 3, policy: RoundRobin.policy })
      yield* cluster.awaitReady(3)
      // Calls that end badly on one connection alone.
      for (let i = 0; i < 200; i++) {
        const lease = yield* cluster.get()
        lease.release(lease.id === "a#2" ? "Failure" : "Success")
        yield* TestClock.adjust("10 millis")
      }
      assert.deepStrictEqual(
        recorder.of("Closed").map(({ connection, why }) => `${connection} ${why}`),
        ["a#2 Ejected"]
      )
      yield* cluster.awaitReady(3)
      const ids = new Set<string>()
      for (let i = 0; i < 100; i++) ids.add(yield* cluster.use((lease) => Effect.succeed(lease.id)))
      assert.deepStrictEqual([...ids].sort(), ["a#1", "a#3", "a#4"])
    })
  )

  it.effect("a second try goes over another connection, although the address is the same", () =>
    Effect.gen(function* () {
      const { cluster } = yield* Clusters.make({ l4: true })
      yield* cluster.awaitReady(6)
      for (let i = 0; i < 100; i++) {
        const first = yield* cluster.use((lease) => Effect.succeed(lease.id))
        const second = yield* cluster.use((lease) => Effect.succeed(lease.id), { avoid: new Set(["a", first]) })
        assert.notStrictEqual(second, first)
      }
    })
  )

  it.effect("the only connection to the only address is exchanged when it keeps failing", () =>
    Effect.gen(function* () {
      const { cluster, recorder } = yield* Clusters.make()
      yield* cluster.awaitReady()
      for (let i = 0; i < 5; i++) (yield* cluster.get()).release("Failure")
      const busy = yield* cluster.get(demand({ method: "/m" }))
      yield* TestClock.adjust("100 millis")
      busy.release("Success")
      assert.deepStrictEqual(
        recorder.of("Closed").map(({ connection, why }) => `${connection} ${why}`),
        ["a#1 Ejected"]
      )
    })
  )
})
