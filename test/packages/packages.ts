/** `npm run packages`: what is published can be installed and used, on every Node that it promises. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { execute, fromFindings, type Outcome, report } from "../check/report.ts"
import { root } from "../check/sources.ts"
import { build } from "./build.ts"
import { judge } from "./contents.ts"
import { importCost } from "./cost.ts"
import { example } from "./example.ts"
import { type Node, nodes } from "./nodes.ts"
import { release } from "./release.ts"
import { inTurn, names, run, temporary } from "./run.ts"

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

/** The version that the workspace has. */
const version = (name: string): string => manifest(`node_modules/${name}`).version
const peer = (name: string): string => `${name}@${version(name)}`

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

/** Every path that the packages can be imported by. */
const subpaths = (): ReadonlyArray<string> =>
  names.flatMap((name) =>
    readdirSync(join(installed(name), "dist"))
      .filter((file) => file.endsWith(".js"))
      .map((file) => `@hawser/${name}/${basename(file, ".js")}`)
  )

const imports = (found: ReadonlyArray<Node>, paths: ReadonlyArray<string>): Promise<Outcome> => {
  writeFileSync(
    join(folder, "imports.mjs"),
    `for (const path of ${JSON.stringify(paths)}) {
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

/** First without the peers that are optional, then everything. */
const importAll = (found: ReadonlyArray<Node>): Promise<Outcome> => {
  const main = names.map((name) => `@hawser/${name}`)
  const peers = optionalPeers().map(peer)
  return inTurn([
    () => imports(found, main),
    ...(peers.length === 0 ? [] : [() => npmInstall(...peers)]),
    () => imports(found, [...main, ...subpaths()])
  ])
}

const cost = async (found: ReadonlyArray<Node>): Promise<Outcome> => {
  const node = found.find(({ major }) => major === "24")
  if (node === undefined) return { ok: true, output: "" }
  const millis = await importCost(folder, node.path, "@hawser/grpc")
  console.log(`       import of @hawser/grpc beyond grpc-js: ${millis.toFixed(0)} ms (bar: 90 ms)`)
  return { ok: true, output: "" }
}

const project = example()
const tarballs = () =>
  Object.fromEntries(names.map((name) => [`@hawser/${name}`, `file:${join(folder, tarball(name))}`]))

const { found, skipped } = await nodes(folder)
for (const line of skipped) console.log(`skipped ${line}`)

await report([
  { name: "build", run: build },
  { name: "pack", run: pack },
  { name: "publint", run: () => eachTarball("publint", "run", "--strict") },
  { name: "attw", run: () => eachTarball("attw", "--profile", "esm-only", "--no-emoji", "--no-color") },
  { name: "install", run: install },
  { name: "contents", run: contents },
  { name: "imports", run: () => importAll(found) },
  { name: "import cost", run: () => cost(found) },
  { name: "example", run: () => project.install(tarballs(), version) },
  { name: "types", run: project.types },
  ...found.map(({ major, path }) => ({ name: `node ${major}`, run: () => project.start(path) })),
  { name: "release", run: () => release() }
])
