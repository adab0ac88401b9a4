import * as grpc from "@grpc/grpc-js"
import { Effect } from "effect"
import { type GreeterServer, GreeterService } from "../generated/greeter.ts"

/** Plain grpc-js servers on free ports of this machine, so that an example has somebody to call. */
export const greeters = (count: number) =>
  Effect.forEach(Array.from({ length: count }), () =>
    Effect.map(
      Effect.acquireRelease(listen, ({ server }) => Effect.sync(() => server.forceShutdown())),
      (s) => s.address
    )
  )

const hello = (name: string) => ({ text: `Hello, ${name}!` })

const handlers: GreeterServer = {
  sayHello: (call, reply) => reply(null, hello(call.request.name)),
  watch: (call) => {
    const timer = setInterval(() => call.write(hello(call.request.name)), 10)
    call.on("cancelled", () => clearInterval(timer))
  },
  upload: (call, reply) => {
    const names: Array<string> = []
    call.on("data", ({ name }) => names.push(name))
    call.on("end", () => reply(null, hello(names.join(" and "))))
  },
  chat: (call) => {
    call.on("data", ({ name }) => call.write(hello(name)))
    call.on("end", () => call.end())
  }
}

const listen = Effect.callback<{ readonly server: grpc.Server; readonly address: string }>((resume) => {
  const server = new grpc.Server()
  server.addService(GreeterService, handlers)
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
    resume(error === null ? Effect.succeed({ server, address: `127.0.0.1:${port}` }) : Effect.die(error))
  )
})
