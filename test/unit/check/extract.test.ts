import { assert, describe, it } from "@effect/vitest"
import { blocks, withAssertions } from "../../docs/extract.ts"

const doc = [
  "/**",
  " * ```ts import.meta.vitest",
  " * const a = 1",
  " *",
  " * a // => 1",
  " * ```",
  " * ```ts",
  " * not run",
  " * ```",
  " */"
].join("\n")

describe("examples", () => {
  it("takes the marked blocks of a module, with their lines", () => {
    const [example, ...rest] = blocks("packages/core/src/A.ts", doc)
    assert.deepStrictEqual(rest, [])
    assert.strictEqual(example?.line, 3)
    assert.strictEqual(example?.code, "const a = 1\n\na // => 1\n")
  })
  it("takes every TypeScript block of a markdown file as it is", () => {
    const text = "# Title\n```ts\n * a\n```\n```bash\nls\n```\n```ts\nb\n```\n"
    assert.deepStrictEqual(
      blocks("README.md", text).map(({ code }) => code),
      [" * a\n", "b\n"]
    )
  })

  const run = (code: string): ReadonlyArray<readonly [unknown, unknown]> => {
    const seen: Array<readonly [unknown, unknown]> = []
    new Function("equal", withAssertions(code))((actual: unknown, expected: unknown) => seen.push([actual, expected]))
    return seen
  }

  it("compares an expression, a logged one and a constant with the value after the arrow", () => {
    assert.deepStrictEqual(run("1 + 1 // => 2"), [[2, 2]])
    assert.deepStrictEqual(run("({\n  a: 1\n}); // => { a: 2 }"), [[{ a: 1 }, { a: 2 }]])
    assert.deepStrictEqual(run(`console.log("x") // => "x"`), [["x", "x"]])
    assert.deepStrictEqual(run(`const a = [1] // => [1]\na // => []`), [
      [[1], [1]],
      [[1], []]
    ])
  })
  it("compares inside functions", () => {
    const code = "const f = () => {\n  const a = 1 // => 1\n  return a\n}\nf() // => 3"
    assert.deepStrictEqual(run(code), [
      [1, 1],
      [1, 3]
    ])
  })
  it("refuses an arrow that no statement precedes", () => {
    assert.throws(() => withAssertions("// => 1"), /no statement/)
    assert.throws(() => withAssertions("if (a) {\n}\n// => 1"), /no statement/)
    assert.throws(() => withAssertions("const = 1"))
  })
})
