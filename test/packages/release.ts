/** Whether the next release can be made: in a copy, so that it needs no history and no branch, and changes nothing. */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fromFindings, type Outcome } from "../check/report.ts"
import { root } from "../check/sources.ts"
import { bin, names, run, temporary } from "./run.ts"

const versionIn = (folder: string, name: string): string =>
  (JSON.parse(readFileSync(join(folder, "packages", name, "package.json"), "utf8")) as { version: string }).version

/** Applies the changesets and one more: for the package on which no other depends, so that all move only together. */
export const release = async (from: string = root): Promise<Outcome> => {
  const folder = temporary()
  const manifests = ["examples", ...names.map((name) => `packages/${name}`)].map((path) => `${path}/package.json`)
  for (const path of [".changeset", "package.json", "pnpm-workspace.yaml", ...manifests]) {
    mkdirSync(join(folder, path, ".."), { recursive: true })
    cpSync(join(from, path), join(folder, path), { recursive: true })
  }
  writeFileSync(join(folder, ".changeset/another.md"), `---\n"@hawser/testing": major\n---\n\nAnother.\n`)
  const outcome = await run(folder, bin("changeset"), ["version"])
  if (!outcome.ok) return outcome
  const next = versionIn(folder, "testing")
  return fromFindings(
    names.flatMap((name) => [
      ...(versionIn(folder, name) === versionIn(from, name) ? [`@hawser/${name} keeps its version`] : []),
      ...(versionIn(folder, name) === next ? [] : [`@hawser/${name} gets another version than @hawser/testing`]),
      ...(existsSync(join(folder, "packages", name, "CHANGELOG.md")) ? [] : [`@hawser/${name} gets no changelog`])
    ])
  )
}
