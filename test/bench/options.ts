/**
 * The command line. Everything that is wrong with it is said at once.
 */
import { type BarId, rules } from "./bars.ts"

export const measurements = {
  unary: ["B1", "B2", "B6", "B6x"],
  streaming: ["B3"],
  limit: ["B5", "B5x", "B5c"],
  lease: ["B4", "B4b"],
  waiting: ["B7", "B7b", "B7c"],
  slow: ["B11"],
  failing: ["B12"],
  imports: ["B13"],
  memory: ["B14", "B14b"]
} as const satisfies Record<string, ReadonlyArray<BarId>>

export type Measurement = keyof typeof measurements

export interface Options {
  readonly quick: boolean
  readonly json: boolean
  readonly only: ReadonlySet<Measurement>
  readonly rounds: number | undefined
  readonly seconds: number | undefined
}

export const usage = `usage: npm run bench -- [--quick] [--json] [--only NAME]... [--rounds N] [--seconds N]
  --quick      fewer clients and rounds, within 50 s
  --json       ends with one line of JSON
  --only NAME  ${Object.keys(measurements).join(", ")}, or a bar: ${Object.keys(rules).join(", ")}
  --rounds N   rounds per cell that count
  --seconds N  seconds per cell and round`

const names = Object.keys(measurements) as ReadonlyArray<Measurement>

/** What `--quick` has no time for. */
const long: ReadonlyArray<Measurement> = ["streaming", "slow", "failing"]

const find = (name: string): Measurement | undefined =>
  names.find((m) => m === name.toLowerCase() || measurements[m].some((id) => id.toLowerCase() === name.toLowerCase()))

export const parse = (
  args: ReadonlyArray<string>
): { readonly options: Options } | { readonly problems: ReadonlyArray<string> } => {
  const problems: Array<string> = []
  const only = new Set<Measurement>()
  let quick = false
  let json = false
  let rounds: number | undefined
  let seconds: number | undefined
  for (let i = 0; i < args.length; i++) {
    const [flag, inline] = split(args[i]!)
    const value = (rule: string): string | undefined => {
      const next = inline ?? (args[i + 1]?.startsWith("--") === false ? args[++i] : undefined)
      if (next === undefined || next === "") problems.push(`${flag}: needs a value, ${rule}`)
      return next === "" ? undefined : next
    }
    const within = (low: number, high: number, whole: boolean): number | undefined => {
      const rule = `${whole ? "a whole number" : "a number"} from ${low} to ${high}`
      const text = value(rule)
      if (text === undefined) return undefined
      const n = Number(text)
      if (n >= low && n <= high && (!whole || Number.isInteger(n))) return n
      problems.push(`${flag} ${text}: must be ${rule}`)
      return undefined
    }
    if ((flag === "--quick" || flag === "--json") && inline !== undefined) problems.push(`${flag}: takes no value`)
    else if (flag === "--quick") quick = true
    else if (flag === "--json") json = true
    else if (flag === "--rounds") rounds = within(1, 1000, true)
    else if (flag === "--seconds") seconds = within(0.05, 60, false)
    else if (flag === "--only") {
      const rule = `one of ${names.join(", ")}, or a bar (${Object.keys(rules).join(", ")})`
      const name = value(rule)
      const found = name === undefined ? undefined : find(name)
      if (found !== undefined) only.add(found)
      else if (name !== undefined) problems.push(`--only ${name}: must be ${rule}`)
    } else problems.push(`${args[i]}: no such option`)
  }
  if (problems.length > 0) return { problems }
  return {
    options: {
      quick,
      json,
      only: only.size === 0 ? new Set(quick ? names.filter((name) => !long.includes(name)) : names) : only,
      rounds,
      seconds
    }
  }
}

const split = (arg: string): readonly [flag: string, inline: string | undefined] => {
  const equals = arg.startsWith("--") ? arg.indexOf("=") : -1
  return equals < 0 ? [arg, undefined] : [arg.slice(0, equals), arg.slice(equals + 1)]
}
