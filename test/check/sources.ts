/** Reads TypeScript files into the few facts that the checks need. */
import { readFileSync, readdirSync } from "node:fs"
import { join, relative } from "node:path"
import { type ESTree, parseSync, Visitor } from "vite"

export const root = join(import.meta.dirname, "../..")

export interface Import {
  readonly specifier: string
  readonly line: number
  /** `import type` and `import("x").T` are erased, `import()` loads later: only `static` ones run with the module. */
  readonly kind: "static" | "type" | "dynamic"
}

export interface Declaration {
  readonly name: string
  readonly line: number
  readonly documented: boolean
}

export interface Source {
  /** Relative to the root of the repository, with forward slashes. */
  readonly path: string
  /** The text with comments and the contents of strings blanked; positions and lines stay. */
  readonly code: string
  /** Lines that hold more than blanks and comments. */
  readonly lines: number
  readonly imports: ReadonlyArray<Import>
  readonly exports: ReadonlyArray<Declaration>
}

interface Range {
  readonly start: number
  readonly end: number
}

const blank = (text: string, ranges: ReadonlyArray<Range>): string =>
  ranges.reduce(
    (rest, { start, end }) => rest.slice(0, start) + rest.slice(start, end).replace(/[^\n]/g, " ") + rest.slice(end),
    text
  )

export const lineAt = (text: string, position: number): number => text.slice(0, position).split("\n").length

/** The names that a declaration introduces. */
const namesOf = (node: ESTree.Declaration): ReadonlyArray<string> => {
  if (node.type === "VariableDeclaration") {
    return node.declarations.map(({ id }) => (id.type === "Identifier" ? id.name : "(pattern)"))
  }
  return ["id" in node && node.id?.type === "Identifier" ? node.id.name : "(global)"]
}

/** Turns one file's text into a `Source`; throws where it does not parse. */
export const parse = (path: string, text: string): Source => {
  const { program, comments, errors } = parseSync(path, text)
  if (errors[0] !== undefined) throw new Error(`${path}: ${errors[0].message}`)
  const imports: Array<Import> = []
  const strings: Array<Range> = []
  const exported: Array<{ start: number; names: ReadonlyArray<string> }> = []
  const add = (node: ESTree.Node, source: ESTree.Expression | null, kind: Import["kind"]) => {
    if (source?.type === "Literal" && typeof source.value === "string") {
      imports.push({ specifier: source.value, line: lineAt(text, node.start), kind })
    }
  }
  new Visitor({
    ImportDeclaration: (node) => add(node, node.source, node.importKind === "type" ? "type" : "static"),
    ExportAllDeclaration: (node) => add(node, node.source, node.exportKind === "type" ? "type" : "static"),
    ExportNamedDeclaration: (node) => {
      add(node, node.source, node.exportKind === "type" ? "type" : "static")
      if (node.declaration) exported.push({ start: node.start, names: namesOf(node.declaration) })
    },
    ExportDefaultDeclaration: (node) => void exported.push({ start: node.start, names: ["default"] }),
    ImportExpression: (node) => add(node, node.source, "dynamic"),
    TSImportType: (node) => add(node, node.source, "type"),
    Literal: (node) => {
      if (typeof node.value === "string" || "regex" in node) strings.push({ start: node.start + 1, end: node.end - 1 })
    },
    TemplateElement: (node) => void strings.push(node)
  }).visit(program)
  const withoutComments = blank(text, comments)
  const code = blank(withoutComments, strings)
  const docs = comments.filter((comment) => comment.type === "Block" && comment.value.startsWith("*"))
  const documented = (start: number) =>
    docs.some((doc) => doc.end <= start && withoutComments.slice(doc.end, start).trim() === "")
  return {
    path,
    code,
    lines: withoutComments.split("\n").filter((line) => line.trim() !== "").length,
    imports,
    exports: exported.flatMap(({ start, names }) =>
      names.map((name) => ({ name, line: lineAt(text, start), documented: documented(start) }))
    )
  }
}

/** Every TypeScript file below the given folders that a person wrote. */
export const files = (...folders: ReadonlyArray<string>): ReadonlyArray<string> =>
  folders
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .filter((path) => !/(^|\/)(node_modules|dist|generated)\//.test(path))
    .sort()

/** The modules of our packages. */
export const sources = (): ReadonlyArray<string> =>
  files("packages").filter((path) => /^packages\/[^/]+\/src\//.test(path))

export const read = (path: string): Source => parse(path, readFileSync(join(root, path), "utf8"))
