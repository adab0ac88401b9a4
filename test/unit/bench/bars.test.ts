import { assert, describe, it } from "@effect/vitest"
import { judge } from "../../bench/bars.ts"

describe("bench bars", () => {
  it("at most: the bar itself is met", () => {
    assert.deepStrictEqual(judge("B1", 0.95, false), { id: "B1", value: 0.95, bar: 0.95, ok: true })
    assert.isFalse(judge("B1", 0.951, false).ok)
  })

  it("import and heap have their bars, and wider ones in quick runs", () => {
    for (const quick of [false, true]) {
      const bar = quick ? 300 : 90
      assert.deepStrictEqual(judge("B13", bar, quick), { id: "B13", value: bar, bar, ok: true })
      assert.isFalse(judge("B13", bar + 0.001, quick).ok)
      assert.isTrue(judge("B14", quick ? 4500 : 4000, quick).ok)
      assert.isFalse(judge("B14", quick ? 4501 : 4001, quick).ok)
      assert.isTrue(judge("B14b", 10_000, quick).ok)
      assert.isFalse(judge("B14b", 10_001, quick).ok)
    }
  })

  it("a slow backend and a failing one have theirs", () => {
    assert.isTrue(judge("B11", 1.3, false).ok)
    assert.isFalse(judge("B11", 1.301, false).ok)
    assert.isTrue(judge("B12", 0.5, true).ok)
    assert.isFalse(judge("B12", 0.501, true).ok)
  })

  it("at least: the direction is the bar's own", () => {
    assert.isTrue(judge("B5", 360, false).ok)
    assert.isTrue(judge("B5", 400, false).ok)
    assert.isFalse(judge("B5", 359, false).ok)
    assert.isFalse(judge("B5x", 1, false).ok)
  })

  it("quick has its own bar where it is given", () => {
    assert.deepStrictEqual(judge("B1", 1.04, true), { id: "B1", value: 1.04, bar: 1.05, ok: true })
    assert.strictEqual(judge("B6", 1, true).bar, 1)
  })

  it("is judged as it is printed", () => {
    assert.deepStrictEqual(judge("B1", 0.95049, false), { id: "B1", value: 0.95, bar: 0.95, ok: true })
  })

  it("a value that is not a number meets no bar", () => {
    assert.isFalse(judge("B1", Number.NaN, false).ok)
    assert.isFalse(judge("B5", Number.NaN, false).ok)
  })
})
