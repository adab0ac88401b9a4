import { assert, describe, it } from "@effect/vitest"
import { Effect, FiberSet } from "effect"
import { TestClock } from "effect/testing"
import { Heartbeat } from "@hawser/core/Heartbeat"
import { monotonicMillis } from "@hawser/core/Time"
import * as JumpClock from "../../support/core/JumpClock.ts"

const make = (steady: boolean) =>
  Effect.gen(function* () {
    const clock = yield* JumpClock.make
    const run = yield* FiberSet.makeRuntime<never, void, never>()
    const beats: Array<number> = []
    const thaws: Array<number> = []
    const now = () => monotonicMillis(clock)
    const heartbeat = new Heartbeat({
      now,
      wall: () => clock.currentTimeMillisUnsafe(),
      run,
      steady,
      beat: (at) => beats.push(at),
      thawed: (millis) => thaws.push(millis)
    })
    heartbeat.start()
    const stalled = (since: number) => heartbeat.stalledMillis(since, now())
    return { beats, clock, heartbeat, now, stalled, thaws }
  })
const setup = make(true)

describe("Heartbeat", () => {
  it.effect("beats once a second, and nothing was the matter", () =>
    Effect.gen(function* () {
      const { beats, heartbeat, now, stalled, thaws } = yield* setup
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(beats.slice(0, 3), [1_000, 2_000, 3_000])
      assert.lengthOf(beats, 10)
      assert.strictEqual(stalled(0), 0)
      assert.strictEqual(heartbeat.lagMillis(now()), 0)
      assert.deepStrictEqual(thaws, [])
    })
  )

  it.effect("a stall is counted for what began before its end, and is no freeze below five seconds", () =>
    Effect.gen(function* () {
      const { clock, heartbeat, now, stalled, thaws } = yield* setup
      yield* TestClock.adjust("3 seconds")
      clock.freeze(4_000)
      // Before any beat, too.
      assert.strictEqual(stalled(0), 2_950)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(thaws, [])
      assert.strictEqual(stalled(0), 3_950)
      assert.strictEqual(stalled(now() - 100), 100)
      assert.strictEqual(heartbeat.lagMillis(now()), 3_950)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(stalled(now() - 500), 0)
    })
  )

  it.effect("stalls add up, and are forgotten after a minute", () =>
    Effect.gen(function* () {
      const { clock, heartbeat, now, stalled } = yield* setup
      for (const millis of [1_050, 2_050]) {
        clock.freeze(millis)
        yield* TestClock.adjust("1 second")
      }
      assert.strictEqual(stalled(0), 3_000)
      yield* TestClock.adjust("59 seconds")
      clock.freeze(150)
      yield* TestClock.adjust("1 second")
      // With the next one those are gone that are a minute old.
      assert.strictEqual(stalled(0), 100)
      assert.isAtMost(heartbeat.lagMillis(now()), 100)
    })
  )

  it.effect("the lag is that of the last half to whole minute", () =>
    Effect.gen(function* () {
      const { clock, heartbeat, now } = yield* setup
      clock.freeze(1_050)
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(heartbeat.lagMillis(now()), 1_000)
      yield* TestClock.adjust("25 seconds")
      assert.strictEqual(heartbeat.lagMillis(now()), 1_000)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(heartbeat.lagMillis(now()), 0)
    })
  )

  it.effect("a process that was stopped is told of it, once", () =>
    Effect.gen(function* () {
      const { clock, thaws } = yield* setup
      yield* TestClock.adjust("1500 millis")
      clock.freeze(30_000)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(thaws, [29_950])
    })
  )

  it.effect("whoever reads the clock first is told of it, too", () =>
    Effect.gen(function* () {
      const { clock, heartbeat, now, thaws } = yield* setup
      yield* TestClock.adjust("1500 millis")
      clock.freeze(30_000)
      assert.strictEqual(heartbeat.seen(now()), 31_500)
      assert.lengthOf(thaws, 1)
      heartbeat.seen(now())
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(thaws, 1)
    })
  )

  it.effect("a machine that slept is found by its wall time, which monotonic time does not know of", () =>
    Effect.gen(function* () {
      const { clock, stalled, thaws } = yield* setup
      yield* TestClock.adjust("10 seconds")
      clock.wall(3_600_000)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(thaws, [3_600_000])
      assert.strictEqual(stalled(0), 0, "nothing grew old meanwhile")
    })
  )

  it.effect("wall time that is put back, or forward a little, is nothing", () =>
    Effect.gen(function* () {
      const { clock, thaws } = yield* setup
      for (const millis of [-86_400_000, -3_600_000, 4_000, -10, 4_900]) {
        clock.wall(millis)
        yield* TestClock.adjust("2 seconds")
      }
      assert.deepStrictEqual(thaws, [])
    })
  )

  it.effect("who beats more often is expected more often", () =>
    Effect.gen(function* () {
      const { clock, heartbeat, now, stalled } = yield* setup
      heartbeat.used(50)
      clock.freeze(600)
      assert.strictEqual(stalled(0), 500)
      heartbeat.at(now())
      heartbeat.rests()
      assert.strictEqual(stalled(0), 500)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(stalled(0), 500)
    })
  )

  it.effect("the longer it is idle, the more seldom it beats; use wakes it", () =>
    Effect.gen(function* () {
      const { beats, clock, heartbeat, thaws } = yield* make(false)
      yield* TestClock.adjust("1 day")
      assert.isBelow(beats.length, 400)
      assert.isAtMost(beats.at(-1)! - beats.at(-2)!, 300_001)
      assert.deepStrictEqual(thaws, [])
      // A freeze that is short against it is none.
      clock.freeze(4_000)
      heartbeat.used(50)
      heartbeat.rests()
      assert.deepStrictEqual(thaws, [])
      const before = beats.length
      yield* TestClock.adjust("5 seconds")
      assert.lengthOf(beats, before + 5)
      clock.freeze(10_000)
      heartbeat.used(50)
      assert.lengthOf(thaws, 1)
    })
  )

  it.effect("a long freeze after a long idleness is one", () =>
    Effect.gen(function* () {
      const { clock, heartbeat, thaws } = yield* make(false)
      yield* TestClock.adjust("1 hour")
      clock.freeze(3_600_000)
      heartbeat.used(50)
      assert.isAtLeast(thaws[0]!, 3_000_000)
    })
  )
})
