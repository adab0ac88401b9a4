import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Logger, Random } from "effect"
import { TestClock } from "effect/testing"
import type { Event } from "@hawser/core/Event"
import { make, type TestClusterOptions } from "../../support/core/clusters.ts"
import * as JumpClock from "../../support/core/JumpClock.ts"
import { settle, Waiter } from "../../support/core/parts.ts"
import type { ScriptedSession } from "../../support/core/ScriptedSession.ts"

const setup = (options: TestClusterOptions = {}) =>
  Effect.gen(function* () {
    const clock = yield* JumpClock.make
    const all = yield* make({ silence: false, max: 1, maxAge: Infinity, ...options }).pipe(
      Effect.provideService(Clock.Clock, clock),
      Random.withSeed(1)
    )
    yield* settle
    const call = (demand: ConstructorParameters<typeof Waiter<ScriptedSession, unknown>>[2] = {}) => {
      const waiter = new Waiter<ScriptedSession, unknown>("call", undefined, {
        deadline: all.now() + 60_000,
        ...demand
      })
      all.cluster.borrowUnsafe(waiter)
      return waiter
    }
    const sessions = () => all.connector.dials.flatMap(({ session }) => (session === undefined ? [] : [session]))
    const frozen = (millis: number) =>
      Effect.sync(() => {
        clock.freeze(millis)
      })
    return { ...all, call, clock, frozen, sessions, now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6 }
  })

const reasons = (events: ReadonlyArray<Extract<Event, { _tag: "Disconnected" }>>) =>
  events.map(({ error }) => error.reason._tag)

const keepalive = { time: "30 seconds", timeout: "5 seconds" } as const

describe("keepalive", () => {
  it.effect("pings while something is in flight and nothing is heard, and never otherwise", () =>
    Effect.gen(function* () {
      const { call, session } = yield* setup({ keepalive })
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(session("a").pinged, 0)
      const stream = call()
      yield* TestClock.adjust("1 second")
      assert.strictEqual(session("a").pinged, 1, "idle for longer than the time: at once")
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(session("a").pinged, 5)
      stream.lease!.release("Success")
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(session("a").pinged, 5)
    })
  )

  it.effect("pings without anything in flight where that is permitted", () =>
    Effect.gen(function* () {
      const { session } = yield* setup({ keepalive: { ...keepalive, withoutCalls: true } })
      yield* TestClock.adjust("121 seconds")
      assert.strictEqual(session("a").pinged, 4)
    })
  )

  it.effect("no two pings are closer than the time, and every word puts the next one off", () =>
    Effect.gen(function* () {
      const { call, now, session } = yield* setup({ keepalive })
      call()
      for (let i = 0; i < 20; i++) {
        yield* TestClock.adjust("20 seconds")
        session("a").heard = now()
      }
      assert.strictEqual(session("a").pinged, 0)
      yield* TestClock.adjust("32 seconds")
      assert.strictEqual(session("a").pinged, 1)
    })
  )

  it.effect("a connection that does not answer is closed in time, with what runs on it, and dialled anew at once", () =>
    Effect.gen(function* () {
      const { call, connector, recorder, session } = yield* setup({ keepalive })
      const old = session("a")
      old.answersPings = false
      const stream = call()
      old.start({ cut: () => stream.lease!.release("Failure") })
      yield* TestClock.adjust("34 seconds")
      assert.isFalse(old.closed)
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(old.closed)
      assert.deepStrictEqual(reasons(recorder.of("Disconnected")), ["Unanswered"])
      assert.strictEqual(recorder.of("Disconnected")[0]!.error.message, "No answer to a ping within 5s (a)")
      assert.lengthOf(connector.sessions, 1)
      assert.isDefined(call().lease)
      assert.lengthOf(recorder.of("ConnectFailed"), 0)
    })
  )

  it.effect("short times are kept to 50 ms", () =>
    Effect.gen(function* () {
      const { call, now, recorder, session } = yield* setup({ keepalive: { time: 300, timeout: 200 } })
      session("a").answersPings = false
      const began = now()
      call()
      while (recorder.of("Disconnected").length === 0 && now() < 2_000) yield* TestClock.adjust(10)
      assert.isAtLeast(now() - began, 500)
      assert.isAtMost(now() - began, 620)
    })
  )

  it.effect("any word within the timeout is answer enough", () =>
    Effect.gen(function* () {
      const { call, now, recorder, session } = yield* setup({ keepalive })
      session("a").answersPings = false
      call()
      yield* TestClock.adjust("32 seconds")
      session("a").heard = now()
      yield* TestClock.adjust("20 seconds")
      assert.lengthOf(recorder.of("Disconnected"), 0)
    })
  )

  it.effect("a connection that drains is asked, too: its streams would wait for ever", () =>
    Effect.gen(function* () {
      const { call, session } = yield* setup({ keepalive })
      const old = session("a")
      old.answersPings = false
      call()
      old.goAway()
      old.over = false
      yield* TestClock.adjust("37 seconds")
      assert.isTrue(old.closed)
    })
  )

  it.effect("a stall of this process during a ping is no lack of an answer", () =>
    Effect.gen(function* () {
      const { call, frozen, recorder, session } = yield* setup({ keepalive })
      session("a").answersPings = false
      call()
      yield* TestClock.adjust("31 seconds")
      yield* frozen(4_800)
      yield* TestClock.adjust("2 seconds")
      assert.lengthOf(recorder.of("Disconnected"), 0)
      session("a").pings[0]!()
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(recorder.of("Disconnected"), 0)
    })
  )

  it.effect("without a way to ping there is none", () =>
    Effect.gen(function* () {
      const { call, recorder, session } = yield* setup({ keepalive })
      session("a").pingable = false
      call()
      yield* TestClock.adjust("5 minutes")
      assert.lengthOf(recorder.of("Disconnected"), 0)
    })
  )

  it.effect("options out of bounds are refused, all at once", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(setup({ keepalive: { time: 0, timeout: "soon" as "1 second" } }))
      assert.deepStrictEqual(
        error.issues.map((issue) => issue.path),
        ["keepalive.time", "keepalive.timeout"]
      )
    })
  )
})

describe("a peer that says too_many_pings", () => {
  it.effect("doubles the time, once for all that it ends at a time, and is told once", () => {
    const logged: Array<string> = []
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
      logged.push(`${logLevel} ${String(message)}`)
    })
    return Effect.gen(function* () {
      const { call, recorder, sessions } = yield* setup({ addresses: ["a", "b"], keepalive })
      const [a, b] = sessions()
      call()
      call()
      yield* TestClock.adjust("61 seconds")
      a!.complain()
      b!.complain()
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        recorder.of("TooManyPings").map((e) => [e.endpoint, e.keepaliveMillis]),
        [
          ["a", 60_000],
          ["b", 60_000]
        ]
      )
      assert.deepStrictEqual(logged, [
        "Warn a ended a connection because of too many pings; it is pinged every 1m from now on"
      ])
      call()
      const fresh = sessions().at(-2)!
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual(fresh.pinged, 0)
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual(sessions().at(-1)!.pinged + fresh.pinged, 1)
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("is dialled no more than once per step of the backoff, however well it answers", () =>
    Effect.gen(function* () {
      const { call, connector, now, session } = yield* setup({ keepalive })
      const starts: Array<number> = []
      for (let i = 0; i < 6; i++) {
        const before = connector.dials.length
        call().lease!.release("Success")
        session("a").complain()
        const at = now()
        while (connector.dials.length === before) yield* TestClock.adjust(100)
        starts.push(now() - at)
        yield* settle
      }
      starts.forEach((millis, i) => {
        assert.isAtLeast(millis, 1_000 * 1.6 ** i * 0.8 - 1)
      })
    })
  )
})

describe("after a thaw", () => {
  it.effect("no connection is lent before it has answered, and calls wait for that", () =>
    Effect.gen(function* () {
      const { call, frozen, recorder, session } = yield* setup()
      session("a").answersPings = false
      yield* TestClock.adjust("90 seconds")
      yield* frozen(60_000)
      // It is this call that runs first.
      const waiter = call()
      assert.strictEqual(waiter.told, 0)
      assert.strictEqual(recorder.of("Thawed").length, 1)
      yield* TestClock.adjust(100)
      assert.strictEqual(waiter.told, 0)
      session("a").pings[0]!()
      assert.strictEqual(waiter.lease?.id, "a#1")
      assert.lengthOf(recorder.of("Disconnected"), 0)
    })
  )

  it.effect("an idle connection is asked soon", () =>
    Effect.gen(function* () {
      const { frozen, recorder, session } = yield* setup()
      yield* TestClock.adjust("90 seconds")
      yield* frozen(3_600_000)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(session("a").pinged, 1)
      assert.isAtLeast(recorder.of("Thawed")[0]!.frozenMillis, 3_590_000)
    })
  )

  it.effect("one that does not answer is closed and dialled at once, whatever the backoff says", () =>
    Effect.gen(function* () {
      const { call, connector, frozen, now, recorder, session } = yield* setup()
      // Not proven: it would be waited out.
      session("a").frozen = true
      yield* frozen(10_000)
      const began = now()
      const waiter = call()
      while (waiter.lease === undefined && now() - began < 5_000) yield* TestClock.adjust(10)
      assert.isAtMost(now() - began, 560)
      assert.strictEqual(waiter.lease?.id, "a#2")
      assert.deepStrictEqual(reasons(recorder.of("Disconnected")), ["Unanswered"])
      assert.lengthOf(recorder.of("ConnectFailed"), 0)
      assert.lengthOf(connector.sessions, 1)
    })
  )

  it.effect("one that has ended meanwhile is dialled at once, too", () =>
    Effect.gen(function* () {
      const { call, connector, frozen, recorder, session } = yield* setup()
      session("a").answersPings = false
      yield* frozen(10_000)
      const waiter = call()
      session("a").lose()
      yield* TestClock.adjust(0)
      yield* settle
      assert.strictEqual(waiter.lease?.id, "a#2")
      assert.lengthOf(connector.dials, 2)
      assert.lengthOf(recorder.of("ConnectFailed"), 0)
    })
  )

  it.effect("redials that nobody waits for are spread", () =>
    Effect.gen(function* () {
      const addresses = ["a", "b", "c", "d", "e", "f"]
      const { connector, frozen, sessions } = yield* setup({ addresses })
      yield* TestClock.adjust("90 seconds")
      for (const session of sessions()) session.frozen = true
      yield* frozen(30_000)
      yield* TestClock.adjust("15 seconds")
      const starts = connector.dials.slice(6).map(({ startedAt }) => startedAt)
      assert.lengthOf(starts, 6)
      assert.isAbove(new Set(starts.map(Math.round)).size, 3)
      assert.isAtMost(Math.max(...starts) - Math.min(...starts), 250)
    })
  )

  it.effect("one that can't be asked is replaced, and what runs on it runs on", () =>
    Effect.gen(function* () {
      const { call, frozen, recorder, session } = yield* setup()
      const old = session("a")
      old.pingable = false
      const running = call()
      yield* frozen(10_000)
      const waiter = call()
      yield* settle
      assert.strictEqual(waiter.lease?.id, "a#2")
      assert.deepStrictEqual(
        recorder.of("Closed").map(({ connection, why }) => [connection, why]),
        [["a#1", "Thawed"]]
      )
      assert.isFalse(old.closed)
      running.lease!.release("Success")
      yield* settle
      assert.isTrue(old.closed)
    })
  )

  it.effect("one that was asked and has answered no call since is replaced, because servers count", () =>
    Effect.gen(function* () {
      const { call, frozen, sessions } = yield* setup()
      const thaw = Effect.andThen(frozen(10_000), TestClock.adjust("2 seconds"))
      yield* thaw
      call().lease!.release("Success")
      yield* thaw
      assert.deepStrictEqual(
        sessions().map((s) => s.pinged),
        [2]
      )
      yield* thaw
      assert.deepStrictEqual(
        sessions().map((s) => s.pinged),
        [2, 0]
      )
    })
  )

  it.effect("a call that waits ends with its deadline, and not later", () =>
    Effect.gen(function* () {
      const { call, frozen, now, session } = yield* setup({
        script: ({ startedAt }) => (startedAt > 0 ? { _tag: "Hang" } : { _tag: "Open" })
      })
      session("a").answersPings = false
      yield* TestClock.adjust("1 second")
      yield* frozen(10_000)
      const waiter = call({ deadline: now() + 1_000 })
      yield* TestClock.adjust("1100 millis")
      assert.isDefined(waiter.error)
    })
  )

  it.effect("nobody is quarantined or ejected, and no failure from before counts", () =>
    Effect.gen(function* () {
      const { call, frozen, recorder, sessions } = yield* setup({
        addresses: ["a", "b", "c"],
        silence: { atLeast: 200 }
      })
      for (let i = 0; i < 30; i++) {
        const waiter = call({ method: "m" })
        yield* TestClock.adjust(5)
        waiter.lease!.release("Success")
      }
      const running = Array.from({ length: 12 }, () => call({ method: "m" }))
      yield* frozen(30_000)
      for (const { lease } of running) lease!.release("Failure")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        recorder.tags.filter((tag) => ["Quarantined", "Ejected", "Disconnected", "Panic"].includes(tag)),
        []
      )
      assert.lengthOf(sessions(), 3)
      const used = new Set(Array.from({ length: 9 }, () => call().lease!.endpoint.addresses[0]))
      assert.strictEqual(used.size, 3)
    })
  )

  it.effect("a stall of ten seconds with calls in flight quarantines nobody, and says how long it was", () =>
    Effect.gen(function* () {
      const { call, cluster, frozen, now, recorder } = yield* setup({
        addresses: ["a", "b"],
        silence: { atLeast: 200 }
      })
      for (let i = 0; i < 30; i++) {
        const waiter = call({ method: "m" })
        yield* TestClock.adjust(5)
        waiter.lease!.release("Success")
      }
      const running = [call({ method: "m" }), call({ method: "m" })]
      const began = now()
      yield* frozen(10_000)
      yield* TestClock.adjust(100)
      assert.isAtLeast(cluster.stalledUnsafe(began), 9_900)
      for (const { lease } of running) lease!.release("Success")
      yield* TestClock.adjust("1 second")
      assert.lengthOf(recorder.of("Quarantined"), 0)
    })
  )

  it.effect("a wall clock that is set changes nothing but that connections are asked", () =>
    Effect.gen(function* () {
      const { call, clock, connector, recorder, session } = yield* setup({
        addresses: ["a", "b"],
        silence: { atLeast: 200 }
      })
      for (const millis of [3_600_000, -3_600_000, 86_400_000, -86_400_000]) {
        const waiter = call({ method: "m" })
        clock.wall(millis)
        yield* TestClock.adjust(100)
        assert.isUndefined(waiter.error)
        waiter.lease!.release("Success")
        yield* TestClock.adjust("10 seconds")
      }
      assert.lengthOf(connector.dials, 2)
      assert.strictEqual(recorder.of("Quarantined").length + recorder.of("Disconnected").length, 0)
      assert.isAtMost(session("a").pinged, 2)
      assert.lengthOf(recorder.of("Thawed"), 2)
    })
  )
})
