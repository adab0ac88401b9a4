import { Effect, type Scope } from "effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

/** Messages that the server has handed to its transport, and has been given by it. */
export interface FlowCounts {
  readonly sent: number
  readonly read: number
}

/** A server in a process of its own, so that what it holds back is not in the heap of the test. */
export interface FlowServer {
  readonly address: string
  /** Reads uploads up to so many messages. */
  readonly readTo: (limit: number) => Effect.Effect<FlowCounts>
  /**
   * What it counts when nothing moves any more.
   *
   * **Details**: an answer is one turn of both event loops at least, and the loopback hands over at once; when so many in a
   * row are the same, here as there, nothing is on its way.
   */
  readonly still: (here: () => number) => Effect.Effect<FlowCounts>
}

/** Equal answers in a row. */
const same = 25

const program = fileURLToPath(new URL("./FlowProgram.ts", import.meta.url))

/** A server whose process is gone when the scope closes. */
export const make: Effect.Effect<FlowServer, never, Scope.Scope> = Effect.gen(function* () {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => fork(program, [], { execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] })),
    (child) =>
      Effect.promise(async () => {
        const gone = once(child, "exit")
        child.kill("SIGKILL")
        await gone
      })
  )
  const [port] = (yield* Effect.promise(() => once(child, "message"))) as [number]
  const readTo = async (limit: number): Promise<FlowCounts> => {
    const answer = once(child, "message")
    child.send(limit)
    return (await answer)[0] as FlowCounts
  }
  return {
    address: `127.0.0.1:${port}`,
    readTo: (limit) => Effect.promise(() => readTo(limit)),
    still: (here) =>
      Effect.promise(async () => {
        let last: FlowCounts = { sent: -1, read: -1 }
        let lastHere = -1
        for (let n = 0; n < same; n++) {
          const counts = await readTo(0)
          if (counts.sent !== last.sent || counts.read !== last.read || here() !== lastHere) n = 0
          last = counts
          lastHere = here()
        }
        return last
      })
  }
})
