import { assert, describe, it } from "@effect/vitest"
import { rules } from "../../bench/bars.ts"
import { parse } from "../../bench/options.ts"

const problems = (...args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const parsed = parse(args)
  return "problems" in parsed ? parsed.problems : []
}

describe("bench options", () => {
  it("measures everything by default", () => {
    const parsed = parse([])
    assert.isTrue("options" in parsed && parsed.options.only.size === 9 && !parsed.options.quick)
  })

  it("takes values apart or with an equals sign", () => {
    const parsed = parse(["--quick", "--json", "--rounds", "3", "--seconds=0.5"])
    assert.isTrue("options" in parsed)
    if ("options" in parsed) {
      const { json, quick, rounds, seconds } = parsed.options
      assert.deepStrictEqual({ json, quick, rounds, seconds }, { json: true, quick: true, rounds: 3, seconds: 0.5 })
    }
  })

  it("finds a measurement by its name or by a bar, more than one", () => {
    const parsed = parse(["--only", "unary", "--only", "b5x"])
    assert.isTrue("options" in parsed)
    if ("options" in parsed) assert.deepStrictEqual([...parsed.options.only], ["unary", "limit"])
  })

  it("leaves out of a quick run what takes long, unless it is named", () => {
    const quick = parse(["--quick"])
    assert.isTrue("options" in quick)
    if ("options" in quick) {
      assert.deepStrictEqual([...quick.options.only], ["unary", "limit", "lease", "waiting", "imports", "memory"])
    }
    for (const name of ["streaming", "slow", "failing"] as const) {
      const named = parse(["--quick", "--only", name])
      assert.isTrue("options" in named && named.options.only.has(name), name)
    }
  })

  it("finds the measurement of each bar", () => {
    for (const bar of Object.keys(rules)) {
      const parsed = parse(["--only", bar])
      assert.isTrue("options" in parsed && parsed.options.only.size === 1, bar)
    }
  })

  it("says everything that is wrong at once, with the rule", () => {
    const all = problems("--rounds", "0", "--seconds", "fast", "--only", "B99", "--verbose", "--quick=yes", "--only")
    assert.strictEqual(all.length, 6)
    assert.include(all[0], "--rounds 0: must be a whole number from 1 to 1000")
    assert.include(all[1], "--seconds fast: must be a number from 0.05 to 60")
    assert.include(
      all[2],
      "--only B99: must be one of unary, streaming, limit, lease, waiting, slow, failing, imports, memory"
    )
    assert.include(all[3], "--verbose: no such option")
    assert.include(all[4], "--quick: takes no value")
    assert.include(all[5], "--only: needs a value")
  })

  it("does not take an option for a value", () => {
    assert.deepStrictEqual(problems("--rounds", "--json").length, 1)
  })
})
