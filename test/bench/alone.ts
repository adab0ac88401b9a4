/**
 * Runs a measurement without a network in a process of its own, so that nothing else is on its heap.
 */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { own } from "./children.ts"
import { median } from "./pair.ts"
import type { Result } from "./result.ts"

/** The bench's side. */
export const alone = (file: string, quick: boolean): Promise<Result> => {
  const path = fileURLToPath(new URL(file, import.meta.url))
  const child = own(fork(path, quick ? ["quick"] : [], { execArgv: ["--expose-gc"] }))
  return new Promise((resolve, reject) => {
    child.once("message", (result: Result) => {
      child.kill()
      resolve(result)
    })
    child.once("exit", (code) => reject(new Error(`${file} ended with ${code}`)))
  })
}

/** The child's side. */
export const answer = (measure: (quick: boolean) => Promise<Result>): void => {
  process.once("disconnect", () => process.exit(0))
  void measure(process.argv[2] === "quick").then((result) => process.send?.(result))
}

/** This thread's CPU time in nanoseconds: what the machine does meanwhile does not count. */
export const cpuNanos = (): number => {
  const { system, user } = process.threadCpuUsage()
  return (system + user) * 1000
}

/** CPU nanoseconds per operation: the median of seven rounds, after half a round of warm-up. */
export const nanosPer = (operations: number, run: (operations: number) => void): number => {
  run(operations >> 1)
  return median(
    Array.from({ length: 7 }, () => {
      const startedAt = cpuNanos()
      run(operations)
      return (cpuNanos() - startedAt) / operations
    })
  )
}
