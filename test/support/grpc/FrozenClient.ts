import { Effect, type Scope } from "effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

/** A call that failed. */
export interface FrozenFailure {
  readonly message: string
  readonly stalledMillis: number
}

/** What a client has to tell that was stopped for a while. */
export interface FrozenReport {
  /** Its events. */
  readonly tags: ReadonlyArray<string>
  /** Calls that were started after the thaw and answered. */
  readonly answered: number
  /** Failures of calls that were started before, and of those that were started after. */
  readonly before: ReadonlyArray<FrozenFailure>
  readonly after: ReadonlyArray<FrozenFailure>
}

const program = fileURLToPath(new URL("./stoppedProgram.ts", import.meta.url))

/** A client in a process of its own with so many callers is stopped for so long. `meanwhile` happens while it is. */
export const frozen = (
  address: string,
  callers: number,
  millis: number,
  meanwhile: Effect.Effect<void>
): Effect.Effect<FrozenReport, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(program, [`ipv4:${address}`, `${callers}`], {
          execArgv: [],
          stdio: ["ignore", "inherit", "inherit", "ipc"]
        })
      ),
      (child) =>
        Effect.promise(async () => {
          const gone = once(child, "exit")
          child.kill("SIGKILL")
          await gone
        })
    )
    yield* Effect.promise(() => once(child, "message"))
    yield* Effect.sleep(500)
    child.kill("SIGSTOP")
    yield* Effect.sleep(millis / 2)
    yield* meanwhile
    yield* Effect.sleep(millis / 2)
    child.kill("SIGCONT")
    // At once, so that for an idle client a call is the first to know.
    const report = once(child, "message")
    child.send("call")
    return (yield* Effect.promise(() => report))[0] as FrozenReport
  })
