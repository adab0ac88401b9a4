/**
 * The race: seeded interleavings of borrows, interrupts, deadlines, dials, losses and drains on the real core.
 *
 * `HAWSER_SEED=123 npx vitest run test/simulation/race.test.ts` replays one seed; `HAWSER_SEEDS=100000` runs so many.
 */
import { assert, describe, it } from "@effect/vitest"
import { mutants } from "./mutants.ts"
import { run } from "./world.ts"

const replay = (seed: number) => `HAWSER_SEED=${seed} npx vitest run test/simulation/race.test.ts`
const only = process.env["HAWSER_SEED"]
const seeds = Number(process.env["HAWSER_SEEDS"] ?? 2_000)

describe("the race", () => {
  it(
    only === undefined ? `no invariant breaks in ${seeds} seeds` : `seed ${only}`,
    { timeout: 3_600_000 },
    async () => {
      const first = only === undefined ? 1 : Number(only)
      const last = only === undefined ? seeds : first
      const failed: Array<string> = []
      const totals: Record<string, number> = {}
      const hashes = new Set<number>()
      let steps = 0
      for (let seed = first; seed <= last && failed.length < 10; seed++) {
        const outcome = await run(seed)
        steps += outcome.steps
        hashes.add(outcome.hash)
        for (const [name, n] of Object.entries(outcome.counts)) totals[name] = (totals[name] ?? 0) + n
        if (outcome.problems.length > 0) failed.push(`seed ${seed}: ${outcome.problems.join("; ")}\n  ${replay(seed)}`)
      }
      if (process.env["HAWSER_VERBOSE"] !== undefined) console.log(steps, hashes.size, totals)
      assert.strictEqual(failed.join("\n"), "")
    }
  )
  it("the same seed gives the same run", async () => {
    const first = await run(7)
    const again = await run(7)
    assert.deepStrictEqual({ ...again }, { ...first })
    assert.notStrictEqual((await run(8)).hash, first.hash)
  })

  for (const { install, name, rules } of mutants) {
    it(`finds ${name}`, { timeout: 120_000 }, async () => {
      const restore = install?.()
      try {
        let seed = 0
        let found: ReadonlyArray<string> = []
        while (found.length === 0 && seed < 500) found = (await run(++seed, rules)).problems
        assert.isAbove(found.length, 0, "not found within 500 seeds")
        if (process.env["HAWSER_VERBOSE"] !== undefined) console.log(`seed ${seed}: ${found.join("; ")}`)
      } finally {
        restore?.()
      }
    })
  }
})
