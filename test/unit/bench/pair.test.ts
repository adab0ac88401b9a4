import { assert, describe, it } from "@effect/vitest"
import { deviation, mean, median, orderOf, paired, type Sample, shares } from "../../bench/pair.ts"

const sample = (cpuMicros: number, calls: number): Sample => ({ calls, cpuMicros, millis: 100, p50: 1, p99: 2 })

describe("bench pairs", () => {
  it("pairs within a round, so that a slow round cancels out", () => {
    const raw = [sample(100, 10), sample(1000, 10), sample(100, 10)]
    const ours = [sample(90, 10), sample(900, 10), sample(90, 10)]
    assert.deepStrictEqual([...paired(ours, raw)], [0.9, 0.9, 0.9])
  })

  it("is per call", () => {
    assert.deepStrictEqual([...paired([sample(100, 20)], [sample(100, 10)])], [0.5])
  })

  it("leaves out rounds without calls, and rounds that only one has", () => {
    assert.deepStrictEqual(
      [...paired([sample(1, 0), sample(10, 10), sample(10, 10)], [sample(1, 1), sample(10, 10)])],
      [1]
    )
  })

  it("medians of odd, even and no counts", () => {
    assert.strictEqual(median([3, 1, 2]), 2)
    assert.strictEqual(median([4, 1, 2, 3]), 2.5)
    assert.isNaN(median([]))
    assert.isNaN(mean([]))
    assert.strictEqual(mean([1, 2, 6]), 3)
  })

  it("leaves its input in order", () => {
    const values = [3, 1, 2]
    median(values)
    assert.deepStrictEqual(values, [3, 1, 2])
  })

  it("the deviation is the median distance from the median", () => {
    assert.strictEqual(deviation([1, 2, 3, 4, 100]), 1)
  })

  it("reverses every other round", () => {
    assert.deepStrictEqual([...orderOf(["a", "b"], 0)], ["a", "b"])
    assert.deepStrictEqual([...orderOf(["a", "b"], 1)], ["b", "a"])
  })

  it("shares out rounds, none of them empty", () => {
    assert.deepStrictEqual([...shares(16, 4)], [4, 4, 4, 4])
    assert.deepStrictEqual([...shares(10, 4)], [2, 3, 2, 3])
    assert.deepStrictEqual([...shares(1, 4)], [1])
  })
})
