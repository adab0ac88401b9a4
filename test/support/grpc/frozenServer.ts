// A server in a process of its own, so that it can be stopped. It ends with its parent.
import { Effect } from "effect"
import * as EchoServer from "./EchoServer.ts"

process.on("disconnect", () => process.exit(0))
await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function* () {
      const server = yield* EchoServer.make({ name: process.argv[2]! })
      process.on("message", () => process.send!(server.counts()))
      process.send!(server.port)
      return yield* Effect.never
    })
  )
)
