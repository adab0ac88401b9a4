import { assert, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../check/sources.ts"

const textOf = (path: string) => readFileSync(join(root, path), "utf8")
/** Without comments, blank lines and types of the compiler's taste. */
const plain = (text: string) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("//"))
    .join("\n")

it("docs/balancing.md shows the policy that examples/policy.ts runs", () => {
  const shown = /^ {4}(const packed[^]*?)^ {4}}\)$/m.exec(textOf("docs/balancing.md"))![1]!
  assert.include(plain(textOf("examples/policy.ts")), plain(shown))
})
