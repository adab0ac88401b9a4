/** Runs programs in a folder of their own, and says which folder that is. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import type { Outcome } from "../check/report.ts"
import { root } from "../check/sources.ts"

/** The packages, the one that needs no other first. */
export const names = ["core", "grpc", "testing"] as const

/** Without what this repository adds to them: npm must not take the workspace for the folder that it works in. */
export const env = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !/^npm_(config_local_prefix|package_)/i.test(key))
  ),
  PATH: (process.env.PATH ?? "")
    .split(delimiter)
    .filter((entry) => !entry.includes("node_modules"))
    .join(delimiter)
}

/** Runs a program to its end, two minutes at most. */
export const run = (cwd: string, program: string, args: ReadonlyArray<string>): Promise<Outcome> =>
  new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], timeout: 120_000 })
    let output = ""
    child.stdout.on("data", (chunk) => (output += chunk))
    child.stderr.on("data", (chunk) => (output += chunk))
    child.on("error", (error) => resolve({ ok: false, output: String(error) }))
    child.on("close", (code, signal) =>
      resolve({ ok: code === 0, output: signal === null ? output.trim() : `${output}\nended by ${signal}` })
    )
  })

/** A tool of the workspace. */
export const bin = (name: string): string => join(root, "node_modules/.bin", name)

/** Both, one after the other: the first failure is the outcome. */
export const inTurn = async (steps: ReadonlyArray<() => Promise<Outcome>>): Promise<Outcome> => {
  let outcome: Outcome = { ok: true, output: "" }
  for (const step of steps) if (outcome.ok) outcome = await step()
  return outcome
}

/** A temporary folder that is gone when this process is, interrupted or not. */
export const temporary = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "hawser-packages-"))
  process.once("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1))
  return folder
}
