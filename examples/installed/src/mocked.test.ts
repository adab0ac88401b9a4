/** The same code without a socket: `npm run build && npm test`. */
import { TestChannel } from "@hawser/testing"
import { Effect, Layer, Stream } from "effect"
import assert from "node:assert/strict"
import { test } from "node:test"
import { GreeterService } from "./generated/greeter/v1/greeter.ts"
import { greet, Greeter, greetings } from "./greet.ts"

const mocked = Layer.provide(
  Greeter.layer,
  TestChannel.layerService(GreeterService, {
    sayHello: ({ name }) =>
      name === "Ada" ? Effect.succeed({ text: "Hi, Ada!" }) : Effect.fail({ _tag: "NotFound" as const }),
    watch: ({ name, count }) => Stream.map(Stream.range(1, count), (i) => ({ text: `Hi, ${name}, ${i}!` }))
  })
)

void test("greets whom the server knows", async () => {
  assert.equal(await Effect.runPromise(Effect.provide(greet("Ada"), mocked)), "Hi, Ada!")
})

void test("fails with the status of the server", async () => {
  const error = await Effect.runPromise(Effect.flip(Effect.provide(greet("Eve"), mocked)))
  assert.equal(error.reason._tag, "NotFound")
})

void test("greets again and again", async () => {
  const greeted = await Effect.runPromise(Stream.runCollect(Stream.provide(greetings("Bob", 2), mocked)))
  assert.deepEqual(greeted, ["Hi, Bob, 1!", "Hi, Bob, 2!"])
})
