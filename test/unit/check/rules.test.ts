import { assert, describe, it } from "@effect/vitest"
import * as Rules from "../../check/rules.ts"
import { parse } from "../../check/sources.ts"

const plan = { core: ["Low Peer", "High", "index"], grpc: ["Call", "GrpcJs", "index"], testing: ["Serve TestServer"] }
const core = (module: string, text: string) => parse(`packages/core/src/${module}.ts`, text)
const grpc = (module: string, text: string) => parse(`packages/grpc/src/${module}.ts`, text)
const testing = (module: string, text: string) => parse(`packages/testing/src/${module}.ts`, text)

const one = (findings: ReadonlyArray<string>, pattern: RegExp) => {
  assert.strictEqual(findings.length, 1, findings.join("\n"))
  assert.match(findings[0] ?? "", pattern)
}
const none = (findings: ReadonlyArray<string>) => assert.deepStrictEqual(findings, [])

describe("floors", () => {
  const judge = (...sources: Parameters<typeof Rules.floors>[0]) => Rules.floors(sources, plan, [])

  it("lets a module import from below, in its own package and in the packages below", () => {
    none(judge(core("High", `import { low } from "./Low.ts"`)))
    none(judge(grpc("Call", `import { High } from "@hawser/core"\nimport "@hawser/core/High"\nimport "effect/Effect"`)))
  })
  it("finds an import from the same floor and from above, types included", () => {
    one(judge(core("Low", `import "./Peer.ts"`)), /Low\.ts:1 \(floor 1\) imports Peer \(floor 1\)/)
    one(judge(core("Low", `\nimport type { High } from "./High.ts"`)), /Low\.ts:2 .* imports High \(floor 2\)/)
    one(judge(core("Low", `type T = import("./High.ts").High`)), /imports High/)
    one(judge(core("Low", `export * from "./index.ts"`)), /imports index/)
  })
  it("lets siblings meet", () => {
    none(Rules.floors([core("Low", `import "./Peer.ts"`)], plan, ["core/Peer core/Low"]))
    one(Rules.floors([core("Low", `import "./High.ts"`)], plan, ["core/Peer core/Low"]), /imports High/)
  })
  it("finds a module without a floor", () => {
    one(judge(core("New", "")), /New\.ts has no floor/)
  })
  it("finds core importing grpc, a package reached by a relative path, and testing imported by a library", () => {
    one(judge(core("High", `import "@hawser/grpc/Call"`)), /core must not import @hawser\/grpc\/Call/)
    one(judge(grpc("Call", `import "../../core/src/Low.ts"`)), /reaches out of its package/)
    one(judge(grpc("Call", `import "@hawser/testing"`)), /grpc must not import/)
  })
  it("finds grpc-js outside the adapter, Credentials and TestServer, types included", () => {
    none(judge(grpc("GrpcJs", `import * as grpc from "@grpc/grpc-js"`)))
    none(judge(testing("TestServer", `import * as grpc from "@grpc/grpc-js"`)))
    one(
      judge(testing("Serve", `import * as grpc from "@grpc/grpc-js"`)),
      /only the adapter, Credentials and TestServer/
    )
    one(judge(grpc("Call", `import type { Metadata } from "@grpc/grpc-js"`)), /only the adapter/)
    one(judge(core("Low", `import "@grpc/grpc-js/build/src/call"`)), /only the adapter/)
  })
})

describe("cycles", () => {
  it("finds a cycle across packages, once, types included", () => {
    const sources = [
      core("A", `import type { B } from "@hawser/grpc/B"`),
      grpc("B", `export * from "./C.ts"`),
      grpc("C", `import "@hawser/core/A"`)
    ]
    one(Rules.cycles(sources), /core\/src\/A\.ts -> .*B\.ts -> .*C\.ts -> .*A\.ts/)
  })
  it("takes a diamond for no cycle, and a dynamic import neither", () => {
    none(
      Rules.cycles([
        core("A", `import "./B.ts"\nimport "./C.ts"`),
        core("B", `import "./D.ts"`),
        core("C", `import "./D.ts"`),
        core("D", `const a = () => import("./A.ts")`)
      ])
    )
  })
})

describe("forbidden", () => {
  it.each([
    "Date.now()",
    "new Date()",
    "Math.random()",
    "setTimeout(f, 1)",
    "setInterval(f, 1)",
    "setImmediate(f)",
    "performance.now()",
    "process.hrtime.bigint()"
  ])("finds %s in core and grpc, but not in the adapter", (code) => {
    one(Rules.forbidden([core("A", `\nexport const a = () => ${code}`)]), /A\.ts:2 /)
    one(Rules.forbidden([grpc("A", code)]), /A\.ts:1 /)
    none(Rules.forbidden([grpc("GrpcJsCall", code)]))
  })
  it("passes over comments, strings and longer names", () => {
    none(Rules.forbidden([core("A", `// Date.now()\n/* setTimeout() */ const a = "Date.now()" + \`Math.random()\``)]))
    none(Rules.forbidden([core("A", `clearTimeout(timer); resetTimeout()`)]))
    one(Rules.forbidden([core("A", "const a = `${Date.now()}`")]), /Date\.now/)
  })
  it("finds the effect barrel", () => {
    one(Rules.forbidden([core("A", `import { Effect } from "effect"`)]), /barrel/)
    none(Rules.forbidden([core("A", `import * as Effect from "effect/Effect"`)]))
  })
  it("finds slow modules that the index reaches statically, and only those", () => {
    const heavy = core("Heavy", `import * as Schema from "effect/Schema"`)
    const index = (text: string) => core("index", text)
    one(Rules.forbidden([index(`export * as A from "./A.ts"`), core("A", `import "./Heavy.ts"`), heavy]), /Heavy\.ts:1/)
    none(Rules.forbidden([index(`import type { Heavy } from "./Heavy.ts"`), heavy]))
    none(Rules.forbidden([index(`const load = () => import("./Heavy.ts")`), heavy]))
    none(Rules.forbidden([index(`import type * as Schema from "effect/Schema"`)]))
    const other = grpc("index", `import "@hawser/core/A"`)
    one(Rules.forbidden([other, core("A", `import "effect/Config"`)]), /effect\/Config/)
    one(Rules.forbidden([index(`import "effect/persistence/Persistence"`)]), /persistence/)
  })
})

describe("size", () => {
  const source = core("A", `/**\n * Long.\n */\n\n// note\nconst a = 1 // one\nconst b = \`\n\``)

  it("counts lines of code, not comments or blank lines", () => {
    none(Rules.size([source], 3))
    one(Rules.size([source], 2), /has 3 lines of code/)
  })
})

describe("exports", () => {
  it("finds exported declarations without a doc comment", () => {
    one(Rules.exports([core("A", `export const a = 1`)]), /A\.ts:1 a has no doc comment/)
    one(Rules.exports([core("A", `/* not a doc */\nexport interface A {}`)]), /A\.ts:2 A /)
    one(Rules.exports([core("A", `/** N */\nexport declare namespace N { export interface Q {} }`)]), /Q has no/)
    one(Rules.exports([core("A", `/** Header. */\nimport "x"\nexport class A {}`)]), /A has no/)
    one(Rules.exports([core("A", `export default 1`)]), /default/)
  })
  it("takes one comment for overloads and for a type and value of one name, and none for re-exports", () => {
    none(Rules.exports([core("A", `/** A. */\n// oxlint-disable-next-line\nexport type A = 1\nexport const A = 1`)]))
    none(Rules.exports([core("A", `/** f */\nexport function f(): void\nexport function f() {}`)]))
    none(Rules.exports([core("A", `export * as B from "./B.ts"\nconst c = 1\nexport { c }`)]))
  })
})

describe("examples", () => {
  const index = core("index", `export * as A from "./A.ts"`)
  const judge = (text: string, ...blocks: ReadonlyArray<string>) =>
    Rules.examples(
      [index, core("A", text)],
      blocks.map((code) => ({ path: "packages/core/src/A.ts", code })),
      ""
    )

  it("finds exported values that no example of their file uses", () => {
    one(judge(`\nexport const a = 1`), /A\.ts:2 a is in no executed example/)
    one(judge(`export const a = 1\nexport const b = 2`, "A.a"), /A\.ts:2 b /)
    one(judge(`export abstract class B {}`), /A\.ts:1 B /)
    one(judge(`export async function f() {}`), /f /)
    one(judge(`export function* f() {}`), /f /)
    none(judge(`export const a = 1\nexport class B {}`, "A.a", "new A.B()"))
  })
  it("takes overloads for one, and values that are passed on like others", () => {
    one(judge(`export function f(): void\nexport function f() {}`), /A\.ts:1 f /)
    one(judge(`const a = 1\nconst b = 2\nexport {\n  /** a, b */\n  a as c,\n  b\n}`, "A.b"), /A\.ts:3 c /)
    one(judge(`export { type B, c } from "./C.ts"`), / c /)
  })
  it("asks nothing of types", () => {
    none(judge(`export interface B {}\nexport type C = 1\nexport type { D } from "./D.ts"\nexport declare const e: 1`))
  })
  it("takes no comment, string or longer name for a use, nor an example that can't be read", () => {
    for (const code of ["// A.a", `"A.a"`, "A.ab", "BA.a", "B.a", "a", "A.a("]) {
      one(judge("export const a = 1", code), / a /)
    }
  })
  it("takes no example of another file", () => {
    const shown = [{ path: "packages/core/src/B.ts", code: "A.a" }]
    one(Rules.examples([index, core("A", "export const a = 1")], shown, ""), / a /)
  })
  it("passes over modules that users do not import: neither in the index nor named in a document", () => {
    const inner = grpc("Inner", "export const a = 1")
    none(Rules.examples([index, inner], [], "`@hawser/core/Inner`, `@hawser/grpc/InnerMost`"))
    one(Rules.examples([index, inner], [], "see `@hawser/grpc/Inner`"), /Inner\.ts:1 a /)
  })
})
