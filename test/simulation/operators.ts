/**
 * Draws mutants: `node test/simulation/operators.ts --seed 1 --count 10` prints entries for mutations.ts.
 *
 * All places at which a standard operator applies are listed, the seed shuffles them, and the first ones that parse and are
 * not in `discarded` are printed. Nobody chooses.
 */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { type ESTree, parseSync, Visitor } from "vite"
import { lineAt, parse, root } from "../check/sources.ts"
import { discarded, type Mutation } from "./mutations.ts"

const modules = [
  ...["WaitQueue", "LiveConnection", "Subchannel", "Pool", "Balancer", "Drain", "Bracket", "RetryBudget", "Race"].map(
    (name) => `packages/core/src/${name}.ts`
  ),
  ...["BridgeCall", "UnaryCall", "StreamCall", "Retry", "Deadline"].map((name) => `packages/grpc/src/${name}.ts`)
]

/** A place in a file, and what an operator makes of it. */
export interface Site {
  readonly operator: string
  readonly start: number
  readonly end: number
  readonly text: string
}

const swaps: Readonly<Record<string, string>> = {
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "&&": "||",
  "||": "&&",
  "+": "-",
  "-": "+",
  "+=": "-=",
  "-=": "+=",
  "++": "--",
  "--": "++"
}

/** Every place at which an operator applies, in the order of the text. Types, comments and strings have none. */
export const sites = (path: string, text: string): ReadonlyArray<Site> => {
  const { code } = parse(path, text)
  const found: Array<Site> = []
  const types = new Set<ESTree.Node>()
  const add = (operator: string, start: number, end: number, replacement: string) =>
    found.push({ operator, start, end, text: replacement })
  const negate = (test: ESTree.Expression | null) => {
    if (test !== null) add("negate", test.start, test.end, `!(${text.slice(test.start, test.end)})`)
  }
  const swap = (operator: string, from: number, to: number) => {
    const other = swaps[operator]
    const start = from + code.slice(from, to).indexOf(operator)
    if (other !== undefined) add(`${operator} to ${other}`, start, start + operator.length, other)
  }
  const between = (node: { operator: string; left: ESTree.Node; right: ESTree.Node }) =>
    swap(node.operator, node.left.end, node.right.start)
  new Visitor({
    IfStatement: ({ test }) => negate(test),
    ConditionalExpression: ({ test }) => negate(test),
    WhileStatement: ({ test }) => negate(test),
    DoWhileStatement: ({ test }) => negate(test),
    ForStatement: ({ test }) => negate(test),
    BinaryExpression: between,
    LogicalExpression: between,
    AssignmentExpression: between,
    UpdateExpression: ({ argument, end, operator, prefix, start }) =>
      prefix ? swap(operator, start, argument.start) : swap(operator, argument.end, end),
    TSLiteralType: ({ literal }) => void types.add(literal.type === "UnaryExpression" ? literal.argument : literal),
    Literal: (node) => {
      if (types.has(node)) return
      const { end, start, value } = node
      if (typeof value === "boolean") add(`${value} to ${!value}`, start, end, String(!value))
      if (typeof value === "number" && value !== 0) add(`${node.raw} to 0`, start, end, "0")
    },
    ExpressionStatement: ({ end, expression, start }) => {
      if (droppable(expression)) add("drop", start, end, ";")
    }
  }).visit(parseSync(path, text).program)
  return found.sort((a, b) => a.start - b.start || a.end - b.end)
}

/** A bare call, also of a generator, or an assignment. Without `super()` there would be no object at all. */
const droppable = (expression: ESTree.Expression): boolean => {
  switch (expression.type) {
    case "CallExpression":
      return expression.callee.type !== "Super"
    case "ChainExpression":
      return expression.expression.type === "CallExpression"
    case "YieldExpression":
      return expression.argument !== null && droppable(expression.argument)
    default:
      return expression.type === "AssignmentExpression"
  }
}

/** How often a text occurs in another. */
export const occurrences = (text: string, part: string): number => text.split(part).length - 1

/** The whole lines of a place, with as many of their neighbours as make them unique. */
export const excerpt = (text: string, site: Site): { readonly find: string; readonly replace: string } => {
  const lines = text.split("\n")
  let first = lineAt(text, site.start) - 1
  let last = lineAt(text, site.end) - 1
  const from = () => lines.slice(0, first).reduce((n, line) => n + line.length + 1, 0)
  const find = () => lines.slice(first, last + 1).join("\n")
  for (let after = true; occurrences(text, find()) > 1; after = !after) {
    if (after && last + 1 < lines.length) last++
    else first = Math.max(0, first - 1)
  }
  const indent = /^ */.exec(lines[first]!)![0].length
  const trimmed = occurrences(text, find().slice(indent)) === 1 ? indent : 0
  const start = from() + trimmed
  const end = from() + find().length
  return {
    find: text.slice(start, end),
    replace: text.slice(start, site.start) + site.text + text.slice(site.end, end)
  }
}

/** Applied: the text of the file as it would be. `replace` is no pattern, whatever it contains. */
export const apply = (text: string, { find, replace }: { find: string; replace: string }): string =>
  text.split(find).join(replace)

const judge = `
const { stripTypeScriptTypes } = require("node:module")
const { SourceTextModule } = require("node:vm")
const problem = (text) => {
  try {
    new SourceTextModule(stripTypeScriptTypes(text))
    return ""
  } catch (error) {
    return String(error)
  }
}
console.log(JSON.stringify(JSON.parse(require("node:fs").readFileSync(0, "utf8")).map(problem)))
`

/** For each text why Node does not parse it, or "". Only a process with a flag may parse modules without running them. */
export const problems = (texts: ReadonlyArray<string>): ReadonlyArray<string> => {
  const flags = ["--experimental-vm-modules", "--no-warnings"]
  const { stderr, stdout } = spawnSync(process.execPath, [...flags, "-e", judge], {
    input: JSON.stringify(texts),
    encoding: "utf8",
    maxBuffer: 2 ** 26
  })
  if (stdout === "") throw new Error(stderr)
  return JSON.parse(stdout)
}

/** The same order for the same seed, on every machine (mulberry32, Fisher-Yates). */
export const shuffled = <A>(items: ReadonlyArray<A>, seed: number): ReadonlyArray<A> => {
  const out = [...items]
  let state = seed
  for (let i = out.length - 1; i > 0; i--) {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    const j = Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * (i + 1))
    ;[out[i], out[j]] = [out[j]!, out[i]!]
  }
  return out
}

/** The first `count` mutants of a seed. */
export const draw = (seed: number, count: number, log: (line: string) => void): ReadonlyArray<Mutation> => {
  const all = modules.flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8")
    return sites(file, text).map((site) => ({ file, text, site }))
  })
  log(`${all.length} places`)
  const out: Array<Mutation> = []
  for (const { file, text, site } of shuffled(all, seed)) {
    if (out.length === count) break
    const line = lineAt(text, site.start)
    const place = `${file}:${line}:${site.start - text.lastIndexOf("\n", site.start - 1)}`
    const found = excerpt(text, site)
    const { operator } = site
    const known = discarded.find((d) => d.seed === seed && d.place === place && d.operator === operator)
    const why = known?.why ?? problems([apply(text, found)])[0]!
    if (why !== "") {
      log(`discarded ${place} ${operator}: ${why}`)
      continue
    }
    const id = `${file.replace(/^.*\/|\.ts$/g, "")}:${line} ${operator}`
    const was = text.slice(site.start, site.end).replace(/\s+/g, " ")
    out.push({
      id,
      what: `${operator}: ${was.length > 80 ? `${was.slice(0, 80)}…` : was}`,
      by: "operator",
      file,
      ...found
    })
  }
  return out
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { seed: { type: "string" }, count: { type: "string" } } })
  const [seed, count] = [Number(values.seed), Number(values.count)]
  if (!Number.isInteger(seed) || !Number.isInteger(count) || count < 1) {
    throw new Error("Usage: node test/simulation/operators.ts --seed N --count N")
  }
  console.log(JSON.stringify(draw(seed, count, console.error), undefined, 2))
}
