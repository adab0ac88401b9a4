import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import { existsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { compare, current, withExtensions } from "../../check/generate.ts"

const files = (texts: Readonly<Record<string, string>>) => new Map(Object.entries(texts))

afterEach(() => void vi.unstubAllEnvs())

describe("generated code", () => {
  it("is current where every file is, byte by byte", () => {
    assert.deepStrictEqual(compare("x", files({ "a.ts": "1\n" }), files({ "a.ts": "1\n" })), [])
    assert.deepStrictEqual(compare("x", files({ "a.ts": "1" }), files({ "a.ts": "1\n" })), [
      "x/a.ts is not current: npm run generate"
    ])
  })

  it("lacks no file and has none of a .proto file that is gone", () => {
    assert.deepStrictEqual(compare("x", files({ "old.ts": "" }), files({ "v1/new.ts": "" })), [
      "x/v1/new.ts is missing: npm run generate",
      "x/old.ts comes from no .proto file: npm run generate"
    ])
  })

  it("imports its own files with extensions, and packages as they are", () => {
    const text = `import { Echo } from "./echo"\nimport type { B } from "../b.ts"\nimport { C } from "@c/runtime"`
    assert.strictEqual(
      withExtensions(text),
      `import { Echo } from "./echo.ts"\nimport type { B } from "../b.ts"\nimport { C } from "@c/runtime"`
    )
  })

  it("is generated without a home, and leaves nothing there", async () => {
    const home = join(tmpdir(), `no-home-${process.pid}`)
    vi.stubEnv("HOME", home)
    assert.deepStrictEqual(await current(), { ok: true, output: "" })
    assert.isFalse(existsSync(home))
  })
})
