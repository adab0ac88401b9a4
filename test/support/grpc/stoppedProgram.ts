// A client in a process of its own, so that it can be stopped while it calls. It ends with its parent.
import { Event } from "@hawser/core"
import { Channel, Client, type RpcError } from "@hawser/grpc"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import { Effect, Layer } from "effect"
import { EchoService } from "../../generated/echo.ts"
import type { FrozenReport } from "./FrozenClient.ts"

process.on("disconnect", () => process.exit(0))
const [target, callers] = [process.argv[2]!, Number(process.argv[3])]
const tags: Array<string> = []
let thawedAt = Infinity
const bus: Event.Events = {
  publish: ({ event }) => {
    tags.push(event._tag)
    if (event._tag === "Thawed") thawedAt = performance.now()
  },
  listen: () => Effect.void
}
const layer = Grpc.layer({ target, credentials: Credentials.insecure, retry: false, drain: 0 }).pipe(
  Layer.provide(Layer.succeed(Event.Events, bus))
)
const put = { id: "p", delayMillis: 5, failCode: 0 }
const before: Array<RpcError.RpcError> = []
const after: Array<RpcError.RpcError> = []
let answered = 0
await Effect.runPromise(
  Effect.gen(function* () {
    const client = Client.make(EchoService, yield* Channel.Channel)
    const call = Effect.suspend(() => {
      const startedAt = performance.now()
      return Effect.match(client.put(put, { timeout: "5 seconds" }), {
        onFailure: (error) => (startedAt >= thawedAt ? after : before).push(error),
        onSuccess: () => {
          if (startedAt >= thawedAt) answered++
        }
      })
    })
    // Idle clients have a connection, too.
    yield* call
    for (let i = 0; i < callers; i++) yield* Effect.forkChild(Effect.forever(Effect.andThen(call, Effect.sleep(1))))
    process.send!("ready")
    yield* Effect.callback<void>((resume) => void process.once("message", () => resume(Effect.void)))
    yield* Effect.forEach(Array.from({ length: 20 }), () => call, { concurrency: 5, discard: true })
    const facts = (error: RpcError.RpcError) => ({ message: error.message, stalledMillis: error.stalledMillis ?? 0 })
    const report: FrozenReport = { tags, answered, before: before.map(facts), after: after.map(facts) }
    process.send!(report)
    return yield* Effect.never
  }).pipe(Effect.provide(layer))
)
