import { assert, it } from "@effect/vitest"
import { Client, Credentials, Grpc } from "@hawser/grpc"
import { Faults, TestNetwork } from "@hawser/testing"
import { Effect, Fiber, Layer, Random } from "effect"
import { TestClock } from "effect/testing"
import { GreeterService } from "../../../examples/generated/greeter.ts"

class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService, { idempotent: ["sayHello"] }) {}

const addresses = ["10.0.0.1:50051", "10.0.0.2:50051", "10.0.0.3:50051"] as const
const handlers = { sayHello: ({ name }: { name: string }) => Effect.succeed({ text: `Hello, ${name}!` }) }
const layer = Greeter.layer.pipe(
  Layer.provide(Grpc.layer({ target: `ipv4:${addresses}`, credentials: Credentials.insecure })),
  Layer.provideMerge(TestNetwork.layerService(GreeterService, handlers, { addresses }))
)

it.effect("a server that freezes for two seconds costs no call", () =>
  Effect.gen(function* () {
    const greeter = yield* Greeter
    const greet = (n: number) => Effect.delay(greeter.sayHello({ name: "Ada" }, { timeout: "1 second" }), n * 50)
    const calls = yield* Effect.forkChild(Effect.forEach(Array(60).keys(), greet, { concurrency: "unbounded" }))
    yield* TestClock.adjust("500 millis")
    yield* Effect.forkChild(Faults.during(Faults.freeze(addresses[0]), "2 seconds"))
    yield* TestClock.adjust("4 seconds")
    assert.lengthOf(yield* Fiber.join(calls), 60)
    const { seen } = yield* TestNetwork.server(addresses[0])
    assert.isBelow(seen.started, 12)
  }).pipe(Effect.provide(layer), Random.withSeed(1))
)
