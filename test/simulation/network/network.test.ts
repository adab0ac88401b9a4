/**
 * A share of `npm run sim`, and what it promises: that a seed plays alike, that a violation is found and made small.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { LiveConnection } from "@hawser/core/LiveConnection"
import { play } from "./play.ts"
import { draw, scenarios } from "./script.ts"
import { shrink } from "./shrink.ts"

const seeds = Number(process.env["HAWSER_SEEDS"] ?? 120)
const run = promisify(execFile)
const sim = (...args: ReadonlyArray<string>) =>
  run(process.execPath, [fileURLToPath(new URL("./sim.ts", import.meta.url)), ...args]).then(
    ({ stdout }) => ({ code: 0, stdout, stderr: "" }),
    (error: { code: number; stdout: string; stderr: string }) => error
  )

describe("the client on a network in memory", () => {
  for (const name of Object.keys(scenarios) as ReadonlyArray<keyof typeof scenarios>) {
    it(`keeps every invariant in ${name}`, { timeout: 120_000 }, async () => {
      const failed: Array<string> = []
      for (let seed = 1; seed <= seeds / 5; seed++) {
        const { problems } = await play(draw(seed, name))
        if (problems.length > 0) {
          failed.push(`${problems.join("; ")}\n  npm run sim -- --from ${seed} --seeds 1 --scenario ${name}`)
        }
      }
      assert.deepStrictEqual(failed, [])
    })
  }

  it("plays a seed alike, step by step, and another one otherwise", async () => {
    const lines = async (seed: number) => {
      const out: Array<string> = []
      await play(draw(seed), (line) => out.push(line))
      return out.join("\n")
    }
    const first = await lines(7)
    assert.strictEqual(await lines(7), first)
    assert.notStrictEqual(await lines(8), first)
  })

  it("finds a health check that nobody minds", { timeout: 120_000 }, async () => {
    const { hasRoom } = LiveConnection.prototype
    LiveConnection.prototype.hasRoom = function () {
      return this.lending && this.inFlight < this.limit()
    }
    try {
      const found = new Set<string>()
      for (let seed = 1; seed <= 10 && found.size < 2; seed++) {
        for (const problem of (await play(draw(seed, "health"))).problems) {
          if (problem.startsWith("I-7 a lease of a connection that is not")) found.add(problem)
        }
      }
      assert.isTrue(found.has("I-7 a lease of a connection that is not healthy"))
      assert.isTrue(found.has("I-7 a lease of a connection that is not serving"))
    } finally {
      LiveConnection.prototype.hasRoom = hasRoom
    }
  })

  it("finds a mistake, and makes the script that shows it small", async () => {
    const { hasRoom } = LiveConnection.prototype
    // Lends one too many.
    LiveConnection.prototype.hasRoom = function () {
      return this.lending && this.inFlight <= this.limit()
    }
    try {
      let seed = 0
      let outcome = await play(draw(++seed))
      while (outcome.problems.length === 0) outcome = await play(draw(++seed))
      assert.include(outcome.problems.join(), "I-1")
      const small = await shrink(draw(seed), outcome, play)
      assert.include(small.outcome.problems.join(), "I-1")
      assert.isBelow(small.script.steps.length, 12)
    } finally {
      LiveConnection.prototype.hasRoom = hasRoom
    }
  })
})

describe("npm run sim", () => {
  it("ends with one line of JSON", { timeout: 60_000 }, async () => {
    const { code, stdout } = await sim("--seeds", "4", "--from", "50", "--json")
    assert.strictEqual(code, 0)
    const summary = JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as Record<string, unknown>
    assert.deepInclude(summary, { seeds: 4, violations: 0, distinct: 4, replayed: { seeds: 4, equal: 4 } })
    assert.hasAllKeys(summary, [
      "seeds",
      "violations",
      "distinct",
      "operations",
      "faultsPerSeed",
      "faults",
      "replayed",
      "failures"
    ])
  })

  it("says all that is wrong with its options", async () => {
    const { code, stderr } = await sim("--seeds", "1.5", "--from", "x", "--scenario", "rain", "--fast")
    assert.strictEqual(code, 64)
    for (const rule of [
      "--seeds 1.5: must be an integer",
      "--from x: must be",
      "--scenario rain: must be one of",
      "--fast: no such"
    ]) {
      assert.include(stderr, rule)
    }
  })
})
