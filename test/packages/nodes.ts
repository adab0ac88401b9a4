/** The versions of Node that the packages promise to run on. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { run } from "./run.ts"

/** Exact, so that a run tells about the packages and not about a release of yesterday. */
const wanted = { "20": "20.20.2", "22": "22.23.3", "24": "24.21.0" } as const

export interface Node {
  readonly major: string
  readonly path: string
}

export interface Nodes {
  readonly found: ReadonlyArray<Node>
  /** Lines that say which are left out, and why. */
  readonly skipped: ReadonlyArray<string>
}

const major = async (path: string): Promise<string | undefined> =>
  /^v(\d+)\./.exec((await run(".", path, ["--version"])).output)?.[1]

/** Takes the Node of this machine and the one that runs this where they fit, the others from npm. */
export const nodes = async (folder: string): Promise<Nodes> => {
  const found: Array<Node> = []
  const skipped: Array<string> = []
  for (const [name, version] of Object.entries(wanted)) {
    let path: string | undefined
    for (const own of [process.execPath, "node"]) if (path === undefined && (await major(own)) === name) path = own
    if (path === undefined) {
      const home = join(folder, `node-${name}`)
      const archive = `node-${process.platform}-${process.arch}`
      mkdirSync(home)
      writeFileSync(join(home, "package.json"), "{}")
      const installed = await run(home, "npm", [
        ...["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", home],
        `${archive}@${version}`
      ])
      path = join(home, "node_modules", archive, "bin/node")
      if (!installed.ok || (await major(path)) !== name) {
        const why = installed.output.split("\n").find((line) => line.includes("error")) ?? "it does not run here"
        skipped.push(`node ${name}: ${archive}@${version} could not be installed: ${why}`)
        continue
      }
    }
    found.push({ major: name, path })
  }
  return { found, skipped }
}
