import { Client, Credentials, Grpc, HealthCheck } from "@hawser/grpc"
import { TestServer } from "@hawser/testing"
import { Console, Effect, Layer } from "effect"
import { GreeterService } from "./generated/greeter.ts"

class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService, { idempotent: ["sayHello"] }) {}

// Two servers, each of which says who it is.
const server = (name: string) => TestServer.make(GreeterService, { sayHello: () => Effect.succeed({ text: name }) })

const layer = (addresses: ReadonlyArray<string>) =>
  Greeter.layer.pipe(
    Layer.provideMerge(
      Grpc.layer({
        target: `ipv4:${addresses}`,
        credentials: Credentials.insecure,
        health: HealthCheck.watch("demo.Greeter")
      })
    )
  )

/** Who answers twenty calls, and what the cluster says of its endpoints. */
const look = Effect.gen(function* () {
  const names = yield* Effect.forEach(Array(20).keys(), () =>
    Greeter.use((greeter) => greeter.sayHello({ name: "Ada" }))
  )
  const { health } = yield* Grpc.GrpcCluster.use((cluster) => cluster.snapshot)
  const count = (name: string) => names.filter(({ text }) => text === name).length
  yield* Console.log(
    `amsterdam ${count("amsterdam")}, berlin ${count("berlin")}; healthy ${health.healthy} of ${health.total}`
  )
})

const healthy = (wanted: number) =>
  Grpc.GrpcCluster.use((cluster) => cluster.snapshot).pipe(
    Effect.delay("5 millis"),
    Effect.repeat({ until: ({ health }) => health.healthy === wanted })
  )

const program = Effect.gen(function* () {
  const amsterdam = yield* server("amsterdam")
  const berlin = yield* server("berlin")
  yield* Effect.gen(function* () {
    yield* healthy(2)
    yield* look
    // It stays connected, its calls run on, and it gets no new ones.
    yield* amsterdam.setHealth("demo.Greeter", "NotServing")
    yield* healthy(1)
    yield* look
    yield* amsterdam.setHealth("demo.Greeter", "Serving")
    yield* healthy(2)
    yield* look
  }).pipe(Effect.provide(layer([amsterdam.address, berlin.address])))
})

await Effect.runPromise(Effect.scoped(program))
