/** The command line. Everything that is wrong with it is said at once. */
import { parseArgs } from "node:util"

export interface Options {
  readonly only: ReadonlySet<string>
  readonly json: boolean
  readonly list: boolean
  readonly quick: boolean
  /** The share of their usual time that loads last. */
  readonly scale: number
}

const usualSeconds = 10

export const usage = `usage: npm run chaos -- [--only ID[,ID]...] [--quick] [--seconds N] [--list] [--json]
  --only ID      plays these only: F-01, L4, …; a part such as FROZEN stands for all that begin with it
  --quick        plays a share of them, in 90 seconds
  --seconds N    how long a load lasts that usually lasts ${usualSeconds} s, 2 to 600; the others in proportion, where their rule allows it
  --list         says what there is, and plays nothing
  --json         ends with one line of JSON`

export const parse = (
  args: ReadonlyArray<string>,
  known: ReadonlyArray<string>
): { readonly options: Options } | { readonly problems: ReadonlyArray<string> } => {
  const problems: Array<string> = []
  const only = new Set<string>()
  const flags = { json: false, list: false, quick: false }
  const isFlag = (name: string): name is keyof typeof flags => Object.hasOwn(flags, name)
  let scale = 1
  const { tokens } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", multiple: true },
      seconds: { type: "string" },
      json: { type: "boolean" },
      list: { type: "boolean" },
      quick: { type: "boolean" }
    },
    strict: false,
    tokens: true
  })
  for (const token of tokens) {
    if (token.kind === "positional") problems.push(`${token.value}: no such option`)
    if (token.kind !== "option") continue
    const { name, rawName, value } = token
    if (isFlag(name)) {
      if (value === undefined) flags[name] = true
      else problems.push(`${rawName}: takes no value`)
    } else if (name === "seconds") {
      const seconds = Number(value ?? "")
      if (value !== undefined && seconds >= 2 && seconds <= 600) scale = seconds / usualSeconds
      else problems.push(`--seconds: must be a number from 2 to 600`)
    } else if (name === "only") {
      for (const part of (value ?? "").split(",")) {
        const meant = known.filter((id) => id === part || (part !== "" && id.startsWith(`${part}-`)))
        if (meant.length === 0) problems.push(`--only ${part}: must be among ${known.join(", ")}`)
        for (const id of meant) only.add(id)
      }
    } else problems.push(`${rawName}: no such option`)
  }
  return problems.length > 0 ? { problems } : { options: { only, scale, ...flags } }
}
