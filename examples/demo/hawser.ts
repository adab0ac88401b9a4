/** Child: the load through Hawser, with nothing set but the deadline of a second. */
import * as Client from "@hawser/grpc/Client"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { deadlineMillis, EchoDefinition } from "./echo.ts"
import { play } from "./load.ts"
import { describe, endpoints } from "./look.ts"
import type { ClientConfig, EventView } from "./messages.ts"

const { addresses, rps } = JSON.parse(process.argv[2]!) as ClientConfig

class Echo extends Client.Service<Echo>()("demo/Echo", EchoDefinition, { idempotent: ["echo"] }) {}

const live = Echo.layer.pipe(
  Layer.provideMerge(
    Grpc.layer({
      target: `ipv4:${addresses.join(",")}`,
      credentials: Credentials.insecure,
      deadline: `${deadlineMillis} millis`
    })
  )
)

const program = Effect.gen(function* () {
  const { echo } = yield* Echo
  const cluster = yield* Grpc.GrpcCluster
  const context = yield* Effect.context()
  const run = Effect.runForkWith(context)
  yield* cluster.awaitReady(addresses.length)

  let events: Array<EventView> = []
  yield* Effect.forkScoped(
    Stream.runForEach(cluster.events, ({ event }) => Effect.sync(() => events.push(...describe(event))))
  )
  play({
    rps,
    call: (end) =>
      run(echo({ client: "hawser", text: "hello" })).addObserver((exit) => {
        if (exit._tag === "Success") return end({ tag: "answered", server: exit.value.server })
        const why = Option.match(Cause.findErrorOption(exit.cause), {
          onNone: () => "defect",
          onSome: ({ attempts, progress, reason }) => `${reason._tag} (${progress}, attempt ${attempts})`
        })
        end({ tag: "failed", why })
      }),
    look: () => {
      const fresh = events
      events = []
      return { endpoints: endpoints(Effect.runSyncWith(context)(cluster.snapshot).root), events: fresh }
    }
  })
  return yield* Effect.never
})

Effect.runFork(program.pipe(Effect.scoped, Effect.provide(live)))
