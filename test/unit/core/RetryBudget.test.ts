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

  it("what was not used may be spent at once; what was spent comes back as it is earned, not all together", () => {
    const budget = RetryBudget.make({ ratio: 0.2, minPerSecond: 10 })
    const retries: Array<number> = []
    // A thousand calls per second, and from the tenth second on two retries wanted for each.
    for (let now = 0; now < 60_000; now++) {
      budget.deposit(now)
      const wanted = now < 10_000 ? 0 : 2
      for (let k = 0; k < wanted; k++) if (budget.withdraw(now)) retries.push(now)
    }
    const inSecond = (s: number) => retries.filter((at) => Math.floor(at / 1_000) === s).length
    assert.isAtLeast(inSecond(10), 1_900)
    for (let s = 12; s < 60; s++) assert.isAtMost(inSecond(s), 220, `second ${s}`)
    // A window of calls has ten slices, one of retries eleven, to be on the safe side.
    const later = retries.filter((at) => at >= 21_000 && at < 54_000).length
    assert.isAtLeast(later, 3 * 2_000)
  })

  it("is not in debt after a burst: when the calls stop too, the seconds still earn", () => {
    const budget = RetryBudget.make({ ratio: 1, minPerSecond: 1 })
    for (let i = 0; i < 1_000; i++) budget.deposit(0)
    assert.strictEqual(drain(budget, 0), 1_010)
    for (let now = 0; now <= 12_000; now += 100) budget.withdraw(now)
    assert.isAtMost(budget.balance(12_000), 1)
    assert.isAtLeast(budget.balance(17_000), 4)
    assert.strictEqual(budget.balance(30_000), 10)
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
      const minPerSecond = dice.oneOf(ratio === 0 ? [1, 10] : [0, 1, 10])
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
      () => RetryBudget.make({ ratio: 0, minPerSecond: 0 }),
      "ratio: expected above 0, or minPerSecond above 0"
    )
    assert.throws(
      () => RetryBudget.make({ ratio: -1, minPerSecond: Number.NaN, windowSeconds: 0 }),
      /ratio: .*\nminPerSecond: .*\nwindowSeconds: /
    )
  })
})
