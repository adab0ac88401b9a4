/** What is printed: one line per scenario for people, one line for all of them for programs. */
import { holds, isOk, type Check, type Scenario, type Verdict } from "./kit/scenario.ts"

export type Result = { readonly scenario: Scenario; readonly seconds: number } & (
  | { readonly tag: "played"; readonly verdict: Verdict }
  | { readonly tag: "skipped"; readonly lacking: ReadonlyArray<string> }
  | { readonly tag: "broken"; readonly why: string }
)

const round = (n: number): number => (Math.abs(n) >= 100 ? Math.round(n) : Math.round(n * 1_000) / 1_000)

const bound = ({ least, most }: Check): string =>
  [least === undefined ? [] : `at least ${round(least)}`, most === undefined ? [] : `at most ${round(most)}`]
    .flat()
    .join(", ")

const figure = (check: Check): string =>
  `${holds(check) ? "" : "NOT OK: "}${check.what} ${round(check.value)} (${bound(check)})`

/** What was expected and what was measured. */
export const line = (result: Result): string => {
  const { scenario, seconds } = result
  const head = `${scenario.id} ${scenario.title}; expected: ${scenario.expect}; `
  switch (result.tag) {
    case "skipped":
      return `skip   ${scenario.id} ${scenario.title}: needs ${result.lacking.join(", ")}`
    case "broken":
      return `BROKEN ${head}${result.why.replaceAll("\n", "\n       ")}`
    case "played": {
      const { calls, checks, failed, limit, notes } = result.verdict
      const ok = isOk(result.verdict)
      const few = failed <= limit ? "" : "NOT OK: "
      const figures = [`${few}${failed} of ${calls} calls failed (at most ${round(limit)})`, ...checks.map(figure)]
      const why = ok || notes === undefined ? "" : `\n       ${JSON.stringify(notes)}`
      return `${ok ? "ok    " : "FAILED"} ${head}measured: ${figures.join("; ")} [${seconds.toFixed(1)} s]${why}`
    }
  }
}

interface Line {
  readonly id: string
  readonly calls: number
  readonly failed: number
  readonly limit: number
  readonly ok: boolean
  readonly skipped?: boolean
  readonly [figure: string]: unknown
}

const lineOf = (result: Result): Line => {
  const { id } = result.scenario
  const nothing = { id, calls: 0, failed: 0, limit: 0, ok: false }
  if (result.tag === "skipped") return { ...nothing, skipped: true, lacking: result.lacking }
  if (result.tag === "broken") return { ...nothing, why: result.why }
  const { calls, checks, failed, limit, notes } = result.verdict
  const figures = checks.map((check) => ({ ...check, value: round(check.value), ok: holds(check) }))
  const seconds = Math.round(result.seconds * 10) / 10
  return { id, calls, failed, limit, ok: isOk(result.verdict), seconds, figures, notes }
}

/** What was skipped is not ok, and does not make the whole not ok. */
export const toJson = (results: ReadonlyArray<Result>) => {
  const scenarios = results.map(lineOf)
  const good = scenarios.filter(({ ok }) => ok).length
  const skipped = scenarios.filter(({ skipped }) => skipped === true).length
  const bad = scenarios.length - good - skipped
  return { scenarios, ok: bad === 0 && good > 0, counts: { good, bad, skipped } }
}
