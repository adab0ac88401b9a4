/** Takes the examples out of doc comments and README.md, so that they can be type-checked and run. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type ESTree, parseSync, Visitor } from "vite"
import { execute, type Outcome } from "../check/report.ts"
import { lineAt, root, sources } from "../check/sources.ts"

export interface Example {
  readonly path: string
  readonly line: number
  readonly code: string
}

const fence = /^([ \t]*(?:\* )?)```ts( import\.meta\.vitest)?[ \t]*\n([\s\S]*?)^[ \t]*(?:\* )?```[ \t]*$/gm

/** The fenced blocks of a text: those marked `import.meta.vitest` in a module, all of them in a markdown file. */
export const blocks = (path: string, text: string): ReadonlyArray<Example> =>
  [...text.matchAll(fence)]
    .filter(([, , marked]) => marked !== undefined || path.endsWith(".md"))
    .map(({ index, 1: prefix = "", 3: body = "" }) => ({
      path,
      line: lineAt(text, index) + 1,
      code: prefix.includes("*") ? body.replace(/^[ \t]*\* ?/gm, "") : body
    }))

/** Files that a block of README.md must equal, in the order of the blocks: they run as what they are. */
export const twins = ["examples/hello.ts", "test/unit/examples/mocked.test.ts"] as const

/** Turns each `expression // => value` into an assertion; an arrow that belongs to no statement is an error. */
export const withAssertions = (code: string): string => {
  const { program, comments, errors } = parseSync("example.ts", code)
  if (errors[0] !== undefined) throw new Error(errors[0].message)
  const statements: Array<ESTree.ExpressionStatement | ESTree.VariableDeclaration> = []
  new Visitor({
    ExpressionStatement: (node) => void statements.push(node),
    VariableDeclaration: (node) => void statements.push(node)
  }).visit(program)
  const edits: Array<{ readonly start: number; readonly end: number; readonly text: string }> = []
  for (const comment of comments) {
    const expected = /^ ?=> ?(.*)$/.exec(comment.value)?.[1]
    if (expected === undefined) continue
    const node = statements.find(({ end }) => end <= comment.start && code.slice(end, comment.start).trim() === "")
    if (node?.type === "ExpressionStatement") {
      const { expression } = node
      const call = expression.type === "CallExpression" ? expression : undefined
      const logged = call !== undefined && code.slice(call.callee.start, call.callee.end) === "console.log"
      const actual = logged && call.arguments.length === 1 ? call.arguments[0]! : expression
      edits.push({ start: node.start, end: actual.start, text: "equal(" })
      edits.push({ start: actual.end, end: expression.end, text: `, ${expected})` })
    } else if (node?.declarations.length === 1) {
      const { id } = node.declarations[0]!
      edits.push({ start: node.end, end: node.end, text: `; equal(${code.slice(id.start, id.end)}, ${expected})` })
    } else {
      throw new Error(`no statement before "// => ${expected}"`)
    }
  }
  return edits
    .toSorted((a, b) => b.start - a.start)
    .reduce((text, edit) => text.slice(0, edit.start) + edit.text + text.slice(edit.end), code)
}

const folder = join(root, ".cache/docs")

/** The file that an example becomes, below `.cache/docs`. */
export const fileOf = ({ path, line }: Example): string =>
  join(folder, `${path.replace(/^packages\/|\.\w+$/g, "").replaceAll("/", "-")}-${line}.ts`)

/** The module that runs an example, as if from examples/; one that can't be read fails when it runs, and alone. */
const moduleOf = ({ code }: Example): string => {
  try {
    const body = withAssertions(code.replaceAll('from "./', 'from "../../examples/'))
    return `import { equal } from "../../test/docs/equal.ts"\n${body}\nexport {}\n`
  } catch (error) {
    return `throw new Error(${JSON.stringify(String(error))})\nexport {}\n`
  }
}

const textOf = (path: string): string => (existsSync(join(root, path)) ? readFileSync(join(root, path), "utf8") : "")

/** The TypeScript blocks of README.md. */
export const readme = (): ReadonlyArray<Example> => blocks("README.md", textOf("README.md"))

/** Every example that has no twin, written to `.cache/docs`. */
export const extract = (): ReadonlyArray<Example> => {
  const examples = [...sources().flatMap((path) => blocks(path, textOf(path))), ...readme().slice(twins.length)]
  mkdirSync(folder, { recursive: true })
  for (const example of examples) {
    const [path, text] = [fileOf(example), moduleOf(example)]
    // Others may be running the same examples now: what is right stays as it is.
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text)
  }
  return examples
}

/** One tsc for all examples. */
export const typecheck = async (): Promise<Outcome> => {
  const examples = extract()
  if (examples.length === 0) return { ok: false, output: "no examples found" }
  const config = {
    extends: "../../tsconfig.base.json",
    compilerOptions: { noUnusedLocals: false },
    files: examples.map(fileOf)
  }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config))
  return execute("tsc", ["--noEmit", "-p", join(folder, "tsconfig.json")])
}
