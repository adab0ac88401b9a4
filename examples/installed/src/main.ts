/** A server, a client and a call of each of its methods: `npm run build && npm start`. */
import * as grpc from "@grpc/grpc-js"
import { Credentials, Grpc } from "@hawser/grpc"
import { Effect, Layer, Stream } from "effect"
import assert from "node:assert/strict"
import { type GreeterServer, GreeterService } from "./generated/greeter/v1/greeter.ts"
import { greet, Greeter, greetings } from "./greet.ts"

const handlers: GreeterServer = {
  sayHello: ({ request }, reply) => reply(null, { text: `Hello, ${request.name}!` }),
  watch: (call) => {
    for (let i = 1; i <= call.request.count; i++) call.write({ text: `Hello, ${call.request.name}, ${i}!` })
    call.end()
  }
}

const server = Effect.acquireRelease(
  Effect.sync(() => {
    const server = new grpc.Server()
    server.addService(GreeterService, handlers)
    return server
  }),
  (server) => Effect.sync(() => server.forceShutdown())
)

const port = (server: grpc.Server) =>
  Effect.callback<number, Error>((resume) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
      resume(error === null ? Effect.succeed(port) : Effect.fail(error))
    )
  )

const channel = Layer.unwrap(
  Effect.map(Effect.flatMap(server, port), (port) =>
    Grpc.layer({ target: `ipv4:127.0.0.1:${port}`, credentials: Credentials.insecure })
  )
)

const program = Effect.all([greet("Ada"), Stream.runCollect(greetings("Bob", 2))])

// Nothing keeps the process alive after this.
const [hello, hellos] = await Effect.runPromise(Effect.provide(program, Layer.provide(Greeter.layer, channel)))
assert.equal(hello, "Hello, Ada!")
assert.deepEqual(hellos, ["Hello, Bob, 1!", "Hello, Bob, 2!"])
console.log(hello, ...hellos)
