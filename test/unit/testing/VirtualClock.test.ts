import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber } from "effect"
import { VirtualClock } from "@hawser/testing/VirtualClock"
import { Dice } from "../../support/core/prng.ts"

/** Runs whatever comes, at once. */
const run = (task: () => void) => task()

describe("VirtualClock", () => {
  it("goes from moment to moment, and runs each in the order in which it was asked for", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const dice = new Dice(seed)
      const clock = new VirtualClock()
      const expected: Array<{ readonly at: number; readonly id: number }> = []
      const seen: Array<{ readonly at: number; readonly id: number }> = []
      for (let id = 0; id < 200; id++) {
        const at = dice.below(50)
        const cancel = clock.after(at, () => seen.push({ at: clock.now, id }))
        if (dice.chance(0.3)) cancel()
        else expected.push({ at, id })
      }
      while (clock.advance(run));
      assert.deepStrictEqual(
        seen,
        expected.toSorted((a, b) => a.at - b.at || a.id - b.id),
        `seed ${seed}`
      )
      assert.strictEqual(clock.waiting, 0)
    }
  })

  it("time stands still where nobody waits", () => {
    const clock = new VirtualClock()
    const cancel = clock.after(10, () => {})
    cancel()
    assert.isFalse(clock.advance(run))
    assert.strictEqual(clock.now, 0)
  })

  it("who is cancelled by the first of a moment does not run in it", () => {
    const clock = new VirtualClock()
    const seen: Array<string> = []
    clock.after(5, () => {
      seen.push("first")
      cancel()
    })
    const cancel = clock.after(5, () => seen.push("second"))
    clock.advance(run)
    assert.deepStrictEqual(seen, ["first"])
    assert.strictEqual(clock.waiting, 0)
  })

  it("for ever is waited for, and never comes", () => {
    const clock = new VirtualClock()
    const cancel = clock.after(Infinity, () => assert.fail("for ever is over"))
    assert.strictEqual(clock.waiting, 1)
    assert.isFalse(clock.advance(run))
    cancel()
    cancel()
    assert.strictEqual(clock.waiting, 0)
  })

  it("a moment in the past is now", () => {
    const clock = new VirtualClock()
    clock.after(10, () => {})
    clock.advance(run)
    clock.after(-5, () => {})
    clock.advance(run)
    assert.strictEqual(clock.now, 10)
  })

  it("is the clock of a program: its sleeps, both of its times, its interrupts", async () => {
    const clock = new VirtualClock()
    const program = Effect.gen(function* () {
      yield* Effect.sleep("1500 millis")
      yield* Effect.sleep(Duration.zero)
      return [yield* Clock.currentTimeMillis, clock.monotonicTimeNanosUnsafe(), clock.currentTimeNanosUnsafe()] as const
    })
    const fiber = Effect.runFork(Effect.provideService(program, Clock.Clock, clock))
    const asleep = Effect.runFork(Effect.provideService(Effect.sleep("1 hour"), Clock.Clock, clock))
    assert.strictEqual(clock.waiting, 2)
    await Effect.runPromise(Fiber.interrupt(asleep))
    assert.strictEqual(clock.waiting, 1)
    clock.advance(run)
    assert.deepStrictEqual(await Effect.runPromise(Fiber.join(fiber)), [1_500, 1_500_000_000n, 1_500_000_000n])
    assert.isFalse(clock.advance(run))
  })
})
