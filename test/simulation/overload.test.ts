/**
 * More calls than the servers can answer: what is answered then, by how long calls may wait.
 *
 * The queue does not know how long a call takes. Where it may wait until its deadline, it gets its stream when no time is left,
 * and the server works for nobody: docs/concepts.md says what to set.
 */
import { assert, describe, it } from "@effect/vitest"
import { Client, Credentials, Grpc } from "@hawser/grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import * as Simulation from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Cause, Clock, Effect, Exit, Layer } from "effect"
import { definition } from "../support/testing/echo.ts"

const addresses = ["10.0.0.1:50051"]
/** Ten streams of 100 ms each: a hundred calls per second. */
const streams = 10
const tookMillis = 100
const capacity = 100

class Echo extends Client.Service<Echo>()("test/Echo", definition, { idempotent: ["say"] }) {}

/** The share of what the server could have answered that was answered, from the third second on. */
const answered = async (load: number, queue: NonNullable<GrpcOptions["queue"]>): Promise<number> => {
  let calls = 0
  const length = 12_000
  const from = 3_000
  const layer = Echo.layer.pipe(
    Layer.provide(
      Grpc.layer({
        target: `ipv4:${addresses}`,
        credentials: Credentials.insecure,
        connections: { max: 1, streamsPerConnection: streams },
        queue
      })
    ),
    Layer.provideMerge(
      TestNetwork.layerService(definition, { say: (text) => Effect.as(Effect.sleep(tookMillis), text) }, { addresses })
    )
  )
  const program = Effect.gen(function* () {
    const client = yield* Echo
    const one = Effect.gen(function* () {
      const exit = yield* Effect.exit(client.say("ada", { timeout: "1 second" }))
      const at = Number(yield* Clock.monotonicTimeNanos) / 1e6
      if (Exit.isSuccess(exit) && at >= from && at < length) calls++
    })
    const every = 1_000 / (capacity * load)
    for (let at = 0; at < length; at += every) {
      yield* Effect.forkScoped(one)
      yield* Effect.sleep(every)
    }
    yield* Effect.sleep("2 seconds")
  })
  const result = await Simulation.run({ seed: 1, maxSteps: 1e9 }, () => Effect.provide(program, layer))
  if (Exit.isFailure(result.exit)) assert.fail(Cause.pretty(result.exit.cause))
  return calls / (capacity * ((length - from) / 1_000))
}

describe("more calls than the server can answer", () => {
  it("a wait that leaves time for the call keeps the server's whole work useful", { timeout: 120_000 }, async () => {
    for (const load of [1.1, 1.3, 2]) {
      for (const queue of [{ timeout: "300 millis" }, { timeout: "800 millis" }, { max: 50 }] as const) {
        assert.isAtLeast(await answered(load, queue), 0.98, `${load} times, ${JSON.stringify(queue)}`)
      }
    }
  })
})
