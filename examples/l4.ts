// One address, three servers behind it: a load balancer of layer 4 sends each new connection to the next server.
import { createServer, connect as dial, type AddressInfo } from "node:net"
import { Client, Credentials, Grpc, type GrpcOptions } from "@hawser/grpc"
import { Console, Effect, Layer } from "effect"
import { GreeterService } from "./generated/greeter.ts"
import { greeters } from "./support/greeters.ts"

class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}

/** A load balancer in a few lines; counts the connections that each server has got. */
const balancer = (servers: ReadonlyArray<string>) =>
  Effect.callback<{ readonly address: string; readonly given: ReadonlyArray<number> }>((resume) => {
    const given = servers.map(() => 0)
    let next = 0
    const server = createServer((client) => {
      const i = next++ % servers.length
      given[i]!++
      const upstream = dial(Number(servers[i]!.split(":")[1]), "127.0.0.1")
      client.pipe(upstream)
      upstream.pipe(client)
      for (const socket of [client, upstream]) socket.on("error", () => socket.destroy())
    }).unref()
    server.listen(0, "127.0.0.1", () => {
      resume(Effect.succeed({ address: `127.0.0.1:${(server.address() as AddressInfo).port}`, given }))
    })
  })

const calls = (count: number) =>
  Greeter.use((greeter) =>
    Effect.forEach(Array.from({ length: count }), () => greeter.sayHello({ name: "Ada" }), { concurrency: 20 })
  )

const main = Effect.gen(function* () {
  const { address, given } = yield* balancer(yield* greeters(3))
  const over = (options: Partial<GrpcOptions.GrpcOptions>) =>
    Greeter.layer.pipe(
      Layer.provide(Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure, ...options }))
    )
  yield* calls(300).pipe(Effect.provide(over({})))
  yield* Console.log(`by default, connections per server: ${given.join(", ")}`)
  const before = [...given]
  yield* calls(300).pipe(Effect.provide(over({ l4: true })))
  yield* Console.log(`with l4: true: ${given.map((n, i) => n - before[i]!).join(", ")}`)
})

await Effect.runPromise(Effect.scoped(main))
