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
})

describe("examples in doc comments and README", () => {
  for (const example of extract()) {
    it(`${example.path}:${example.line}`, () => import(/* @vite-ignore */ fileOf(example)))
  }
})
