import * as grpc from "@grpc/grpc-js"
import { Effect } from "effect"
import { GreeterService, type HelloReply, type HelloRequest } from "../generated/greeter.ts"

/** Plain grpc-js servers on free ports of this machine, so that an example has somebody to call. */
export const greeters = (count: number) =>
  Effect.forEach(Array.from({ length: count }), () =>
    Effect.map(
      Effect.acquireRelease(listen, ({ server }) => Effect.sync(() => server.forceShutdown())),
      (s) => s.address
    )
  )

const listen = Effect.callback<{ readonly server: grpc.Server; readonly address: string }>((resume) => {
  const server = new grpc.Server()
  server.addService(GreeterService, {
    sayHello: (call: grpc.ServerUnaryCall<HelloRequest, HelloReply>, reply: grpc.sendUnaryData<HelloReply>) =>
      reply(null, { text: `Hello, ${call.request.name}!` })
  })
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
    resume(error === null ? Effect.succeed({ server, address: `127.0.0.1:${port}` }) : Effect.die(error))
  )
})
