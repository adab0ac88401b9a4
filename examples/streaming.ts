import { Client, Credentials, Deadline, Grpc } from "@hawser/grpc"
import { Console, Effect, Layer, Stream } from "effect"
import { GreeterService } from "./generated/greeter.ts"
import { greeters } from "./support/greeters.ts"

class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}

const names = Stream.make({ name: "Ada" }, { name: "Grace" })

const program = Effect.gen(function* () {
  const greeter = yield* Greeter

  // A stream of answers. It would go on for ever: leaving it cancels the call, and so does a silence of a second.
  yield* greeter.watch({ name: "Ada" }).pipe(
    Deadline.idle("1 second"),
    Stream.take(3),
    Stream.runForEach(({ text }) => Console.log(`watch: ${text}`))
  )

  // A stream of requests, one answer.
  const { text } = yield* greeter.upload(names, { timeout: "1 second" })
  yield* Console.log(`upload: ${text}`)

  // Both at once: each name is sent when it is there, and answered while others follow.
  yield* greeter.chat(names).pipe(Stream.runForEach(({ text }) => Console.log(`chat: ${text}`)))
})

const channel = Layer.unwrap(
  Effect.map(greeters(1), (addresses) =>
    Grpc.layer({ target: `ipv4:${addresses.join()}`, credentials: Credentials.insecure })
  )
)

await Effect.runPromise(program.pipe(Effect.provide(Greeter.layer.pipe(Layer.provide(channel)))))
