/**
 * `npm run chaos`: faults, played one after another with real servers, real sockets and the whole default stack.
 *
 * Exit code 0: what had to hold has held. 1: something has not. 64: bad options. What this machine can't play is skipped, and
 * said to be.
 */
import { randomUUID } from "node:crypto"
import { Cause, Effect, Exit } from "effect"
import { guard } from "../bench/children.ts"
import { elsewhere, scenarios } from "./catalogue.ts"
import { missing } from "./kit/needs.ts"
import { play, tidy } from "./kit/play.ts"
import { type Options, parse, usage } from "./options.ts"
import { line, type Result, toJson } from "./report.ts"

const say = (text: string): void => void process.stdout.write(`${text}\n`)

const main = async (options: Options): Promise<number> => {
  const chosen = scenarios.filter(
    ({ id, quick }) => (options.only.size === 0 || options.only.has(id)) && (!options.quick || quick === true)
  )
  if (options.list) {
    for (const { expect, id, quick, title } of chosen) say(`${id}${quick === true ? " (quick)" : ""}: ${title}: ${expect}`)
    for (const { id, title, where } of elsewhere) say(`${id}: ${title}: played by ${where}`)
    return 0
  }
  tidy()
  const results: Array<Result> = []
  const started = performance.now()
  const all = Effect.forEach(
    chosen,
    (scenario) =>
      Effect.gen(function* () {
        const lacking = missing(scenario.needs ?? [])
        const began = performance.now()
        const exit = lacking.length > 0 ? undefined : yield* Effect.exit(play(scenario, options.scale, `canary-${randomUUID()}`))
        const result: Result = {
          scenario,
          seconds: (performance.now() - began) / 1_000,
          ...(exit === undefined
            ? { tag: "skipped", lacking }
            : Exit.isSuccess(exit)
              ? { tag: "played", verdict: exit.value }
              : { tag: "broken", why: Cause.pretty(exit.cause) })
        }
        results.push(result)
        say(line(result))
        // An interrupt is no result.
        if (exit !== undefined && Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) yield* Effect.interrupt
      }),
    { discard: true }
  )
  await Effect.runPromise(all, { signal: interrupted.signal })
  if (options.only.size === 0) for (const { id, title, where } of elsewhere) say(`else   ${id} ${title}: played by ${where}`)
  const report = toJson(results)
  const { bad, good, skipped } = report.counts
  say(`\n${good} ok, ${bad} not ok, ${skipped} skipped, in ${((performance.now() - started) / 1_000).toFixed(0)} s`)
  if (options.json) say(JSON.stringify({ scenarios: report.scenarios, ok: report.ok }))
  return report.ok ? 0 : 1
}

/** Closes all scopes: namespaces and files are removed, and children killed, before the process ends. */
const interrupted = new AbortController()

const parsed = parse(process.argv.slice(2), scenarios.map(({ id }) => id))
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
