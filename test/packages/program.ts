/** What a user writes first: compiled against the installed packages, and run on every Node that they promise. */
import * as grpc from "@grpc/grpc-js"
import { Client, Credentials, Grpc } from "@hawser/grpc"
import { TestChannel } from "@hawser/testing"
import { Effect, Layer } from "effect"
import assert from "node:assert/strict"

const serialize = (text: string) => Buffer.from(text)
const deserialize = (bytes: Buffer) => bytes.toString()

const sayHello = {
  path: "/app.Greeter/SayHello",
  requestStream: false,
  responseStream: false,
  requestSerialize: serialize,
  requestDeserialize: deserialize,
  responseSerialize: serialize,
  responseDeserialize: deserialize
} as const
const GreeterService = { sayHello }

class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}

const greet = Greeter.use((greeter) => greeter.sayHello("Ada", { timeout: "10 seconds" }))

const server = new grpc.Server()
server.addService(GreeterService, {
  sayHello: (call: grpc.ServerUnaryCall<string, string>, reply: grpc.sendUnaryData<string>) =>
    reply(null, `Hello, ${call.request}!`)
})
const port = await new Promise<number>((resolve, reject) =>
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
    error === null ? resolve(bound) : reject(error)
  )
)
const channel = Grpc.layer({ target: `ipv4:127.0.0.1:${port}`, credentials: Credentials.insecure })
const mocked = TestChannel.layerService(GreeterService, { sayHello: (name) => Effect.succeed(`Hi, ${name}!`) })

assert.equal(await Effect.runPromise(Effect.provide(greet, Layer.provide(Greeter.layer, channel))), "Hello, Ada!")
assert.equal(await Effect.runPromise(Effect.provide(greet, Layer.provide(Greeter.layer, mocked))), "Hi, Ada!")
// Nothing of ours keeps the process alive after this.
server.forceShutdown()
