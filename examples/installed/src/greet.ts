/** What the program does with its client; it does not know where the channel comes from. */
import { Client } from "@hawser/grpc"
import { Effect, Stream } from "effect"
import { GreeterService } from "./generated/greeter/v1/greeter.ts"

export class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService, { idempotent: ["sayHello"] }) {}

export const greet = Effect.fn("greet")(function* (name: string) {
  const greeter = yield* Greeter
  const { text } = yield* greeter.sayHello({ name }, { timeout: "10 seconds" })
  return text
})

export const greetings = (name: string, count: number) =>
  Stream.unwrap(Effect.map(Greeter, (greeter) => greeter.watch({ name, count }))).pipe(Stream.map(({ text }) => text))
