import { assert, describe, it } from "@effect/vitest"
import { judge } from "./contents.ts"

const map = JSON.stringify({ version: 3, sourceRoot: "", sources: ["../src/index.ts"] })
const manifest = {
  name: "@hawser/x",
  version: "0.0.0",
  description: "x",
  keywords: ["x"],
  license: "MIT",
  sideEffects: false,
  engines: { node: ">=20" },
  exports: { ".": { types: "./dist/index.d.ts", default: "./dist/index.js" } },
  peerDependencies: { effect: "^4.1.0" }
}

/** What is wrong with a sound package after these changes; `undefined` removes a file. */
const findings = (changes: Readonly<Record<string, string | undefined>>): ReadonlyArray<string> => {
  const sound = {
    LICENSE: "MIT",
    "README.md": "# x",
    "package.json": JSON.stringify(manifest),
    "src/index.ts": "export {}",
    "dist/index.js": "export {}",
    "dist/index.js.map": map,
    "dist/index.d.ts": "export {}",
    "dist/index.d.ts.map": map
  }
  const files = Object.entries({ ...sound, ...changes }).flatMap(([path, text]): ReadonlyArray<[string, string]> =>
    text === undefined ? [] : [[path, text]]
  )
  return judge(new Map(files), ["/home/ada/hawser/"])
}

describe("the contents of a package", () => {
  it("are its modules, built and as written, with licence and readme", () => {
    assert.deepStrictEqual(findings({}), [])
  })
  it("lack nothing", () => {
    assert.deepStrictEqual(findings({ LICENSE: undefined, "dist/index.d.ts.map": undefined }), [
      "LICENSE is missing",
      "dist/index.d.ts.map is missing"
    ])
  })
  it("are no tests, no generated code, no leftovers of the build", () => {
    for (const path of ["src/Pool.test.ts", "test/generated/echo.ts", "dist/tsconfig.tsbuildinfo", ".npmrc"]) {
      assert.include(findings({ [path]: "" }), `${path} does not belong into a package`)
    }
    assert.deepStrictEqual(findings({ "dist/Gone.js": "" }), ["dist/Gone.js has no source"])
  })
  it("name no path of the machine that built them", () => {
    const outcome = ["dist/index.js has a path of this machine"]
    assert.deepStrictEqual(findings({ "dist/index.js": "// /home/ada/hawser/packages" }), outcome)
    assert.deepStrictEqual(findings({ "dist/index.js": 'import "file:///x.js"' }), outcome)
  })
  it("have source maps that lead to the sources in the package", () => {
    const text = JSON.stringify({ sourceRoot: "/x", sources: ["../src/Gone.ts"] })
    assert.deepStrictEqual(findings({ "dist/index.js.map": text }), [
      "dist/index.js.map has a sourceRoot",
      "dist/index.js.map leads to ../src/Gone.ts, which is not there"
    ])
  })
  it("have a manifest that is understood outside the workspace", () => {
    const changed = (changes: object) => findings({ "package.json": JSON.stringify({ ...manifest, ...changes }) })
    assert.deepStrictEqual(changed({ description: undefined }), ["package.json has no description"])
    assert.deepStrictEqual(changed({ scripts: { install: "x" } }), ["package.json has scripts"])
    assert.deepStrictEqual(changed({ exports: { ".": "./src/index.ts" } }), ["package.json exports sources"])
    assert.deepStrictEqual(changed({ sideEffects: true }), ["package.json does not say that there are no side effects"])
    assert.deepStrictEqual(changed({ dependencies: { a: "workspace:^" } }), [
      "package.json has a version that only the workspace knows"
    ])
  })
})
