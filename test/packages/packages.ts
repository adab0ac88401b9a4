/** `npm run packages`: what is published can be installed and used, on every Node that it promises. */
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { execute, fromFindings, type Outcome, report } from "../check/report.ts"
import { root } from "../check/sources.ts"
import { build } from "./build.ts"
import { judge } from "./contents.ts"
import { importCost } from "./cost.ts"
import { type Node, nodes } from "./nodes.ts"
import { bin, inTurn, names, run, temporary } from "./run.ts"

interface Manifest {
  readonly version: string
  readonly scripts: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}

const manifest = (path: string): Manifest => JSON.parse(readFileSync(join(root, path, "package.json"), "utf8"))
const versions = Object.fromEntries(names.map((name) => [name, manifest(`packages/${name}`).version]))

/** The folder of somebody who installs the packages. */
const folder = temporary()
const tarball = (name: string): string => `hawser-${name}-${versions[name]}.tgz`

const pack = (): Promise<Outcome> => {
  const pnpm = /pnpm@[\d.]+/.exec(manifest(".").scripts.packages ?? "")?.[0] ?? "pnpm"
  return inTurn(
    names.map((name) => () => {
      const from = join(root, "packages", name)
      return run(root, "npx", ["-y", pnpm, "--dir", from, "pack", "--pack-destination", folder])
    })
  )
}

const eachTarball = (tool: string, ...args: ReadonlyArray<string>): Promise<Outcome> =>
  inTurn(names.map((name) => () => execute(tool, [...args, join(folder, tarball(name))])))

const npmInstall = (...args: ReadonlyArray<string>): Promise<Outcome> =>
  run(folder, "npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, ...args])

/** A peer in the version that the workspace has. */
const peer = (name: string): string => `${name}@${manifest(`node_modules/${name}`).version}`

/** Peers that `@hawser/*` can do without, and must. */
const optionalPeers = (): ReadonlyArray<string> =>
  names.flatMap((name) =>
    Object.entries(manifest(`packages/${name}`).peerDependenciesMeta ?? {}).flatMap(([peer, { optional }]) =>
      optional === true ? [peer] : []
    )
  )

const install = (): Promise<Outcome> => {
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  return npmInstall(...names.map((name) => join(folder, tarball(name))), peer("effect"), peer("@grpc/grpc-js"))
}

const installed = (name: string): string => join(folder, "node_modules/@hawser", name)

const contents = (): Outcome =>
  fromFindings(
    names.flatMap((name) => {
      const paths = readdirSync(installed(name), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(installed(name).length + 1))
      const files = new Map(paths.map((path) => [path, readFileSync(join(installed(name), path), "utf8")]))
      return judge(files, [`${root}/`, folder]).map((finding) => `@hawser/${name}: ${finding}`)
    })
  )

/** Compiles the program against the declarations that were installed, as strictly as the workspace itself. */
const types = (): Promise<Outcome> => {
  copyFileSync(join(root, "test/packages/program.ts"), join(folder, "program.ts"))
  copyFileSync(join(root, "tsconfig.base.json"), join(folder, "tsconfig.base.json"))
  const config = { extends: "./tsconfig.base.json", compilerOptions: { noEmit: false }, files: ["program.ts"] }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config))
  return run(folder, bin("tsc"), ["--project", folder])
}

/** Every path that the packages can be imported by. */
const subpaths = (): ReadonlyArray<string> =>
  names.flatMap((name) =>
    readdirSync(join(installed(name), "dist"))
      .filter((file) => file.endsWith(".js"))
      .map((file) => `@hawser/${name}/${basename(file, ".js")}`)
  )

const imports = async (found: ReadonlyArray<Node>): Promise<Outcome> => {
  const peers = optionalPeers()
  const ready = peers.length === 0 ? { ok: true, output: "" } : await npmInstall(...peers.map(peer))
  if (!ready.ok) return ready
  const all = ["@hawser/core", "@hawser/grpc", "@hawser/testing", ...subpaths()]
  writeFileSync(
    join(folder, "imports.mjs"),
    `for (const path of ${JSON.stringify(all)}) {
  await import(path).catch((error) => { throw new Error(path, { cause: error }) })
}`
  )
  return inTurn(
    found.map(
      ({ path }) =>
        () =>
          run(folder, path, ["imports.mjs"])
    )
  )
}

const cost = async (found: ReadonlyArray<Node>): Promise<Outcome> => {
  const node = found.find(({ major }) => major === "24")
  if (node === undefined) return { ok: true, output: "" }
  const millis = await importCost(folder, node.path, "@hawser/grpc")
  console.log(`       import of @hawser/grpc beyond grpc-js: ${millis.toFixed(0)} ms (bar: 90 ms)`)
  return { ok: true, output: "" }
}

const { found, skipped } = await nodes(folder)
for (const line of skipped) console.log(`skipped ${line}`)

await report([
  { name: "build", run: build },
  { name: "pack", run: pack },
  { name: "publint", run: () => eachTarball("publint", "run", "--strict") },
  { name: "attw", run: () => eachTarball("attw", "--profile", "esm-only", "--no-emoji", "--no-color") },
  { name: "install", run: install },
  { name: "contents", run: contents },
  { name: "types", run: types },
  ...found.map(({ major, path }) => ({ name: `node ${major}`, run: () => run(folder, path, ["program.js"]) })),
  { name: "subpaths", run: () => imports(found) },
  { name: "import cost", run: () => cost(found) }
])
