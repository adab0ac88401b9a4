import { afterAll, assert, describe, it } from "@effect/vitest"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { execute } from "../../check/report.ts"

const folder = mkdtempSync(join(tmpdir(), "count-"))
afterAll(() => rmSync(folder, { recursive: true }))

const count = async (code: number, log: string): Promise<string> => {
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
})
