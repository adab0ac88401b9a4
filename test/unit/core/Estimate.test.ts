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

  it("comes down as far in many small steps", () => {
    for (const step of [0.1, 1, 7, 50]) {
      const estimate = new Estimate(false)
      estimate.add(100, 0)
      for (let now = step; now <= 10_000; now += step) estimate.add(60, now)
      assert.closeTo(estimate.value, 60 + 40 / Math.E, 0.1, `${step} ms`)
    }
  })

  it("a sample below half restarts it, if it may", () => {
    for (const [restarts, expected] of [
      [true, 10],
      [false, 1_000]
    ] as const) {
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

/** Within a bucket, which is never too low. */
const near = (actual: number | undefined, expected: number) => {
  assert.isAtLeast(actual!, expected)
  assert.isAtMost(actual!, expected * 1.2)
}

describe("MethodEstimates", () => {
  it("tells methods apart", () => {
    const methods = new MethodEstimates()
    methods.add("a", 10, 0)
    methods.add("b", 100, 0)
    near(methods.get("a"), 10)
    near(methods.get("b"), 100)
    assert.isUndefined(methods.get("c"))
    methods.add("a", 20, 1)
    methods.add("a", 40, 1)
    near(methods.get("a"), 40)
    near(methods.get("b"), 100)
  })

  it("keeps no more than a thousand", () => {
    const methods = new MethodEstimates()
    for (let i = 0; i < 1_001; i++) methods.add(`m${i}`, 1, 0)
    near(methods.get("m999"), 1)
    assert.isUndefined(methods.get("m1000"))
    methods.add("m0", 5, 1)
    near(methods.get("m0"), 5)
  })

  it("the slowest counts while there are few, and the 95th percentile when there are many", () => {
    const methods = new MethodEstimates()
    for (let i = 0; i < 9; i++) methods.add("m", 10, i)
    methods.add("m", 4_000, 9)
    near(methods.get("m"), 4_000)
    for (let i = 0; i < 90; i++) methods.add("m", 10, 10 + i)
    near(methods.get("m"), 10)
  })

  it("what was usual is forgotten after two windows", () => {
    const methods = new MethodEstimates()
    let now = 0
    const add = (millis: number, n: number) => {
      for (let i = 0; i < n; i++) methods.add("m", millis, (now += 20))
    }
    add(10, 200)
    near(methods.get("m"), 10)
    add(1_000, 200)
    near(methods.get("m"), 1_000)
    add(10, 300)
    near(methods.get("m"), 10)
  })

  it("takes what is longer than it can tell, and what took no time", () => {
    const methods = new MethodEstimates()
    methods.add("long", 1e9, 0)
    methods.add("short", 0, 0)
    assert.isAbove(methods.get("long")!, 60_000)
    assert.strictEqual(methods.get("short"), 1)
  })

  it("a busy second is one window, however many calls it had", () => {
    const methods = new MethodEstimates()
    for (let i = 0; i < 20; i++) methods.add("m", 1_000, 0)
    for (let i = 0; i < 200; i++) methods.add("m", 10, i)
    near(methods.get("m"), 1_000)
  })

  it("what was usual is forgotten after two minutes, however few calls there were", () => {
    const methods = new MethodEstimates()
    methods.add("m", 1_000, 0)
    methods.add("m", 10, 61_000)
    near(methods.get("m"), 1_000)
    methods.add("m", 10, 122_000)
    near(methods.get("m"), 10)
  })
})
