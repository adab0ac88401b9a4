import { afterAll, assert, describe, it } from "@effect/vitest"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { root } from "../check/sources.ts"
import { release } from "./release.ts"
import { names } from "./run.ts"

const folder = mkdtempSync(join(tmpdir(), "hawser-release-"))
afterAll(() => rmSync(folder, { recursive: true }))

/** A copy of the workspace with these changesets and no other. */
const releaseOf = (name: string, config: object, changesets: Readonly<Record<string, string>>) => {
  const at = join(folder, name)
  const manifests = ["examples", ...names.map((name) => `packages/${name}`)].map((path) => `${path}/package.json`)
  for (const path of [".changeset/config.json", "package.json", "pnpm-workspace.yaml", ...manifests]) {
    mkdirSync(dirname(join(at, path)), { recursive: true })
    cpSync(join(root, path), join(at, path))
  }
  const path = join(at, ".changeset/config.json")
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...config }))
  for (const [file, text] of Object.entries(changesets)) writeFileSync(join(at, ".changeset", file), text)
  return release(at)
}

describe("the next release", () => {
  it("gives all packages one new version, and changes nothing here", async () => {
    const before = readdirSync(join(root, ".changeset"))
    assert.deepStrictEqual(await release(), { ok: true, output: "" })
    assert.deepStrictEqual(readdirSync(join(root, ".changeset")), before)
  })

  it("can be made when all changesets are released", async () => {
    assert.deepStrictEqual(await releaseOf("none", {}, {}), { ok: true, output: "" })
  })

  it("can't be made of packages with versions of their own", async () => {
    const { ok, output } = await releaseOf("loose", { fixed: [] }, {})
    assert.isFalse(ok)
    assert.include(output, "@hawser/core gets another version than @hawser/testing")
  })

  it("can't be made with a configuration that is not valid", async () => {
    const { ok, output } = await releaseOf("config", { access: "anybody" }, {})
    assert.isFalse(ok)
    assert.include(output, "access")
  })

  it("can't be made of a changeset for a package that is not ours", async () => {
    const { ok, output } = await releaseOf("gone", {}, { "a.md": `---\n"@hawser/gone": minor\n---\n\nGone.\n` })
    assert.isFalse(ok)
    assert.include(output, "@hawser/gone")
  })
})
