// A name whose addresses change while calls go on. The name server is a table in this file, so that nothing has to be set up:
// without `names` the real one is asked.
import { Client, Credentials, Dns, Grpc } from "@hawser/grpc"
import { Console, Effect, Layer, Stream } from "effect"
import { GreeterService } from "./generated/greeter.ts"
import { greeters } from "./support/greeters.ts"

class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}

// Servers of one machine differ by their ports, so what is looked up here are SRV records; `dns:///greeter:50051` works alike.
const service = "_grpc._tcp.greeter"
const records: Record<string, ReadonlyArray<string | Dns.ServiceRecord>> = { greeter: ["127.0.0.1"] }
const names = Layer.succeed(Dns.DnsService, Dns.hosts(records))

/** From now on DNS knows these servers. */
const publish = (addresses: ReadonlyArray<string>) => {
  records[service] = addresses.map((address) => ({
    target: "greeter",
    port: Number(address.split(":")[1]),
    priority: 0,
    weight: 1
  }))
}

const layer = Greeter.layer.pipe(
  Layer.provideMerge(
    Grpc.layer({
      target: `dns:///${service}`,
      credentials: Credentials.insecure,
      dns: { refresh: "1 second" }
    })
  ),
  Layer.provide(names)
)

const program = (addresses: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const greeter = yield* Greeter
    const cluster = yield* Grpc.GrpcCluster
    yield* cluster.awaitReady(2)

    const calls = Effect.repeat(Effect.delay(greeter.sayHello({ name: "Ada" }), "5 millis"), { times: 499 })
    const changes = Effect.gen(function* () {
      yield* Effect.sleep("300 millis")
      yield* Console.log("The first server is replaced by a third one.")
      publish(addresses.slice(1))
      yield* Effect.sleep("1200 millis")
      yield* Console.log("DNS forgets the name: what was known stays in use.")
      delete records[service]
    })
    const seen = Stream.runForEach(cluster.events, ({ event }) => {
      if (event._tag === "Resolved") return Console.log(`${event.added.length} new, ${event.removed.length} gone`)
      if (event._tag === "ResolveFailed") return Console.log(event.error.message)
      return Effect.void
    })
    yield* Effect.raceFirst(Effect.all([calls, changes], { concurrency: "unbounded" }), seen)
    yield* Console.log("500 calls, all of them answered")
  })

const main = Effect.gen(function* () {
  const addresses = yield* greeters(3)
  publish(addresses.slice(0, 2))
  yield* Effect.provide(program(addresses), layer)
})

await Effect.runPromise(Effect.scoped(main))
