/** The command line: every mistake is found at once, before anything starts. */

export interface Options {
  readonly seconds: number
  readonly rps: number
  readonly json: boolean
  readonly help: boolean
}

export type Parsed =
  | { readonly tag: "options"; readonly options: Options }
  | { readonly tag: "mistakes"; readonly mistakes: ReadonlyArray<string> }

interface NumberRule {
  readonly rule: string
  readonly holds: (n: number) => boolean
}

const numbers: Readonly<Record<"seconds" | "rps", NumberRule>> = {
  seconds: { rule: "a number from 32 to 3600", holds: (n) => n >= 32 && n <= 3600 },
  rps: { rule: "a whole number from 10 to 5000", holds: (n) => Number.isInteger(n) && n >= 10 && n <= 5000 }
}
const isNumberName = (name: string): name is keyof typeof numbers => Object.hasOwn(numbers, name)
const isSwitchName = (name: string): name is "json" | "help" => name === "json" || name === "help"

export const usage = `npm run demo -- [--seconds N] [--rps N] [--json]

  --seconds N  how long the story takes, ${numbers.seconds.rule} (48)
  --rps N      calls per second of each client, ${numbers.rps.rule} (500)
  --json       end with one line of JSON`

export const parse = (argv: ReadonlyArray<string>): Parsed => {
  const values = { seconds: 48, rps: 500 }
  const switches = { json: false, help: false }
  const seen = new Set<string>()
  const mistakes: Array<string> = []
  const rest = [...argv]
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    const [flag, inline] = split(argument)
    const name = flag.startsWith("--") ? flag.slice(2) : ""
    if (isNumberName(name)) {
      // What looks like a flag is not taken for a value, so that a forgotten value does not hide the flag's own mistakes.
      const value = inline ?? (rest[0]?.startsWith("--") === true ? undefined : rest.shift())
      const { holds, rule } = numbers[name]
      const number = value === undefined || value.trim() === "" ? NaN : Number(value)
      if (holds(number)) values[name] = number
      else mistakes.push(`${flag}: must be ${rule}, got ${value === undefined ? "nothing" : JSON.stringify(value)}`)
    } else if (isSwitchName(name)) {
      if (inline !== undefined) mistakes.push(`${flag}: takes no value, got ${JSON.stringify(inline)}`)
      switches[name] = true
    } else {
      mistakes.push(`${argument}: unknown, must be one of --seconds N, --rps N, --json, --help`)
      continue
    }
    if (seen.has(name)) mistakes.push(`${flag}: must be given at most once`)
    seen.add(name)
  }
  return mistakes.length > 0 ? { tag: "mistakes", mistakes } : { tag: "options", options: { ...values, ...switches } }
}

const split = (argument: string): readonly [flag: string, inline: string | undefined] => {
  const equals = argument.indexOf("=")
  return argument.startsWith("--") && equals > 0
    ? [argument.slice(0, equals), argument.slice(equals + 1)]
    : [argument, undefined]
}
