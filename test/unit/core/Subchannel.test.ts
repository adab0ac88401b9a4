import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Latch, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { ConnectError } from "@hawser/core/ConnectError"
import { make as demand } from "@hawser/core/Demand"
import { Subchannel } from "@hawser/core/Subchannel"
import { endpoint, leased, parts, type PartsOptions, settle } from "../../support/core/parts.ts"
import { type Answer } from "../../support/core/ScriptedConnector.ts"
import { ScriptedSession } from "../../support/core/ScriptedSession.ts"

const setup = (options: PartsOptions = {}, script: () => Answer = () => ({ _tag: "Hang" })) =>
  Effect.gen(function* () {
    const all = yield* parts(options)
    all.connector.script = script
    const subchannel = new Subchannel(endpoint("a"), "Min", all.options)
    const states: Array<string> = []
    subchannel.subscribe(() => {
      if (states.at(-1) !== subchannel.connectivity()) states.push(subchannel.connectivity())
    })
    subchannel.start()
    yield* Effect.addFinalizer(() => subchannel.close)
    return { ...all, states, subchannel }
  })

/** An exact backoff: 1 s, 2 s, 4 s, … */
const exact = Schedule.exponential("1 second")

describe("Subchannel", () => {
  it.effect("is Pending while it dials, lends when Ready, and closes what it opened", () =>
    Effect.gen(function* () {
      const { connector, recorder, subchannel } = yield* setup()
      assert.strictEqual(subchannel.connectivity(), "Connecting")
      assert.strictEqual(subchannel.lease(demand())._tag, "Pending")
      yield* TestClock.adjust(70)
      connector.dials[0]!.open()
      const connected = yield* recorder.nth("Connected")
      assert.deepStrictEqual(connected, { _tag: "Connected", endpoint: "a", connection: "a#1", millis: 70 })
      assert.strictEqual(subchannel.connectivity(), "Ready")
      const lease = leased(subchannel.lease(demand()))
      assert.strictEqual(lease.id, "a#1")
      lease.release("Success")
      yield* subchannel.close
      assert.strictEqual(connector.closed, 1)
      assert.isFalse(connector.dials[0]!.session!.heeded)
      assert.strictEqual(subchannel.lease(demand())._tag, "Closed")
    })
  )

  it.effect("gives up a dial after the connect timeout", () =>
    Effect.gen(function* () {
      const { connector, recorder } = yield* setup({ connectTimeout: "5 seconds", reconnect: exact })
      yield* TestClock.adjust(4_999)
      assert.isFalse(connector.dials[0]!.interrupted)
      yield* TestClock.adjust(1)
      const failed = yield* recorder.nth("ConnectFailed")
      assert.isTrue(connector.dials[0]!.interrupted)
      assert.deepStrictEqual(failed.error.reason, { _tag: "TimedOut", after: Duration.seconds(5) })
      assert.strictEqual(connector.pending.length, 1, "the backoff has passed while it dialled")
    })
  )

  it.effect("measures the backoff from the start of the attempt", () =>
    Effect.gen(function* () {
      const { connector, recorder, subchannel } = yield* setup({ reconnect: exact }, () => ({
        _tag: "Refuse",
        after: 300
      }))
      yield* TestClock.adjust("10 seconds")
      const starts = connector.dials.map((d) => d.startedAt)
      assert.deepStrictEqual(starts, [0, 1_000, 3_000, 7_000])
      assert.deepStrictEqual(
        recorder.of("ConnectFailed").map((e) => e.retryInMillis),
        [700, 1_700, 3_700, 7_700]
      )
      const refusal = subchannel.lease(demand())
      assert.strictEqual(refusal._tag === "Failing" && refusal.error.reason._tag, "Refused")
      assert.strictEqual(subchannel.connectivity(), "TransientFailure")
    })
  )

  it.effect("the first loss of a young connection fails nobody who waits; the second one in a row does", () =>
    Effect.gen(function* () {
      const { connector, subchannel } = yield* setup({ reconnect: exact }, () => ({ _tag: "Open" }))
      yield* settle
      connector.dials[0]!.session!.lose()
      yield* settle
      assert.strictEqual(subchannel.connectivity(), "Connecting")
      assert.strictEqual(subchannel.lease(demand())._tag, "Pending")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(subchannel.connectivity(), "Ready")
      connector.dials[1]!.session!.lose()
      yield* settle
      assert.strictEqual(subchannel.connectivity(), "TransientFailure")
    })
  )

  it.effect("a server that accepts and closes is not dialled in a spin", () =>
    Effect.gen(function* () {
      const { connector, recorder } = yield* setup({ reconnect: exact }, () => ({ _tag: "Open" }))
      for (let i = 0; i < 200; i++) {
        for (const session of connector.sessions) session.lose()
        yield* TestClock.adjust(50)
      }
      assert.deepStrictEqual(
        connector.dials.map((d) => d.startedAt),
        [0, 1_000, 3_000, 7_000]
      )
      assert.strictEqual(recorder.of("Disconnected").length, recorder.of("Connected").length)
      assert.strictEqual(connector.opened, connector.closed)
    })
  )

  it.effect("an unproven connection keeps the backoff, an answer or ten seconds reset it", () =>
    Effect.gen(function* () {
      for (const [proof, gap] of [
        ["none", 8_000],
        ["answer", 0],
        ["age", 0]
      ] as const) {
        const opened: Array<number> = []
        const { connector, subchannel } = yield* setup({ reconnect: exact }, () => {
          opened.push(opened.length)
          return opened.length <= 3 ? { _tag: "Refuse" } : { _tag: "Open" }
        })
        yield* TestClock.adjust("7 seconds")
        const start = connector.dials[3]!.startedAt
        if (proof === "answer") leased(subchannel.lease(demand())).release("Success")
        else leased(subchannel.lease(demand())).release("Failure")
        if (proof === "age") yield* TestClock.adjust("10 seconds")
        const lostAt = start + (proof === "age" ? 10_000 : 0)
        connector.sessions[0]!.lose()
        yield* TestClock.adjust("9 seconds")
        assert.strictEqual(connector.dials[4]!.startedAt, lostAt + gap, proof)
        if (proof !== "none") {
          connector.sessions[0]!.lose()
          yield* TestClock.adjust("1 minute")
          assert.isAtMost(connector.dials[5]!.startedAt - connector.dials[4]!.startedAt, 9_000, "the first delay again")
        }
        yield* subchannel.close
        assert.strictEqual(connector.opened, connector.closed)
      }
    })
  )

  it.effect("a connection that says goodbye before its first answer proves itself with that answer", () =>
    Effect.gen(function* () {
      const { connector, subchannel } = yield* setup({ reconnect: exact }, () => ({ _tag: "Open" }))
      for (let i = 0; i < 10; i++) {
        const lease = leased(subchannel.lease(demand()))
        connector.sessions.at(-1)!.goAway()
        yield* TestClock.adjust(5)
        assert.notStrictEqual(subchannel.connectivity(), "Ready")
        lease.release("Success")
        yield* settle
        assert.strictEqual(subchannel.connectivity(), "Ready", `after the goodbye ${i}`)
      }
      assert.strictEqual(connector.dials.length, 11)
      yield* subchannel.close
      assert.strictEqual(connector.opened, connector.closed)
    })
  )

  it.effect("GOAWAY: old borrows run on, the connection closes after the last one, new ones go to the next", () =>
    Effect.gen(function* () {
      const { connector, recorder, states, subchannel } = yield* setup()
      connector.dials[0]!.open()
      yield* settle
      const one = leased(subchannel.lease(demand()))
      const two = leased(subchannel.lease(demand()))
      leased(subchannel.lease(demand())).release("Success")
      const session = connector.sessions[0]!
      session.goAway()
      assert.notStrictEqual(subchannel.lease(demand())._tag, "Lease")
      ;(yield* connector.dialled(2)).open()
      yield* recorder.nth("Connected", 2)
      yield* settle
      assert.deepStrictEqual(states, ["Ready", "Connecting", "Ready"])
      const disconnected = recorder.of("Disconnected")[0]!
      assert.strictEqual(disconnected.inFlight, 2)
      assert.strictEqual(leased(subchannel.lease(demand())).id, "a#2")
      one.release("Success")
      assert.isFalse(session.closed)
      assert.strictEqual(subchannel.load(), 2)
      two.release("Success")
      yield* settle
      assert.isTrue(session.closed)
      assert.strictEqual(subchannel.draining.length, 0)
      assert.strictEqual(subchannel.load(), 1)
    })
  )

  it.effect("a broken connection is no longer Ready before anybody is woken", () =>
    Effect.gen(function* () {
      const { connector, recorder, subchannel } = yield* setup({}, () => ({ _tag: "Open" }))
      const lease = leased(subchannel.lease(demand()))
      leased(subchannel.lease(demand())).release("Success")
      const seen: Array<string> = []
      subchannel.subscribe(() => seen.push(`${subchannel.connectivity()} ${subchannel.lease(demand())._tag}`))
      lease.release("Broken")
      assert.strictEqual(seen[0], "Connecting Pending")
      yield* recorder.nth("Connected", 2)
      assert.strictEqual(recorder.of("Disconnected").length, 1)
      assert.strictEqual(connector.closed, 1)
    })
  )

  describe("retired", () => {
    it.effect("while it dials: the dial is given up", () =>
      Effect.gen(function* () {
        const { connector, subchannel } = yield* setup()
        subchannel.retire("Surplus")
        yield* settle
        assert.isTrue(connector.dials[0]!.interrupted)
        assert.strictEqual(subchannel.lease(demand())._tag, "Closed")
      })
    )

    it.effect("in the turn in which the dial succeeds: what was opened is closed, and it is not Ready", () =>
      Effect.gen(function* () {
        const { connector, recorder, subchannel } = yield* setup()
        connector.dials[0]!.open()
        subchannel.retire("Surplus")
        yield* settle
        assert.strictEqual(subchannel.connectivity(), "Shutdown")
        assert.strictEqual(connector.opened, connector.closed)
        assert.strictEqual(recorder.of("Connected").length, recorder.of("Closed").length)
      })
    )

    it.effect("while Ready and idle: closed at once", () =>
      Effect.gen(function* () {
        const { connector, recorder, subchannel } = yield* setup({}, () => ({ _tag: "Open" }))
        subchannel.retire("Surplus")
        yield* settle
        assert.strictEqual(connector.closed, 1)
        assert.deepStrictEqual(recorder.of("Closed"), [
          { _tag: "Closed", endpoint: "a", connection: "a#1", why: "Surplus" }
        ])
      })
    )

    it.effect("while Ready and busy: closed after the last borrow, and not dialled again", () =>
      Effect.gen(function* () {
        const { connector, subchannel } = yield* setup({}, () => ({ _tag: "Open" }))
        const lease = leased(subchannel.lease(demand()))
        subchannel.retire("Replaced")
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(connector.closed, 0)
        lease.release("Success")
        yield* settle
        assert.strictEqual(connector.closed, 1)
        assert.strictEqual(connector.dials.length, 1)
      })
    )

    it.effect("while it waits out a failure: no further dial", () =>
      Effect.gen(function* () {
        const { connector, recorder, subchannel } = yield* setup({ reconnect: exact }, () => ({ _tag: "Refuse" }))
        yield* recorder.nth("ConnectFailed")
        subchannel.retire("Surplus")
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(connector.dials.length, 1)
        assert.strictEqual(subchannel.connectivity(), "Shutdown")
      })
    )

    it.effect("stays retired", () =>
      Effect.gen(function* () {
        const { recorder, states, subchannel } = yield* setup({}, () => ({ _tag: "Open" }))
        subchannel.retire("Surplus")
        subchannel.retire("Surplus")
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(states.slice(-1), ["Shutdown"])
        assert.strictEqual(recorder.of("Closed").length, 1)
      })
    )
  })

  it.effect("a defect of the connector is a failed dial, whether thrown, died or interrupted", () =>
    Effect.gen(function* () {
      for (const connect of [
        () => Effect.die(new Error("bug")),
        () => {
          throw new Error("bug")
        },
        () => Effect.interrupt
      ]) {
        const { recorder, subchannel } = yield* setup({ connect, reconnect: exact })
        yield* recorder.nth("ConnectFailed")
        assert.strictEqual(subchannel.connectivity(), "TransientFailure")
        yield* TestClock.adjust("1 second")
        yield* recorder.nth("ConnectFailed", 2)
      }
    })
  )

  it.effect("a Schedule that ends: its last delay goes on", () =>
    Effect.gen(function* () {
      const reconnect = Schedule.spaced("3 seconds").pipe(Schedule.upTo({ times: 2 }))
      const { connector } = yield* setup({ reconnect }, () => ({ _tag: "Refuse" }))
      yield* TestClock.adjust("14 seconds")
      assert.deepStrictEqual(
        connector.dials.map((d) => d.startedAt),
        [0, 3_000, 6_000, 9_000, 12_000]
      )
    })
  )

  it.effect("a Schedule that never begins: two minutes", () =>
    Effect.gen(function* () {
      const { connector } = yield* setup({ reconnect: Schedule.recurs(0) }, () => ({ _tag: "Refuse" }))
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(
        connector.dials.map((d) => d.startedAt),
        [0, 120_000, 240_000]
      )
    })
  )

  it.effect("closing in mid-dial leaves nothing", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { connector } = yield* Scope.provide(setup(), scope)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(connector.dials[0]!.interrupted)
      assert.strictEqual(connector.pending.length, 0)
    })
  )

  it.effect("says when its limit changes", () =>
    Effect.gen(function* () {
      const { connector, subchannel } = yield* setup({}, () => ({ _tag: "Open", limit: 1 }))
      leased(subchannel.lease(demand()))
      let told = 0
      subchannel.subscribe(() => told++)
      assert.strictEqual(subchannel.lease(demand())._tag, "Full")
      connector.sessions[0]!.setLimit(2)
      assert.strictEqual(told, 1)
      leased(subchannel.lease(demand()))
    })
  )

  it.effect("a dial that fails gives back what it had acquired, before the next begins", () =>
    Effect.gen(function* () {
      let held = 0
      let most = 0
      const connect = () =>
        Effect.andThen(
          Effect.acquireRelease(
            Effect.sync(() => (most = Math.max(most, ++held))),
            () => Effect.sync(() => held--)
          ),
          Effect.fail(new ConnectError({ reason: { _tag: "Refused" }, endpoint: "a" }))
        )
      const { recorder } = yield* setup({ connect, reconnect: exact })
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(recorder.of("ConnectFailed").length, 3)
      assert.deepStrictEqual([held, most], [0, 1])
    })
  )

  it.effect("closing waits for a dial to be wound up", () =>
    Effect.gen(function* () {
      const latch = Latch.makeUnsafe()
      const connect = () => Effect.onInterrupt(Effect.never, () => latch.await)
      const { subchannel } = yield* setup({ connect })
      yield* settle
      const closing = yield* Effect.forkChild(subchannel.close, { startImmediately: true })
      yield* settle
      assert.isUndefined(closing.pollUnsafe())
      latch.openUnsafe()
      yield* Fiber.join(closing)
    })
  )

  it.effect("a proven connection clears the losses before it", () =>
    Effect.gen(function* () {
      const { connector, subchannel } = yield* setup({ reconnect: exact }, () => ({ _tag: "Open" }))
      const lose = Effect.andThen(
        Effect.sync(() => connector.sessions[0]!.lose()),
        settle
      )
      yield* settle
      yield* lose
      yield* TestClock.adjust("15 seconds")
      yield* lose
      assert.strictEqual(subchannel.connectivity(), "Ready", "dialled at once")
      yield* lose
      assert.strictEqual(subchannel.connectivity(), "Connecting")
    })
  )

  it.effect("no fiber stays with a connection", () =>
    Effect.gen(function* () {
      const { connector, options } = yield* parts({ reconnect: exact })
      const fibers: Array<Fiber.Fiber<void>> = []
      const subchannel = new Subchannel(endpoint("a"), "Min", {
        ...options,
        run: (effect) => {
          const fiber = options.run(effect)
          fibers.push(fiber)
          return fiber
        }
      })
      const running = () => fibers.filter((fiber) => fiber.pollUnsafe() === undefined).length
      subchannel.start()
      yield* settle
      assert.strictEqual(running(), 1)
      connector.dials[0]!.open()
      yield* settle
      assert.strictEqual(running(), 0)
      connector.sessions[0]!.lose()
      yield* settle
      assert.strictEqual(running(), 1)
      yield* TestClock.adjust("1 second")
      connector.dials[1]!.open()
      yield* settle
      assert.deepStrictEqual([running(), subchannel.connectivity()], [0, "Ready"])
      yield* subchannel.close
    })
  )

  it.effect("a connection that had ended before anybody listened is lost at once", () =>
    Effect.gen(function* () {
      const connect = () =>
        Effect.sync(() => {
          const session = new ScriptedSession("a", 100, 0)
          session.goAway()
          return session
        })
      const { recorder, subchannel } = yield* setup({ connect, reconnect: exact })
      yield* settle
      assert.strictEqual(subchannel.connectivity(), "Connecting")
      assert.deepStrictEqual(recorder.tags, ["Connecting", "Connected", "Disconnected", "ConnectFailed"])
    })
  )

  it.effect("an answer in the turn of the loss is still a proof", () =>
    Effect.gen(function* () {
      const { connector, recorder, subchannel } = yield* setup({ reconnect: exact }, () => ({ _tag: "Open" }))
      const lease = leased(subchannel.lease(demand()))
      connector.sessions[0]!.goAway()
      lease.release("Success")
      yield* settle
      assert.strictEqual(connector.dials.length, 2)
      assert.strictEqual(recorder.of("ConnectFailed").length, 0)
    })
  )

  it.effect("says why it dials: for the first time as it was told, and then because it lost what it had", () =>
    Effect.gen(function* () {
      const { recorder } = yield* setup({ reconnect: exact }, () => ({ _tag: "Refuse" }))
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(
        recorder.of("Connecting").map((e) => e.why),
        ["Min", "Reconnect"]
      )
    })
  )

  for (const [how, answer] of [
    ["would open at once", { _tag: "Open" }],
    ["would hang", { _tag: "Hang" }]
  ] as const) {
    it.effect(`retired by whoever hears of its first dial, which ${how}: nothing is left`, () =>
      Effect.gen(function* () {
        const { connector, options } = yield* parts()
        connector.script = () => answer
        const subchannel: Subchannel<ScriptedSession> = new Subchannel(endpoint("a"), "Min", {
          ...options,
          publish: () => subchannel.retire("Surplus")
        })
        subchannel.start()
        yield* settle
        assert.strictEqual(subchannel.connectivity(), "Shutdown")
        assert.strictEqual(connector.opened, connector.closed)
        assert.strictEqual(connector.pending.length, 0)
      })
    )
  }
})
