import { assert, it } from "@effect/vitest"
import { Client, Credentials, Grpc } from "@hawser/grpc"
import { Faults, TestNetwork } from "@hawser/testing"
import { Effect, Fiber, Layer, Random } from "effect"
import { TestClock } from "effect/testing"
import { GreeterService } from "../../../examples/generated/greeter.ts"

// Not idempotent: no call may reach a handler twice.
class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}

const addresses = ["10.0.0.1:50051", "10.0.0.2:50051", "10.0.0.3:50051"] as const
const handlers = {
  sayHello: ({ name }: { name: string }) => Effect.delay(Effect.succeed({ text: `Hello, ${name}!` }), "200 millis")
}
const layer = Greeter.layer.pipe(
  Layer.provide(Grpc.layer({ target: `ipv4:${addresses}`, credentials: Credentials.insecure })),
  Layer.provideMerge(TestNetwork.layerService(GreeterService, handlers, { addresses }))
)

/** As an orchestrator does it: no new connections, goodbye, time for what runs, and then the end. */
const restart = (address: string) =>
  Effect.gen(function* () {
    yield* Faults.inject(Faults.all(Faults.refuse(address), Faults.goAway(address)))
    yield* Effect.sleep("500 millis")
    yield* Faults.during(Faults.kill(address), "1 second")
  }).pipe(Effect.scoped)

it.effect("a restart of one server after the other loses no call", () =>
  Effect.gen(function* () {
    const greeter = yield* Greeter
    const greet = (n: number) => Effect.delay(greeter.sayHello({ name: "Ada" }, { timeout: "1 second" }), n * 50)
    const calls = yield* Effect.forkChild(Effect.forEach(Array(120).keys(), greet, { concurrency: "unbounded" }))
    yield* Effect.forkChild(Effect.forEach(addresses, restart, { discard: true }))
    yield* TestClock.adjust("10 seconds")
    assert.lengthOf(yield* Fiber.join(calls), 120)
    const seen = Array.from(yield* Effect.forEach(addresses, TestNetwork.server), (server) => server.seen)
    assert.strictEqual(
      seen.reduce((sum, { completed }) => sum + completed, 0),
      120
    )
    for (const { accepted, cancelled } of seen) assert.deepStrictEqual([accepted, cancelled], [2, 0])
  }).pipe(Effect.provide(layer), Random.withSeed(1))
)
