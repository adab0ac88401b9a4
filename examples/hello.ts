import { Client, Credentials, Grpc } from "@hawser/grpc"
import { Console, Effect, Layer } from "effect"
import { GreeterService } from "./generated/greeter.ts"
import { greeters } from "./support/greeters.ts"

class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService, { idempotent: ["sayHello"] }) {}

const program = Effect.gen(function* () {
  const greeter = yield* Greeter
  const { text } = yield* greeter.sayHello({ name: "Ada" }, { timeout: "1 second" })
  yield* Console.log(text)
}).pipe(Effect.catchReason("RpcError", "Unavailable", (reason) => Console.log(`Nobody there: ${reason.details}`)))

// Three servers of this process stand in for `dns:///greeter:50051`.
const channel = Layer.unwrap(
  Effect.map(greeters(3), (addresses) =>
    Grpc.layer({ target: `ipv4:${addresses.join()}`, credentials: Credentials.insecure })
  )
)

await Effect.runPromise(program.pipe(Effect.provide(Greeter.layer.pipe(Layer.provide(channel)))))
