/** The checks of our own. Each takes sources and answers with findings, one line per finding. */
import { posix } from "node:path"
import { adapter, transport } from "./floors.ts"
import { type Import, lineAt, parse, type Source } from "./sources.ts"

type Findings = ReadonlyArray<string>

const place = (source: Source): { readonly pkg: string; readonly module: string } => {
  const [, pkg = "", module = ""] = /^packages\/([^/]+)\/src\/(.+)\.ts$/.exec(source.path) ?? []
  return { pkg, module }
}

/** The path of the module of ours that an import names, if it is one. */
const target = (source: Source, { specifier }: Import): string | undefined => {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(source.path), specifier)
  const [, pkg, module = "index"] = /^@hawser\/([^/]+)(?:\/(.+))?$/.exec(specifier) ?? []
  return pkg === undefined ? undefined : `packages/${pkg}/src/${module}.ts`
}

const eachImport = (
  sources: ReadonlyArray<Source>,
  judge: (source: Source, item: Import, to: string | undefined) => string | undefined
): Findings =>
  sources.flatMap((source) =>
    source.imports.flatMap((item) => {
      const finding = judge(source, item, target(source, item))
      return finding === undefined ? [] : [`${source.path}:${item.line} ${finding}`]
    })
  )

/** A module imports only downward, and packages only the packages below them. */
export const floors = (
  sources: ReadonlyArray<Source>,
  plan: Readonly<Record<string, ReadonlyArray<string>>>,
  siblings: ReadonlyArray<string>
): Findings => {
  const floorOf = new Map<string, number>()
  for (const [pkg, list] of Object.entries(plan)) {
    list.forEach((line, index) => line.split(" ").forEach((module) => floorOf.set(`${pkg}/${module}`, index + 1)))
  }
  const mayMeet = (...names: ReadonlyArray<string>) =>
    siblings.some((line) => names.every((name) => line.split(" ").includes(name)))
  const order = Object.keys(plan)
  const unlisted = sources
    .map((source) => ({ source, ...place(source) }))
    .filter(({ pkg, module }) => !floorOf.has(`${pkg}/${module}`))
    .map(({ source }) => `${source.path} has no floor: add it to test/check/floors.ts`)
  const upward = eachImport(sources, (source, item, to) => {
    const from = place(source)
    if (item.specifier.startsWith("@grpc/grpc-js") && !transport.test(source.path)) {
      return "imports @grpc/grpc-js: only the adapter, Credentials and TestServer may"
    }
    if (to === undefined) return undefined
    const [, pkg = "", module = ""] = /^packages\/([^/]+)\/src\/(.+)\.ts$/.exec(to) ?? []
    if (pkg !== from.pkg) {
      if (item.specifier.startsWith(".")) return `reaches out of its package: ${item.specifier}`
      return order.indexOf(pkg) > order.indexOf(from.pkg) || pkg === "testing"
        ? `${from.pkg} must not import ${item.specifier}`
        : undefined
    }
    const names = [`${pkg}/${from.module}`, `${pkg}/${module}`] as const
    const [own, other] = names.map((name) => floorOf.get(name))
    if (own === undefined || other === undefined || other < own || mayMeet(...names)) return undefined
    return `(floor ${own}) imports ${module} (floor ${other})`
  })
  return [...unlisted, ...upward]
}

const graph = (sources: ReadonlyArray<Source>, kinds: ReadonlyArray<Import["kind"]>) =>
  new Map(
    sources.map((source) => [
      source.path,
      source.imports.flatMap((item) => {
        const to = target(source, item)
        return to !== undefined && kinds.includes(item.kind) ? [to] : []
      })
    ])
  )

/** No module reaches itself over static imports, types included. */
export const cycles = (sources: ReadonlyArray<Source>): Findings => {
  const edges = graph(sources, ["static", "type"])
  const done = new Set<string>()
  const findings: Array<string> = []
  const visit = (path: string, trail: ReadonlyArray<string>): void => {
    const start = trail.indexOf(path)
    if (start >= 0) findings.push([...trail.slice(start), path].join(" -> "))
    if (start >= 0 || done.has(path)) return
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const path of edges.keys()) visit(path, [])
  return findings
}

const library = /^packages\/(core|grpc)\/src\//
const clocks =
  /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bset(Timeout|Interval|Immediate)\b|\bperformance\.now\b|\bprocess\.hrtime\b/g
const slow = /^effect\/(Schema|Config|persistence)/

/** Time and chance come from Clock and Random; the main import path stays quick to load. */
export const forbidden = (sources: ReadonlyArray<Source>): Findings => {
  const ours = sources.filter((source) => library.test(source.path))
  const times = ours
    .filter((source) => !adapter.test(source.path))
    .flatMap((source) =>
      source.code
        .split("\n")
        .flatMap((line, index) =>
          (line.match(clocks) ?? []).map((word) => `${source.path}:${index + 1} ${word}: use Clock, Random or Effect`)
        )
    )
  const barrels = eachImport(ours, (_, item) =>
    item.specifier === "effect" ? "imports the effect barrel: import effect/Module" : undefined
  )
  const edges = graph(sources, ["static"])
  const reached = new Set(["packages/core/src/index.ts", "packages/grpc/src/index.ts"])
  for (const path of reached) edges.get(path)?.forEach((next) => reached.add(next))
  const heavy = eachImport(ours, (source, item) =>
    item.kind === "static" && reached.has(source.path) && slow.test(item.specifier)
      ? `imports ${item.specifier} on the main import path`
      : undefined
  )
  return [...times, ...barrels, ...heavy]
}

/** One idea per file: no more than 250 lines of code. */
export const size = (sources: ReadonlyArray<Source>, limit = 250): Findings =>
  sources
    .filter(({ lines }) => lines > limit)
    .map(({ path, lines }) => `${path} has ${lines} lines of code, more than ${limit}`)

/** Every exported declaration has a doc comment; overloads and a type of the same name share one. */
export const exports = (sources: ReadonlyArray<Source>): Findings =>
  sources.flatMap((source) => {
    const known = new Set(source.exports.filter(({ documented }) => documented).map(({ name }) => name))
    return source.exports
      .filter(({ name }, index, all) => !known.has(name) && all.findIndex((one) => one.name === name) === index)
      .map(({ name, line }) => `${source.path}:${line} ${name} has no doc comment`)
  })

/** The values that a module exports, declared there or passed on, with their lines; no types, and overloads once. */
const valuesOf = ({ code }: Source): ReadonlyMap<string, number> => {
  const values = new Map<string, number>()
  const add = (name: string, index: number) => values.has(name) || values.set(name, lineAt(code, index))
  const declared = /^export (?:abstract |async )?(?:const|let|class|enum|function\*?) (\w+)/gm
  for (const { index, 1: name = "" } of code.matchAll(declared)) add(name, index)
  for (const { index, 1: list = "" } of code.matchAll(/^export \{([^}]*)\}/gm)) {
    for (const { 1: name = "" } of list.matchAll(/(?:^|,)\s*(?!type\s)(?:\w+ as )?(\w+)/g)) add(name, index)
  }
  return values
}

/** An example as it runs: what stands in its comments and strings is not used. */
const codeOf = (code: string): string => {
  try {
    return parse("example.ts", code).code
  } catch {
    // The types step says what is wrong with it.
    return ""
  }
}

/**
 * Every value that users are meant to import is used, as `Module.name`, in an example of its own file.
 *
 * **Details**: they import what `index.ts` exports, and the modules that `documents` name as `@hawser/package/Module`.
 */
export const examples = (
  sources: ReadonlyArray<Source>,
  shown: ReadonlyArray<{ readonly path: string; readonly code: string }>,
  documents: string
): Findings => {
  const indexed = new Set(
    sources
      .filter((source) => place(source).module === "index")
      .flatMap((source) => source.imports.flatMap((item) => target(source, item) ?? []))
  )
  const named = new Set([...documents.matchAll(/@hawser\/\w+\/\w+/g)].map(([specifier]) => specifier))
  return sources.flatMap((source) => {
    const { module, pkg } = place(source)
    if (!indexed.has(source.path) && !named.has(`@hawser/${pkg}/${module}`)) return []
    const used = shown.filter(({ path }) => path === source.path).map(({ code }) => codeOf(code))
    return [...valuesOf(source)]
      .filter(([name]) => !used.some((code) => new RegExp(`\\b${module}\\.${name}\\b`).test(code)))
      .map(([name, line]) => `${source.path}:${line} ${name} is in no executed example of its file`)
  })
}
