/** Runs named steps, prints a line for each and, with `--json`, one JSON line last. */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { root } from "./sources.ts"

export interface Outcome {
  readonly ok: boolean
  readonly output: string
}

export interface Step {
  readonly name: string
  readonly run: () => Outcome | Promise<Outcome>
}

export const fromFindings = (findings: ReadonlyArray<string>): Outcome => ({
  ok: findings.length === 0,
  output: findings.join("\n")
})

export interface ExecuteOptions {
  readonly timeoutMillis?: number
  /** Relative to the root of the repository. */
  readonly cwd?: string
  /** In addition to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a program from node_modules/.bin, or this Node, to its end. */
export const execute = (
  command: string,
  args: ReadonlyArray<string>,
  { cwd = ".", env = {}, timeoutMillis }: ExecuteOptions = {}
): Promise<Outcome> =>
  new Promise((resolve) => {
    const program = command === "node" ? process.execPath : `${root}/node_modules/.bin/${command}`
    const child = spawn(program, args, {
      cwd: join(root, cwd),
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    child.stdout.on("data", (chunk) => (output += chunk))
    child.stderr.on("data", (chunk) => (output += chunk))
    const timer =
      timeoutMillis === undefined
        ? undefined
        : setTimeout(() => {
            output += `\nstill running after ${timeoutMillis} ms`
            child.kill("SIGKILL")
          }, timeoutMillis)
    child.on("error", (error) => resolve({ ok: false, output: String(error) }))
    child.on("close", (code) => {
      clearTimeout(timer)
      resolve({ ok: code === 0, output: output.trim() })
    })
  })

/** Runs the steps one after the other and sets the exit code. */
export const report = async (steps: ReadonlyArray<Step>): Promise<void> => {
  const failed: Array<string> = []
  for (const { name, run } of steps) {
    const started = performance.now()
    const { ok, output } = await Promise.resolve()
      .then(run)
      .catch((error: unknown) => ({ ok: false, output: error instanceof Error ? error.message : String(error) }))
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    console.log(`${ok ? "ok    " : "FAILED"} ${name} (${seconds} s)`)
    if (!ok) {
      failed.push(name)
      console.log(output.replace(/^/gm, "       "))
    }
  }
  if (process.argv.includes("--json")) {
    console.log(JSON.stringify({ passed: steps.length - failed.length, failed: failed.length, failures: failed }))
  }
  // Nothing to run is not a success.
  process.exitCode = steps.length > 0 && failed.length === 0 ? 0 : 1
}
