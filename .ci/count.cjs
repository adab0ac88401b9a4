// Prints "PASSED FAILED" for one step: node .ci/count.cjs EXIT_CODE FILE...
// It reads the last JSON object of the first file that has one: vitest's, `{ passed, failed }`, `{ bars: [{ ok }] }`,
// `{ scenarios: [{ ok, skipped }] }` or `{ seeds, violations }`. What was skipped has neither passed nor failed.
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
// A thousand seeds are one thing that was checked, a seed with a violation is one that failed.
if (Number.isInteger(report.violations)) {
  report.passed = report.violations === 0 ? 1 : 0
  report.failed = report.violations
}
const judged = report.bars ?? report.scenarios?.filter(({ skipped }) => skipped !== true)
let passed = report.numPassedTests ?? report.passed ?? judged?.filter(({ ok }) => ok).length
let failed = report.numFailedTests ?? report.failed ?? judged?.filter(({ ok }) => !ok).length
if (!Number.isInteger(passed) || !Number.isInteger(failed)) passed = failed = 0
if (code === "0" && passed + failed === 0) passed = 1
if (code !== "0" && failed === 0) failed = 1
console.log(`${passed} ${failed}`)
