// Prints "PASSED FAILED" for one step, then a line for each failure that has a name: node .ci/count.cjs EXIT_CODE FILE...
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

const tests = (report.testResults ?? []).flatMap(({ assertionResults = [], message, name, status }) => {
  const broken = assertionResults.filter(({ status }) => status === "failed")
  // A file that can't be loaded has failed without a test.
  if (status === "failed" && broken.length === 0) return [`${name}: ${message}`]
  return broken.map(({ failureMessages = [], fullName }) => `${fullName}: ${failureMessages[0]}`)
})
const named = (judged ?? []).filter(({ ok, id }) => !ok && id !== undefined).map((one) => JSON.stringify(one))
const others = (report.failures ?? []).map((one) => (typeof one === "string" ? one : JSON.stringify(one)))
const lines = [...tests, ...named, ...others].map((failure) => failure.split("\n").slice(0, 2).join(" ").slice(0, 400))
if (lines.length > 0) console.log(lines.slice(0, 20).join("\n"))
