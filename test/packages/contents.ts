/** What a package may hold, and what it must. */

/** The files of a package and their texts, by path. */
export type Files = ReadonlyMap<string, string>

const allowed = /^(?:LICENSE|README\.md|package\.json|src\/\w+\.ts|dist\/\w+(?:\.js|\.d\.ts)(?:\.map)?)$/

/** One line per finding; `machine` are paths of this machine, which nobody else has. */
export const judge = (files: Files, machine: ReadonlyArray<string>): ReadonlyArray<string> => {
  const modules = [...files.keys()].flatMap((path) => /^src\/(\w+)\.ts$/.exec(path)?.[1] ?? [])
  const due = [
    "LICENSE",
    "README.md",
    "package.json",
    "src/index.ts",
    ...modules.flatMap((name) => [".js", ".js.map", ".d.ts", ".d.ts.map"].map((end) => `dist/${name}${end}`))
  ]
  const missing = due.filter((path) => !files.has(path)).map((path) => `${path} is missing`)
  const rest = [...files].flatMap(([path, text]) => [
    ...(allowed.test(path) ? [] : [`${path} does not belong into a package`]),
    ...(path.startsWith("dist/") && !modules.includes(/\w+/.exec(path.slice(5))?.[0] ?? "")
      ? [`${path} has no source`]
      : []),
    ...(machine.some((one) => text.includes(one)) || text.includes("file://")
      ? [`${path} has a path of this machine`]
      : []),
    ...(path.endsWith(".map") ? sourceMap(path, text, files) : []),
    ...(path === "package.json" ? manifest(text) : [])
  ])
  return [...missing, ...rest]
}

/** A map leads to the source that lies beside it in the package. */
const sourceMap = (path: string, text: string, files: Files): ReadonlyArray<string> => {
  const map = JSON.parse(text) as { readonly sourceRoot?: string; readonly sources: ReadonlyArray<string> }
  const lost = map.sources.filter((source) => !source.startsWith("../src/") || !files.has(source.slice(3)))
  return [
    ...(map.sourceRoot ? [`${path} has a sourceRoot`] : []),
    ...lost.map((source) => `${path} leads to ${source}, which is not there`)
  ]
}

/** A manifest without what only the workspace understands, and without scripts that run when it is installed. */
const manifest = (text: string): ReadonlyArray<string> => {
  const json = JSON.parse(text) as Record<string, unknown>
  const due = ["name", "version", "description", "keywords", "license", "engines", "exports", "peerDependencies"]
  return [
    ...due.filter((key) => json[key] === undefined).map((key) => `package.json has no ${key}`),
    ...(json.sideEffects === false ? [] : ["package.json does not say that there are no side effects"]),
    ...(json.scripts === undefined ? [] : ["package.json has scripts"]),
    ...(/"(?:workspace|catalog):/.test(text) ? ["package.json has a version that only the workspace knows"] : []),
    ...(JSON.stringify(json.exports ?? "").includes("src/") ? ["package.json exports sources"] : [])
  ]
}
