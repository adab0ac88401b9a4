import { Effect, type Scope } from "effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

/** A server in a process of its own: it can be frozen and thawed. */
export interface ChildServer {
  readonly name: string
  readonly address: string
  readonly port: number
  /** Stops the process where it is: its kernel goes on accepting and acknowledging. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** What it has seen. Only answers when it is not frozen. */
  readonly counts: Effect.Effect<Readonly<Record<string, number>>>
}

const program = fileURLToPath(new URL("./frozenServer.ts", import.meta.url))

/** A server whose process is gone when the scope closes. */
export const make = (name: string): Effect.Effect<ChildServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => fork(program, [name], { execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] })),
      (child) =>
        Effect.promise(async () => {
          // SIGKILL ends stopped processes, too.
          const gone = once(child, "exit")
          child.kill("SIGKILL")
          await gone
        })
    )
    const [port] = (yield* Effect.promise(() => once(child, "message"))) as [number]
    return {
      name,
      port,
      address: `127.0.0.1:${port}`,
      freeze: Effect.sync(() => void child.kill("SIGSTOP")),
      thaw: Effect.sync(() => void child.kill("SIGCONT")),
      counts: Effect.promise(async () => {
        const answer = once(child, "message")
        child.send("counts")
        return (await answer)[0] as Readonly<Record<string, number>>
      })
    }
  })
