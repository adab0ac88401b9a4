import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ConnectError } from "@hawser/core/ConnectError"
import { make as demand } from "@hawser/core/Demand"
import { type EndpointOptions, makeUnsafe, name } from "@hawser/core/Endpoint"
import type { Resolver, Update } from "@hawser/core/Resolver"
import * as RoundRobin from "@hawser/core/RoundRobin"
import * as Clusters from "../../support/core/clusters.ts"
import { settle } from "../../support/core/parts.ts"

/** A cluster whose endpoints the test pushes. */
const setup = Effect.fnUntraced(function* (options: Clusters.TestClusterOptions = {}) {
  const updates = yield* Queue.unbounded<Update>()
  let refreshes = 0
  const resolver: Resolver = {
    name: "pushed",
    open: Effect.succeed({ updates: Stream.fromQueue(updates), refresh: () => void refreshes++ })
  }
  const test = yield* Clusters.make({ resolver, policy: RoundRobin.policy, ...options })
  const say = (update: Update) => Effect.andThen(Queue.offer(updates, update), settle)
  const set = (...endpoints: ReadonlyArray<string | EndpointOptions>) =>
    say({
      _tag: "Endpoints",
      endpoints: endpoints.map((e) => makeUnsafe(typeof e === "string" ? { addresses: [e] } : e))
    })
  const fail = (keptForMillis: number) =>
    say({
      _tag: "Failed",
      error: new ConnectError({ reason: { _tag: "Resolution", target: "orders" } }),
      keptForMillis
    })
  const served = test.cluster.use((lease) => Effect.succeed(name(lease.endpoint)))
  const many = (n: number) =>
    Effect.map(Effect.all(Array.from({ length: n }, () => served)), (all) => [...new Set(all)].sort())
  return { ...test, set, fail, many, served, refreshes: () => refreshes }
})

describe("a set of endpoints that changes", () => {
  it.effect("waits for the first answer, and serves who waited", () =>
    Effect.gen(function* () {
      const { served, set } = yield* setup()
      const call = yield* Effect.forkChild(served)
      yield* settle
      assert.isUndefined(call.pollUnsafe())
      yield* set("a")
      assert.strictEqual(yield* Fiber.join(call), "a")
    })
  )

  it.effect("dials who comes and touches nobody who stays", () =>
    Effect.gen(function* () {
      const { connector, many, recorder, set } = yield* setup()
      yield* set("a", "b")
      assert.deepStrictEqual(yield* many(4), ["a", "b"])
      const before = [...connector.sessions]
      yield* set("b", "c", "a")
      assert.deepStrictEqual(yield* many(6), ["a", "b", "c"])
      assert.deepStrictEqual(
        connector.dials.map((dial) => dial.address),
        ["a", "b", "c"]
      )
      assert.isTrue(before.every((session) => !session.closed))
      assert.deepStrictEqual(recorder.of("Resolved"), [
        { _tag: "Resolved", added: ["a", "b"], removed: [] },
        { _tag: "Resolved", added: ["c"], removed: [] }
      ])
    })
  )

  it.effect("equal sets are no change", () =>
    Effect.gen(function* () {
      const { connector, many, recorder, set } = yield* setup()
      yield* set("a", "b")
      const events = recorder.events.length
      for (let i = 0; i < 100; i++) yield* set("a", "b")
      assert.strictEqual(recorder.events.length, events)
      assert.deepStrictEqual(yield* many(2), ["a", "b"])
      assert.strictEqual(connector.dials.length, 2)
    })
  )

  it.effect("who leaves lends no more, finishes what it has, and is closed after that", () =>
    Effect.gen(function* () {
      const { cluster, connector, many, recorder, session, set } = yield* setup()
      yield* set("a", "b")
      const lease = yield* cluster.get({ avoid: new Set(["b"]) })
      assert.strictEqual(name(lease.endpoint), "a")
      const old = session("a")
      yield* set("b")
      assert.deepStrictEqual(yield* many(4), ["b"])
      assert.isFalse(old.closed)
      lease.release("Success")
      yield* settle
      assert.isTrue(old.closed)
      assert.deepStrictEqual(
        recorder.of("Closed").map(({ connection, why }) => [connection, why]),
        [["a#1", "Removed"]]
      )
      assert.strictEqual(connector.opened - connector.closed, 1)
    })
  )

  it.effect("a dial to who leaves is given up", () =>
    Effect.gen(function* () {
      const { connector, many, set } = yield* setup({
        script: ({ address }) => (address === "a" ? { _tag: "Hang" } : { _tag: "Open" })
      })
      yield* set("a", "b")
      yield* set("b")
      assert.isTrue(connector.dials.find(({ address }) => address === "a")!.interrupted)
      assert.deepStrictEqual(yield* many(2), ["b"])
    })
  )

  it.effect("who is ejected for silence is not once it is the only one, in the same turn", () =>
    Effect.gen(function* () {
      const { cluster, connector, recorder, session, set } = yield* setup()
      yield* set("a", "b")
      connector.script = () => ({ _tag: "Hang" })
      const borrow = (avoid: string) =>
        cluster.get({ avoid: new Set([avoid]), method: "m", deadline: 100_000, lost: () => {} })
      const onA = yield* borrow("b")
      const onB = yield* borrow("a")
      for (let at = 10_000; at <= 60_000; at += 10_000) {
        yield* TestClock.adjust(9_900)
        session("b").heard = at - 100
        yield* TestClock.adjust(100)
      }
      assert.deepStrictEqual(
        recorder.of("Ejected").map(({ endpoint, rule }) => [endpoint, rule]),
        [["a", "silence"]]
      )
      assert.lengthOf(recorder.of("Readmitted"), 0)
      yield* set("a", "b", "c")
      assert.lengthOf(recorder.of("Readmitted"), 0)
      yield* set("a")
      assert.deepStrictEqual(
        recorder.of("Readmitted").map(({ endpoint, rule }) => [endpoint, rule]),
        [["a", "silence"]]
      )
      onA.release("Failure")
      onB.release("Success")
    })
  )

  it.effect("who is silent and leaves has its borrows given up, and nobody else's", () =>
    Effect.gen(function* () {
      const { cluster, connector, recorder, session, set } = yield* setup()
      yield* set("a", "b")
      connector.script = () => ({ _tag: "Hang" })
      let lost = 0
      const borrow = (avoid: string) =>
        cluster.get({ avoid: new Set([avoid]), method: "m", deadline: 100_000, lost: () => void lost++ })
      const onA = yield* borrow("b")
      const onB = yield* borrow("a")
      assert.deepStrictEqual([name(onA.endpoint), name(onB.endpoint)], ["a", "b"])
      yield* TestClock.adjust(49_900)
      session("b").heard = 49_900
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(
        recorder.of("Quarantined").map(({ endpoint }) => endpoint),
        ["a"]
      )
      assert.strictEqual(lost, 0)
      yield* set()
      assert.strictEqual(lost, 1)
      onA.release("Failure")
      onB.release("Success")
    })
  )

  it.effect("a drain waits for those on endpoints that have left", () =>
    Effect.gen(function* () {
      const { cluster, set } = yield* setup({ drain: "10 seconds" })
      yield* set("a", "b")
      const lease = yield* cluster.get({ avoid: new Set(["b"]) })
      yield* set("b")
      const drain = yield* Effect.forkChild(cluster.drain)
      yield* settle
      assert.isUndefined(drain.pollUnsafe())
      lease.release("Success")
      const { cancelled, finished } = yield* Fiber.join(drain)
      assert.deepStrictEqual([finished, cancelled], [1, 0])
    })
  )

  it.effect("after the drain nobody is dialled any more", () =>
    Effect.gen(function* () {
      const { cluster, connector, set } = yield* setup()
      yield* set("a")
      yield* cluster.drain
      yield* set("b")
      assert.deepStrictEqual(
        connector.dials.map(({ address }) => address),
        ["a"]
      )
    })
  )

  it.effect("an endpoint that is listed twice, in whatever order of its addresses, is one", () =>
    Effect.gen(function* () {
      const { connector, many, set } = yield* setup()
      yield* set({ addresses: ["a", "a2"] }, { addresses: ["a2", "a"] })
      assert.deepStrictEqual(yield* many(3), ["a"])
      assert.strictEqual(connector.dials.length, 1)
    })
  )

  it.effect("without an answer the last one stays in use for as long as the resolver says", () =>
    Effect.gen(function* () {
      const { cluster, connector, fail, many, recorder, served, set } = yield* setup()
      yield* set("a")
      yield* fail(60_000)
      assert.deepStrictEqual(yield* many(2), ["a"])
      yield* fail(0)
      const error = yield* Effect.flip(served)
      assert.deepStrictEqual(error.reason, { _tag: "Resolution", target: "orders" })
      assert.strictEqual(connector.opened - connector.closed, 0)
      assert.deepStrictEqual(
        recorder.of("ResolveFailed").map((e) => e.keptForMillis),
        [60_000, 0]
      )
      // Who waits for Ready waits that out.
      const waiting = yield* Effect.forkChild(cluster.use(() => Effect.succeed("served"), { waitForReady: true }))
      yield* settle
      yield* set("b")
      assert.strictEqual(yield* Fiber.join(waiting), "served")
    })
  )

  it.effect("a first answer that fails fails who waits", () =>
    Effect.gen(function* () {
      const { fail, served } = yield* setup()
      const call = yield* Effect.forkChild(Effect.flip(served))
      yield* settle
      yield* fail(0)
      assert.strictEqual((yield* Fiber.join(call)).reason._tag, "Resolution")
    })
  )

  it.effect("an empty answer says that there are no endpoints", () =>
    Effect.gen(function* () {
      const { served, set } = yield* setup()
      yield* set()
      assert.strictEqual((yield* Effect.flip(served)).reason._tag, "NoEndpoints")
    })
  )

  it.effect("asks for a fresh answer when a dial fails and when a connection is lost", () =>
    Effect.gen(function* () {
      const { refreshes, session, set } = yield* setup({
        script: ({ address }) => (address === "dead" ? { _tag: "Refuse" } : { _tag: "Open" })
      })
      yield* set("a")
      assert.strictEqual(refreshes(), 0)
      session("a").lose()
      yield* settle
      assert.isAbove(refreshes(), 0)
      const before = refreshes()
      yield* set("a", "dead")
      assert.isAbove(refreshes(), before)
    })
  )

  it.effect("awaitReady waits for endpoints that are still to come", () =>
    Effect.gen(function* () {
      const { cluster, set } = yield* setup()
      const ready = yield* Effect.forkChild(cluster.awaitReady(2))
      yield* set("a")
      assert.isUndefined(ready.pollUnsafe())
      yield* set("a", "b")
      yield* Fiber.join(ready)
    })
  )
})

describe("endpoints of different priorities", () => {
  const first = { addresses: ["a"], priority: 0 }
  const second = { addresses: ["b"], priority: 1 }

  it.effect("the best is used, the next only while it can't serve, and the best again when it can", () =>
    Effect.gen(function* () {
      const { connector, many, recorder, session, set } = yield* setup()
      yield* set(second, first)
      assert.deepStrictEqual(yield* many(4), ["a"])
      connector.script = ({ address }) => (address === "a" ? { _tag: "Refuse" } : { _tag: "Open" })
      session("a").lose()
      yield* settle
      assert.deepStrictEqual(yield* many(4), ["b"])
      connector.script = () => ({ _tag: "Open" })
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* many(4), ["a"])
      assert.deepStrictEqual(recorder.of("Failover"), [
        { _tag: "Failover", from: 0, to: 1 },
        { _tag: "Failover", from: 1, to: 0 }
      ])
    })
  )

  it.effect("at the start the next waits for the first dials of the best, for ten seconds", () =>
    Effect.gen(function* () {
      const { cluster, set } = yield* setup({
        script: ({ address }) => (address === "a" ? { _tag: "Hang" } : { _tag: "Open" })
      })
      yield* set(first, second)
      const call = yield* Effect.forkChild(
        cluster.use((lease) => Effect.succeed(name(lease.endpoint)), demand({ deadline: 60_000 }))
      )
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(call), "b")
    })
  )

  it.effect("a priority that changes in place moves the calls and no socket", () =>
    Effect.gen(function* () {
      const { connector, many, set } = yield* setup()
      yield* set(first, second)
      yield* set({ ...first, priority: 2 }, second)
      assert.deepStrictEqual(yield* many(4), ["b"])
      assert.strictEqual(connector.dials.length, 2)
    })
  )
})
