/** `examples/installed`, what a user's project looks like: in a copy, with the packages as they would be published. */
import { cpSync, readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import type { Outcome } from "../check/report.ts"
import { root } from "../check/sources.ts"
import { bin, inTurn, run, temporary } from "./run.ts"

interface Project {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly [key: string]: unknown
}

export interface Example {
  /** Installs it, with `tarballs` by the names of their packages. */
  readonly install: (tarballs: Readonly<Record<string, string>>, version: (name: string) => string) => Promise<Outcome>
  /** Compiles it against the declarations that were installed. */
  readonly types: () => Promise<Outcome>
  /** Runs the program and its test. */
  readonly start: (node: string) => Promise<Outcome>
}

/** Tools that generate and compile: they are those of the workspace. */
const tools = ["@bufbuild/buf", "ts-proto", "typescript"]

export const example = (): Example => {
  const folder = temporary()
  return {
    install: (tarballs, version) => {
      cpSync(join(root, "examples/installed"), folder, {
        recursive: true,
        filter: (path) => !["node_modules", "dist", "package-lock.json"].includes(basename(path))
      })
      const project = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Project
      const foreign = (dependencies: Readonly<Record<string, string>>) =>
        Object.keys(dependencies).filter((name) => !(name in tarballs) && !tools.includes(name))
      const exact = (names: ReadonlyArray<string>) => Object.fromEntries(names.map((name) => [name, version(name)]))
      const installed: Project = {
        ...project,
        // All of ours, for npm must not look for one that another needs.
        dependencies: { ...exact(foreign(project.dependencies)), ...tarballs },
        devDependencies: exact(foreign(project.devDependencies))
      }
      writeFileSync(join(folder, "package.json"), JSON.stringify(installed))
      return run(folder, "npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder])
    },
    types: () => run(folder, bin("tsc"), ["--project", folder]),
    start: (node) =>
      inTurn([() => run(folder, node, ["dist/main.js"]), () => run(folder, node, ["--test", "dist/mocked.test.js"])])
  }
}
