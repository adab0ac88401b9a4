/**
 * Child: outlives the parent by a moment. A parent that is killed outright cleans nothing up, and a server that is
 * stopped at that time can't notice that its parent is gone: somebody has to do it for them.
 */
import type { FromWatchdog, ToWatchdog } from "./messages.ts"

const pids: Array<number> = []
process.on("message", ({ pid }: ToWatchdog) => pids.push(pid))
process.on("disconnect", () => {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // It is gone already.
    }
  }
  process.exit()
})
// A signal to the whole group must not take the watchdog before its parent.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {})
process.send!({ tag: "ready" } satisfies FromWatchdog)
