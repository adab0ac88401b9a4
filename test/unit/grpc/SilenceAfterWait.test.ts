import { assert, it } from "@effect/vitest"
import { Grpc } from "@hawser/grpc"
import * as Faults from "@hawser/testing/Faults"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { clientOf, definition, Echo, one } from "../../support/testing/echo.ts"

const settle = Effect.repeat(TestClock.adjust(0), { times: 20 })
const pass = (millis: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust(50), settle), { times: Math.ceil(millis / 50) })

it.effect("a call that waited for its connection is watched for silence, though no other call follows", () =>
  Effect.gen(function* () {
    yield* TestNetwork.serve(definition, { say: () => Effect.never }, { address: one })
    yield* Faults.inject(Faults.slowSettings(one, 300))
    const client = yield* Echo
    yield* Effect.forkChild(client.say("a"))
    yield* pass(1_000)
    const cluster = yield* Grpc.GrpcCluster
    const quarantined = Effect.map(
      cluster.snapshot,
      ({ root }) => root.children[0]!.children[0]?.details["quarantined"]
    )
    assert.isFalse(yield* quarantined)
    // Half of its deadline, as long as nobody knows what its method takes.
    yield* pass(2_000)
    assert.isTrue(yield* quarantined)
  }).pipe(
    Effect.provide(
      clientOf({
        target: `ipv4:${one}`,
        connections: { min: 0, max: 1 },
        deadline: 4_000,
        drain: 0,
        silence: { atLeast: 200 }
      }).pipe(Layer.provideMerge(TestNetwork.layer))
    )
  )
)
