/**
 * `npm run sim`: the real client on a network in memory, under virtual time, one seed after another.
 *
 * Each seed draws calls, faults and the order of everything that happens; the invariants are checked after every step. One
 * that fails is made as small as it can be, and printed with the command that plays it again. Exit code 1 then.
 */
import { spawn } from "node:child_process"
import { availableParallelism } from "node:os"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type { Counted } from "./ledger.ts"
import { type Outcome, play } from "./play.ts"
import { draw, isScenario, type ScenarioName, scenarios } from "./script.ts"
import { shrink } from "./shrink.ts"

interface Options {
  seeds: number
  from: number
  scenario: ScenarioName
  json: boolean
  trace: boolean
  replays: number
}

const usage = `usage: npm run sim -- [--seeds N] [--from S] [--scenario NAME] [--trace] [--json]
  --seeds N        how many seeds; default 1,000
  --from S         the first seed; default 1
  --scenario NAME  ${Object.keys(scenarios).join(", ")}; default storm
  --trace          prints everything that happens; for one seed
  --json           ends with one line of JSON`

/** How many seeds are played twice, to see that they play alike. */
const replays = 100
/** So many failures end the run. */
const maxFailed = 5

const parse = (args: ReadonlyArray<string>): Options | ReadonlyArray<string> => {
  const problems: Array<string> = []
  const out: Options = { seeds: 1_000, from: 1, scenario: "storm", json: false, trace: false, replays }
  for (let i = 0; i < args.length; i++) {
    const flag = args[i]!
    const whole = (least: number): number => {
      const text = args[++i]
      const n = Number(text)
      if (text === undefined || !Number.isSafeInteger(n) || n < least || text.trim() === "") {
        problems.push(`${flag} ${text ?? ""}: must be an integer of ${least} or more`)
      }
      return n
    }
    if (flag === "--seeds") out.seeds = whole(1)
    else if (flag === "--from") out.from = whole(0)
    else if (flag === "--json") out.json = true
    else if (flag === "--trace") out.trace = true
    else if (flag === "--scenario") {
      const name = args[++i] ?? ""
      if (isScenario(name)) out.scenario = name
      else problems.push(`--scenario ${name}: must be one of ${Object.keys(scenarios).join(", ")}`)
    } else problems.push(`${flag}: no such option`)
  }
  if (out.trace && out.seeds !== 1) problems.push("--trace: needs --seeds 1")
  return problems.length > 0 ? problems : out
}

/** Every outcome of the seeds, from as many processes as there are processors. */
const playAll = async (options: Options, each: (outcome: Outcome) => void): Promise<void> => {
  const workers = Math.min(availableParallelism(), 8, options.seeds)
  const one = (nth: number) =>
    new Promise<void>((resolve, reject) => {
      const count = Math.ceil((options.seeds - nth) / workers)
      const args = [options.from + nth, count, workers, options.scenario, maxFailed].map(String)
      const child = spawn(process.execPath, [fileURLToPath(new URL("./worker.ts", import.meta.url)), ...args], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      createInterface({ input: child.stdout }).on("line", (line) => each(JSON.parse(line) as Outcome))
      child.on("error", reject)
      child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))))
    })
  await Promise.all(Array.from({ length: workers }, (_, nth) => one(nth)))
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

const own: ReadonlySet<string> = new Set<Counted>(["interrupt", "deadline", "scope closed"])

const command = (seed: number, scenario: ScenarioName): string =>
  `npm run sim -- --from ${seed} --seeds 1${scenario === "storm" ? "" : ` --scenario ${scenario}`} --trace`

const main = async (options: Options): Promise<number> => {
  const { from, scenario, seeds } = options
  if (options.trace) {
    const outcome = await play(draw(from, scenario), console.log)
    for (const problem of outcome.problems) console.log(problem)
    return outcome.problems.length === 0 ? 0 : 1
  }
  const startedAt = performance.now()
  const faults: Record<string, number> = {}
  const outcomes: Record<string, number> = {}
  const failed: Array<Outcome> = []
  const operations: Array<number> = []
  const perSeed: Array<number> = []
  const hashes = new Map<number, number>()
  let steps = 0
  let virtual = 0
  await playAll(options, (outcome) => {
    for (const [name, n] of Object.entries(outcome.faults)) faults[name] = (faults[name] ?? 0) + n
    for (const [name, n] of Object.entries(outcome.outcomes)) outcomes[name] = (outcomes[name] ?? 0) + n
    operations.push(outcome.operations)
    perSeed.push(Object.entries(outcome.faults).reduce((sum, [name, n]) => (own.has(name) ? sum : sum + n), 0))
    hashes.set(outcome.seed, outcome.hash)
    steps += outcome.steps
    virtual += outcome.millis
    if (outcome.problems.length > 0) failed.push(outcome)
  })
  const replayed = { seeds: 0, equal: 0 }
  for (let seed = from; seed < from + Math.min(replays, seeds); seed++) {
    const hash = hashes.get(seed)
    if (hash === undefined) continue
    replayed.seeds++
    if ((await play(draw(seed, scenario))).hash === hash) replayed.equal++
    else console.log(`seed ${seed} plays differently the second time`)
  }
  for (const outcome of failed.toSorted((a, b) => a.seed - b.seed).slice(0, maxFailed)) {
    const small = await shrink(draw(outcome.seed, scenario), outcome, play)
    console.log(`\nseed ${outcome.seed}: ${outcome.problems.join("; ")}`)
    console.log(`  smallest: ${small.script.steps.length} steps (${small.plays} tries): ${small.outcome.problems[0]}`)
    console.log(`  ${JSON.stringify(small.script.settings)}`)
    for (const step of small.script.steps) console.log(`  ${JSON.stringify(step)}`)
    console.log(`  ${command(outcome.seed, scenario)}`)
  }
  const distinct = new Set(hashes.values()).size
  const played = operations.length
  const seconds = (performance.now() - startedAt) / 1_000
  const rows = Object.entries(faults).toSorted(([a], [b]) => a.localeCompare(b))
  console.log(`\n${rows.map(([name, n]) => `${name.padEnd(24)}${String(n).padStart(9)}`).join("\n")}`)
  console.log(`\noutcomes: ${JSON.stringify(outcomes)}`)
  console.log(
    `${played} seeds, ${distinct} distinct, ${failed.length} with violations; ${steps} steps, ` +
      `${(virtual / 3_600_000).toFixed(1)} h of virtual time in ${seconds.toFixed(0)} s`
  )
  if (options.json) {
    const summary = {
      seeds: played,
      violations: failed.length,
      distinct,
      operations: { median: median(operations) },
      faultsPerSeed: { median: median(perSeed) },
      faults,
      replayed,
      failures: failed.slice(0, maxFailed).map(({ problems, seed }) => `${command(seed, scenario)}: ${problems[0]}`)
    }
    console.log(JSON.stringify(summary))
  }
  return failed.length === 0 && replayed.equal === replayed.seeds ? 0 : 1
}

const parsed = parse(process.argv.slice(2))
if ("seeds" in parsed) process.exitCode = await main(parsed)
else {
  console.error(`sim: ${parsed.length} bad option${parsed.length === 1 ? "" : "s"}`)
  for (const problem of parsed) console.error(`  ${problem}`)
  console.error(usage)
  process.exitCode = 64
}
