import { afterAll, assert, describe, it } from "@effect/vitest"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { judge } from "../../check/effect.ts"
import { execute } from "../../check/report.ts"
import { root } from "../../check/sources.ts"

mkdirSync(join(root, ".cache"), { recursive: true })
const folder = mkdtempSync(join(root, ".cache/planted-"))
afterAll(() => rmSync(folder, { recursive: true }))

const plant = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

describe("the tools, as configured", () => {
  it("types: an index may be out of bounds", async () => {
    const file = plant("types.ts", "export const first = (list: ReadonlyArray<string>): string => list[0]\n")
    const config = plant("tsconfig.json", JSON.stringify({ extends: "../../tsconfig.base.json", files: [file] }))
    const { ok, output } = await execute("tsc", ["--noEmit", "-p", config])
    assert.isFalse(ok)
    assert.match(output, /TS2322/)
  })

  it("lint: any and a focused test", async () => {
    const text = `import { it } from "vitest"\nit.only("x", () => {})\nexport const a = (b: any): number => b\n`
    const config = join(root, ".oxlintrc.json")
    const { ok, output } = await execute("oxlint", ["--no-ignore", "-c", config, "-f", "unix", plant("lint.ts", text)])
    assert.isFalse(ok)
    assert.match(output, /no-explicit-any/)
    assert.match(output, /no-focused-tests/)
  })

  it("format: a semicolon", async () => {
    const format = (text: string) =>
      execute("oxfmt", ["--check", "--ignore-path=/dev/null", "-c", join(root, ".oxfmtrc.json"), plant("f.ts", text)])
    assert.isTrue((await format("export const a = 1\n")).ok)
    assert.isFalse((await format("export const a = 1;\n")).ok)
  })

  it("effect: an effect that nobody runs, and a project in which nothing was checked", async () => {
    const text = `import * as Effect from "effect/Effect"\nexport const f = () => {\n  Effect.succeed(1)\n}\n`
    plant("effect.ts", text)
    const config = (files: ReadonlyArray<string>) =>
      plant("effect.json", JSON.stringify({ extends: "../../tsconfig.base.json", files }))
    const diagnose = async (files: ReadonlyArray<string>) =>
      judge(await execute("effect-tsgo", ["diagnostics", "--format", "text", "--project", config(files)]))
    const found = await diagnose(["effect.ts"])
    assert.isFalse(found.ok)
    assert.match(found.output, /floatingEffect/)
    assert.isFalse((await diagnose([])).ok)
  })

  it("effect: only a clean run over some files will do", () => {
    const run = (files: number, warnings: number) => ({
      ok: true,
      output: `Checked ${files} files out of ${files} files. \n0 errors, ${warnings} warnings and 0 messages.`
    })
    assert.isTrue(judge(run(3, 0)).ok)
    assert.isFalse(judge(run(0, 0)).ok)
    assert.isFalse(judge(run(3, 1)).ok)
  })
})

describe("report", () => {
  const run = async (steps: string) => {
    const code = `import { execute, report } from "${root}/test/check/report.ts"\nawait report([${steps}])\n`
    const { ok, output } = await execute("node", [plant("report.ts", code), "--json"])
    return { ok, lines: output.split("\n"), json: JSON.parse(output.slice(output.lastIndexOf("\n") + 1)) }
  }
  const step = (name: string, body: string) => `{ name: "${name}", run: () => ${body} }`
  const good = step("good", `({ ok: true, output: "" })`)

  it("passes where every step does", async () => {
    const { ok, lines, json } = await run(good)
    assert.isTrue(ok)
    assert.match(lines[0] ?? "", /^ok +good/)
    assert.deepStrictEqual(json, { passed: 1, failed: 0, failures: [] })
  })
  it("fails where there is nothing to run", async () => {
    assert.isFalse((await run("")).ok)
  })
  it("fails and goes on where a step fails, throws, exits with an error or lasts too long", async () => {
    const steps = [
      step("bad", `({ ok: false, output: "why" })`),
      step("thrown", `{ throw new Error("thrown") }`),
      step("exit", `execute("node", ["-e", "process.exit(3)"])`),
      step("slow", `execute("node", ["-e", "setInterval(() => {}, 1000)"], { timeoutMillis: 200 })`)
    ]
    const { ok, lines, json } = await run([...steps, good].join(", "))
    assert.isFalse(ok)
    assert.include(lines[1], "why")
    assert.deepStrictEqual(json, { passed: 1, failed: 4, failures: ["bad", "thrown", "exit", "slow"] })
  })
})
