/** Many clients that lose one server at the same moment, and find it again: they must not all come at once. */
import { assert, describe, it } from "@effect/vitest"
import { Credentials, Grpc } from "@hawser/grpc"
import { Faults, Simulation, TestNetwork } from "@hawser/testing"
import { Clock, Effect, Layer } from "effect"
import { definition } from "../support/testing/echo.ts"

const clients = 200
const address = "10.0.0.1:50051"
/** After that time their dials have drifted apart: the delays are those of connection-backoff.md, ±20 % each. */
const apartSeconds = 30

/** When a server that is gone was knocked at, in milliseconds of virtual time from its loss on. */
const herd = (seed: number) => {
  const program = Effect.gen(function* () {
    const { network } = yield* TestNetwork.TestNetwork
    const clock = yield* Clock.Clock
    const refused: Array<number> = []
    network.observe((felt) => {
      if (felt === "refused") refused.push(clock.currentTimeMillisUnsafe())
    })
    const layer = () => Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })
    const contexts = yield* Effect.forEach(Array.from({ length: clients }), () => Layer.build(layer()), {
      concurrency: "unbounded"
    })
    const clusters = contexts.map((context) => Grpc.GrpcCluster.pipe(Effect.provide(context)))
    yield* Effect.forEach(
      clusters,
      Effect.flatMap((cluster) => cluster.awaitReady())
    )
    yield* Effect.sleep("30 seconds")
    const lostAt = clock.currentTimeMillisUnsafe()
    // It refuses, so that those who knock are counted.
    yield* Faults.during(Faults.all(Faults.refuse(address), Faults.cut(address)), "10 minutes")
    const at = refused.map((moment) => moment - lostAt)
    yield* Effect.sleep("3 minutes")
    yield* Effect.forEach(
      clusters,
      Effect.flatMap((cluster) => cluster.awaitReady())
    )
    return at
  })
  const server = TestNetwork.layerService(definition, {}, { addresses: [address] })
  return Effect.promise(() => Simulation.run({ seed }, () => Effect.scoped(Effect.provide(program, server)))).pipe(
    Effect.flatMap(({ exit }) => exit)
  )
}

const seeds = 2

describe("a herd (F-33)", () => {
  it.live(`of ${clients} clients comes back spread: in the first second at most a quarter of them`, () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= seeds; seed++) {
        const at = yield* herd(seed)
        const within = (from: number, to: number) => at.filter((moment) => moment >= from && moment < to).length
        // A server that returns at this moment is met by those who dial in the second after it.
        for (let back = apartSeconds * 1_000; back < 500_000; back += 500) {
          assert.isAtMost(within(back, back + 1_000), clients / 4, `seed ${seed}, back after ${back} ms`)
        }
        // One dial at once, then 1 s × 1.6 and so on: nobody has given up, and nobody hurries.
        const dials = within(0, 60_000) / clients
        assert.isAtLeast(dials, 6)
        assert.isAtMost(dials, 9)
      }
    })
  )
})
