import { assert, describe, it } from "@effect/vitest"
import { ofMembers, Weights } from "@hawser/core/Weights"
import { members, seeds } from "../../support/core/members.ts"
import { Dice } from "../../support/core/prng.ts"

describe("Weights", () => {
  it("draws each in proportion to its weight, from any seed", () => {
    for (const seed of seeds(20)) {
      const dice = new Dice(seed)
      const n = 1 + dice.below(20)
      const given = Array.from({ length: n }, () => dice.oneOf([0.01, 1, 2, 5, 50]))
      const { all, random } = members(n, { seed, of: (i) => ({ weight: given[i]! }) })
      const weights = new Weights(n, ofMembers(all))
      weights.refresh(0)
      const drawn = new Array<number>(n).fill(0)
      const draws = 50_000
      for (let i = 0; i < draws; i++) drawn[weights.draw(random)]!++
      const total = given.reduce((a, b) => a + b)
      drawn.forEach((times, i) => assert.closeTo(times / draws, given[i]! / total, 0.012, `seed ${seed}: e${i}`))
      assert.closeTo(
        weights.values.reduce((a, b) => a + b),
        n,
        1e-6
      )
    }
  })

  it("equal weights of any size are even, and are taken once", () => {
    let measured = 0
    const { all } = members(3, { of: () => ({ weight: 7 }) })
    const measure = ofMembers(all)
    const weights = new Weights(3, (into, now) => {
      measured++
      return measure(into, now)
    })
    for (let now = 0; now < 1e6; now += 1e4) weights.refresh(now)
    assert.isTrue(weights.even)
    assert.strictEqual(weights.version, 0)
    assert.deepStrictEqual([...weights.values], [1, 1, 1])
    assert.strictEqual(measured, 1)
  })

  it("follows a slow start to its end, and looks no more after it", () => {
    const { all } = members(2, { slowStart: { windowMillis: 10_000, aggression: 1, minimum: 0.2 } })
    all[0]!.ready(-20_000)
    all[1]!.ready(0)
    let measured = 0
    const measure = ofMembers(all)
    const weights = new Weights(2, (into, now) => {
      measured++
      return measure(into, now)
    })
    const ratio = (now: number) => {
      weights.refresh(now)
      return weights.values[1]! / weights.values[0]!
    }
    assert.closeTo(ratio(0), 0.2, 1e-9)
    // Within a tenth of a second nobody looks again.
    assert.closeTo(ratio(99), 0.2, 1e-9)
    assert.strictEqual(measured, 1)
    assert.closeTo(ratio(5_000), 0.5, 1e-9)
    assert.isFalse(weights.even)
    assert.closeTo(ratio(10_000), 1, 1e-9)
    assert.isTrue(weights.even)
    const looked = measured
    ratio(1e9)
    assert.strictEqual(measured, looked)
  })
})
