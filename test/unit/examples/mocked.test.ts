import { assert, it } from "@effect/vitest"
import { Client } from "@hawser/grpc"
import { TestChannel } from "@hawser/testing"
import { Effect, Layer } from "effect"
import { GreeterService } from "../../../examples/generated/greeter.ts"

class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}

const greet = (name: string) =>
  Greeter.use((greeter) => greeter.sayHello({ name })).pipe(
    Effect.map(({ text }) => text),
    Effect.catchReason("RpcError", "NotFound", () => Effect.succeed("a stranger"))
  )

const mocked = Greeter.layer.pipe(
  Layer.provide(
    TestChannel.layerService(GreeterService, {
      sayHello: ({ name }) =>
        name === "Ada" ? Effect.succeed({ text: "Hello, Ada!" }) : Effect.fail({ _tag: "NotFound" as const })
    })
  )
)

it.effect("greets whom the server knows, and strangers", () =>
  Effect.gen(function* () {
    assert.strictEqual(yield* greet("Ada"), "Hello, Ada!")
    assert.strictEqual(yield* greet("Bob"), "a stranger")
  }).pipe(Effect.provide(mocked))
)
