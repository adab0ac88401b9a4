import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Balancer } from "@hawser/core/Balancer"
import { make as demand } from "@hawser/core/Demand"
import type { Lease } from "@hawser/core/Lease"
import { Pool } from "@hawser/core/Pool"
import * as RoundRobin from "@hawser/core/RoundRobin"
import { Silence } from "@hawser/core/Silence"
import { make, type TestClusterOptions } from "../../support/core/clusters.ts"
import { endpoint, leased, parts, settle, Waiter } from "../../support/core/parts.ts"
import type { ScriptedSession } from "../../support/core/ScriptedSession.ts"

const setup = (options: TestClusterOptions = {}) =>
  Effect.gen(function* () {
    const addresses = options.addresses ?? ["a", "b", "c"]
    const all = yield* make({ addresses, max: 1, policy: RoundRobin.policy, ...options })
    const { cluster, now } = all
    yield* settle
    const call = (name: string, millis = 60_000, method: string | false = "m") => {
      const avoid = new Set(addresses.filter((address) => address !== name))
      const waiter = new Waiter<ScriptedSession, unknown>(name, undefined, {
        method: method === false ? undefined : method,
        deadline: now() + millis,
        avoid
      })
      cluster.borrowUnsafe(waiter)
      return waiter
    }
    /** An answered call teaches how long the method takes. */
    const answered = (name: string, millis: number, method = "m") =>
      Effect.gen(function* () {
        const { lease } = call(name, 60_000, method)
        yield* TestClock.adjust(millis)
        leased(lease!).release("Success")
      })
    /** Where the next calls go. */
    const picks = (n = 12) => {
      const leases: Array<Lease<ScriptedSession>> = []
      for (let i = 0; i < n; i++) {
        const waiter = new Waiter<ScriptedSession, unknown>("pick")
        cluster.borrowUnsafe(waiter)
        if (waiter.lease !== undefined) leases.push(waiter.lease)
      }
      for (const lease of leases) lease.release("Neutral")
      return [...new Set(leases.map((lease) => lease.endpoint.addresses[0]))].sort().join(" ")
    }
    const facts = () =>
      all.recorder.tags.filter((tag) => ["Quarantined", "Recovered", "Ejected", "Readmitted", "Closed"].includes(tag))
    return { ...all, answered, call, facts, picks }
  })

/** The first `n` dials open, all later ones hang. */
const first = (n: number) => {
  let dials = 0
  return () => (dials++ < n ? { _tag: "Open" as const } : { _tag: "Hang" as const })
}

describe("Silence", () => {
  it.effect("puts aside a connection with an overdue call on which nothing is heard, and dials one replacement", () =>
    Effect.gen(function* () {
      const { answered, call, connector, facts, picks, recorder } = yield* setup({ script: first(3) })
      yield* answered("a", 10)
      const waiter = call("a")
      yield* TestClock.adjust(190)
      assert.deepStrictEqual(facts(), [])
      yield* TestClock.adjust(60)
      const [quarantined] = recorder.of("Quarantined")
      assert.strictEqual(quarantined?.connection, "a#1")
      assert.strictEqual(picks(), "b c")
      assert.strictEqual(connector.pending.length, 1)
      assert.strictEqual(recorder.of("Connecting").at(-1)?.why, "Replace")
      assert.strictEqual(waiter.lostTimes, 0, "nothing is given up yet")
      yield* TestClock.adjust(300)
      assert.strictEqual(connector.dials.length, 4, "one replacement")
    })
  )

  it.effect("any word lifts it, and the replacement is given up", () =>
    Effect.gen(function* () {
      const { answered, call, connector, facts, now, picks, session } = yield* setup({ script: first(3) })
      yield* answered("a", 10)
      const waiter = call("a")
      yield* TestClock.adjust(300)
      session("a").heard = now()
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(facts(), ["Quarantined", "Recovered"])
      assert.strictEqual(picks(), "a b c")
      assert.strictEqual(connector.pending.length, 0)
      assert.strictEqual(connector.sessions.length, 3)
      assert.strictEqual(waiter.lostTimes, 0)
      waiter.lease!.release("Success")
    })
  )

  it.effect("an answer in the very millisecond of the verdict lifts it, too", () =>
    Effect.gen(function* () {
      const { answered, call, facts, recorder } = yield* setup({ script: first(3) })
      yield* answered("a", 10)
      const waiter = call("a")
      yield* Effect.forkChild(
        Effect.andThen(
          recorder.nth("Quarantined"),
          Effect.sync(() => waiter.lease!.release("Success"))
        )
      )
      yield* TestClock.adjust(400)
      assert.deepStrictEqual(facts(), ["Quarantined", "Recovered"])
    })
  )

  it.effect("the replacement answers: the old path is dead, its calls are told, streams run on, it is closed", () =>
    Effect.gen(function* () {
      const { answered, call, connector, facts, recorder, session } = yield* setup()
      yield* answered("a", 10)
      const old = session("a")
      const overdue = call("a")
      const stream = call("a", 60_000, false)
      yield* TestClock.adjust(250)
      assert.strictEqual(connector.sessions.length, 4)
      assert.strictEqual(overdue.lostTimes, 0, "Ready is not yet the proof")
      yield* answered("a", 20)
      yield* TestClock.adjust(50)
      assert.strictEqual(overdue.lostTimes, 1)
      assert.strictEqual(stream.lostTimes, 0)
      assert.deepStrictEqual(recorder.of("Closed"), [
        { _tag: "Closed", endpoint: "a", connection: "a#1", why: "Replaced" }
      ])
      assert.isFalse(old.closed)
      overdue.lease!.release("Failure")
      assert.isFalse(old.closed)
      stream.lease!.release("Success")
      yield* settle
      assert.isTrue(old.closed)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(facts(), ["Quarantined", "Closed"], "the replacement stays")
      assert.strictEqual(connector.sessions.length, 3)
    })
  )

  it.effect("the replacement stays beside other connections of its endpoint, too", () =>
    Effect.gen(function* () {
      const { answered, call, connector, facts } = yield* setup({ addresses: ["a"], min: 2, max: 3 })
      yield* answered("a", 10)
      const overdue = call("a")
      yield* TestClock.adjust(250)
      assert.strictEqual(connector.sessions.length, 3)
      for (let i = 0; i < 6; i++) yield* answered("a", 5)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(overdue.lostTimes, 1)
      assert.deepStrictEqual(facts(), ["Quarantined", "Closed"])
      assert.strictEqual(connector.sessions.length, 3, "the old one has a borrow left")
      overdue.lease!.release("Failure")
      yield* settle
      assert.strictEqual(connector.sessions.length, 2)
    })
  )

  it.effect("no replacement within half a second: the endpoint is ejected, and its calls are told once", () =>
    Effect.gen(function* () {
      const { answered, call, picks, recorder } = yield* setup({ script: first(3) })
      yield* answered("a", 10)
      const waiter = call("a")
      yield* TestClock.adjust(250)
      yield* TestClock.adjust(450)
      assert.strictEqual(recorder.of("Ejected").length, 0)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(
        recorder.of("Ejected").map((e) => [e.endpoint, e.rule, e.limit]),
        [["a", "silence", 500]]
      )
      assert.strictEqual(waiter.lostTimes, 1)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(waiter.lostTimes, 1)
      assert.strictEqual(recorder.of("Ejected").length, 1)
      assert.strictEqual(picks(), "b c")
    })
  )

  it.effect("a dial that took long has three times as long", () =>
    Effect.gen(function* () {
      let dials = 0
      const { answered, call, recorder } = yield* setup({
        addresses: ["a", "b"],
        script: () => (dials++ < 2 ? { _tag: "Open", after: 400 } : { _tag: "Hang" })
      })
      yield* TestClock.adjust(400)
      yield* answered("a", 10)
      call("a")
      yield* TestClock.adjust(1_300)
      assert.strictEqual(recorder.of("Ejected").length, 0)
      yield* TestClock.adjust(200)
      assert.strictEqual(recorder.of("Ejected")[0]?.limit, 1_200)
    })
  )

  it.effect("a server that thaws is readmitted", () =>
    Effect.gen(function* () {
      const { answered, call, connector, facts, now, picks, session } = yield* setup({ script: first(3) })
      yield* answered("a", 10)
      const waiter = call("a")
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(facts(), ["Quarantined", "Ejected"])
      session("a").heard = now()
      waiter.lease!.release("Success")
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(facts(), ["Quarantined", "Ejected", "Recovered", "Readmitted"])
      assert.strictEqual(picks(), "a b c")
      assert.strictEqual(connector.pending.length, 0)
    })
  )

  it.effect("a replacement that had to wait for its server to wake up makes the next verdict no slower", () =>
    Effect.gen(function* () {
      const { answered, call, connector, recorder } = yield* setup({ addresses: ["a", "b"], script: first(2) })
      yield* answered("a", 10)
      call("a", 700)
      yield* TestClock.adjust("6 seconds")
      connector.pending[0]!.open()
      yield* settle
      const [asleep] = recorder.of("Connected").slice(-1)
      assert.isAbove(asleep!.millis, 5_000)
      // On the new connection, once another replacement may be dialled.
      yield* TestClock.adjust("10 seconds")
      yield* answered("a", 10)
      call("a")
      yield* TestClock.adjust(1_000)
      const ejected = recorder.of("Ejected")
      assert.deepStrictEqual(
        ejected.map((e) => e.limit),
        [500, 500]
      )
    })
  )

  it.effect("never ejects more than half of the endpoints", () =>
    Effect.gen(function* () {
      const { answered, call, facts, picks, recorder } = yield* setup({ script: first(3) })
      for (const name of ["a", "b", "c"]) yield* answered(name, 10)
      for (const name of ["a", "b", "c"]) call(name)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(recorder.of("Quarantined").length, 3)
      assert.strictEqual(recorder.of("Ejected").length, 1)
      assert.strictEqual(picks(), "a b c", "panic")
      assert.strictEqual(facts().filter((f) => f === "Readmitted").length, 0)
    })
  )

  it.effect("the only endpoint is never ejected, and goes on being used", () =>
    Effect.gen(function* () {
      const { answered, call, picks, recorder } = yield* setup({ addresses: ["a"], script: first(1) })
      yield* answered("a", 10)
      const waiter = call("a")
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(recorder.of("Quarantined").length, 1)
      assert.strictEqual(recorder.of("Ejected").length, 0)
      assert.strictEqual(waiter.lostTimes, 0, "there is nowhere else to go")
      assert.strictEqual(picks(), "a")
    })
  )

  it.effect("an endpoint whose other connections speak is not ejected", () =>
    Effect.gen(function* () {
      let dials = 0
      const { answered, call, recorder } = yield* setup({
        addresses: ["a", "b", "c"],
        min: 2,
        max: 2,
        script: () => (dials++ < 6 ? { _tag: "Open" } : { _tag: "Hang" })
      })
      yield* answered("a", 10)
      call("a")
      for (let i = 0; i < 30; i++) yield* answered("a", 100)
      assert.strictEqual(recorder.of("Quarantined").length, 1)
      assert.strictEqual(recorder.of("Ejected").length, 0)
    })
  )

  it.effect("at most one replacement per endpoint in ten seconds", () =>
    Effect.gen(function* () {
      const { answered, call, connector, now, session } = yield* setup({ script: first(3) })
      const starts = () => connector.dials.slice(3).map((d) => d.startedAt)
      yield* answered("a", 10)
      for (let i = 0; i < 12; i++) {
        const waiter = call("a")
        yield* TestClock.adjust(900)
        session("a").heard = now()
        waiter.lease!.release("Success")
        yield* TestClock.adjust(100)
      }
      assert.strictEqual(starts().length, 2)
      assert.isAtLeast(starts()[1]! - starts()[0]!, 10_000)
    })
  )

  it.effect("a slow handler costs nothing once it is known", () =>
    Effect.gen(function* () {
      const { call, connector, facts } = yield* setup({ addresses: ["a"] })
      const slow = Effect.gen(function* () {
        const waiter = call("a", 15_000)
        yield* TestClock.adjust("10 seconds")
        waiter.lease!.release("Success")
        yield* TestClock.adjust("1 second")
      })
      yield* slow
      assert.include(facts(), "Quarantined", "unknown: half of its deadline")
      const before = facts().length
      const dials = connector.dials.length
      for (let i = 0; i < 5; i++) yield* slow
      assert.strictEqual(facts().length, before)
      assert.strictEqual(connector.dials.length, dials)
    })
  )

  it.effect("while nothing is known, a call has half of its deadline; without one, for ever", () =>
    Effect.gen(function* () {
      const { call, recorder } = yield* setup()
      call("b", Infinity)
      call("c", 60_000, false)
      call("a", 4_000)
      yield* TestClock.adjust(1_990)
      assert.strictEqual(recorder.of("Quarantined").length, 0)
      yield* TestClock.adjust(60)
      assert.deepStrictEqual(
        recorder.of("Quarantined").map((e) => e.endpoint),
        ["a"]
      )
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(recorder.of("Quarantined").length, 1)
    })
  )

  it.effect("four times what is usual, and twice after a minute of idleness", () =>
    Effect.gen(function* () {
      const { answered, call, recorder } = yield* setup({ addresses: ["a", "b", "c"] })
      for (const name of ["a", "b"]) yield* answered(name, 1_000)
      // The estimate is a bucket: at least what was seen, at most a fifth more.
      const waiter = call("a", Infinity)
      yield* TestClock.adjust(3_990)
      assert.strictEqual(recorder.of("Quarantined").length, 0)
      yield* TestClock.adjust(900)
      assert.strictEqual(recorder.of("Quarantined").length, 1)
      waiter.lease!.release("Neutral")
      yield* TestClock.adjust("2 minutes")
      const before = recorder.of("Quarantined").length
      call("b", Infinity)
      yield* TestClock.adjust(1_990)
      assert.strictEqual(recorder.of("Quarantined").length, before)
      yield* TestClock.adjust(500)
      assert.strictEqual(recorder.of("Quarantined").length, before + 1)
    })
  )

  it.effect("a handler that turns slow for good becomes known, and costs nothing more", () =>
    Effect.gen(function* () {
      const { answered, facts, recorder } = yield* setup({ addresses: ["a"] })
      for (let i = 0; i < 5; i++) yield* answered("a", 10)
      for (let i = 0; i < 3; i++) yield* answered("a", 10_000)
      const before = facts().length
      assert.isTrue(recorder.of("Quarantined").length > 0)
      for (let i = 0; i < 10; i++) yield* answered("a", 10_000)
      assert.strictEqual(facts().length, before)
    })
  )

  it.effect("whoever is heard of is not silent, however slow", () =>
    Effect.gen(function* () {
      const { answered, call, facts, now, session } = yield* setup()
      yield* answered("a", 10)
      call("a")
      for (let i = 0; i < 100; i++) {
        yield* TestClock.adjust(150)
        session("a").heard = now()
      }
      assert.deepStrictEqual(facts(), [])
    })
  )

  it.effect("a stall of our own proves nothing", () =>
    Effect.gen(function* () {
      const { connector, options, recorder } = yield* parts()
      connector.script = () => ({ _tag: "Open" })
      const pools = ["a", "b"].map((name) => new Pool<ScriptedSession>(endpoint(name), options))
      const balancer = new Balancer({
        policy: RoundRobin.policy,
        upstreams: pools,
        random: () => 0,
        now: options.now,
        publish: options.publish,
        empty: () => {
          throw new Error("there are endpoints")
        }
      })
      for (const pool of pools) pool.start()
      yield* Effect.addFinalizer(() => Effect.forEach(pools, (p) => Effect.forEach(p.all(), (s) => s.close)))
      const silence = new Silence({
        atLeastMillis: 200,
        pools,
        balancer,
        methods: options.methods,
        publish: options.publish
      })
      options.methods.add("m", 10, 0)
      leased(pools[0]!.lease(demand({ method: "m" })))
      silence.tick(5_000, 4_900)
      silence.tick(5_050, 0)
      assert.strictEqual(recorder.of("Quarantined").length, 0)
      silence.tick(5_150, 0)
      assert.strictEqual(recorder.of("Quarantined").length, 1)
    })
  )

  it.effect("false switches it off", () =>
    Effect.gen(function* () {
      const { answered, call, facts } = yield* setup({ silence: false })
      yield* answered("a", 10)
      call("a")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(facts(), [])
    })
  )
})
