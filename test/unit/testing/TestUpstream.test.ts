import { assert, describe, it } from "@effect/vitest"
import { Cluster, type ConnectError, Demand, Endpoint, type Lease } from "@hawser/core"
import { Balancer } from "@hawser/core/Balancer"
import { OptionsError } from "@hawser/core/OptionsError"
import * as RoundRobin from "@hawser/core/RoundRobin"
import { TestConnector, TestUpstream } from "@hawser/testing"
import { Cause, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"

const lent = <C>(answer: Lease.Lease<C> | Lease.Refusal<unknown>): Lease.Lease<C> => {
  if (answer._tag !== "Lease") throw new Error(`refused: ${answer._tag}`)
  return answer
}

const make = (options?: Partial<TestUpstream.TestUpstreamOptions<string>>) =>
  TestUpstream.make<string, string>({ connection: "socket", ...options })

describe("a test upstream", () => {
  it.effect("refuses as its connectivity says, and tells the listeners of each change", () =>
    Effect.gen(function* () {
      const upstream = yield* make({ connectivity: "Idle" })
      const seen: Array<unknown> = []
      upstream.subscribe(() => seen.push(upstream.connectivity()))
      const asked: Array<unknown> = [upstream.lease(Demand.make())]
      upstream.become("Connecting")
      asked.push(upstream.lease(Demand.make()))
      upstream.become("TransientFailure", "refused")
      asked.push(upstream.lease(Demand.make()))
      upstream.become("Ready")
      asked.push(upstream.lease(Demand.make())._tag)
      upstream.become("Shutdown", "over")
      asked.push(upstream.lease(Demand.make()))
      assert.deepStrictEqual(asked, [
        { _tag: "Pending" },
        { _tag: "Pending" },
        { _tag: "Failing", error: "refused" },
        "Lease",
        { _tag: "Closed", error: "over" }
      ])
      assert.deepStrictEqual(seen, ["Connecting", "TransientFailure", "Ready", "Shutdown"])
      assert.strictEqual(upstream.asked, 5)
      assert.throws(() => upstream.become("Ready"), /for ever/)
    })
  )

  it.effect("lends up to its limit, which can change while leases are out", () =>
    Effect.gen(function* () {
      const upstream = yield* make({ limit: 2 })
      let changes = 0
      upstream.subscribe(() => changes++)
      const [first] = [lent(upstream.lease(Demand.make())), lent(upstream.lease(Demand.make()))]
      assert.strictEqual(upstream.lease(Demand.make())._tag, "Full")
      upstream.setLimit(1)
      first!.release("Success")
      assert.strictEqual(upstream.lease(Demand.make())._tag, "Full")
      upstream.setLimit(2)
      assert.strictEqual(upstream.lease(Demand.make())._tag, "Lease")
      assert.strictEqual(upstream.load(), 2)
      assert.strictEqual(changes, 3)
    })
  )

  it.effect("writes down who borrowed, for how long, and what came of it", () =>
    Effect.gen(function* () {
      const upstream = yield* make({ name: "a" })
      yield* TestClock.adjust("1 second")
      const demand = Demand.make({ method: "/a/b" })
      const lease = lent(upstream.lease(demand))
      assert.strictEqual(upstream.oldestSince(), 1_000)
      const observed: Array<unknown> = []
      lease.observe({
        released: (_lease, outcome, millis) => observed.push([outcome, millis, upstream.outstanding.length])
      })
      yield* TestClock.adjust("30 millis")
      lease.responded()
      yield* TestClock.adjust("1 second")
      const report = { utilization: 0.5, requestsPerSecond: 1 }
      assert.lengthOf(upstream.outstanding, 1)
      assert.strictEqual(upstream.loans[0]!.outcome, undefined)
      lease.release("Overloaded", report)
      lease.release("Success")
      assert.deepStrictEqual(upstream.loans, [
        { demand, id: "a#1", lentAt: 1_000, outcome: "Overloaded", latencyMillis: 30, report }
      ])
      assert.deepStrictEqual(observed, [["Overloaded", 30, 0]])
      assert.lengthOf(upstream.outstanding, 0)
      assert.strictEqual(upstream.oldestSince(), Infinity)
    })
  )

  it.effect("lends again after a release with Broken", () =>
    Effect.gen(function* () {
      const upstream = yield* make()
      lent(upstream.lease(Demand.make())).release("Broken")
      assert.strictEqual(upstream.lease(Demand.make())._tag, "Lease")
      assert.strictEqual(upstream.loans[0]!.outcome, "Broken")
    })
  )

  it.effect("tells borrowers once that their path is given up", () =>
    Effect.gen(function* () {
      const upstream = yield* make()
      const lost: Array<string> = []
      const borrow = (name: string) =>
        lent(upstream.lease(Demand.make({ method: "/a/b", lost: () => void lost.push(name) })))
      borrow("first").release("Success")
      borrow("second")
      upstream.giveUp()
      upstream.giveUp()
      assert.deepStrictEqual(lost, ["second"])
    })
  )

  it.effect("is passed over while it is penalised", () =>
    Effect.gen(function* () {
      const upstreams = yield* Effect.forEach(["a", "b", "c"], (name) => make({ name }))
      const balancer = new Balancer({
        policy: RoundRobin.policy,
        upstreams,
        random: () => 0,
        now: () => 0,
        publish: () => {},
        empty: () => "nobody"
      })
      const picks = () => {
        for (let n = 0; n < 6; n++) lent(balancer.lease(Demand.make())).release("Success")
        return upstreams.map((upstream) => upstream.lent)
      }
      upstreams[1]!.penalise()
      assert.deepStrictEqual(picks(), [3, 0, 3])
      upstreams[1]!.penalise(false)
      assert.deepStrictEqual(picks(), [5, 2, 5])
    })
  )

  it.effect("can be waited for", () =>
    Effect.gen(function* () {
      const upstream = yield* make()
      const fiber = yield* Effect.forkChild(upstream.awaitLent(2), { startImmediately: true })
      upstream.lease(Demand.make({ priority: 0 }))
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      upstream.lease(Demand.make({ priority: 2 }))
      assert.strictEqual((yield* Fiber.join(fiber)).demand.priority, 2)
      assert.strictEqual((yield* upstream.awaitLent(1)).demand.priority, 0)
    })
  )

  it.effect("refuses options that break a rule", () =>
    Effect.gen(function* () {
      for (const options of [{ limit: -1 }, { limit: NaN }, { limit: 1.5 }, { name: "" }]) {
        const exit = yield* Effect.exit(make(options))
        assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof OptionsError, JSON.stringify(options))
      }
      const upstream = yield* make()
      assert.throws(() => upstream.setLimit(-1), OptionsError)
    })
  )
})

interface Echo {
  readonly say: (text: string) => Effect.Effect<string, ConnectError.ConnectError>
}

const cluster = (
  script: (dial: TestConnector.TestDial<Echo>) => TestConnector.Answer,
  options?: Partial<Cluster.ClusterOptions<Echo>>
) =>
  Effect.gen(function* () {
    const connector = yield* TestConnector.make<Echo>({
      connection: (session) => ({ say: (text) => session.run(Effect.delay(Effect.succeed(text), "10 millis")) }),
      script,
      limit: 2
    })
    const made = yield* Cluster.make({
      target: "test",
      drain: 0,
      endpoints: [Endpoint.makeUnsafe({ addresses: ["a:1"] })],
      connector: connector.connect,
      ...options
    })
    const say = (text: string, demand?: Partial<Demand.Demand>) =>
      made.use((lease) => Effect.map(lease.connection.say(text), (answer) => `${answer} ${lease.id}`), demand)
    return { connector, cluster: made, say }
  })

describe("a test connector", () => {
  it.effect("opens after as long as the script says", () =>
    Effect.gen(function* () {
      const { connector, say } = yield* cluster(() => ({ _tag: "Open", after: "1 second" }))
      const fiber = yield* Effect.forkChild(say("hi"))
      const dial = yield* connector.dialled(1)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(dial.state, "Pending")
      yield* TestClock.adjust("11 millis")
      assert.strictEqual(yield* Fiber.join(fiber), "hi a:1#1")
      assert.deepInclude(dial, { state: "Open", number: 1, startedAt: 0 })
    })
  )

  it.effect("refuses, and is dialled again", () =>
    Effect.gen(function* () {
      const { connector, say } = yield* cluster(({ number }) =>
        number === 1 ? { _tag: "Refuse", reason: { _tag: "Tls", problem: "Expired" } } : { _tag: "Open" }
      )
      yield* connector.dialled(1)
      const error = yield* Effect.flip(say("hi"))
      assert.deepStrictEqual([error.reason, error.endpoint], [{ _tag: "Tls", problem: "Expired" }, "a:1"])
      const fiber = yield* Effect.forkChild(say("hi", { waitForReady: true }))
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), "hi a:1#1")
      assert.deepStrictEqual(
        connector.dials.map(({ state }) => state),
        ["Failed", "Open"]
      )
    })
  )

  it.effect("hangs until the dial times out, and is over then", () =>
    Effect.gen(function* () {
      const { connector } = yield* cluster(() => ({ _tag: "Hang" }), { connectTimeout: "5 seconds" })
      const dial = yield* connector.dialled(1)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(dial.state, "Interrupted")
      assert.throws(() => dial.open(), /over/)
      assert.throws(() => dial.fail(), /over/)
    })
  )

  it.effect("opens a hanging dial when the test says so", () =>
    Effect.gen(function* () {
      const { connector, cluster: made } = yield* cluster(() => ({ _tag: "Hang" }))
      const dial = yield* connector.dialled(1)
      const session = dial.open(7)
      yield* made.awaitReady()
      assert.strictEqual(session.limit(), 7)
      assert.deepStrictEqual(connector.sessions(), [session])
    })
  )

  it.effect("dies when the script says so, and the cluster survives", () =>
    Effect.gen(function* () {
      const { connector, say } = yield* cluster(({ number }) =>
        number === 1 ? { _tag: "Die", defect: new Error("bug") } : { _tag: "Open" }
      )
      const fiber = yield* Effect.forkChild(say("hi", { waitForReady: true }))
      yield* connector.dialled(1)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), "hi a:1#1")
    })
  )

  it.effect("has what runs on a lost connection fail, and on one that says goodbye end", () =>
    Effect.gen(function* () {
      const { connector, say } = yield* cluster(() => ({ _tag: "Open" }))
      yield* say("warm").pipe(Effect.forkChild, Effect.tap(TestClock.adjust("10 millis")), Effect.flatMap(Fiber.join))
      const [first] = connector.sessions()
      const old = yield* Effect.forkChild(say("old"), { startImmediately: true })
      first!.goAway()
      const young = yield* Effect.forkChild(say("young"), { startImmediately: true })
      const dial = yield* connector.dialled(2)
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(yield* Fiber.join(old), "old a:1#1")
      assert.strictEqual(yield* Fiber.join(young), "young a:1#2")
      const second = dial.session!
      const cut = yield* Effect.forkChild(Effect.flip(say("cut")), { startImmediately: true })
      assert.strictEqual(second.running, 1)
      second.lose()
      assert.strictEqual((yield* Fiber.join(cut)).reason._tag, "Reset")
      assert.strictEqual(second.running, 0)
      assert.isTrue(first!.closed)
    })
  )

  it.effect("keeps answers back while a connection is frozen, and lets go of who gives up", () =>
    Effect.gen(function* () {
      const { connector, say } = yield* cluster(() => ({ _tag: "Open" }), { silence: false })
      const session = (yield* connector.dialled(1)).session!
      yield* TestClock.adjust("1 second")
      session.freeze()
      const patient = yield* Effect.forkChild(say("patient"), { startImmediately: true })
      const hasty = yield* Effect.forkChild(say("hasty"), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(session.heardAt(), 1_000)
      yield* Fiber.interrupt(hasty)
      assert.strictEqual(session.running, 1)
      assert.strictEqual(patient.pollUnsafe(), undefined)
      session.thaw()
      assert.strictEqual(yield* Fiber.join(patient), "patient a:1#1")
      assert.strictEqual(session.heardAt(), 61_000)
    })
  )

  it.effect("has a frozen connection found silent, and work given up on it go elsewhere", () =>
    Effect.gen(function* () {
      const { connector, say } = yield* cluster(() => ({ _tag: "Open" }))
      const borrow = (text: string) => say(text, { method: "/a/b" })
      const once = yield* Effect.forkChild(borrow("warm"))
      yield* TestClock.adjust("10 millis")
      yield* Fiber.join(once)
      connector.sessions()[0]!.freeze()
      const stuck = yield* Effect.forkChild(borrow("stuck"), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* connector.dialled(2)).state, "Open")
      const fiber = yield* Effect.forkChild(borrow("elsewhere"))
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(yield* Fiber.join(fiber), "elsewhere a:1#2")
      yield* Fiber.interrupt(stuck)
    })
  )

  it.effect("tells who waits of a limit that is raised", () =>
    Effect.gen(function* () {
      const { connector, cluster: made } = yield* cluster(() => ({ _tag: "Open", limit: 1 }), { max: 1 })
      const first = yield* Effect.forkChild(
        made.use(() => Effect.never),
        { startImmediately: true }
      )
      const second = yield* Effect.forkChild(
        made.use((lease) => Effect.succeed(lease.id)),
        { startImmediately: true }
      )
      assert.strictEqual(second.pollUnsafe(), undefined)
      connector.sessions()[0]!.setLimit(2)
      assert.strictEqual(yield* Fiber.join(second), "a:1#1")
      yield* Fiber.interrupt(first)
    })
  )

  it.effect("closes what it opened when the scope closes, and what runs on it fails", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { connector } = yield* Scope.provide(
        cluster(() => ({ _tag: "Open" })),
        scope
      )
      const session = (yield* connector.dialled(1)).session!
      const work = yield* Effect.forkChild(Effect.flip(session.run(Effect.never)), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(session.closed)
      assert.strictEqual((yield* Fiber.join(work)).reason._tag, "Closed")
      assert.deepStrictEqual([session.limit(), session.running, connector.sessions().length], [0, 0, 0])
    })
  )
})
