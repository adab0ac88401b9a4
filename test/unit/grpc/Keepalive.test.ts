import { assert, describe, it } from "@effect/vitest"
import type { OptionsError } from "@hawser/core/OptionsError"
import { Keepalive } from "@hawser/grpc"
import { Clock, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Faults from "@hawser/testing/Faults"
import * as Simulation from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import * as JumpClock from "../../support/core/JumpClock.ts"
import { Echo, echo, one } from "../../support/testing/echo.ts"

/** The paths and rules that options break. */
const broken = (options: unknown): ReadonlyArray<string> => {
  try {
    Keepalive.make(options as Keepalive.KeepaliveOptions)
    return []
  } catch (error) {
    return (error as OptionsError).issues.map(({ path }) => path)
  }
}

describe("Keepalive.make", () => {
  it("is legal everywhere unless somebody says what the server permits", () => {
    const { timeMillis, timeoutMillis, withoutCalls } = Keepalive.make()
    assert.deepStrictEqual([timeMillis, timeoutMillis, withoutCalls], [330_000, 20_000, false])
  })

  const cases: ReadonlyArray<readonly [string, unknown, ReadonlyArray<string>]> = [
    ["five minutes", { time: "5 minutes" }, []],
    ["less than five minutes", { time: "299 seconds" }, ["time"]],
    [
      "grpc-go's famous 10 s",
      { time: "10 seconds", timeout: "3 seconds", withoutCalls: true },
      ["time", "withoutCalls"]
    ],
    ["pings without calls", { withoutCalls: true }, ["withoutCalls"]],
    [
      "what the server permits",
      { time: "20 seconds", withoutCalls: true, serverPermits: { minTime: "20 seconds", withoutCalls: true } },
      []
    ],
    ["less than the server permits", { time: "19 seconds", serverPermits: { minTime: "20 seconds" } }, ["time"]],
    [
      "permission for one thing only",
      { withoutCalls: true, serverPermits: { minTime: "20 seconds" } },
      ["withoutCalls"]
    ],
    [
      "a time below 10 s, whatever the server says",
      { time: "9 seconds", serverPermits: { minTime: "10 seconds" } },
      ["time"]
    ],
    ["a permission below 10 s", { serverPermits: { minTime: "1 second" } }, ["serverPermits.minTime"]],
    ["the word for tests", { time: 500, timeout: 500, withoutCalls: true, serverPermits: "anything" }, []],
    ["another word", { serverPermits: "all" }, ["serverPermits"]],
    ["nothing permitted", { serverPermits: null }, ["serverPermits"]],
    ["no time at all", { time: 0, serverPermits: "anything" }, ["time"]],
    ["never", { time: Infinity, timeout: NaN }, ["time", "timeout"]],
    ["a timeout that one packet lost would end", { timeout: 200 }, ["timeout"]],
    ["grpc-js's 1 for true", { withoutCalls: 1 }, ["withoutCalls"]],
    ["text for true", { serverPermits: { withoutCalls: "true" } }, ["serverPermits.withoutCalls"]],
    [
      "keys that do not exist",
      { permitWithoutStream: true, serverPermits: { minimum: 1 } },
      ["serverPermits.minimum", "permitWithoutStream"]
    ],
    [
      "everything at once",
      { time: "1 second", timeout: 0, withoutCalls: 1, x: 1 },
      ["time", "timeout", "withoutCalls", "x"]
    ]
  ]
  for (const [what, options, paths] of cases) {
    it(`${paths.length === 0 ? "takes" : "refuses"} ${what}`, () => {
      assert.deepStrictEqual([...broken(options)].sort(), [...paths].sort())
    })
  }

  it("names the rule and the way out", () => {
    try {
      Keepalive.make({ time: "1 minute" })
      assert.fail("taken")
    } catch (error) {
      assert.strictEqual(
        (error as OptionsError).message,
        'time: expected at least 300000 ms, or the server ends the connection; say serverPermits.minTime if it permits less, got "1 minute"'
      )
    }
  })

  it("permittedBy is a tenth above what the server permits, and never below ten seconds", () => {
    assert.strictEqual(Keepalive.permittedBy({}).timeMillis, 330_000)
    assert.strictEqual(Keepalive.permittedBy({ minTime: "10 seconds" }).timeMillis, 11_000)
    assert.isTrue(Keepalive.permittedBy({ withoutCalls: true }).withoutCalls)
    assert.throws(() => Keepalive.permittedBy({ minTime: "1 second" }))
  })
})

describe("keepalive over a network", () => {
  const handlers = {
    say: (text: string) => Effect.succeed(text),
    watch: () => Stream.concat(Stream.make("first"), Stream.never)
  }
  const short = Keepalive.make({ time: "2 seconds", timeout: "1 second", serverPermits: "anything" })
  const pass = (millis: number) =>
    Effect.repeat(Effect.andThen(TestClock.adjust(100), TestNetwork.settle), { times: Math.ceil(millis / 100) - 1 })

  it.effect("a stream without a deadline on a dead path ends, and says why", () =>
    Effect.gen(function* () {
      const client = yield* Echo
      const fiber = yield* Effect.forkChild(Effect.flip(Stream.runDrain(client.watch("a"))))
      yield* pass(200)
      yield* Faults.inject(Faults.freeze(one))
      yield* pass(3_200)
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.include(error.message, "No answer to a ping within 1s")
      assert.isAtMost(yield* Clock.currentTimeMillis, 3_500)
    }).pipe(Effect.provide(echo(handlers, {}, { keepalive: short })))
  )

  it.effect("a stream on a path that works goes on, with a ping now and then", () =>
    Effect.gen(function* () {
      const client = yield* Echo
      const { manners, seen } = yield* TestNetwork.server(one)
      manners.minPingMillis = 0
      yield* Effect.forkChild(Stream.runDrain(client.watch("a")))
      yield* pass(20_000)
      assert.strictEqual(seen.inFlight, 1)
      assert.isAtLeast(seen.pings, 6)
    }).pipe(Effect.provide(echo(handlers, {}, { keepalive: short })))
  )

  it("the default is never punished, in hours of silent streams and of sleeps of the machine", async () => {
    const program = Effect.gen(function* () {
      const clock = yield* JumpClock.make
      const sleepy = echo(handlers, {}, { connections: { maxAge: Infinity } }).pipe(
        Layer.provide(Layer.succeed(Clock.Clock, clock))
      )
      yield* Effect.gen(function* () {
        const client = yield* Echo
        yield* Effect.forkScoped(Stream.runDrain(client.watch("a")))
        for (let hour = 0; hour < 3; hour++) {
          yield* Effect.sleep("1 hour")
          clock.wall(60_000)
        }
        const { seen } = yield* TestNetwork.server(one)
        assert.isAtLeast(seen.pings, 30)
        assert.strictEqual(seen.inFlight, 1)
        assert.strictEqual(seen.cancelled, 0)
      }).pipe(Effect.provide(sleepy))
    })
    const { exit } = await Simulation.run({ seed: 1 }, () => program)
    assert.isTrue(Exit.isSuccess(exit), String(exit))
  })

  it("an unlawful one is punished, and becomes lawful", async () => {
    const keepalive = Keepalive.make({ time: "5 seconds", serverPermits: "anything" })
    const program = Effect.gen(function* () {
      const client = yield* Echo
      const watched = Effect.ignore(Stream.runDrain(client.watch("a", { waitForReady: true })))
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(watched, Effect.sleep("1 second"))))
      yield* Effect.sleep("2 hours")
      const { seen } = yield* TestNetwork.server(one)
      // 5 s, 10 s … 320 s: six complaints, and then a time that is legal.
      const { accepted } = seen
      assert.strictEqual(accepted, 7)
      yield* Effect.sleep("2 hours")
      assert.strictEqual(seen.accepted, accepted)
    }).pipe(Effect.provide(echo(handlers, {}, { keepalive, connections: { maxAge: Infinity } })))
    const { exit } = await Simulation.run({ seed: 1 }, () => Effect.scoped(program))
    assert.isTrue(Exit.isSuccess(exit), String(exit))
  })
})
