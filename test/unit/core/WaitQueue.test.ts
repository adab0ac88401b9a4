import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, type Fiber, FiberSet } from "effect"
import { TestClock } from "effect/testing"
import type { Borrow } from "@hawser/core/Borrow"
import type { Priority } from "@hawser/core/Demand"
import type { Event } from "@hawser/core/Event"
import { Full, type Lease } from "@hawser/core/Lease"
import { monotonicMillis } from "@hawser/core/Time"
import { WaitQueue } from "@hawser/core/WaitQueue"
import { Waiter } from "../../support/core/parts.ts"
import type { ScriptedSession } from "../../support/core/ScriptedSession.ts"
import { StubUpstream } from "../../support/core/StubUpstream.ts"

type W = Waiter<ScriptedSession, string>

const setup = (options: { readonly limit?: number; readonly maxWaiters?: number; readonly maxWait?: number } = {}) =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const now = () => monotonicMillis(clock)
    const fork = yield* FiberSet.makeRuntime<never, void, never>()
    const fibers: Array<Fiber.Fiber<void>> = []
    const events: Array<Event> = []
    const upstream = new StubUpstream(
      "e",
      {
        get now() {
          return now()
        }
      },
      options.limit ?? 1
    )
    const queue = new WaitQueue<ScriptedSession, string>({
      upstream,
      errors: {
        full: (waiting) => `full ${waiting}`,
        expired: (_, last) => `expired ${last._tag}`,
        closed: () => "closed"
      },
      maxWaiters: options.maxWaiters ?? 1_000,
      maxWaitMillis: options.maxWait ?? 30_000,
      now,
      publish: (event) => events.push(event),
      run: (effect) => {
        const fiber = fork(effect)
        fibers.push(fiber)
        return fiber
      }
    })
    const served: Array<string> = []
    const borrow = (name: string, demand: Partial<Borrow<ScriptedSession, string>> = {}) => {
      const waiter: W = new Waiter(name, served, demand)
      return { waiter, place: queue.borrow(waiter) }
    }
    /** Releases the one lease that is out, until nobody is served any more. */
    const serveAll = (waiters: ReadonlyArray<W>) => {
      for (let more = true; more;) {
        const holder = waiters.find((w) => w.lease !== undefined)
        more = holder !== undefined
        const lease = holder?.lease
        if (holder !== undefined) holder.lease = undefined
        lease?.release("Success")
      }
    }
    const timers = () => fibers.filter((fiber) => fiber.pollUnsafe() === undefined).length
    return { borrow, events, now, queue, serveAll, served, timers, upstream }
  })

describe("WaitQueue", () => {
  it.effect("answers at once when there is room", () =>
    Effect.gen(function* () {
      const { borrow, timers } = yield* setup()
      const { place, waiter } = borrow("a")
      assert.isUndefined(place)
      assert.isDefined(waiter.lease)
      assert.strictEqual(timers(), 0)
    })
  )

  it.effect("first come, first served", () =>
    Effect.gen(function* () {
      const { borrow, queue, serveAll, served } = yield* setup()
      const all = ["a", "b", "c", "d"].map((name) => borrow(name).waiter)
      assert.strictEqual(queue.waiting, 3)
      serveAll(all)
      assert.deepStrictEqual(served, ["a", "b", "c", "d"])
      assert.strictEqual(queue.waiting, 0)
    })
  )

  it.effect("one who leaves does not change the order of the others, and is never told anything", () =>
    Effect.gen(function* () {
      const { borrow, queue, serveAll, served } = yield* setup()
      const all = ["a", "b", "c", "d", "e"].map((name) => borrow(name))
      for (const name of ["b", "e"]) {
        const { place } = all.find(({ waiter }) => waiter.name === name)!
        place!.leave()
        place!.leave()
      }
      assert.strictEqual(queue.waiting, 2)
      serveAll(all.map(({ waiter }) => waiter))
      assert.deepStrictEqual(served, ["a", "c", "d"])
      assert.deepStrictEqual(
        all.map(({ waiter }) => waiter.told),
        [1, 0, 1, 1, 0]
      )
    })
  )

  it.effect("control goes first, and within a priority the order holds", () =>
    Effect.gen(function* () {
      const { borrow, serveAll, served } = yield* setup()
      const ask = (name: string, priority: Priority) => borrow(name, { priority }).waiter
      const all = [
        ask("now", 1),
        ask("bulk1", 2),
        ask("call1", 1),
        ask("control1", 0),
        ask("call2", 1),
        ask("control2", 0),
        ask("bulk2", 2)
      ]
      serveAll(all)
      assert.deepStrictEqual(served, ["now", "control1", "control2", "call1", "call2", "bulk1", "bulk2"])
    })
  )

  it.effect("bulk gets one turn in nine, whatever else comes in", () =>
    Effect.gen(function* () {
      for (const control of [false, true]) {
        const { borrow, serveAll, served } = yield* setup()
        const all = [borrow("now").waiter, borrow("bulk", { priority: 2 }).waiter]
        for (let i = 0; i < 40; i++) {
          all.push(borrow(`call${i}`).waiter)
          if (control && i % 4 === 0) all.push(borrow(`control${i}`, { priority: 0 }).waiter)
        }
        serveAll(all)
        const before = served.slice(0, served.indexOf("bulk")).filter((name) => name.startsWith("call"))
        assert.strictEqual(before.length, 8)
      }
    })
  )

  it.effect("control between the calls does not put off bulk", () =>
    Effect.gen(function* () {
      const { borrow, served } = yield* setup()
      let running = borrow("now").waiter
      borrow("bulk", { priority: 2 })
      const waiting: Array<W> = []
      for (let i = 0; i < 60 && !served.includes("bulk"); i++) {
        waiting.push(borrow(`x${i}`, { priority: i % 6 === 5 ? 0 : 1 }).waiter)
        running.lease?.release("Success")
        running = waiting.find((w) => w.name === served.at(-1)) ?? running
      }
      assert.include(served, "bulk")
    })
  )

  it.effect("is bounded", () =>
    Effect.gen(function* () {
      const { borrow, queue } = yield* setup({ maxWaiters: 2 })
      const all = ["a", "b", "c", "d"].map((name) => borrow(name).waiter)
      assert.strictEqual(all[3]!.error, "full 2")
      assert.strictEqual(queue.waiting, 2)
      assert.strictEqual(queue.refused, 1)
    })
  )

  it.effect("says that it is full, once a second", () =>
    Effect.gen(function* () {
      const { borrow, events } = yield* setup({ maxWaiters: 1 })
      for (const name of ["a", "b", "c", "d"]) borrow(name)
      assert.deepStrictEqual(events, [{ _tag: "Saturated", waiting: 1 }])
      yield* TestClock.adjust("1 second")
      borrow("e")
      assert.strictEqual(events.length, 2)
    })
  )

  it.effect("nobody waits beyond the deadline, nor beyond 30 s", () =>
    Effect.gen(function* () {
      const { borrow, queue } = yield* setup()
      borrow("a")
      const long = borrow("long").waiter
      const short = borrow("short", { deadline: 700 }).waiter
      yield* TestClock.adjust(699)
      assert.isUndefined(short.error)
      yield* TestClock.adjust(1)
      assert.strictEqual(short.error, "expired Full")
      yield* TestClock.adjust(29_299)
      assert.isUndefined(long.error)
      yield* TestClock.adjust(1)
      assert.strictEqual(long.error, "expired Full")
      assert.strictEqual(queue.waiting, 0)
    })
  )

  it.effect("a deadline that has passed is refused and never waits", () =>
    Effect.gen(function* () {
      const { borrow, queue } = yield* setup()
      borrow("a")
      yield* TestClock.adjust(10)
      assert.strictEqual(borrow("late", { deadline: 10 }).waiter.error, "expired Full")
      assert.strictEqual(queue.waiting, 0)
    })
  )

  it.effect("says what the waiter waited for", () =>
    Effect.gen(function* () {
      const { borrow, upstream } = yield* setup()
      upstream.become("Connecting")
      const waiter = borrow("a", { deadline: 5 }).waiter
      yield* TestClock.adjust(5)
      assert.strictEqual(waiter.error, "expired Pending")
    })
  )

  it.effect("who has expired is never served, even if nobody has told him yet", () =>
    Effect.gen(function* () {
      const { borrow, queue, served } = yield* setup()
      const first = borrow("a").waiter
      const late = borrow("late", { deadline: 100 }).waiter
      const patient = borrow("patient").waiter
      // The queue's clock runs ahead of its timer, as it does when the process stalls.
      const options = (queue as unknown as { options: { now: () => number } }).options
      ;(options as { now: () => number }).now = () => 100
      first.lease!.release("Success")
      assert.strictEqual(late.error, "expired Full")
      assert.isDefined(patient.lease)
      assert.deepStrictEqual(served, ["a", "patient"])
    })
  )

  it.effect("one timer for all, and only while somebody waits", () =>
    Effect.gen(function* () {
      const { borrow, queue, timers } = yield* setup({ maxWait: 1_000 })
      borrow("a")
      assert.strictEqual(timers(), 0)
      for (let i = 0; i < 100; i++) borrow(`w${i}`, { deadline: 900 - i })
      assert.strictEqual(timers(), 1)
      yield* TestClock.adjust(850)
      assert.strictEqual(timers(), 1)
      assert.strictEqual(queue.waiting, 50)
      yield* TestClock.adjust(1_000)
      assert.strictEqual(queue.waiting, 0)
      assert.strictEqual(timers(), 0)
      borrow("again")
      assert.strictEqual(timers(), 1)
    })
  )

  it.effect("a hard affinity that can't be served is passed over", () =>
    Effect.gen(function* () {
      const { borrow, queue, served, upstream } = yield* setup({ limit: 5 })
      // Bound to a connection that is not there yet.
      let bound = true
      const lease = upstream.lease.bind(upstream)
      upstream.lease = (demand) => (demand.affinity?.hard === true && bound ? { _tag: "Full" } : lease(demand))
      borrow("bound", { affinity: { key: "k", hard: true } })
      borrow("free")
      borrow("free too")
      assert.deepStrictEqual(served, ["free", "free too"])
      assert.strictEqual(queue.waiting, 1)
      bound = false
      upstream.changed()
      assert.deepStrictEqual(served, ["free", "free too", "bound"])
    })
  )

  it.effect("an ordinary waiter is not passed over", () =>
    Effect.gen(function* () {
      const { borrow, served, upstream } = yield* setup({ limit: 5 })
      const lease = upstream.lease.bind(upstream)
      upstream.lease = (demand) => (demand.method === "never" ? { _tag: "Full" } : lease(demand))
      borrow("first", { method: "never" })
      borrow("second")
      upstream.changed()
      assert.deepStrictEqual(served, [])
    })
  )

  it.effect("a failure fails those who do not wait it out, now and later, and passes over those who do", () =>
    Effect.gen(function* () {
      const { borrow, queue, served, upstream } = yield* setup({ limit: 5 })
      upstream.become("Connecting")
      const before = borrow("before").waiter
      const stays = borrow("stays", { waitForReady: true }).waiter
      const behind = borrow("behind").waiter
      upstream.become("TransientFailure")
      assert.strictEqual(before.error, "down")
      assert.strictEqual(behind.error, "down")
      assert.strictEqual(stays.told, 0)
      assert.strictEqual(borrow("later").waiter.error, "down")
      assert.isUndefined(borrow("stays too", { waitForReady: true }).waiter.error)
      assert.strictEqual(queue.waiting, 2)
      upstream.become("Ready")
      assert.deepStrictEqual(served, ["stays", "stays too"])
    })
  )

  it.effect("an upstream that is closed refuses everybody", () =>
    Effect.gen(function* () {
      const { borrow, queue, upstream } = yield* setup()
      upstream.become("Connecting")
      const waiter = borrow("a", { waitForReady: true }).waiter
      upstream.become("Shutdown")
      assert.strictEqual(waiter.error, "closed")
      assert.strictEqual(queue.waiting, 0)
    })
  )

  it.effect("closing refuses everybody, now and from now on, and stops the timer", () =>
    Effect.gen(function* () {
      const { borrow, queue, timers } = yield* setup()
      const holder = borrow("a").waiter
      const waiters = [borrow("b").waiter, borrow("c", { priority: 0 }).waiter, borrow("d", { priority: 2 }).waiter]
      queue.close()
      assert.deepStrictEqual(
        waiters.map((w) => w.error),
        ["closed", "closed", "closed"]
      )
      assert.strictEqual(borrow("e").waiter.error, "closed")
      holder.lease!.release("Success")
      assert.isTrue(waiters.every((w) => w.told === 1))
      yield* Effect.yieldNow
      assert.strictEqual(timers(), 0)
    })
  )

  it.effect("10,000 waiters go through one permit without stack growth", () =>
    Effect.gen(function* () {
      const { borrow, queue } = yield* setup({ maxWaiters: 20_000 })
      const holder = borrow("first").waiter
      let served = 0
      for (let i = 0; i < 10_000; i++) {
        const waiter: W = new Waiter(`w${i}`)
        waiter.granted = (lease) => {
          served++
          lease.release("Success")
        }
        queue.borrow(waiter)
      }
      holder.lease!.release("Success")
      assert.strictEqual(served, 10_000)
      assert.strictEqual(queue.waiting, 0)
    })
  )

  it.effect("who is served may borrow again: he joins at the end", () =>
    Effect.gen(function* () {
      const { borrow, queue, served } = yield* setup()
      const holder = borrow("first").waiter
      const again: W = new Waiter("again", served)
      const eager: W = new Waiter("eager", served)
      const granted = eager.granted.bind(eager)
      eager.granted = (lease) => {
        granted(lease)
        queue.borrow(again)
        lease.release("Success")
      }
      queue.borrow(eager)
      const patient = borrow("patient").waiter
      holder.lease!.release("Success")
      patient.lease!.release("Success")
      assert.deepStrictEqual(served, ["first", "eager", "patient", "again"])
    })
  )

  it.effect("20,000 leave in any order, and the one that stays is served", () =>
    Effect.gen(function* () {
      const { borrow, queue } = yield* setup({ maxWaiters: 20_001 })
      const holder = borrow("first").waiter
      const places = Array.from({ length: 20_000 }, (_, i) => borrow(`w${i}`).place!)
      const last = borrow("last").waiter
      // Every place once, in steps that are no divisor of their number.
      for (let i = 0; i < places.length; i++) places[(i * 7_919) % places.length]!.leave()
      assert.strictEqual(queue.waiting, 1)
      holder.lease!.release("Success")
      assert.isDefined(last.lease)
    })
  )

  it.effect("waiters that leave while others expire", () =>
    Effect.gen(function* () {
      const { borrow, queue } = yield* setup()
      borrow("first")
      const places: Array<{ leave(): void } | undefined> = []
      const told: Array<string> = []
      for (let i = 0; i < 10; i++) {
        const waiter: W = new Waiter(`w${i}`, undefined, { deadline: i % 2 === 0 ? 100 : 200 })
        waiter.refused = () => {
          told.push(waiter.name)
          places[i + 1]?.leave()
          places[i + 2]?.leave()
        }
        places.push(queue.borrow(waiter))
      }
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(told, ["w0", "w4", "w8"])
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(told, ["w0", "w4", "w8", "w3", "w7"])
      assert.strictEqual(queue.waiting, 0)
    })
  )

  it.effect("whoever is told waits no more: the count says so", () =>
    Effect.gen(function* () {
      const { borrow, queue } = yield* setup()
      const { waiter } = borrow("holder")
      const counts: Array<number> = []
      class Counting extends Waiter<ScriptedSession, string> {
        override granted(lease: Lease<ScriptedSession>): void {
          counts.push(queue.waiting)
          super.granted(lease)
        }
      }
      queue.borrow(new Counting("first"))
      assert.strictEqual(queue.waiting, 1)
      waiter.lease!.release("Success")
      assert.deepStrictEqual(counts, [0])
    })
  )

  it.effect("bulk has one turn in nine, again and again", () =>
    Effect.gen(function* () {
      const { borrow, serveAll, served } = yield* setup()
      const { waiter } = borrow("-")
      const waiters = [waiter]
      for (let i = 0; i < 24; i++) waiters.push(borrow("c").waiter)
      for (let i = 0; i < 4; i++) waiters.push(borrow("b", { priority: 2 }).waiter)
      serveAll(waiters)
      assert.strictEqual(served.join(""), "-ccccccccbccccccccbccccccccbb")
    })
  )

  it.effect("who was passed over is asked again when somebody served makes room at once", () =>
    Effect.gen(function* () {
      const { borrow, queue, upstream } = yield* setup()
      const lend = upstream.lease.bind(upstream)
      let room = false
      upstream.lease = (one) => (one.affinity?.hard === true && !room ? Full : lend(one))
      const { waiter } = borrow("holder")
      const bound = borrow("bound", { affinity: { key: "k", hard: true } })
      class Quick extends Waiter<ScriptedSession, string> {
        override granted(lease: Lease<ScriptedSession>): void {
          room = true
          lease.release("Success")
        }
      }
      queue.borrow(new Quick("quick"))
      waiter.lease!.release("Success")
      assert.isDefined(bound.waiter.lease)
      assert.strictEqual(queue.waiting, 0)
    })
  )

  it.effect("whoever waits anew when his time is up puts off nobody else", () =>
    Effect.gen(function* () {
      const { borrow, queue, now } = yield* setup()
      borrow("holder")
      class Stubborn extends Waiter<ScriptedSession, string> {
        override refused(error: string): void {
          super.refused(error)
          queue.borrow(new Waiter("anew"))
        }
      }
      queue.borrow(new Stubborn("stubborn", undefined, { deadline: now() + 1_000 }))
      const { waiter } = borrow("patient", { deadline: now() + 5_000 })
      yield* TestClock.adjust(4_999)
      assert.strictEqual(waiter.told, 0)
      yield* TestClock.adjust(1)
      assert.strictEqual(waiter.error, "expired Full")
    })
  )
})
