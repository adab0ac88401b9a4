/**
 * `npm run mutations`: breaks the product in each of the ways of a fixed list, one at a time, in a copy of the sources, and
 * sees whether the simulation notices.
 *
 * `--only ID` runs one; `--seeds N` is how far each is looked for; `--json` ends with one line of JSON.
 */
import { spawn } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { type Mutation, mutations } from "../mutations.ts"
import type { Outcome } from "./play.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))
/** Longer than any honest run: the mutant hangs. */
const patience = 240_000

interface Verdict {
  readonly id: string
  readonly caught: boolean
  readonly how: string
}

/** A copy of the sources, with the dependencies of the original. */
const copy = (folder: string): void => {
  for (const part of ["packages", "test"]) {
    cpSync(join(root, part), join(folder, part), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.endsWith("/dist")
    })
  }
  cpSync(join(root, "package.json"), join(folder, "package.json"))
  const modules = join(folder, "node_modules")
  mkdirSync(join(modules, "@hawser"), { recursive: true })
  for (const name of readdirSync(join(root, "node_modules"))) {
    if (name !== "@hawser") symlinkSync(join(root, "node_modules", name), join(modules, name))
  }
  for (const name of ["core", "grpc", "testing"]) {
    symlinkSync(join(folder, "packages", name), join(modules, "@hawser", name))
  }
}

/** Plays seeds until one fails. */
const hunt = (folder: string, seeds: number): Promise<string | undefined> =>
  new Promise((resolve) => {
    const worker = join(folder, "test/simulation/network/worker.ts")
    const child = spawn(process.execPath, [worker, "1", String(seeds), "1", "storm", "1"], {
      stdio: ["ignore", "pipe", "ignore"]
    })
    let found: string | undefined
    const timer = setTimeout(() => {
      found = "it hangs"
      child.kill("SIGKILL")
    }, patience)
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { problems, seed } = JSON.parse(line) as Outcome
      if (problems.length > 0) found = `seed ${seed}: ${problems[0]!.split("\n")[0]}`
    })
    child.on("close", (code) => {
      clearTimeout(timer)
      resolve(found ?? (code === 0 ? undefined : "the process dies"))
    })
  })

const judge = async (folder: string, { file, find, id, replace }: Mutation, seeds: number): Promise<Verdict> => {
  const path = join(folder, file)
  const original = readFileSync(path, "utf8")
  if (original.split(find).length !== 2) return { id, caught: false, how: `not found once in ${file}` }
  writeFileSync(
    path,
    original.replace(find, () => replace)
  )
  const found = await hunt(folder, seeds)
  writeFileSync(path, original)
  return { id, caught: found !== undefined, how: found ?? `not noticed in ${seeds} seeds` }
}

const value = (flag: string): string | undefined => {
  const at = process.argv.indexOf(flag)
  return at < 0 ? undefined : process.argv[at + 1]
}

const only = value("--only")
const seeds = Number(value("--seeds") ?? 1_000)
const queue = mutations.filter(({ id }) => only === undefined || id === only)
if (queue.length === 0 || !Number.isSafeInteger(seeds) || seeds < 1) {
  console.error(`--only: one of ${mutations.map(({ id }) => id).join(", ")}; --seeds: an integer of 1 or more`)
  process.exit(64)
}
const verdicts: Array<Verdict> = []
const left = [...queue]
const work = async (): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "hawser-mutation-"))
  try {
    copy(folder)
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const verdict = await judge(folder, next, seeds)
      verdicts.push(verdict)
      console.log(`${verdict.caught ? "caught" : "MISSED"}  ${verdict.id}: ${next.what}\n        ${verdict.how}`)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

await Promise.all(Array.from({ length: Math.min(availableParallelism(), 4, queue.length) }, work))
const caught = verdicts.filter((verdict) => verdict.caught).length
console.log(`\n${caught} of ${verdicts.length} caught`)
if (process.argv.includes("--json")) console.log(JSON.stringify({ mutations: verdicts.length, caught, verdicts }))
// All but two of the fixed list.
process.exitCode = only === undefined && caught < verdicts.length - 2 ? 1 : 0
