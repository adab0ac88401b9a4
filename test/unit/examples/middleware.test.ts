import { assert, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../check/sources.ts"
import { blocks } from "../../docs/extract.ts"

const textOf = (path: string) => readFileSync(join(root, path), "utf8")

it("docs/middleware.md shows what examples/middleware.ts runs", () => {
  const shown = blocks("docs/middleware.md", textOf("docs/middleware.md"))
  assert.lengthOf(shown, 3)
  const example = textOf("examples/middleware.ts")
  for (const { code } of shown) assert.include(example, code)
})
