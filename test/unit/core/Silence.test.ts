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

  it.effect(
    "the replacement answers: what may just be slow, or has no time to be done again, is left where it is",
    () =>
      Effect.gen(function* () {
        const { answered, call, facts } = yield* setup()
        yield* answered("a", 10, "quick")
        yield* answered("a", 5_000, "slow")
        const slow = call("a", 24_000, "slow")
        yield* TestClock.adjust("13 seconds")
        const unknown = call("a", 15_000, "unknown")
        yield* TestClock.adjust("7800 millis")
        assert.deepStrictEqual(facts(), ["Quarantined"])
        yield* answered("a", 20, "quick")
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(facts(), ["Quarantined", "Closed"])
        assert.strictEqual(slow.lostTimes, 0, "3 s are left of 24, and it takes 5")
        assert.strictEqual(unknown.lostTimes, 0)
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

  describe("calls that are given up before any is overdue", () => {
    /** Given up after so long, one after the other, and then nothing. */
    const impatient = (count: number, millis: number, outcome: "Neutral" | "Failure" = "Neutral") =>
      Effect.gen(function* () {
        const all = yield* setup({ script: first(3) })
        for (let i = 0; i < 25; i++) yield* all.answered("a", 100)
        for (let i = 0; i < count; i++) {
          const waiter = all.call("a")
          yield* TestClock.adjust(millis)
          waiter.lease!.release(outcome)
        }
        yield* TestClock.adjust("1 minute")
        return all
      })

    it.effect("are as good as one that is overdue, once they add up to its time", () =>
      Effect.gen(function* () {
        for (const outcome of ["Neutral", "Failure"] as const) {
          const { recorder } = yield* impatient(4, 130, outcome)
          assert.strictEqual(recorder.of("Quarantined").length, 1, outcome)
        }
      })
    )

    it.effect("prove nothing while they are few, however long nothing follows", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* impatient(2, 130)).facts(), [])
        // Three, but all in all shorter than one would have to be.
        assert.deepStrictEqual((yield* impatient(3, 125)).facts(), [])
      })
    )

    it.effect("prove nothing if none was given its usual time", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* impatient(50, 60)).facts(), [])
      })
    )

    it.effect("prove nothing if anything was heard since", () =>
      Effect.gen(function* () {
        const { answered, call, facts, now, session } = yield* setup()
        for (let i = 0; i < 25; i++) yield* answered("a", 100)
        for (let i = 0; i < 30; i++) {
          const waiter = call("a")
          yield* TestClock.adjust(150)
          waiter.lease!.release("Neutral")
          if (i % 2 === 1) session("a").heard = now()
          yield* TestClock.adjust(100)
        }
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(facts(), [])
      })
    )

    it.effect("teach no suspicion that outlives a recovery", () =>
      Effect.gen(function* () {
        const { facts, now, session } = yield* impatient(4, 130)
        session("a").heard = now()
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(facts(), ["Quarantined", "Ejected", "Recovered", "Readmitted"])
      })
    )
  })

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

  it.effect("any call can be overdue, not only the oldest", () =>
    Effect.gen(function* () {
      const { answered, call, recorder } = yield* setup()
      yield* answered("a", 5_000, "slow")
      yield* answered("a", 10, "quick")
      call("a", 60_000, "slow")
      call("a", 60_000, "quick")
      yield* TestClock.adjust(300)
      assert.strictEqual(recorder.of("Quarantined")[0]?.endpoint, "a")
    })
  )

  it.effect("an overdue call is measured from the last word, not from its start", () =>
    Effect.gen(function* () {
      const { answered, call, facts, now, session } = yield* setup()
      yield* answered("a", 1_000)
      call("a")
      for (let i = 0; i < 20; i++) {
        yield* TestClock.adjust(1_000)
        session("a").heard = now()
      }
      assert.deepStrictEqual(facts(), [])
    })
  )

  it.effect("a replacement that is Ready and was never asked proves nothing, however long", () =>
    Effect.gen(function* () {
      const { answered, call, facts, session } = yield* setup()
      yield* answered("a", 10)
      const old = session("a")
      const waiter = call("a")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(facts(), ["Quarantined"])
      assert.strictEqual(waiter.lostTimes, 0)
      assert.isFalse(old.closed)
    })
  )

  it.effect("a silent connection on which nothing runs any more is closed as soon as its replacement is Ready", () =>
    Effect.gen(function* () {
      const { answered, call, connector, recorder, session } = yield* setup({ script: first(3) })
      yield* answered("a", 10)
      const old = session("a")
      const waiter = call("a")
      yield* TestClock.adjust(300)
      waiter.lease!.release("Neutral")
      yield* TestClock.adjust(100)
      assert.isFalse(old.closed)
      connector.pending[0]!.open()
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(
        recorder.of("Closed").map((e) => [e.connection, e.why]),
        [["a#1", "Replaced"]]
      )
      assert.isTrue(old.closed)
    })
  )

  it.effect("a silent connection that breaks leaves its place to its replacement", () =>
    Effect.gen(function* () {
      const { answered, call, connector, picks, session } = yield* setup({ script: first(4) })
      yield* answered("a", 10)
      const old = session("a")
      const waiter = call("a")
      yield* TestClock.adjust(300)
      old.lose()
      waiter.lease!.release("Failure")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(connector.sessions.filter((s) => s.address === "a").length, 1)
      assert.strictEqual(connector.pending.length, 0)
      assert.strictEqual(picks(), "a b c")
    })
  )

  it.effect("a replacement that falls silent, too, ends all patience", () =>
    Effect.gen(function* () {
      const { answered, call, recorder } = yield* setup()
      yield* answered("a", 10)
      call("a")
      yield* TestClock.adjust(250)
      call("a")
      yield* TestClock.adjust(300)
      assert.strictEqual(recorder.of("Quarantined").length, 2)
      assert.strictEqual(recorder.of("Ejected").length, 1)
    })
  )

  it.effect("an ejected endpoint is readmitted by its replacement, before that has answered anything", () =>
    Effect.gen(function* () {
      const { answered, call, connector, facts, picks } = yield* setup({ script: first(3) })
      yield* answered("a", 10)
      call("a")
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(facts(), ["Quarantined", "Ejected"])
      connector.pending[0]!.open()
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(facts(), ["Quarantined", "Ejected", "Readmitted"])
      assert.strictEqual(picks(), "a b c")
    })
  )

  it.effect("is told once for each ejection, where more could be ejected", () =>
    Effect.gen(function* () {
      const { answered, call, recorder } = yield* setup({ addresses: ["a", "b", "c", "d"], script: first(4) })
      yield* answered("a", 10)
      call("a")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(recorder.of("Ejected").length, 1)
    })
  )

  describe("soon after a replacement", () => {
    it.effect("an ejected endpoint whose path is dead is dialled as soon as another replacement may be", () =>
      Effect.gen(function* () {
        // Its server is alive all the time: every dial opens. Only its connections die, one soon after the other.
        const { answered, call, connector, facts, picks } = yield* setup()
        yield* answered("a", 10)
        call("a")
        yield* TestClock.adjust(250)
        yield* answered("a", 10)
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(facts(), ["Quarantined", "Closed"], "replaced once")
        const waiter = call("a", 2_000)
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(facts().slice(2), ["Quarantined", "Ejected"])
        waiter.lease!.release("Failure")
        yield* TestClock.adjust("5 minutes")
        assert.strictEqual(connector.dials.length, 5)
        assert.strictEqual(picks(), "a b c")
      })
    )

    /** Silent once and heard again, and then silent for good, before another replacement may be dialled. */
    const again = (options: TestClusterOptions = {}) =>
      Effect.gen(function* () {
        const all = yield* setup({ script: first(3), ...options })
        yield* all.answered("a", 10)
        const once = all.call("a")
        yield* TestClock.adjust(300)
        all.session("a").heard = all.now()
        once.lease!.release("Success")
        yield* TestClock.adjust(1_000)
        assert.deepStrictEqual(all.facts(), ["Quarantined", "Recovered"])
        const waiter = all.call("a")
        yield* TestClock.adjust(300)
        assert.strictEqual(all.recorder.of("Quarantined").length, 2)
        return { ...all, waiter }
      })

    it.effect("a silent connection is not picked, although no other is dialled", () =>
      Effect.gen(function* () {
        const { connector, picks } = yield* again()
        assert.strictEqual(picks(), "b c")
        assert.strictEqual(connector.pending.length, 0)
      })
    )

    it.effect("the only endpoint goes on being used", () =>
      Effect.gen(function* () {
        const { picks } = yield* again({ addresses: ["a"], script: first(1) })
        assert.strictEqual(picks(), "a")
      })
    )

    it.effect("its endpoint is ejected without one, and its calls are told", () =>
      Effect.gen(function* () {
        const { recorder, waiter } = yield* again()
        assert.strictEqual(recorder.of("Ejected").length, 0)
        yield* TestClock.adjust(500)
        assert.strictEqual(recorder.of("Ejected").length, 1)
        assert.strictEqual(waiter.lostTimes, 1)
      })
    )

    it.effect("it is readmitted when it speaks, although nothing runs any more", () =>
      Effect.gen(function* () {
        const { facts, now, session, waiter } = yield* again()
        yield* TestClock.adjust("1 second")
        waiter.lease!.release("Neutral")
        yield* TestClock.adjust("1 second")
        session("a").heard = now()
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(facts().slice(2), ["Quarantined", "Ejected", "Recovered", "Readmitted"])
      })
    )
  })

  describe("a call whose time runs out before the verdict", () => {
    it.effect("is told when half of it is left, if it had little", () =>
      Effect.gen(function* () {
        const { answered, call, recorder } = yield* setup({ script: first(3) })
        yield* answered("a", 10)
        const waiter = call("a", 700)
        const patient = call("a")
        yield* TestClock.adjust(340)
        assert.strictEqual(recorder.of("Quarantined").length, 1)
        assert.strictEqual(waiter.lostTimes, 0)
        yield* TestClock.adjust(60)
        assert.strictEqual(waiter.lostTimes, 1)
        yield* TestClock.adjust(200)
        assert.strictEqual(recorder.of("Ejected").length, 0)
        assert.strictEqual(waiter.lostTimes, 1, "once")
        assert.strictEqual(patient.lostTimes, 0)
      })
    )

    it.effect("is told while there is time for four times what its method takes", () =>
      Effect.gen(function* () {
        let dials = 0
        const { answered, call, recorder } = yield* setup({
          script: () => (dials++ < 3 ? { _tag: "Open", after: 400 } : { _tag: "Hang" })
        })
        yield* TestClock.adjust(400)
        yield* answered("a", 256)
        const waiter = call("a", 2_600)
        yield* TestClock.adjust(2_600 - 1_024 - 10)
        assert.strictEqual(recorder.of("Quarantined").length, 1)
        assert.strictEqual(waiter.lostTimes, 0)
        yield* TestClock.adjust(60)
        assert.strictEqual(waiter.lostTimes, 1)
        assert.strictEqual(recorder.of("Ejected").length, 0)
      })
    )

    it.effect("is left alone where there is nowhere else to go", () =>
      Effect.gen(function* () {
        const { answered, call, recorder } = yield* setup({ addresses: ["a"], script: first(1) })
        yield* answered("a", 10)
        const waiter = call("a", 700)
        yield* TestClock.adjust(700)
        assert.strictEqual(recorder.of("Quarantined").length, 1)
        assert.strictEqual(waiter.lostTimes, 0)
      })
    )
  })

  describe("an answer that a silent path held up", () => {
    /** A call that is answered by a#1 after five seconds, long after it was put aside. */
    const late = (all: Effect.Success<ReturnType<typeof setup>>) =>
      Effect.gen(function* () {
        const waiter = all.call("a")
        yield* TestClock.adjust("5 seconds")
        waiter.lease!.release("Success")
        yield* TestClock.adjust("20 seconds")
      })
    const verdicts = (all: Effect.Success<ReturnType<typeof setup>>) => all.recorder.of("Quarantined").length

    it.effect("says how long the method takes where a replacement has shown that the server is alive", () =>
      Effect.gen(function* () {
        const all = yield* setup({ addresses: ["a"] })
        yield* all.answered("a", 10)
        yield* late(all)
        assert.strictEqual(verdicts(all), 1)
        all.call("a")
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(verdicts(all), 1)
      })
    )

    it.effect("says nothing of it where none has, whatever was known of an earlier silence", () =>
      Effect.gen(function* () {
        // The replacement of the first silence is Ready, that of the second is not.
        const all = yield* setup({ addresses: ["a"], script: first(2) })
        yield* all.answered("a", 10)
        const once = all.call("a")
        yield* TestClock.adjust(300)
        all.session("a").heard = all.now()
        once.lease!.release("Neutral")
        yield* TestClock.adjust("20 seconds")
        assert.strictEqual(verdicts(all), 1)
        yield* late(all)
        assert.strictEqual(verdicts(all), 2)
        all.call("a")
        yield* TestClock.adjust(300)
        assert.strictEqual(verdicts(all), 3)
      })
    )
  })

  describe("a stall of our own", () => {
    /** A detector over two endpoints whose ticks are the test's own. `m` takes 10 ms. */
    const ticking = Effect.gen(function* () {
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
      const { methods, publish } = options
      const silence = new Silence({ atLeastMillis: 200, pools, balancer, methods, publish })
      methods.add("m", 10, 0)
      return {
        tick: (now: number, deafMillis = 0) => silence.tick(now, deafMillis),
        start: (at: number, deadline = Infinity, method = "m") =>
          leased(pools[0]!.lease(demand({ method, deadline }), at)),
        aside: () => recorder.of("Quarantined").length
      }
    })

    it.effect("counts for a call only as far as that was there", () =>
      Effect.gen(function* () {
        const { aside, start, tick } = yield* ticking
        start(4_990)
        tick(5_000, 4_900)
        tick(5_180)
        assert.strictEqual(aside(), 0)
        tick(5_200)
        assert.strictEqual(aside(), 1)
      })
    )

    it.effect("that was over before a call began makes it no older", () =>
      Effect.gen(function* () {
        const { aside, start, tick } = yield* ticking
        tick(5_000, 4_900)
        start(5_150)
        tick(5_250)
        tick(5_340)
        assert.strictEqual(aside(), 0)
        tick(5_350)
        assert.strictEqual(aside(), 1)
      })
    )

    it.effect("is one of several", () =>
      Effect.gen(function* () {
        const { aside, start, tick } = yield* ticking
        start(0)
        tick(5_000, 4_950)
        tick(10_000, 4_950)
        assert.strictEqual(aside(), 0)
        tick(10_090)
        assert.strictEqual(aside(), 0)
        tick(10_100)
        assert.strictEqual(aside(), 1)
      })
    )

    it.effect("is forgotten after a minute", () =>
      Effect.gen(function* () {
        const { aside, start, tick } = yield* ticking
        // Nothing is known of this one: it is overdue after 100 s.
        start(0, 200_000, "unknown")
        tick(50_000, 50_000)
        tick(109_950)
        assert.strictEqual(aside(), 0)
        tick(110_000)
        assert.strictEqual(aside(), 1)
      })
    )
  })

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
