import { assert, describe, it } from "@effect/vitest"
import { Event } from "@hawser/core"
import { Grpc, type RpcError } from "@hawser/grpc"
import * as Faults from "@hawser/testing/Faults"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Clock, Effect, Fiber, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as JumpClock from "../../support/core/JumpClock.ts"
import { Echo, echo, one, two } from "../../support/testing/echo.ts"

/** A client whose clock can jump, over servers that answer after a while or never. */
const stage = <A, E>(
  f: (
    clock: JumpClock.JumpClock,
    tags: ReadonlyArray<string>
  ) => Effect.Effect<A, E, Echo | Grpc.GrpcCluster | Scope.Scope | TestNetwork.TestNetwork>
) =>
  Effect.gen(function* () {
    const clock = yield* JumpClock.make
    const tags: Array<string> = []
    const events = { publish: ({ event }: Event.Envelope) => void tags.push(event._tag), listen: () => Effect.void }
    const say = (text: string) => (text === "never" ? Effect.never : Effect.delay(Effect.succeed(text), 5))
    const layer = echo({ say }, { addresses: [one, two] }, { target: `ipv4:${one},${two}`, silence: { atLeast: 200 } })
    return yield* f(clock, tags).pipe(
      Effect.provide(
        layer.pipe(Layer.provide(Layer.succeed(Event.Events, events)), Layer.provide(Layer.succeed(Clock.Clock, clock)))
      )
    )
  })

const pass = (millis: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust(10), TestNetwork.settle), { times: Math.ceil(millis / 10) })

/** A call by somebody whose clock jumps, too. */
const say = (clock: Clock.Clock, text: string, timeout: number) =>
  Effect.flatMap(Echo, (client) => Effect.provideService(client.say(text, { timeout }), Clock.Clock, clock))
const failing = (clock: Clock.Clock, text: string, timeout: number) =>
  Effect.forkChild(Effect.flip(say(clock, text, timeout)))

const troubles = (tags: ReadonlyArray<string>) =>
  tags.filter((tag) => ["Quarantined", "Ejected", "Disconnected", "Panic", "ConnectFailed"].includes(tag))

describe("a call that ran out of time while this process did not run", () => {
  it.effect("says so, and nobody is blamed", () =>
    stage((clock, tags) =>
      Effect.gen(function* () {
        yield* pass(50)
        const calls: Array<Fiber.Fiber<RpcError.RpcError, unknown>> = []
        for (let i = 0; i < 12; i++) calls.push(yield* failing(clock, "never", 200))
        yield* pass(20)
        clock.freeze(10_000)
        yield* pass(400)
        for (const call of calls) {
          const error = yield* Fiber.join(call)
          assert.strictEqual(error.reason._tag, "DeadlineExceeded")
          assert.isTrue(error.isStalled)
          assert.approximately(error.stalledMillis!, 9_950, 60)
          assert.match(error.message, /this process did not run for \d+ ms\)$/)
        }
        assert.deepStrictEqual(troubles(tags), [])
        const cluster = yield* Grpc.GrpcCluster
        const { root } = yield* cluster.snapshot
        assert.deepStrictEqual(
          root.children.map(({ details }) => details["ejected"]),
          [false, false]
        )
        const answer = yield* Effect.forkChild(say(clock, "ada", 1_000))
        yield* pass(50)
        assert.strictEqual(yield* Fiber.join(answer), "ada")
      })
    )
  )

  it.effect("says nothing of a stall that was short against its time, or of none", () =>
    stage((clock) =>
      Effect.gen(function* () {
        yield* pass(50)
        const none = yield* failing(clock, "never", 300)
        yield* pass(400)
        assert.isFalse((yield* Fiber.join(none)).isStalled)
        const short = yield* failing(clock, "never", 3_000)
        yield* pass(20)
        clock.freeze(250)
        yield* pass(3_100)
        const error = yield* Fiber.join(short)
        assert.strictEqual(error.stalledMillis, 0)
        assert.notInclude(error.message, "this process")
      })
    )
  )

  it.effect("says so where it waited for a connection, too", () =>
    stage((clock) =>
      Effect.gen(function* () {
        yield* pass(50)
        yield* Faults.inject(Faults.all(Faults.freeze(one), Faults.freeze(two)))
        clock.freeze(30_000)
        // Both connections are asked, and say nothing.
        const call = yield* failing(clock, "ada", 300)
        yield* pass(40)
        clock.freeze(2_000)
        yield* pass(400)
        const error = yield* Fiber.join(call)
        assert.strictEqual(error.reason._tag, "DeadlineExceeded")
        assert.strictEqual(error.progress, "NotSent")
        assert.isTrue(error.isStalled)
      })
    )
  )
})

describe("after a freeze of this process", () => {
  it.effect("calls go over connections that have answered, on a network that has forgotten others", () =>
    stage((clock, tags) =>
      Effect.gen(function* () {
        yield* pass(11_000)
        yield* Faults.inject(Faults.forget(one))
        clock.freeze(600_000)
        const calls = yield* Effect.forkChild(
          Effect.forEach(
            Array.from({ length: 20 }, (_, i) => `${i}`),
            (text) => say(clock, text, 2_000),
            {
              concurrency: "unbounded"
            }
          )
        )
        yield* pass(1_500)
        assert.lengthOf(yield* Fiber.join(calls), 20)
        assert.deepStrictEqual(troubles(tags), ["Disconnected"], "the forgotten one, by its ping")
        assert.strictEqual(tags.filter((tag) => tag === "Thawed").length, 1)
        assert.strictEqual((yield* TestNetwork.server(one)).seen.accepted, 2)
        assert.strictEqual((yield* TestNetwork.server(two)).seen.accepted, 1)
      })
    )
  )
})
