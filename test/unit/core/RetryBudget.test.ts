import { assert, describe, it } from "@effect/vitest"
import * as RetryBudget from "@hawser/core/RetryBudget"
import { Dice } from "../../support/core/prng.ts"

const drain = (budget: RetryBudget.RetryBudget, now: number): number => {
  let n = 0
  while (n < 1e6 && budget.withdraw(now)) n++
  return n
}

describe("RetryBudget", () => {
  it("gives a fifth of the calls and ten per second", () => {
    const budget = RetryBudget.make()
    assert.strictEqual(budget.balance(0), 100)
    for (let i = 0; i < 50; i++) budget.deposit(0)
    assert.strictEqual(drain(budget, 0), 110)
    assert.isFalse(budget.withdraw(0))
  })

  it("a call counts for ten seconds", () => {
    const budget = RetryBudget.make({ ratio: 1, minPerSecond: 0 })
    budget.deposit(500)
    assert.strictEqual(budget.balance(9_999), 1)
    assert.strictEqual(budget.balance(10_000), 0)
  })

  it("a withdrawal is forgotten once no window holds it any more", () => {
    const budget = RetryBudget.make({ ratio: 0, minPerSecond: 1 })
    assert.strictEqual(drain(budget, 500), 10)
    assert.strictEqual(budget.balance(10_499), 0)
    assert.strictEqual(budget.balance(11_000), 10)
  })

  it("slices roll one by one", () => {
    const budget = RetryBudget.make({ ratio: 1, minPerSecond: 0 })
    for (let s = 0; s < 10; s++) budget.deposit(s * 1_000)
    for (let s = 0; s < 10; s++) assert.strictEqual(budget.balance(10_000 + s * 1_000), 9 - s)
  })

  it("with each retry, the window that it ends holds at most ratio × calls + reserve of them", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const dice = new Dice(seed)
      const ratio = dice.oneOf([0, 0.1, 0.2, 1, 2.5])
      const minPerSecond = dice.oneOf([0, 1, 10])
      const windowSeconds = dice.oneOf([1, 10])
      const budget = RetryBudget.make({ ratio, minPerSecond, windowSeconds })
      const window = windowSeconds * 1_000
      const calls: Array<number> = []
      const retries: Array<number> = []
      let now = dice.below(100_000)
      for (let i = 0; i < 400; i++) {
        now += dice.chance(0.05) ? dice.below(window * 2) : dice.below(window / 20)
        for (let k = dice.below(5); k > 0; k--) {
          budget.deposit(now)
          calls.push(now)
        }
        const within = (times: ReadonlyArray<number>) => times.filter((t) => t > now - window).length
        for (let k = dice.below(8); k > 0 && budget.withdraw(now); k--) {
          retries.push(now)
          const most = ratio * within(calls) + minPerSecond * windowSeconds
          assert.isAtMost(within(retries), most + 1e-9, `seed ${seed}, step ${i}`)
        }
      }
    }
  })

  it("forgets everything when time goes far ahead, at no cost", () => {
    const budget = RetryBudget.make({ ratio: 1, minPerSecond: 1 })
    for (let i = 0; i < 7; i++) budget.deposit(0)
    assert.strictEqual(drain(budget, 0), 17)
    for (const now of [1e9, 1e12, Number.MAX_SAFE_INTEGER]) {
      assert.strictEqual(budget.balance(now), 10, `${now}`)
      assert.strictEqual(drain(budget, now), 10)
    }
  })

  it("a time that steps back gives nothing anew", () => {
    const budget = RetryBudget.make({ ratio: 0, minPerSecond: 1 })
    assert.strictEqual(drain(budget, 50_000), 10)
    assert.strictEqual(drain(budget, 0), 0)
  })

  it("reports every parameter out of bounds at once", () => {
    assert.throws(
      () => RetryBudget.make({ ratio: -1, minPerSecond: Number.NaN, windowSeconds: 0 }),
      /ratio: .*\nminPerSecond: .*\nwindowSeconds: /
    )
  })
})
