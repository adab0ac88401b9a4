import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Latch, Metric, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Cluster from "@hawser/core/Cluster"
import type { ConnectError } from "@hawser/core/ConnectError"
import { make as demand } from "@hawser/core/Demand"
import * as Health from "@hawser/core/Health"
import { HealthChecks } from "@hawser/core/HealthGate"
import type { OptionsError } from "@hawser/core/OptionsError"
import { Pool } from "@hawser/core/Pool"
import { make, type TestClusterOptions } from "../../support/core/clusters.ts"
import { endpoint, leased, parts, settle, Waiter } from "../../support/core/parts.ts"
import { ScriptedHealth } from "../../support/core/ScriptedHealth.ts"
import type { ScriptedSession } from "../../support/core/ScriptedSession.ts"

type Borrowed = Waiter<ScriptedSession, ConnectError>
const waiter = (name = "w", demand: object = {}): Borrowed => new Waiter(name, undefined, demand)

const setup = Effect.fnUntraced(function* (
  options: TestClusterOptions = {},
  scripted: ScriptedHealth = new ScriptedHealth()
) {
  const all = yield* make({ health: scripted.health, ...options })
  const { cluster, recorder } = all
  yield* settle
  const borrow = (demand: object = {}) => {
    const w = waiter("w", demand)
    cluster.borrowUnsafe(w)
    return w
  }
  const state = Effect.map(cluster.snapshot, ({ root }) => root.connectivity)
  const changes = () => recorder.of("HealthChanged").map(({ health, was }) => `${was}-${health}`)
  return { ...all, borrow, changes, scripted, state }
})

describe("the gate of a health check", () => {
  it.effect("a connection is Connecting until the first verdict, and who waits for it gets it then", () =>
    Effect.gen(function* () {
      const { borrow, recorder, scripted, state } = yield* setup()
      assert.deepStrictEqual(recorder.tags, ["Connecting", "Connected"])
      assert.strictEqual(yield* state, "Connecting")
      const w = borrow()
      assert.strictEqual(w.told, 0)
      scripted.healthy()
      assert.strictEqual(w.lease?.id, "a#1")
      assert.strictEqual(yield* state, "Ready")
    })
  )

  it.effect("an unhealthy one is out with a typed error, and is not closed: borrows in flight run on", () =>
    Effect.gen(function* () {
      const { borrow, changes, connector, recorder, scripted, state } = yield* setup()
      scripted.healthy()
      const before = borrow()
      scripted.unhealthy("NOT_SERVING")
      assert.strictEqual(yield* state, "TransientFailure")
      const refused = borrow().error!
      assert.deepStrictEqual(refused.reason, { _tag: "Unhealthy", said: "NOT_SERVING" })
      assert.strictEqual(refused.message, "Unhealthy: NOT_SERVING (a)")
      before.lease!.release("Success")
      assert.deepStrictEqual([connector.dials.length, connector.closed], [1, 0])
      // Straight back to Ready, whoever waited.
      const patient = borrow({ waitForReady: true })
      scripted.healthy()
      assert.strictEqual(patient.lease?.id, "a#1")
      assert.deepStrictEqual(changes(), ["Unknown-Healthy", "Healthy-Unhealthy", "Unhealthy-Healthy"])
      assert.strictEqual(recorder.of("Disconnected").length, 0)
    })
  )

  it.effect("what can't be asked counts as healthy, and its event says why", () =>
    Effect.gen(function* () {
      const { borrow, recorder, scripted } = yield* setup()
      scripted.say({ _tag: "Unsupported", said: "no health service" })
      assert.strictEqual(borrow().lease?.id, "a#1")
      const [event] = recorder.of("HealthChanged")
      assert.deepStrictEqual([event?.health, event?.said], ["Unsupported", "no health service"])
    })
  )

  it.effect("while it is asked anew it is Connecting: borrows wait", () =>
    Effect.gen(function* () {
      const { borrow, scripted, state } = yield* setup()
      scripted.healthy()
      scripted.say({ _tag: "Unknown" })
      assert.strictEqual(yield* state, "Connecting")
      const w = borrow()
      assert.strictEqual(w.told, 0)
      scripted.healthy()
      assert.isDefined(w.lease)
    })
  )

  it.effect("no verdict within 5 s is a bad one, first or later; one that comes late still counts", () =>
    Effect.gen(function* () {
      const { borrow, scripted, state } = yield* setup()
      yield* TestClock.adjust(4_999)
      assert.strictEqual(yield* state, "Connecting")
      yield* TestClock.adjust(1)
      assert.strictEqual(borrow().error!.message, "Unhealthy: no verdict within 5000 ms (a)")
      scripted.healthy()
      assert.strictEqual(yield* state, "Ready")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* state, "Ready")
      scripted.say({ _tag: "Unknown" })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* state, "TransientFailure")
    })
  )

  it.effect(
    "a flood of verdicts is coalesced: out at once, back ten times and then once a second, the last one holds",
    () =>
      Effect.gen(function* () {
        const { borrow, changes, recorder, scripted, state } = yield* setup()
        for (let i = 0; i < 10_000; i++) {
          scripted.healthy()
          scripted.unhealthy()
          assert.isDefined(borrow().error)
        }
        assert.isAtMost(changes().length, 22)
        assert.isAtMost(recorder.of("PickSet").length, 22)
        scripted.healthy()
        assert.strictEqual(yield* state, "TransientFailure")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* state, "Ready")
        // The same again and again is no news.
        const before = recorder.events.length
        for (let i = 0; i < 1_000; i++) scripted.healthy()
        assert.strictEqual(recorder.events.length, before)
        // A peer that goes up and down every two seconds is followed.
        for (let i = 0; i < 20; i++) {
          scripted.unhealthy()
          assert.strictEqual(yield* state, "TransientFailure")
          yield* TestClock.adjust("1 second")
          scripted.healthy()
          assert.strictEqual(yield* state, "Ready")
          yield* TestClock.adjust("1 second")
        }
      })
  )

  it.effect("stops at once when the connection ends, is lost, or drains; what it says afterwards is not heard", () =>
    Effect.gen(function* () {
      for (const how of ["goAway", "lose", "drain"] as const) {
        const { borrow, changes, cluster, scripted, session } = yield* setup({ drain: "1 minute" })
        scripted.healthy()
        const running = borrow()
        const drain = how === "drain" ? yield* Effect.forkChild(cluster.drain) : undefined
        if (how === "drain") yield* settle
        else session("a")[how]()
        assert.strictEqual(scripted.running, 0, how)
        const before = changes().length
        scripted.unhealthy("late", 1)
        assert.strictEqual(changes().length, before)
        running.lease!.release("Success")
        if (drain !== undefined) yield* Fiber.join(drain)
      }
    })
  )

  it.effect("each connection is checked anew, and none that has not been", () =>
    Effect.gen(function* () {
      const { borrow, scripted, session, state } = yield* setup()
      scripted.healthy()
      borrow().lease!.release("Success")
      session("a").goAway()
      yield* settle
      assert.deepStrictEqual([scripted.subjects.length, scripted.running, yield* state], [2, 1, "Connecting"])
      const w = borrow()
      assert.strictEqual(w.told, 0)
      scripted.healthy()
      assert.strictEqual(w.lease?.id, "a#2")
    })
  )

  it.effect("a check that dies has said that it is unhealthy", () =>
    Effect.gen(function* () {
      const defect = new Error("bug")
      const { borrow } = yield* setup({}, new ScriptedHealth({ open: () => () => Effect.die(defect) }))
      const { cause, reason } = borrow().error!
      assert.deepStrictEqual([reason, cause], [{ _tag: "Unhealthy", said: "the health check died" }, defect])
    })
  )

  it.effect("one per endpoint serves all of its connections, and ends with the last", () =>
    Effect.gen(function* () {
      const { borrow, cluster, connector, scripted } = yield* setup(
        { limit: 1, max: 3 },
        new ScriptedHealth({ per: "Endpoint" })
      )
      scripted.healthy()
      const leases = [borrow(), borrow(), borrow()]
      yield* settle
      assert.strictEqual(connector.opened, 3)
      assert.deepStrictEqual(
        leases.map((w) => w.lease?.id),
        ["a#1", "a#2", "a#3"]
      )
      assert.strictEqual(scripted.subjects.length, 1)
      scripted.unhealthy()
      assert.isDefined(borrow().error)
      for (const w of leases) w.lease!.release("Success")
      connector.sessions[0]!.goAway()
      yield* settle
      assert.strictEqual(scripted.running, 1)
      yield* cluster.drain
      assert.strictEqual(scripted.running, 0)
    })
  )

  it.effect("awaitReady counts the healthy ones, and so do the snapshot and the gauges", () =>
    Effect.gen(function* () {
      const { cluster, scripted } = yield* setup({ addresses: ["a", "b", "c"] })
      const ready = yield* Effect.forkChild(cluster.awaitReady(2))
      scripted.healthy(1)
      scripted.unhealthy("SERVICE_UNKNOWN", 2)
      yield* settle
      assert.isUndefined(ready.pollUnsafe())
      const { health, root } = yield* cluster.snapshot
      assert.deepStrictEqual(health, { total: 3, healthy: 1, unhealthy: 1, unknown: 1 })
      const details = root.children.map((pool) => pool.children[0]!.details)
      assert.deepStrictEqual(
        details.map((d) => [d["health"], d["said"]]),
        [
          ["Healthy", undefined],
          ["Unhealthy", "SERVICE_UNKNOWN"],
          ["Unknown", undefined]
        ]
      )
      const gauges = (yield* Metric.snapshot).flatMap((m) =>
        m.id === "hawser.cluster.endpoints" && m.type === "Gauge" ? [[m.attributes!["health"], m.state.value]] : []
      )
      assert.deepStrictEqual(Object.fromEntries(gauges), { healthy: 1, unhealthy: 1, unknown: 1 })
      scripted.healthy(2)
      yield* Fiber.join(ready)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )

  it.effect("among others, the unhealthy one is not picked, even when most are unhealthy", () =>
    Effect.gen(function* () {
      const { borrow, recorder, scripted } = yield* setup({ addresses: ["a", "b", "c"] })
      for (const nth of [1, 2, 3]) scripted.healthy(nth)
      scripted.unhealthy("NOT_SERVING", 1)
      scripted.unhealthy("NOT_SERVING", 3)
      for (let i = 0; i < 50; i++) assert.strictEqual(borrow().lease?.id, "b#2")
      assert.strictEqual(recorder.of("Panic").length, 0)
    })
  )

  it.effect("without a check, every connection that is open lends; what is no check is refused", () =>
    Effect.gen(function* () {
      const { borrow, recorder } = yield* setup({ health: false })
      assert.isDefined(borrow().lease)
      assert.strictEqual(recorder.of("HealthChanged").length, 0)
      const wrong = Cluster.make({
        target: "t",
        endpoints: [endpoint("a")],
        connector: () => Effect.never,
        health: {} as Health.Health<unknown>
      })
      const { issues } = yield* Effect.flip(wrong)
      assert.deepStrictEqual(
        issues.map(({ path }) => path),
        ["health"]
      )
    })
  )
})

describe("the permit of a probe", () => {
  it.effect("is taken from those of borrows, and given back with the scope", () =>
    Effect.gen(function* () {
      const { borrow, scripted } = yield* setup({ limit: 3, max: 1 })
      scripted.healthy()
      const scope = yield* Scope.make()
      yield* Scope.provide(scripted.subjects[0]!.permit, scope)
      borrow()
      borrow()
      const w = borrow()
      assert.strictEqual(w.told, 0)
      yield* Scope.close(scope, Exit.void)
      assert.isDefined(w.lease)
    })
  )

  it.effect("with a limit of one it comes between two borrows, ahead of whoever waits", () =>
    Effect.gen(function* () {
      const { borrow, scripted } = yield* setup({ limit: 1, max: 1 })
      scripted.healthy()
      const first = borrow()
      const second = borrow()
      const asked = yield* Latch.make()
      const answered = yield* Latch.make()
      const probe = yield* Effect.forkChild(
        Effect.scoped(Effect.andThen(scripted.subjects[0]!.permit, Effect.andThen(asked.open, answered.await)))
      )
      yield* settle
      assert.isUndefined(probe.pollUnsafe())
      first.lease!.release("Success")
      yield* asked.await
      assert.strictEqual(second.told, 0)
      yield* answered.open
      yield* Fiber.join(probe)
      assert.isDefined(second.lease)
    })
  )

  it.effect("who gives up waiting for it leaves nothing set aside", () =>
    Effect.gen(function* () {
      const { borrow, scripted } = yield* setup({ limit: 1, max: 1 })
      scripted.healthy()
      const first = borrow()
      const probe = yield* Effect.forkChild(Effect.scoped(scripted.subjects[0]!.permit))
      yield* settle
      yield* Fiber.interrupt(probe)
      first.lease!.release("Success")
      assert.isDefined(borrow().lease)
    })
  )

  it.effect("a connection that is given up while it is probed still counts what is in flight on it", () =>
    Effect.gen(function* () {
      const { connector, options } = yield* parts()
      const { health } = new ScriptedHealth({
        open: () => (subject) =>
          Effect.scoped(
            Effect.andThen(
              subject.permit,
              Effect.suspend(() => (subject.say(Health.healthy), Effect.never))
            )
          )
      })
      const pool = new Pool(endpoint("a"), {
        ...options,
        health: new HealthChecks({ ...options, health, target: "t" })
      })
      pool.start()
      connector.dials[0]!.open()
      yield* settle
      const lease = leased(pool.lease(demand()))
      pool.remove(pool.subchannels[0]!, "Surplus")
      assert.deepStrictEqual([pool.load(), pool.all().length], [1, 2])
      lease.release("Success")
      yield* settle
      assert.deepStrictEqual([pool.load(), connector.closed], [0, 1])
    })
  )

  it.effect("a check hears when the limit leaves room for nothing beside it", () =>
    Effect.gen(function* () {
      const { scripted, session } = yield* setup({ limit: 3 })
      scripted.healthy()
      const squeezed = yield* Effect.forkChild(scripted.subjects[0]!.squeezed)
      yield* settle
      session("a").setLimit(2)
      yield* settle
      assert.isUndefined(squeezed.pollUnsafe())
      session("a").setLimit(1)
      yield* Fiber.join(squeezed)
      assert.strictEqual(scripted.subjects[0]!.limit(), 1)
    })
  )
})

describe("Health.poll", () => {
  /** Good (`+`) and bad (`-`) answers, one a second; then the last one. */
  const answers = (text: string) => {
    let asked = 0
    const ask = Effect.suspend((): Effect.Effect<unknown, string> => {
      const answer = text[Math.min(asked++, text.length - 1)]
      return answer === "-" ? Effect.fail("no") : answer === "f" ? Effect.succeed(false) : Effect.void
    })
    return { ask, asked: () => asked }
  }
  const states = (text: string, options: Health.PollOptions = {}) =>
    Effect.gen(function* () {
      const { ask } = answers(text)
      const { state } = yield* setup({ health: Health.poll(ask, Schedule.spaced("1 second"), options) })
      const seen: Array<string> = []
      for (let i = 0; i < text.length; i++) {
        seen.push((yield* state) === "Ready" ? "+" : "-")
        yield* TestClock.adjust("1 second")
      }
      return seen.join("")
    })

  it.effect("the first answer decides; then three bad ones in a row, and one good one", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* states("+--+---+--"), "++++++-+++")
      assert.strictEqual(yield* states("-+"), "-+")
      assert.strictEqual(yield* states("f+"), "-+")
    })
  )

  it.effect("thresholds are the caller's", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* states("+-++-+++", { unhealthyAfter: 1, healthyAfter: 2 }), "+--+--++")
    })
  )

  it.effect("an answer that takes longer than the timeout is a bad one", () =>
    Effect.gen(function* () {
      const { borrow } = yield* setup({ health: Health.poll(Effect.never, undefined, { timeout: 300 }) })
      yield* TestClock.adjust(300)
      assert.strictEqual(borrow().error!.message, "Unhealthy: no answer within 300 ms (a)")
    })
  )

  it.effect("dies no death of its own, and says what failed", () =>
    Effect.gen(function* () {
      const { borrow } = yield* setup({ health: Health.poll(() => Effect.die(new Error("no route"))) })
      assert.strictEqual(borrow().error!.reason._tag, "Unhealthy")
      assert.match(borrow().error!.message, /no route/)
    })
  )

  it.effect("when its schedule has no more, the last verdict holds", () =>
    Effect.gen(function* () {
      const { ask, asked } = answers("+-")
      const schedule = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 3 }))
      const { state } = yield* setup({ health: Health.poll(ask, schedule, { unhealthyAfter: 4 }) })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([asked(), yield* state], [4, "Ready"])
    })
  )

  it.effect("asks once per endpoint where that is enough, and on a permit of each connection elsewhere", () =>
    Effect.gen(function* () {
      const polls = { Connection: 0, Endpoint: 0 }
      for (const per of ["Connection", "Endpoint"] as const) {
        const health = Health.poll(
          Effect.sync(() => polls[per]++),
          Schedule.spaced("1 second"),
          { per }
        )
        const { borrow } = yield* setup({ health, limit: 2, max: 3 })
        for (let i = 0; i < 5; i++) borrow()
        yield* settle
        polls[per] = 0
        yield* TestClock.adjust("1 second")
      }
      assert.strictEqual(polls.Endpoint, 1)
      assert.isAtMost(polls.Connection, 3)
      assert.isAtLeast(polls.Connection, 1)
    })
  )

  it.effect("options out of bounds are thrown, all at once", () =>
    Effect.sync(() => {
      const issuesOf = (f: () => unknown): ReadonlyArray<string> => {
        try {
          f()
        } catch (error) {
          return (error as OptionsError).issues.map(({ path }) => path)
        }
        return []
      }
      const poll = () =>
        Health.poll(Effect.void, {} as Schedule.Schedule<unknown>, {
          healthyAfter: 0,
          unhealthyAfter: 1.5,
          timeout: "2 days"
        })
      assert.deepStrictEqual(issuesOf(poll), ["healthyAfter", "unhealthyAfter", "timeout", "schedule"])
      const made = () => Health.make({ name: "", open: undefined as never, per: "Host" as never, within: NaN })
      assert.deepStrictEqual(issuesOf(made), ["name", "open", "per", "within"])
    })
  )
})
