import { assert, describe, it } from "@effect/vitest"
import { Estimate, MethodEstimates } from "@hawser/core/Estimate"

describe("Estimate", () => {
  it("knows nothing before the first sample", () => {
    const estimate = new Estimate(false)
    assert.isFalse(estimate.known)
    estimate.add(0, 0)
    assert.isTrue(estimate.known)
    assert.strictEqual(estimate.value, 0)
  })

  it("believes a higher sample at once", () => {
    const estimate = new Estimate(false)
    estimate.add(10, 0)
    estimate.add(500, 1)
    assert.strictEqual(estimate.value, 500)
  })

  it("comes down by 63 % in ten seconds", () => {
    const estimate = new Estimate(false)
    estimate.add(100, 0)
    estimate.add(60, 10_000)
    assert.closeTo(estimate.value, 60 + 40 / Math.E, 1e-9)
  })

  it("a sample below half restarts it, if it may", () => {
    for (const [restarts, expected] of [[true, 10], [false, 1_000]] as const) {
      const estimate = new Estimate(restarts)
      estimate.add(1_000, 0)
      estimate.add(10, 0)
      assert.strictEqual(estimate.value, expected)
    }
  })

  it("a sample from the past does not blow it up", () => {
    const estimate = new Estimate(true)
    estimate.add(10, 600_000)
    estimate.add(9, 1_000)
    assert.isAtMost(estimate.value, 10)
    estimate.add(8, 600_001)
    assert.isAbove(estimate.value, 9, "time did not run backwards")
  })

  it("forgets on reset", () => {
    const estimate = new Estimate(true)
    estimate.add(10, 0)
    estimate.reset()
    assert.isFalse(estimate.known)
    estimate.add(3, 1)
    assert.strictEqual(estimate.value, 3)
  })
})

describe("MethodEstimates", () => {
  it("tells methods apart", () => {
    const methods = new MethodEstimates()
    methods.add("a", 10, 0)
    methods.add("b", 99, 0)
    assert.strictEqual(methods.get("a"), 10)
    assert.strictEqual(methods.get("b"), 99)
    assert.isUndefined(methods.get("c"))
  })

  it("keeps no more than a thousand", () => {
    const methods = new MethodEstimates()
    for (let i = 0; i < 1_001; i++) methods.add(`m${i}`, 1, 0)
    assert.strictEqual(methods.get("m999"), 1)
    assert.isUndefined(methods.get("m1000"))
    methods.add("m0", 5, 1)
    assert.strictEqual(methods.get("m0"), 5)
  })
})
