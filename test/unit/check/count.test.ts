import { afterAll, assert, describe, it } from "@effect/vitest"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { execute } from "../../check/report.ts"

const folder = mkdtempSync(join(tmpdir(), "count-"))
afterAll(() => rmSync(folder, { recursive: true }))

const count = async (code: number, log: string): Promise<string> => {
  return (await named(code, log)).split("\n", 1)[0] ?? ""
}
const named = async (code: number, log: string): Promise<string> => {
  writeFileSync(join(folder, "log"), log)
  return (await execute("node", [".ci/count.cjs", String(code), join(folder, "absent"), join(folder, "log")])).output
}

describe(".ci/count", () => {
  it("takes the counts of the last JSON line", async () => {
    assert.strictEqual(await count(1, `{"numPassedTests":3,"numFailedTests":1}`), "3 1")
    assert.strictEqual(await count(0, `{"passed":1,"failed":1}\nnoise\n{"passed":2,"failed":0}\n{ not json`), "2 0")
    assert.strictEqual(await count(1, `{"bars":[{"ok":true},{"ok":true},{"ok":false}]}`), "2 1")
  })
  it("counts a step without counts as one, and a failure that the counts don't show", async () => {
    assert.strictEqual(await count(0, "fine"), "1 0")
    assert.strictEqual(await count(2, "broken"), "0 1")
    assert.strictEqual(await count(124, `{"passed":2,"failed":0}`), "2 1")
  })
  it("names what failed, a line each", async () => {
    const tests = [
      { status: "passed", name: "a.test.ts", assertionResults: [{ status: "passed", fullName: "fine" }] },
      {
        status: "failed",
        name: "b.test.ts",
        assertionResults: [
          { status: "passed", fullName: "fine" },
          { status: "failed", fullName: "a lease is returned", failureMessages: ["expected 1\nto be 2\nat b.test.ts"] }
        ]
      },
      { status: "failed", name: "c.test.ts", message: "no such module", assertionResults: [] }
    ]
    assert.strictEqual(
      await named(1, JSON.stringify({ numPassedTests: 2, numFailedTests: 1, testResults: tests })),
      "2 1\na lease is returned: expected 1 to be 2\nc.test.ts: no such module"
    )
    assert.strictEqual(
      await named(1, `{"bars":[{"id":"B1","ok":true},{"id":"B2","ok":false}]}`),
      `1 1\n{"id":"B2","ok":false}`
    )
    assert.strictEqual(await named(1, `{"passed":1,"failed":1,"failures":["format"]}`), "1 1\nformat")
  })
})
