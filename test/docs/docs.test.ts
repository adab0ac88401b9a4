import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../check/sources.ts"
import { extract, fileOf, readme, twins } from "./extract.ts"

describe("README", () => {
  it.each(twins.map((twin, index) => [twin, index] as const))("shows %s as it is", (twin, index) => {
    const shown = readme()[index]
    assert.strictEqual(shown?.code, readFileSync(join(root, twin), "utf8"))
  })

  const text = readFileSync(join(root, "README.md"), "utf8")
  const options = readFileSync(join(root, "packages/grpc/src/GrpcOptions.ts"), "utf8")
  const declared = options.slice(options.indexOf("export interface GrpcOptions"))

  it.each([...declared.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, name]) => name!))("has the option %s", (name) => {
    const rows = text.split("\n").filter((line) => line.startsWith("| `"))
    assert.isNotEmpty(rows.filter((row) => row.split("|")[1]!.includes(`\`${name}\``)))
  })

  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>
  }

  const both = text + readFileSync(join(root, "CONTRIBUTING.md"), "utf8")

  it.each(Object.keys(scripts))("or CONTRIBUTING has the command %s", (name) => {
    assert.include(both, name === "test" ? "npm test" : `npm run ${name}`)
  })
})

describe("examples in doc comments and README", () => {
  for (const example of extract()) {
    it(`${example.path}:${example.line}`, () => import(/* @vite-ignore */ fileOf(example)))
  }
})
