import { afterEach, assert, beforeEach, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")

let before = process.cpuUsage()
beforeEach(() => {
  before = process.cpuUsage()
})
// Time of the processor: what else runs on this machine does not lengthen it.
afterEach(({ task }) => {
  const { system, user } = process.cpuUsage(before)
  assert.isBelow((system + user) / 1_000, 200, `${task.name}: milliseconds`)
})

// Its test runs here too, between these hooks.
await import("./frozenBackend.test.ts")

it("the example of a frozen backend has at most 30 lines", () => {
  assert.isAtMost(read("./frozenBackend.test.ts").trimEnd().split("\n").length, 30)
})

it("the README of the package shows the examples as they are", () => {
  const readme = read("../../../packages/testing/README.md")
  for (const name of ["mocked", "frozenBackend", "rollingRestart"]) {
    assert.include(readme, `\`\`\`ts\n${read(`./${name}.test.ts`)}\`\`\`\n`, name)
  }
})
