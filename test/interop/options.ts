/** The command line. Everything that is wrong with it is said at once. */
import { parseArgs } from "node:util"
import { type CaseName, cases } from "./cases.ts"
import { type ServerName, servers } from "./servers.ts"

export interface Options {
  readonly servers: ReadonlyArray<ServerName>
  readonly cases: ReadonlyArray<CaseName>
  readonly json: boolean
}

const serverNames = Object.keys(servers) as ReadonlyArray<ServerName>
const caseNames = Object.keys(cases) as ReadonlyArray<CaseName>

export const usage = `usage: npm run interop -- [--server NAME]... [--only CASE]... [--json]
  --server NAME  ${serverNames.join(", ")}
  --only CASE    ${caseNames.join(", ")}
  --json         ends with one line of JSON`

export const parse = (
  args: ReadonlyArray<string>
): { readonly options: Options } | { readonly problems: ReadonlyArray<string> } => {
  const problems: Array<string> = []
  const picked = { server: new Set<string>(), only: new Set<string>() }
  const known = { server: serverNames as ReadonlyArray<string>, only: caseNames as ReadonlyArray<string> }
  let json = false
  const { tokens } = parseArgs({
    args: [...args],
    options: {
      server: { type: "string", multiple: true },
      only: { type: "string", multiple: true },
      json: { type: "boolean" }
    },
    strict: false,
    tokens: true
  })
  for (const token of tokens) {
    if (token.kind === "positional") problems.push(`${token.value}: no such option`)
    if (token.kind !== "option") continue
    const { name, rawName, value } = token
    if (name === "json" && value === undefined) json = true
    else if (name === "json") problems.push("--json: takes no value")
    else if (name !== "server" && name !== "only") problems.push(`${rawName}: no such option`)
    else if (value === undefined || value === "" || value.startsWith("--")) {
      problems.push(`${rawName}: needs a value, one of ${known[name].join(", ")}`)
    } else if (known[name].includes(value)) picked[name].add(value)
    else problems.push(`${rawName} ${value}: must be one of ${known[name].join(", ")}`)
  }
  if (problems.length > 0) return { problems }
  const all = <A extends string>(names: ReadonlyArray<A>, some: ReadonlySet<string>) =>
    some.size === 0 ? names : names.filter((name) => some.has(name))
  return { options: { servers: all(serverNames, picked.server), cases: all(caseNames, picked.only), json } }
}
