import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Latch, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Cluster from "@hawser/core/Cluster"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Envelope } from "@hawser/core/Event"
import { make, type TestClusterOptions } from "../../support/core/clusters.ts"
import { counted } from "../../support/core/CountingClock.ts"
import { endpoint, settle, Waiter } from "../../support/core/parts.ts"
import { ScriptedConnector } from "../../support/core/ScriptedConnector.ts"
import type { ScriptedSession } from "../../support/core/ScriptedSession.ts"

const hang = () => ({ _tag: "Hang" as const })
const refuse = () => ({ _tag: "Refuse" as const })

/** A cluster in a scope of its own, which the test closes. */
const scoped = (options: TestClusterOptions = {}) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const sleeps = { now: 0 }
    const all = yield* counted(sleeps, Scope.provide(make(options), scope))
    yield* settle
    const nothingLeft = Effect.gen(function* () {
      yield* settle
      assert.strictEqual(all.connector.opened, all.connector.closed, "connections")
      assert.strictEqual(all.connector.pending.length, 0, "dials")
      assert.strictEqual(sleeps.now, 0, "timers")
      assert.strictEqual(all.cluster.waitingUnsafe(), 0, "waiters")
      for (const { session } of all.connector.dials) {
        assert.isFalse(session?.heeded ?? false, "listeners")
      }
      const { root } = yield* all.cluster.snapshot
      assert.strictEqual(root.inFlight, 0, "borrows")
      assert.strictEqual(root.connectivity, "Shutdown")
      const error = yield* Effect.flip(all.cluster.use(() => Effect.void))
      assert.strictEqual(error.reason._tag, "Closed")
    })
    return { ...all, close: Scope.close(scope, Exit.void), nothingLeft, scope, sleeps }
  })

const inFlight = (cluster: Cluster.Cluster<unknown, unknown>) =>
  Effect.map(cluster.snapshot, ({ root }) => root.inFlight)

describe("Cluster", () => {
  describe("use", () => {
    it.effect("borrows while the effect runs", () =>
      Effect.gen(function* () {
        const { cluster, session } = yield* make()
        const out = yield* cluster.use((lease) =>
          Effect.gen(function* () {
            assert.strictEqual(lease.connection, session("a"))
            assert.strictEqual(yield* inFlight(cluster), 1)
            return "done"
          })
        )
        assert.strictEqual(out, "done")
        assert.strictEqual(yield* inFlight(cluster), 0)
      })
    )

    it.effect("gives back after failures, defects and interrupts", () =>
      Effect.gen(function* () {
        const { cluster } = yield* make()
        assert.strictEqual(yield* Effect.flip(cluster.use(() => Effect.fail("no"))), "no")
        yield* Effect.exit(cluster.use(() => Effect.die("bug")))
        yield* Effect.exit(
          cluster.use((): Effect.Effect<void> => {
            throw new Error("bug")
          })
        )
        const fiber = yield* Effect.forkChild(
          cluster.use(() => Effect.never),
          { startImmediately: true }
        )
        assert.strictEqual(yield* inFlight(cluster), 1)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* inFlight(cluster), 0)
      })
    )

    it.effect("a dial that is over at once serves the borrow that it was for, with one permit", () =>
      Effect.gen(function* () {
        const { cluster } = yield* make({ addresses: ["a", "b"], min: 0, max: 1, limit: 1 })
        const lease = yield* cluster.get()
        assert.strictEqual(cluster.waitingUnsafe(), 0)
        lease.release("Success")
        yield* Effect.scoped(Effect.andThen(cluster.get(), cluster.get()))
        assert.strictEqual(yield* inFlight(cluster), 0)
      })
    )

    it.effect("waits for a permit, and an interrupt leaves the queue", () =>
      Effect.gen(function* () {
        const { cluster } = yield* make({ limit: 1, max: 1 })
        const latch = Latch.makeUnsafe()
        const holder = yield* Effect.forkChild(
          cluster.use(() => latch.await),
          { startImmediately: true }
        )
        const waiting = yield* Effect.forkChild(
          cluster.use(() => Effect.never),
          { startImmediately: true }
        )
        const next = yield* Effect.forkChild(
          cluster.use(({ id }) => Effect.succeed(id)),
          { startImmediately: true }
        )
        assert.strictEqual(cluster.waitingUnsafe(), 2)
        yield* Fiber.interrupt(waiting)
        assert.strictEqual(cluster.waitingUnsafe(), 1)
        latch.openUnsafe()
        yield* Fiber.join(holder)
        assert.strictEqual(yield* Fiber.join(next), "a#1")
        assert.strictEqual(yield* inFlight(cluster), 0)
      })
    )

    it.effect("a failure counts for the endpoint, an interrupt does not", () =>
      Effect.gen(function* () {
        const { cluster } = yield* make({ silence: false })
        const failed = Effect.map(cluster.snapshot, ({ root }) => root.children[0]!.children[0]!.details["failed"])
        yield* Effect.exit(cluster.use(() => Effect.fail("no")))
        assert.strictEqual(yield* failed, 1)
        const fiber = yield* Effect.forkChild(
          cluster.use(() => Effect.never),
          { startImmediately: true }
        )
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* failed, 1)
      })
    )
  })

  describe("get", () => {
    it.effect("borrows until the scope closes", () =>
      Effect.gen(function* () {
        const { cluster } = yield* make({ limit: 1, max: 1 })
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* cluster.get()
            assert.strictEqual(yield* inFlight(cluster), 1)
          })
        )
        assert.strictEqual(yield* inFlight(cluster), 0)
      })
    )

    it.effect("an interrupt while it waits takes nothing", () =>
      Effect.gen(function* () {
        const { cluster } = yield* make({ limit: 1, max: 1 })
        const first = yield* cluster.get()
        const fiber = yield* Effect.forkChild(Effect.scoped(cluster.get()), { startImmediately: true })
        assert.strictEqual(cluster.waitingUnsafe(), 1)
        // Granted and interrupted in one turn.
        first.release("Success")
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(cluster.waitingUnsafe(), 0)
        assert.strictEqual(yield* inFlight(cluster), 0)
      })
    )
  })

  it.effect("borrowUnsafe answers before it returns, or hands back a place", () =>
    Effect.gen(function* () {
      const { cluster } = yield* make({ limit: 1, max: 1 })
      const one = new Waiter<ScriptedSession, ConnectError>("one")
      const two = new Waiter<ScriptedSession, ConnectError>("two")
      assert.isUndefined(cluster.borrowUnsafe(one))
      assert.isDefined(one.lease)
      const place = cluster.borrowUnsafe(two)
      assert.isDefined(place)
      place!.leave()
      one.lease!.release("Success")
      assert.strictEqual(two.told, 0)
    })
  )

  it.effect("a full queue, and a wait that is too long, say so", () =>
    Effect.gen(function* () {
      const { cluster } = yield* make({ limit: 1, max: 1, maxWaiters: 1, maxWait: "2 seconds" })
      yield* cluster.get()
      const waiting = yield* Effect.forkChild(Effect.flip(cluster.get()), { startImmediately: true })
      assert.deepStrictEqual((yield* Effect.flip(cluster.get())).reason, {
        _tag: "Saturated",
        by: "QueueLength",
        waiting: 1,
        on: "Permit"
      })
      yield* TestClock.adjust("2 seconds")
      const { reason } = yield* Fiber.join(waiting)
      assert.strictEqual(reason._tag === "Saturated" && reason.by, "QueueTime")
    })
  )

  it.effect("fails at once with the connect error, or waits it out if asked to", () =>
    Effect.gen(function* () {
      let down = true
      const { cluster, recorder } = yield* make({ script: () => (down ? refuse() : { _tag: "Open" }) })
      yield* recorder.nth("ConnectFailed")
      const error = yield* Effect.flip(cluster.use(() => Effect.void))
      assert.strictEqual(error.reason._tag, "Refused")
      const patient = yield* Effect.forkChild(
        cluster.use(({ id }) => Effect.succeed(id), { waitForReady: true }),
        {
          startImmediately: true
        }
      )
      const hasty = yield* Effect.flip(cluster.use(() => Effect.void))
      assert.strictEqual(hasty.reason._tag, "Refused", "whoever waits it out does not hold up the others")
      down = false
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(patient), "a#1")
    })
  )

  it.effect("waiters that came before the first connection are served when it is Ready", () =>
    Effect.gen(function* () {
      const { cluster, connector } = yield* make({ script: hang })
      const fibers = yield* Effect.forEach([1, 2, 3], () =>
        Effect.forkChild(
          cluster.use(({ id }) => Effect.succeed(id)),
          { startImmediately: true }
        )
      )
      assert.strictEqual(cluster.waitingUnsafe(), 3)
      connector.dials[0]!.open()
      for (const fiber of fibers) assert.strictEqual(yield* Fiber.join(fiber), "a#1")
    })
  )

  it.effect("a lost connection fails nobody who waits", () =>
    Effect.gen(function* () {
      const { cluster, session } = yield* make({ limit: 2, max: 1 })
      yield* cluster.use(() => Effect.void)
      const holders = yield* Effect.forEach([1, 2], () => cluster.get())
      const fibers = yield* Effect.forEach([1, 2, 3, 4], () =>
        Effect.forkChild(
          cluster.use(({ id }) => Effect.succeed(id)),
          { startImmediately: true }
        )
      )
      session("a").lose()
      for (const holder of holders) holder.release("Broken")
      for (const fiber of fibers) assert.strictEqual(yield* Fiber.join(fiber), "a#2")
    })
  )

  describe("awaitReady", () => {
    it.effect("succeeds when so many endpoints are Ready", () =>
      Effect.gen(function* () {
        const { cluster, connector } = yield* make({ addresses: ["a", "b", "c"], script: hang })
        const one = yield* Effect.forkChild(cluster.awaitReady(), { startImmediately: true })
        const two = yield* Effect.forkChild(cluster.awaitReady(2), { startImmediately: true })
        connector.dials[1]!.open()
        yield* Fiber.join(one)
        yield* settle
        assert.isUndefined(two.pollUnsafe())
        connector.dials[2]!.open()
        yield* Fiber.join(two)
        yield* cluster.awaitReady(2)
      })
    )

    it.effect("fails for a count that can't be reached, and when the cluster ends", () =>
      Effect.gen(function* () {
        const { close, cluster, nothingLeft } = yield* scoped({ script: hang })
        for (const count of [0, 2, 1.5, Number.NaN]) {
          assert.strictEqual((yield* Effect.flip(cluster.awaitReady(count))).reason._tag, "NoEndpoints", `${count}`)
        }
        const waiting = yield* Effect.forkChild(Effect.flip(cluster.awaitReady()), { startImmediately: true })
        yield* close
        assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "Closed")
        yield* nothingLeft
      })
    )

    it.effect("without endpoints there is nothing to wait for", () =>
      Effect.gen(function* () {
        const { cluster } = yield* make({ addresses: [] })
        assert.strictEqual((yield* Effect.flip(cluster.awaitReady())).reason._tag, "NoEndpoints")
        assert.strictEqual((yield* Effect.flip(cluster.use(() => Effect.void))).reason._tag, "NoEndpoints")
      })
    )
  })

  describe("drain", () => {
    it.effect("refuses new borrows, fails the queued, lets the rest finish, cuts what is left, and reports", () =>
      Effect.gen(function* () {
        const { close, cluster, connector, nothingLeft, recorder } = yield* scoped({
          limit: 3,
          max: 1,
          drain: "10 seconds"
        })
        const borrow = (name: string) => {
          const waiter = new Waiter<ScriptedSession, ConnectError>(name)
          cluster.borrowUnsafe(waiter)
          return waiter
        }
        const running = ["1", "2", "3"].map(borrow)
        const queued = ["4", "5"].map(borrow)
        const draining = yield* Effect.forkChild(cluster.drain, { startImmediately: true })
        yield* settle
        assert.deepStrictEqual(
          queued.map((w) => w.error?.reason._tag),
          ["Closed", "Closed"]
        )
        assert.strictEqual(borrow("6").error?.reason._tag, "Closed")
        yield* TestClock.adjust("4 seconds")
        running[0]!.lease!.release("Success")
        running[1]!.lease!.release("Failure")
        assert.strictEqual(connector.closed, 0)
        assert.isUndefined(draining.pollUnsafe())
        yield* TestClock.adjust("6 seconds")
        const report = yield* Fiber.join(draining)
        assert.deepStrictEqual(report, { finished: 2, cancelled: 1, refused: 3, elapsed: Duration.seconds(10) })
        assert.deepStrictEqual(recorder.of("Drained"), [{ _tag: "Drained", report }])
        assert.isTrue(connector.dials[0]!.session!.closed)
        assert.deepStrictEqual(yield* cluster.drain, report, "once")
        running[2]!.lease!.release("Neutral")
        yield* close
        yield* nothingLeft
      })
    )

    it.effect("ends as soon as the last borrow has", () =>
      Effect.gen(function* () {
        const { close, cluster, nothingLeft } = yield* scoped({ drain: "30 seconds" })
        const lease = yield* cluster.get().pipe(Scope.provide(yield* Scope.make()))
        const draining = yield* Effect.forkChild(cluster.drain, { startImmediately: true })
        yield* TestClock.adjust("1 second")
        lease.release("Success")
        const report = yield* Fiber.join(draining)
        assert.deepStrictEqual(report, { finished: 1, cancelled: 0, refused: 0, elapsed: Duration.seconds(1) })
        yield* close
        yield* nothingLeft
      })
    )

    it.effect("dials no more", () =>
      Effect.gen(function* () {
        const { close, cluster, connector, nothingLeft, session } = yield* scoped({ drain: "30 seconds" })
        const lease = yield* cluster.get().pipe(Scope.provide(yield* Scope.make()))
        const draining = yield* Effect.forkChild(cluster.drain, { startImmediately: true })
        yield* settle
        session("a").goAway()
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(connector.dials.length, 1)
        lease.release("Success")
        yield* Fiber.join(draining)
        yield* close
        yield* nothingLeft
      })
    )

    it.effect("dials no more, to none of the endpoints, while it waits for the last borrow", () =>
      Effect.gen(function* () {
        const { cluster, connector, session } = yield* make({ addresses: ["a", "b"], drain: "30 seconds" })
        const waiter = new Waiter<ScriptedSession, unknown>("w", undefined, { avoid: new Set(["a"]) })
        cluster.borrowUnsafe(waiter)
        const draining = yield* Effect.forkChild(cluster.drain, { startImmediately: true })
        session("b").goAway()
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(connector.dials.length, 2)
        waiter.lease!.release("Success")
        yield* Fiber.join(draining)
      })
    )

    it.effect("happens once, and counts only those whom it refused itself", () =>
      Effect.gen(function* () {
        const { cluster, recorder } = yield* make({ limit: 1, max: 1, maxWaiters: 0 })
        yield* settle
        for (const name of ["granted", "too many"]) cluster.borrowUnsafe(new Waiter(name))
        const [one, other] = yield* Effect.all([cluster.drain, cluster.drain])
        assert.strictEqual(one, other)
        yield* settle
        assert.strictEqual(one.refused, 0)
        assert.strictEqual(recorder.of("Drained").length, 1)
      })
    )

    it.effect("goes on when whoever asked for it is interrupted", () =>
      Effect.gen(function* () {
        const { close, cluster } = yield* scoped({ drain: "5 seconds" })
        yield* cluster.get().pipe(Scope.provide(yield* Scope.make()))
        const draining = yield* Effect.forkChild(cluster.drain, { startImmediately: true })
        yield* settle
        yield* Fiber.interrupt(draining)
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* cluster.drain).cancelled, 1)
        yield* close
      })
    )
  })

  describe("closing its scope leaves nothing", () => {
    it.effect("in mid-dial", () =>
      Effect.gen(function* () {
        const { close, connector, nothingLeft } = yield* scoped({ addresses: ["a", "b"], min: 2, script: hang })
        assert.strictEqual(connector.pending.length, 4)
        yield* close
        assert.isTrue(connector.dials.every((dial) => dial.interrupted))
        yield* nothingLeft
      })
    )

    it.effect("while dials are waited out", () =>
      Effect.gen(function* () {
        const { close, nothingLeft, recorder } = yield* scoped({ script: refuse })
        yield* recorder.nth("ConnectFailed")
        yield* close
        yield* nothingLeft
      })
    )

    it.effect("in mid-wait: waiters are told", () =>
      Effect.gen(function* () {
        const { close, cluster, nothingLeft } = yield* scoped({ script: hang })
        const fiber = yield* Effect.forkChild(Effect.flip(cluster.use(() => Effect.void)), { startImmediately: true })
        const raw = new Waiter<ScriptedSession, ConnectError>("raw")
        cluster.borrowUnsafe(raw)
        yield* close
        assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Closed")
        assert.strictEqual(raw.error?.reason._tag, "Closed")
        yield* nothingLeft
      })
    )

    it.effect("in mid-borrow: what is left after the drain is cut", () =>
      Effect.gen(function* () {
        const { close, cluster, nothingLeft, session } = yield* scoped({ drain: "3 seconds" })
        const cut = yield* Deferred.make<void>()
        session("a").start({ cut: () => Deferred.doneUnsafe(cut, Effect.void) })
        const user = yield* Effect.forkChild(
          cluster.use(() => Deferred.await(cut)),
          { startImmediately: true }
        )
        const closing = yield* Effect.forkChild(close, { startImmediately: true })
        yield* TestClock.adjust(2_999)
        assert.isUndefined(user.pollUnsafe())
        yield* TestClock.adjust(1)
        yield* Fiber.join(closing)
        yield* Fiber.join(user)
        yield* nothingLeft
      })
    )

    it.effect("with the silence detector at work", () =>
      Effect.gen(function* () {
        const { close, cluster, nothingLeft, recorder } = yield* scoped({ drain: 0, addresses: ["a", "b"] })
        const waiter = new Waiter<ScriptedSession, ConnectError>("w", undefined, { method: "m", deadline: 1_000 })
        cluster.borrowUnsafe(waiter)
        yield* TestClock.adjust(600)
        assert.strictEqual(recorder.of("Quarantined").length, 1)
        yield* close
        waiter.lease!.release("Neutral")
        yield* nothingLeft
      })
    )
  })

  it.effect("reports all options out of range in one error, and dials nothing", () =>
    Effect.gen(function* () {
      const connector = new ScriptedConnector(yield* Clock.Clock)
      const error = yield* Effect.flip(
        Effect.scoped(
          Cluster.make({
            target: "test",
            endpoints: [endpoint("a", "b"), endpoint("c"), endpoint("b", "a")],
            connector: connector.connect,
            min: 5,
            max: 2,
            maxStreams: 0,
            maxWaiters: -1,
            connectTimeout: 0,
            maxWait: Infinity,
            silence: { atLeast: 10 },
            drain: "30 days"
          })
        )
      )
      assert.strictEqual(error._tag, "OptionsError")
      assert.sameMembers(
        error.issues.map((issue) => issue.path),
        ["max", "maxStreams", "maxWaiters", "endpoints[2]", "connectTimeout", "maxWait", "silence.atLeast", "drain"]
      )
      assert.strictEqual(connector.dials.length, 0)
    })
  )

  for (const [name, value] of [
    ["min", 101],
    ["max", 0],
    ["max", 1.5],
    ["maxStreams", Number.NaN]
  ] as const) {
    it.effect(`refuses ${name} = ${value}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(make({ [name]: value }))
        assert.deepStrictEqual(
          error.issues.map((issue) => issue.path),
          [name]
        )
      })
    )
  }

  it.effect("numbers its events without gaps, and stamps them", () =>
    Effect.gen(function* () {
      const { recorder, session } = yield* make({ addresses: ["a", "b"] })
      yield* TestClock.adjust("11 seconds")
      session("a").lose()
      yield* recorder.nth("Connected", 3)
      assert.isAbove(recorder.envelopes.length, 8)
      recorder.envelopes.forEach((envelope, i) => {
        assert.strictEqual(envelope.seq, i)
        assert.strictEqual(envelope.cluster, "test")
      })
      assert.strictEqual(recorder.envelopes.at(-1)!.monotonicMillis, 11_000)
    })
  )

  it.effect("a slow reader of its events loses the oldest and sees the gap", () =>
    Effect.gen(function* () {
      const { cluster, connector, recorder } = yield* make({ reconnect: undefined })
      yield* cluster.awaitReady()
      const gate = Latch.makeUnsafe()
      const seen: Array<Envelope> = []
      const reader = yield* Effect.forkChild(
        Stream.runForEach(cluster.events, (envelope) =>
          Effect.andThen(
            Effect.sync(() => seen.push(envelope)),
            gate.await
          )
        ),
        { startImmediately: true }
      )
      yield* settle
      for (let i = 0; i < 400; i++) {
        yield* cluster.use(() => Effect.void)
        connector.sessions[0]!.goAway()
        yield* settle
      }
      const published = recorder.envelopes.length
      assert.isAbove(published, 1_100)
      gate.openUnsafe()
      for (let i = 0; i < 10; i++) yield* settle
      yield* Fiber.interrupt(reader)
      assert.strictEqual(seen.at(-1)!.seq, published - 1)
      const gaps = seen.slice(1).map((envelope, i) => envelope.seq - seen[i]!.seq - 1)
      const lost = gaps.reduce((a, b) => a + b, 0)
      assert.isAbove(lost, 0)
      assert.strictEqual(seen.at(-1)!.seq - seen[0]!.seq + 1 - seen.length, lost)
      assert.strictEqual(gaps.filter((gap) => gap > 0).length, 1)
    })
  )

  it.effect("a snapshot shows the tree, and who waits", () =>
    Effect.gen(function* () {
      const { cluster } = yield* make({ addresses: ["a", "b"], limit: 1, max: 1 })
      yield* cluster.get()
      yield* cluster.get()
      const waiter = new Waiter<ScriptedSession, ConnectError>("w")
      const place = cluster.borrowUnsafe(waiter)
      const { root, target, waiting } = yield* cluster.snapshot
      assert.strictEqual(target, "test")
      assert.strictEqual(waiting, 1)
      assert.deepStrictEqual([root.kind, root.inFlight, root.connectivity], ["balancer", 2, "Ready"])
      assert.deepStrictEqual(
        root.children.map((c) => [c.kind, c.name, c.inFlight]),
        [
          ["pool", "a", 1],
          ["pool", "b", 1]
        ]
      )
      assert.deepStrictEqual(
        root.children.map((c) => c.children.map((s) => s.name)),
        [["a#1"], ["b#2"]]
      )
      place!.leave()
    })
  )

  it.effect("opens one connection where one is enough", () =>
    Effect.gen(function* () {
      const { cluster, connector } = yield* make({ limit: 100 })
      for (let i = 0; i < 89; i++) yield* cluster.get()
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(connector.dials.length, 1)
      yield* cluster.get()
      assert.strictEqual(connector.dials.length, 2)
    })
  )

  it.effect("gives back what it does not need, one connection a minute", () =>
    Effect.gen(function* () {
      const { cluster, connector } = yield* make({ limit: 1 })
      const scope = yield* Scope.make()
      for (let i = 0; i < 4; i++) {
        yield* Scope.provide(cluster.get(), scope)
        yield* settle
      }
      assert.strictEqual(connector.sessions.length, 4)
      yield* Scope.close(scope, Exit.void)
      const left: Array<number> = []
      for (let i = 0; i < 6; i++) {
        yield* TestClock.adjust("1 minute")
        left.push(connector.sessions.length)
      }
      assert.deepStrictEqual(left, [4, 3, 2, 1, 1, 1])
    })
  )
})
