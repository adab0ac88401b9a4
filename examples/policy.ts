import { PeakEwma, Policy } from "@hawser/core"
import { Channel, Client, Credentials, Grpc } from "@hawser/grpc"
import { Console, Effect, Layer } from "effect"
import { GreeterService } from "./generated/greeter.ts"
import { greeters } from "./support/greeters.ts"

// One server after another is filled up to so many calls, so that those at the end stay free and can be switched off. When
// all are full, another policy decides.
const packed = (calls: number, otherwise: Policy.Policy = PeakEwma.policy): Policy.Policy => ({
  name: "packed",
  // It does not go by what it saw, so nobody needs to be tried.
  trials: Policy.noTrials,
  picker: (members, random) => {
    // Once for each set of members that are Ready and not put aside: whatever is to be worked out is worked out here.
    const rest = otherwise.picker(members, random)
    // On each call: look, lease, and never wait. Whoever has no room answers with something else than a lease.
    return (demand, now) => {
      for (const member of members) {
        if (member.outstanding >= calls || member.isIn(demand.avoid)) continue
        const out = member.lease(demand, now)
        if (out._tag === "Lease") return out
      }
      return rest(demand, now)
    }
  }
})

// How many of the calls that are under way at once each server has.
const program = Effect.gen(function* () {
  const channel = yield* Channel.Channel
  const cluster = yield* Grpc.GrpcCluster
  yield* cluster.awaitReady(3)
  const served = new Map<string, number>()
  const greeter = Client.make(GreeterService, channel)
  const one = Effect.map(greeter.sayHello.reply({ name: "Ada" }), ({ connection }) => {
    const server = connection.split("#")[0]!
    served.set(server, (served.get(server) ?? 0) + 1)
  })
  yield* Effect.all(
    Array.from({ length: 8 }, () => one),
    { concurrency: "unbounded" }
  )
  const { root } = yield* cluster.snapshot
  yield* Console.log(root.children.map(({ name }) => served.get(name) ?? 0).join(" "))
})

const channel = Layer.unwrap(
  Effect.map(greeters(3), (addresses) =>
    Grpc.layer({ target: `ipv4:${addresses.join()}`, credentials: Credentials.insecure, balancer: packed(5) })
  )
)

await Effect.runPromise(Effect.provide(program, channel))
