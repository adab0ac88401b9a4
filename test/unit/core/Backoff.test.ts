import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Random, Schedule } from "effect"
import * as Backoff from "@hawser/core/Backoff"

/** The first `n` delays, in milliseconds. */
const delays = (schedule: Schedule.Schedule<unknown>, n: number, seed: number) =>
  Effect.gen(function* () {
    const step = yield* Schedule.toStep(schedule)
    const out: Array<number> = []
    for (let i = 0; i < n; i++) {
      const [, delay] = yield* step(0, undefined)
      out.push(Duration.toMillis(delay))
    }
    return out
  }).pipe(Random.withSeed(seed), Effect.orDie)

describe("Backoff", () => {
  it.effect("stays within a fifth of min(initial × multiplier^n, max)", () =>
    Effect.gen(function* () {
      for (let seed = 0; seed < 200; seed++) {
        const all = yield* delays(Backoff.connection, 15, seed)
        all.forEach((delay, n) => {
          const middle = Math.min(1_000 * 1.6 ** n, 120_000)
          assert.isAtLeast(delay, middle * 0.8 - 1e-6, `seed ${seed}, delay ${n}`)
          assert.isAtMost(delay, middle * 1.2 + 1e-6, `seed ${seed}, delay ${n}`)
        })
      }
    })
  )

  it.effect("spreads over the whole range, at the cap too", () =>
    Effect.gen(function* () {
      for (const n of [0, 14]) {
        const middle = Math.min(1_000 * 1.6 ** n, 120_000)
        let low = Infinity
        let high = 0
        for (let seed = 0; seed < 400; seed++) {
          const delay = (yield* delays(Backoff.connection, n + 1, seed))[n]!
          low = Math.min(low, delay)
          high = Math.max(high, delay)
        }
        assert.isBelow(low, middle * 0.83)
        assert.isAbove(high, middle * 1.17)
      }
    })
  )

  it.effect("never ends, and never overflows", () =>
    Effect.gen(function* () {
      const all = yield* delays(Backoff.retry, 3_000, 1)
      assert.isAtMost(Math.max(...all), 1_200)
      assert.isAtLeast(Math.min(...all.slice(10)), 800 - 1e-6)
    })
  )

  it.effect("equal seeds give equal delays", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* delays(Backoff.connection, 5, 3), yield* delays(Backoff.connection, 5, 3))
      assert.notDeepEqual(yield* delays(Backoff.connection, 5, 3), yield* delays(Backoff.connection, 5, 4))
    })
  )

  it("reports every parameter out of bounds at once", () => {
    assert.throws(
      () => Backoff.exponential({ initial: 0, multiplier: 0.5, max: "2 days" }),
      /initial: .*\nmax: .*\nmultiplier: /
    )
    assert.throws(() => Backoff.exponential({ initial: "2 seconds", multiplier: 2, max: "1 second" }), /at least/)
  })
})
