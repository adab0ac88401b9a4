// Prints "PASSED FAILED" for one step: node .ci/count.cjs EXIT_CODE FILE...
// It reads the last JSON object of the first file that has one: vitest's, `{ passed, failed }` or `{ bars: [{ ok }] }`.
// A step that counted nothing counts as one, and so does a failure that the step's own count does not show.
const { existsSync, readFileSync } = require("node:fs")

const [code, ...files] = process.argv.slice(2)

const parsed = (line) => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

const last = (file) => {
  const lines = readFileSync(file, "utf8").split("\n")
  return lines
    .filter((line) => line.startsWith("{"))
    .map(parsed)
    .filter((value) => value !== undefined)
    .at(-1)
}

const report =
  files
    .filter(existsSync)
    .map(last)
    .find((value) => value !== undefined) ?? {}
let passed = report.numPassedTests ?? report.passed ?? report.bars?.filter(({ ok }) => ok).length
let failed = report.numFailedTests ?? report.failed ?? report.bars?.filter(({ ok }) => !ok).length
if (!Number.isInteger(passed) || !Number.isInteger(failed)) passed = failed = 0
if (code === "0" && passed + failed === 0) passed = 1
if (code !== "0" && failed === 0) failed = 1
console.log(`${passed} ${failed}`)
