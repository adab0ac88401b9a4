/**
 * A subscription over a network in memory that breaks again and again: what its reader sees, and what is left of it.
 */
import { assert, describe, it } from "@effect/vitest"
import { RetryBudget } from "@hawser/core"
import { Deadline, Resume, Retry } from "@hawser/grpc"
import * as Faults from "@hawser/testing/Faults"
import * as Simulation from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Cause, Effect, Exit, Option, Random, Schedule, Stream } from "effect"
import { Echo, echo, one, two } from "../support/testing/echo.ts"

const lines = 300

/** Lines come in bursts, of five at most. */
const tail = (from: string) =>
  Stream.range(Number(from), lines).pipe(
    Stream.mapEffect((n) =>
      Effect.as(n % 5 === 0 ? Effect.flatMap(Random.nextIntBetween(0, 200), Effect.sleep) : Effect.void, String(n))
    )
  )

const faultsOf = (address: string) =>
  [
    Faults.cut(address),
    Faults.kill(address),
    Faults.freeze(address),
    Faults.silence(address),
    Faults.goAway(address, { abrupt: true }),
    Faults.resetStreams(address),
    Faults.refuseStreams(address),
    Faults.failCalls(address)
  ] as const

const trouble = (address: string) =>
  Faults.oneOf(faultsOf(address)).pipe(
    Effect.flatMap((fault) => Faults.during(fault, "300 millis")),
    Effect.repeat(Schedule.spaced("700 millis").pipe(Schedule.jittered))
  )

const subscribe = async (seed: number) => {
  let asked = 0
  const budget = RetryBudget.make()
  const layer = echo(
    {
      watch: (from) => {
        asked++
        return tail(from)
      }
    },
    { addresses: [one, two] },
    {
      target: `ipv4:${one},${two}`,
      retry: Retry.make({ budget }),
      reconnect: Schedule.spaced("50 millis").pipe(Schedule.jittered)
    }
  )
  const program = Effect.gen(function* () {
    const client = yield* Echo
    const { servers } = yield* TestNetwork.TestNetwork
    yield* Effect.forkScoped(trouble(one))
    yield* Effect.forkScoped(trouble(two))
    const watch = (from: string) => client.watch(from).pipe(Deadline.idle("200 millis"))
    const stream = Resume.stream(watch, "1", {
      resume: (last = "0") => Option.some(String(Number(last) + 1)),
      schedule: Schedule.spaced("20 millis").pipe(Schedule.jittered),
      budget
    })
    const seen = yield* Stream.runCollect(stream)
    const inFlight = () => [...servers.values()].reduce((n, { seen }) => n + seen.inFlight, 0)
    yield* Effect.sleep("5 seconds")
    return { seen, inFlight: inFlight() }
  })
  const { exit } = await Simulation.run({ seed, maxMillis: 3_600_000 }, () => Effect.provide(program, layer))
  if (Exit.isFailure(exit)) return assert.fail(`seed ${seed}: ${Cause.pretty(exit.cause)}`)
  return { ...exit.value, asked }
}

describe("a subscription that is resumed", () => {
  it("gives its reader each line once and in order, whatever breaks", { timeout: 120_000 }, async () => {
    const seeds = Number(process.env["HAWSER_SEEDS"] ?? 100)
    const expected = Array.from({ length: lines }, (_, i) => String(i + 1))
    let asked = 0
    for (let seed = 1; seed <= seeds; seed++) {
      const run = await subscribe(seed)
      assert.deepStrictEqual(run.seen, expected, `seed ${seed}`)
      assert.strictEqual(run.inFlight, 0, `seed ${seed}: calls left`)
      asked += run.asked
    }
    assert.isAbove(asked, 5 * seeds, "it broke often")
  })
})
