import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../check/sources.ts"
import { mutations } from "../../simulation/mutations.ts"
import { apply, draw, excerpt, occurrences, problems, shuffled, sites } from "../../simulation/operators.ts"

const textOf = (file: string) => readFileSync(join(root, file), "utf8")

describe("mutations", () => {
  it("are 25 different changes, 10 of them drawn", () => {
    const by = (who: string) => mutations.filter((m) => m.by === who).length
    assert.deepStrictEqual([by("hand"), by("operator")], [15, 10])
    assert.strictEqual(new Set(mutations.map((m) => m.id)).size, 25)
    assert.strictEqual(new Set(mutations.map((m) => apply(textOf(m.file), m))).size, 25)
  })

  it.each(mutations)("$id names one place and changes it", (mutation) => {
    assert.strictEqual(occurrences(textOf(mutation.file), mutation.find), 1)
    assert.notStrictEqual(mutation.replace, mutation.find)
  })

  it("leave files that Node parses", () => {
    const said = problems(mutations.map((m) => apply(textOf(m.file), m)))
    assert.deepStrictEqual(
      mutations.map(({ id }, i) => `${id}: ${said[i]}`),
      mutations.map(({ id }) => `${id}: `)
    )
  })
})

describe("operators", () => {
  const made = (text: string) =>
    sites("a.ts", text).map((s) => `${s.operator} | ${text.slice(0, s.start)}${s.text}${text.slice(s.end)}`)

  it("negate conditions", () => {
    assert.deepStrictEqual(made("if (a === b) c = 0"), ["negate | if (!(a === b)) c = 0", "drop | if (a === b) ;"])
    assert.deepStrictEqual(made("while (a) {}"), ["negate | while (!(a)) {}"])
    assert.deepStrictEqual(made("do {} while (a)"), ["negate | do {} while (!(a))"])
    assert.deepStrictEqual(made("for (; a; ) {}"), ["negate | for (; !(a); ) {}"])
    assert.deepStrictEqual(made("for (;;) {}"), [])
    assert.deepStrictEqual(made("const x = a ? b : c"), ["negate | const x = !(a) ? b : c"])
  })

  it("swap operators for their neighbours, not those in a comment between", () => {
    const swapped = (operator: string) => made(`const x = a /* ${operator} */ ${operator} b`)
    for (const [one, other] of ["< <=", "> >=", "&& ||", "+ -"].map((pair) => pair.split(" "))) {
      assert.deepStrictEqual(swapped(one!), [`${one} to ${other} | const x = a /* ${one} */ ${other} b`])
      assert.deepStrictEqual(swapped(other!), [`${other} to ${one} | const x = a /* ${other} */ ${one} b`])
    }
    assert.deepStrictEqual(made("a++"), ["++ to -- | a--"])
    assert.deepStrictEqual(made("--a"), ["-- to ++ | ++a"])
    assert.deepStrictEqual(made("a += b"), ["drop | ;", "+= to -= | a -= b"])
  })

  it("drop bare calls and assignments, also those of generators, and leave super", () => {
    assert.deepStrictEqual(made("f?.()"), ["drop | ;"])
    assert.deepStrictEqual(made("function* g() { yield* f() }"), ["drop | function* g() { ; }"])
    assert.deepStrictEqual(made("class A extends B { constructor() { super() } }"), [])
    assert.deepStrictEqual(made("const x = f()"), [])
  })

  it("replace constants, not 0 itself", () => {
    assert.deepStrictEqual(made("const x = [1_000, 0, true]"), [
      "1_000 to 0 | const x = [0, 0, true]",
      "true to false | const x = [1_000, 0, false]"
    ])
  })

  it("leave types, imports, comments and strings alone", () => {
    assert.deepStrictEqual(
      made("type A = 1 | true\nlet x: -1 | 2 = y as 3\nfunction f(a: 1): void\nfunction f() {}"),
      []
    )
    assert.deepStrictEqual(made('import { a } from "1 < 2"\n// 1 < 2\nconst x = `1 < 2` + "true"'), [
      '+ to - | import { a } from "1 < 2"\n// 1 < 2\nconst x = `1 < 2` - "true"'
    ])
  })

  it("name a place by as many lines as make it unique", () => {
    const text = "  f()\n  g()\n  f()\n  h()\n"
    const [one, other, third] = sites("a.ts", text).map((site) => excerpt(text, site))
    assert.deepStrictEqual(one, { find: "f()\n  g()", replace: ";\n  g()" })
    assert.deepStrictEqual(other, { find: "g()", replace: ";" })
    assert.strictEqual(apply(text, third!), "  f()\n  g()\n  ;\n  h()\n")
    assert.strictEqual(occurrences(text, third!.find), 1)
  })

  it("tell what does not parse, also after types are stripped", () => {
    const said = problems([
      "export const a: number = 1",
      "const a = (",
      "const a = 1, a = 2",
      "enum A { B }",
      "await 1"
    ])
    assert.deepStrictEqual(
      said.map((line) => line === ""),
      [true, false, false, false, true]
    )
  })

  it("are drawn in the same order for the same seed, each place once", () => {
    const items = Array.from({ length: 100 }, (_, i) => i)
    assert.deepStrictEqual(shuffled(items, 7), shuffled(items, 7))
    assert.notDeepEqual(shuffled(items, 7), shuffled(items, 8))
    assert.deepStrictEqual(
      shuffled(items, 7).toSorted((a, b) => a - b),
      items
    )
    const drawn = draw(7, 2, () => {})
    assert.deepStrictEqual(
      drawn,
      draw(7, 2, () => {})
    )
    for (const m of drawn) assert.strictEqual(occurrences(textOf(m.file), m.find), 1)
  })
})
