import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { make as demand } from "@hawser/core/Demand"
import type { Lease } from "@hawser/core/Lease"
import { Pool } from "@hawser/core/Pool"
import { endpoint, leased, parts, type PartsOptions, settle } from "../../support/core/parts.ts"
import type { Answer } from "../../support/core/ScriptedConnector.ts"
import type { ScriptedSession } from "../../support/core/ScriptedSession.ts"

const setup = (options: PartsOptions & { readonly limit?: number } = {}, script?: () => Answer) =>
  Effect.gen(function* () {
    const all = yield* parts(options)
    all.connector.limit = options.limit ?? 100
    all.connector.script = script ?? (() => ({ _tag: "Open" }))
    const pool = new Pool<ScriptedSession>(endpoint("a"), all.options)
    pool.start()
    yield* Effect.addFinalizer(() => Effect.forEach(pool.all(), (s) => s.close, { discard: true }))
    const lend = (n: number): Array<Lease<ScriptedSession>> =>
      Array.from({ length: n }, () => leased(pool.lease(demand())))
    return { ...all, lend, pool }
  })

const giveBack = (leases: ReadonlyArray<Lease<unknown>>) => leases.forEach((lease) => lease.release("Success"))

describe("Pool", () => {
  it.effect("opens its minimum, and exactly that when it is the maximum too", () =>
    Effect.gen(function* () {
      const { connector, lend, pool } = yield* setup({ min: 3, max: 3, limit: 2 })
      assert.strictEqual(connector.dials.length, 3)
      const leases = lend(6)
      assert.strictEqual(pool.lease(demand())._tag, "Full")
      yield* TestClock.adjust("10 minutes")
      pool.shrink()
      assert.strictEqual(connector.dials.length, 3)
      giveBack(leases)
      pool.shrink()
      pool.shrink()
      yield* settle
      assert.strictEqual(connector.sessions.length, 3)
    })
  )

  it.effect("whoever listens to a pool or to a subchannel of it hears of each permit that comes back", () =>
    Effect.gen(function* () {
      const { lend, pool } = yield* setup({ limit: 2 })
      const leases = lend(2)
      const heard: Array<string> = []
      pool.subscribe(() => heard.push(`pool ${pool.load()}`))
      pool.subchannels[0]!.subscribe(() => heard.push(`subchannel ${pool.load()}`))
      giveBack(leases)
      assert.sameMembers(heard, ["pool 1", "subchannel 1", "pool 0", "subchannel 0"])
    })
  )

  it.effect("a minimum of 0 dials with the first borrow", () =>
    Effect.gen(function* () {
      const { connector, lend, pool } = yield* setup({ min: 0 }, () => ({ _tag: "Hang" }))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(pool.connectivity(), "Idle")
      assert.strictEqual(connector.dials.length, 0)
      assert.strictEqual(pool.lease(demand())._tag, "Pending")
      assert.strictEqual(pool.lease(demand())._tag, "Pending")
      assert.strictEqual(connector.dials.length, 1)
      connector.dials[0]!.open()
      yield* settle
      lend(1)
    })
  )

  it.effect("a minimum of 0 is come back to after a minute without any borrow", () =>
    Effect.gen(function* () {
      const { connector, lend, pool } = yield* setup({ min: 0 })
      // The dial is over before it returns: the first borrow has its lease at once.
      const leases = lend(1)
      pool.shrink()
      pool.shrink()
      assert.strictEqual(pool.connectivity(), "Ready", "one borrow is still in flight")
      giveBack(leases)
      pool.shrink()
      pool.shrink()
      yield* settle
      assert.strictEqual(pool.connectivity(), "Idle")
      assert.strictEqual(connector.closed, 1)
    })
  )

  it.effect("the connection with the fewest borrows lends", () =>
    Effect.gen(function* () {
      const { lend } = yield* setup({ min: 3, max: 3 })
      const leases = lend(9)
      const counts = new Map<string, number>()
      for (const { id } of leases) counts.set(id, (counts.get(id) ?? 0) + 1)
      assert.deepStrictEqual([...counts.values()], [3, 3, 3])
      leases[4]!.release("Success")
      assert.strictEqual(lend(1)[0]!.id, leases[4]!.id)
    })
  )

  it.effect("grows at nine tenths, one dial at a time, never above the maximum", () =>
    Effect.gen(function* () {
      const { connector, lend, pool } = yield* setup({ min: 1, max: 3, limit: 10 }, () => ({ _tag: "Hang" }))
      const open = (n: number) =>
        Effect.andThen(
          Effect.sync(() => connector.dials[n]!.open()),
          settle
        )
      yield* open(0)
      lend(8)
      assert.strictEqual(connector.dials.length, 1)
      lend(2)
      assert.strictEqual(connector.dials.length, 2)
      for (let i = 0; i < 5; i++) assert.strictEqual(pool.lease(demand())._tag, "Full")
      assert.strictEqual(connector.dials.length, 2, "one dial at a time")
      yield* open(1)
      lend(10)
      assert.strictEqual(connector.dials.length, 3)
      yield* open(2)
      lend(10)
      assert.strictEqual(pool.lease(demand())._tag, "Full")
      assert.strictEqual(connector.dials.length, 3, "never above the maximum")
    })
  )

  it.effect("grows on Full alone, when the limit came down", () =>
    Effect.gen(function* () {
      const { connector, lend, pool } = yield* setup({ limit: 10 })
      lend(2)
      connector.sessions[0]!.setLimit(2)
      assert.strictEqual(connector.dials.length, 1)
      assert.strictEqual(pool.lease(demand())._tag, "Full")
      assert.strictEqual(connector.dials.length, 2)
    })
  )

  it.effect("does not grow while the endpoint turns connections away", () =>
    Effect.gen(function* () {
      let dials = 0
      const { connector, lend, pool, recorder } = yield* setup({ limit: 1 }, () =>
        dials++ === 0 ? { _tag: "Open" } : { _tag: "Refuse" }
      )
      lend(1)
      yield* recorder.nth("ConnectFailed")
      for (let i = 0; i < 10; i++) pool.lease(demand())
      assert.strictEqual(connector.dials.length, 2)
    })
  )

  it.effect("a connection that has just ended is no reason to grow", () =>
    Effect.gen(function* () {
      const { connector, pool } = yield* setup()
      leased(pool.lease(demand())).release("Success")
      // Somebody waits, and asks whenever something changes.
      let got: Lease<ScriptedSession> | undefined
      pool.subscribe(() => {
        if (got !== undefined) return
        const out = pool.lease(demand())
        if (out._tag === "Lease") got = out
      })
      connector.sessions[0]!.goAway()
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(connector.dials.length, 2, "the first and its successor")
      const held = leased(got!)
      got = undefined
      held.release("Broken")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(connector.dials.length, 3)
      assert.strictEqual(leased(got!).id, "a#3")
    })
  )

  it.effect("gives back one connection at a time, after a minute of low peak", () =>
    Effect.gen(function* () {
      const { connector, lend, pool, recorder } = yield* setup({ limit: 10, max: 3 })
      const leases = lend(10)
      leases.push(...lend(10))
      yield* settle
      assert.strictEqual(connector.sessions.length, 3)
      giveBack(leases)
      pool.shrink()
      yield* settle
      assert.strictEqual(connector.sessions.length, 3, "the peak of the minute before was high")
      for (const left of [2, 1, 1]) {
        pool.shrink()
        yield* settle
        assert.strictEqual(connector.sessions.length, left)
      }
      assert.deepStrictEqual(
        recorder.of("Closed").map((e) => e.why),
        ["Surplus", "Surplus"]
      )
    })
  )

  it.effect("keeps what the peak needs", () =>
    Effect.gen(function* () {
      const { connector, lend, pool } = yield* setup({ limit: 10, max: 2 })
      const leases = lend(9)
      giveBack(leases.slice(0, 2))
      pool.shrink()
      pool.shrink()
      yield* settle
      assert.strictEqual(connector.sessions.length, 2, "seven would fill one connection to the mark again")
      giveBack(leases.slice(2, 4))
      pool.shrink()
      pool.shrink()
      yield* settle
      assert.strictEqual(connector.sessions.length, 1)
    })
  )

  it.effect("a surplus connection with borrows closes after the last one", () =>
    Effect.gen(function* () {
      const { connector, lend, pool } = yield* setup({ limit: 10, max: 2 })
      const leases = lend(11)
      const last = leases.find((lease) => lease.id === "a#2")!
      giveBack(leases.filter((lease) => lease !== last))
      pool.shrink()
      pool.shrink()
      yield* settle
      assert.strictEqual(connector.sessions.length, 2)
      assert.strictEqual(pool.all().length, 2)
      assert.strictEqual(lend(1)[0]!.id, "a#1")
      last.release("Success")
      yield* settle
      assert.strictEqual(connector.sessions.length, 1)
      assert.strictEqual(pool.all().length, 1)
    })
  )

  it.effect("a replacement may exceed the maximum by one, once", () =>
    Effect.gen(function* () {
      const { connector, pool } = yield* setup({ min: 2, max: 2 })
      const old = pool.subchannels[0]!
      const fresh = pool.replace()
      assert.isDefined(fresh)
      assert.isUndefined(pool.replace())
      assert.strictEqual(connector.dials.length, 3)
      pool.shrink()
      assert.strictEqual(pool.subchannels.length, 3, "it is not surplus")
      pool.remove(old, "Replaced")
      yield* settle
      assert.strictEqual(connector.sessions.length, 2)
      assert.isDefined(pool.replace())
    })
  )

  it.effect("never falls below its minimum", () =>
    Effect.gen(function* () {
      const { connector, pool } = yield* setup({ min: 2, max: 4 })
      for (const subchannel of pool.subchannels) pool.remove(subchannel, "Replaced")
      yield* settle
      assert.strictEqual(pool.subchannels.length, 2)
      assert.strictEqual(connector.sessions.length, 2)
    })
  )

  it.effect("connections put aside lend only when there are no others", () =>
    Effect.gen(function* () {
      const { lend, pool } = yield* setup({ min: 2, max: 2, limit: 1 })
      const first = pool.subchannels[0]!.current!
      first.quarantinedAt = 0
      pool.update()
      assert.isFalse(pool.penalised())
      assert.strictEqual(lend(1)[0]!.id, "a#2")
      assert.strictEqual(pool.lease(demand())._tag, "Full", "it waits for the other one")
      pool.subchannels[1]!.current!.quarantinedAt = 0
      pool.update()
      assert.isTrue(pool.penalised())
      assert.strictEqual(lend(1)[0]!.id, "a#1")
    })
  )

  it.effect("a peer that wants no calls at all is penalised until it wants some", () =>
    Effect.gen(function* () {
      const { connector, pool } = yield* setup({ min: 2, limit: 3 })
      const seen: Array<boolean> = []
      pool.subscribe(() => seen.push(pool.penalised()))
      connector.sessions[0]!.setLimit(0)
      assert.isFalse(pool.penalised())
      connector.sessions[1]!.setLimit(0)
      assert.isTrue(pool.penalised())
      assert.strictEqual(pool.connectivity(), "Ready")
      connector.sessions[0]!.setLimit(1)
      assert.isFalse(pool.penalised())
      assert.deepStrictEqual(
        seen.filter((now, i) => now !== seen[i - 1]),
        [false, true, false]
      )
    })
  )

  it.effect("once stopped it neither lends nor dials, and lets borrows finish", () =>
    Effect.gen(function* () {
      const { connector, lend, pool } = yield* setup({ min: 2, max: 2 })
      const [lease] = lend(1)
      pool.stop("Drain")
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(pool.connectivity(), "Shutdown")
      assert.strictEqual(pool.lease(demand())._tag, "Closed")
      assert.strictEqual(connector.dials.length, 2)
      assert.strictEqual(connector.sessions.length, 1)
      lease!.release("Success")
      yield* settle
      assert.strictEqual(connector.sessions.length, 0)
    })
  )

  it.effect("a replacement takes no place from those that load asks for", () =>
    Effect.gen(function* () {
      const { connector, lend, pool } = yield* setup({ max: 2, limit: 1 })
      yield* settle
      pool.replace()
      yield* settle
      lend(2)
      assert.strictEqual(pool.lease(demand())._tag, "Full")
      yield* settle
      assert.strictEqual(connector.sessions.length, 3)
    })
  )

  it.effect("knows how long a dial took, although the connection that took it was replaced", () =>
    Effect.gen(function* () {
      const { pool } = yield* setup({}, () => ({ _tag: "Open", after: 400 }))
      yield* TestClock.adjust(400)
      const [old] = pool.subchannels
      pool.replace()
      yield* TestClock.adjust(400)
      pool.remove(old!, "Replaced")
      assert.strictEqual(pool.connectMillis(), 400)
    })
  )

  it.effect("counts the borrows of connections that only drain, and knows its oldest borrow", () =>
    Effect.gen(function* () {
      const { pool } = yield* setup({ min: 2 })
      yield* settle
      const first = leased(pool.lease(demand({ method: "m" })))
      yield* TestClock.adjust(10)
      leased(pool.lease(demand({ method: "m" })))
      assert.strictEqual(pool.oldestSince(), 0)
      pool.remove(pool.subchannels[0]!, "Surplus")
      assert.strictEqual(pool.load(), 2)
      first.release("Success")
      assert.strictEqual(pool.load(), 1)
    })
  )

  it.effect("replaces nothing once it has stopped", () =>
    Effect.gen(function* () {
      const { connector, pool } = yield* setup()
      yield* settle
      pool.stop("Drain")
      assert.isUndefined(pool.replace())
      yield* settle
      assert.strictEqual(connector.dials.length, 1)
    })
  )
})
