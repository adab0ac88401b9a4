import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, FiberSet } from "effect"
import { TestClock } from "effect/testing"
import { Pulse } from "@hawser/core/Pulse"
import { monotonicMillis } from "@hawser/core/Time"
import { counted, type Sleeps } from "../../support/core/CountingClock.ts"

const setup = (sleeps: Sleeps) =>
  counted(
    sleeps,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const run = yield* FiberSet.makeRuntime<never, void, never>()
      const ticks: Array<readonly [number, number]> = []
      const state = { busy: true, late: 0 }
      const pulse = new Pulse({
        now: () => monotonicMillis(clock) + state.late,
        run,
        busy: () => state.busy,
        tick: (now, deaf) => ticks.push([now, deaf])
      })
      return { pulse, state, ticks }
    })
  )

describe("Pulse", () => {
  it.effect("does nothing until it is woken", () =>
    Effect.gen(function* () {
      const sleeps = { now: 0 }
      const { ticks } = yield* setup(sleeps)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ticks.length, 0)
      assert.strictEqual(sleeps.now, 0)
    })
  )

  it.effect("ticks every 50 ms while there is something to do, with one timer, and then stops", () =>
    Effect.gen(function* () {
      const sleeps = { now: 0 }
      const { pulse, state, ticks } = yield* setup(sleeps)
      for (let i = 0; i < 100; i++) pulse.wake()
      assert.strictEqual(sleeps.now, 1)
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(
        ticks.map(([now]) => now),
        [50, 100, 150, 200]
      )
      state.busy = false
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ticks.length, 5)
      assert.strictEqual(sleeps.now, 0)
      state.busy = true
      pulse.wake()
      yield* TestClock.adjust(50)
      assert.strictEqual(ticks.length, 6)
    })
  )

  it.effect("says how long it did not listen", () =>
    Effect.gen(function* () {
      const { pulse, state, ticks } = yield* setup({ now: 0 })
      pulse.wake()
      yield* TestClock.adjust(50)
      state.late = 40
      yield* TestClock.adjust(50)
      state.late = 3_000
      yield* TestClock.adjust(50)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(
        ticks.map(([, deaf]) => deaf),
        [0, 0, 2_910, 0]
      )
    })
  )
})
