/**
 * Child processes that never outlive the bench: killed when it exits, and told by their pipe when it is killed.
 */
import type { ChildProcess } from "node:child_process"

const alive = new Set<ChildProcess>()

export const own = <C extends ChildProcess>(child: C): C => {
  alive.add(child)
  child.once("exit", () => alive.delete(child))
  return child
}

export const killAll = (): void => {
  for (const child of alive) child.kill("SIGKILL")
}

/** Called once by the program that owns children. */
export const guard = (): void => {
  process.once("exit", killAll)
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129]
  ] as const) {
    process.once(signal, () => process.exit(code))
  }
}
