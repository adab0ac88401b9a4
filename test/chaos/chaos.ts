/**
 * `npm run chaos`: faults, played one after another with real servers, real sockets and the whole default stack.
 *
 * Exit code 0: what had to hold has held. 1: something has not. 64: bad options. What this machine can't play is skipped, and
 * said to be.
 */
import { randomUUID } from "node:crypto"
import { Cause, Effect } from "effect"
import { guard } from "../bench/children.ts"
import { elsewhere, groups, scenarios } from "./catalogue.ts"
import { missing } from "./kit/needs.ts"
import { play, tidy } from "./kit/play.ts"
import type { Scenario } from "./kit/scenario.ts"
import { type Options, parse, usage } from "./options.ts"
import { line, type Result, toJson } from "./report.ts"

const say = (text: string): void => void process.stdout.write(`${text}\n`)

const list = (chosen: ReadonlyArray<Scenario>): void => {
  chosen.forEach(({ expect, id, quick, title }) => say(`${id}${quick === true ? " (quick)" : ""}: ${title}: ${expect}`))
  elsewhere.forEach(({ id, title, where }) => say(`${id}: ${title}: played by ${where}`))
}

const outcome = (scenario: Scenario, scale: number): Effect.Effect<Result> => {
  const lacking = missing(scenario.needs ?? [])
  if (lacking.length > 0) return Effect.succeed({ tag: "skipped", scenario, seconds: 0, lacking })
  const began = performance.now()
  return play(scenario, scale, `canary-${randomUUID()}`).pipe(
    Effect.matchCause({
      onSuccess: (verdict) => ({ tag: "played", verdict }) as const,
      onFailure: (cause) => ({ tag: "broken", why: Cause.pretty(cause) }) as const
    }),
    Effect.map((what) => ({ ...what, scenario, seconds: (performance.now() - began) / 1_000 }))
  )
}

const main = async (options: Options): Promise<number> => {
  const isChosen = ({ id, quick }: Scenario): boolean =>
    (options.only.size === 0 || options.only.has(id)) && (!options.quick || quick === true)
  const chosen = groups.map((group) => group.filter(isChosen)).filter((group) => group.length > 0)
  if (options.list) {
    list(chosen.flat())
    return 0
  }
  tidy()
  const started = performance.now()
  const one = (scenario: Scenario) =>
    Effect.tap(outcome(scenario, options.scale), (result) => Effect.sync(() => say(line(result))))
  const results = await Effect.runPromise(
    Effect.forEach(chosen, (group) => Effect.forEach(group, one, { concurrency: "unbounded" })),
    { signal: interrupted.signal }
  )
  const others = options.only.size === 0 ? elsewhere : []
  others.forEach(({ id, title, where }) => say(`else   ${id} ${title}: played by ${where}`))
  const report = toJson(results.flat())
  const { bad, good, skipped } = report.counts
  say(`\n${good} ok, ${bad} not ok, ${skipped} skipped, in ${((performance.now() - started) / 1_000).toFixed(0)} s`)
  if (options.json) say(JSON.stringify({ scenarios: report.scenarios, ok: report.ok }))
  return report.ok ? 0 : 1
}

/** Closes all scopes: namespaces and files are removed, and children killed, before the process ends. */
const interrupted = new AbortController()

const parsed = parse(
  process.argv.slice(2),
  scenarios.map(({ id }) => id)
)
if ("problems" in parsed) {
  const { problems } = parsed
  console.error(`chaos: ${problems.length} bad option${problems.length === 1 ? "" : "s"}`)
  for (const problem of problems) console.error(`  ${problem}`)
  console.error(usage)
  process.exitCode = 64
} else {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      interrupted.abort()
      setTimeout(() => process.exit(130), 5_000).unref()
    })
  }
  guard()
  try {
    process.exitCode = await main(parsed.options)
  } catch (error) {
    if (!interrupted.signal.aborted) console.error(error instanceof Error ? error.stack : error)
    process.exitCode = interrupted.signal.aborted ? 130 : 1
  }
  process.exit()
}
