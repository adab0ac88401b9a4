import { assert, describe, it } from "@effect/vitest"
import * as RetryThrottle from "@hawser/core/RetryThrottle"
import { Dice } from "../../support/core/prng.ts"

const times = (n: number, f: () => void): void => {
  for (let i = 0; i < n; i++) f()
}

describe("RetryThrottle", () => {
  it("starts full", () => {
    const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 0.1 })
    assert.strictEqual(throttle.balance(), 10)
    assert.isTrue(throttle.allows())
  })

  it.each<readonly [number, number]>([
    [1, 0],
    [2, 0],
    [3, 1],
    [10, 4],
    [11, 5],
    [1000, 499]
  ])("of %i tokens bears %i failures: more than half must be left", (maxTokens, failures) => {
    const throttle = RetryThrottle.make({ maxTokens, tokenRatio: 1 })
    times(failures, () => throttle.failed())
    assert.isTrue(throttle.allows())
    throttle.failed()
    assert.isFalse(throttle.allows())
    throttle.succeeded()
    assert.isTrue(throttle.allows())
  })

  it.each<readonly [number, number]>([
    [0.5466, 0.546],
    [0.5469999, 0.546],
    [1.001, 1.001],
    [0.29, 0.29],
    [0.001, 0.001],
    [0.0019, 0.001],
    [4.35, 4.35],
    [1000, 1000]
  ])("keeps three decimals of a ratio of %f: %f", (tokenRatio, counts) => {
    const throttle = RetryThrottle.make({ maxTokens: 1000, tokenRatio })
    times(1000, () => throttle.failed())
    assert.strictEqual(throttle.balance(), 0)
    throttle.succeeded()
    assert.strictEqual(throttle.balance(), counts)
  })

  it("adds up exactly: a thousand thousandths are one token", () => {
    const throttle = RetryThrottle.make({ maxTokens: 1, tokenRatio: 0.001 })
    throttle.failed()
    times(500, () => throttle.succeeded())
    assert.isFalse(throttle.allows())
    throttle.succeeded()
    assert.isTrue(throttle.allows())
    times(499, () => throttle.succeeded())
    assert.strictEqual(throttle.balance(), 1)
  })

  it("stays between empty and full, and allows above one half, whatever happens", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const dice = new Dice(seed)
      const maxTokens = 1 + dice.below(1000)
      const throttle = RetryThrottle.make({ maxTokens, tokenRatio: dice.oneOf([0.001, 0.1, 0.999, 3, 1000]) })
      let wrong = 0
      for (let i = 0; i < 2_000; i++) {
        if (dice.chance(0.6)) throttle.failed()
        else throttle.succeeded()
        const balance = throttle.balance()
        if (!(balance >= 0 && balance <= maxTokens) || throttle.allows() !== balance > maxTokens / 2) wrong++
      }
      assert.strictEqual(wrong, 0, `seed ${seed}`)
    }
  })

  it("reports every parameter out of bounds at once", () => {
    for (const maxTokens of [0, 1001, 2.5, NaN, "10" as never]) {
      for (const tokenRatio of [0, -1, 0.0009, NaN, Infinity, "1" as never]) {
        assert.throws(() => RetryThrottle.make({ maxTokens, tokenRatio }), /maxTokens: .*\ntokenRatio: /)
      }
    }
  })
})
