import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Random, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { OptionsError } from "@hawser/core/OptionsError"
import * as Faults from "@hawser/testing/Faults"
import { World } from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { clientOf, definition, Echo, echo, one, two } from "../../support/testing/echo.ts"

/** Two of each kind, as they may overlap. */
const pairs: Readonly<Record<string, readonly [Faults.Fault, Faults.Fault]>> = {
  refuse: [Faults.refuse(one), Faults.refuse(one)],
  blackHole: [Faults.blackHole(one), Faults.blackHole(one)],
  mute: [Faults.mute(one), Faults.mute(one)],
  slowSettings: [Faults.slowSettings(one, "1 second"), Faults.slowSettings(one, 20)],
  silence: [Faults.silence(one), Faults.silence(one, "toServer")],
  halfOpen: [Faults.silence(one, "toClient"), Faults.silence(one, "toServer")],
  latency: [Faults.latency(one, 0.1, 0.7), Faults.latency(one, 0.2, 0.1)],
  loss: [Faults.loss(one, 0.1), Faults.loss(one, 0.9)],
  bandwidth: [Faults.bandwidth(one, 1_000), Faults.bandwidth(one, 5)],
  freeze: [Faults.freeze(one), Faults.freeze(one)],
  kill: [Faults.kill(one), Faults.kill(one)],
  refuseStreams: [Faults.refuseStreams(one), Faults.refuseStreams(one)],
  limit: [Faults.limit(one, 3), Faults.limit(one, 0)],
  notServing: [Faults.notServing(one), Faults.notServing(one, "test.Echo")],
  flapping: [Faults.flapping(one, "1 second"), Faults.flapping(one, "1 minute")],
  health: [Faults.health(one, "Hangs"), Faults.health(one, "Floods")],
  failCalls: [Faults.failCalls(one), Faults.failCalls(one, "Internal")],
  resolve: [Faults.resolve("greeter", "NotFound"), Faults.resolve("greeter", ["10.0.0.9"])],
  resolveAddress: [Faults.resolve("10.0.0.1", []), Faults.resolve("10.0.0.1", "Silence")],
  slowLookups: [Faults.slowLookups("1 second"), Faults.slowLookups("2 seconds")],
  all: [Faults.all(Faults.kill(one), Faults.freeze(one)), Faults.all(Faults.loss(one, 0.2), Faults.kill(one))]
}

/** Everything that a fault may change. */
const state = ({ network, servers }: TestNetwork.TestNetwork) => {
  const { health, host, manners, up } = servers.get(one)!
  return {
    weather: { ...host.weather },
    host: [host.refusing, host.swallows, host.isFrozen, host.isSilent, up],
    manners: { ...manners },
    health: [health.manner, ...health.names.map((name) => `${name} ${health.get(name)}`)],
    names: [network.answerOf("greeter"), network.answerOf("10.0.0.1"), network.lookupMillis]
  }
}

const serve = TestNetwork.serve(definition, { say: (text: string) => Effect.succeed(text) }, { address: one })

/** A network with a server that greets a second late. */
const slow = Layer.effectDiscard(Faults.inject(Faults.slowSettings(one, "1 second"))).pipe(
  Layer.provideMerge(
    TestNetwork.layerService(definition, { say: (text: string) => Effect.succeed(text) }, { addresses: [one] })
  )
)

/** The state while a fault holds. */
const under = (fault: Faults.Fault) =>
  Effect.scoped(Effect.andThen(Faults.inject(fault), Effect.map(TestNetwork.TestNetwork, state)))

describe("Faults", () => {
  for (const [name, [first, second]] of Object.entries(pairs)) {
    it.effect(`${name}: of two that overlap, what is left of them holds, in whatever order they end`, () =>
      Effect.gen(function* () {
        yield* serve
        const net = yield* TestNetwork.TestNetwork
        net.network.name("greeter", ["10.0.0.1"])
        const before = state(net)
        const alone = { first: yield* under(first), second: yield* under(second) }
        assert.notDeepEqual(alone.first, before)
        assert.deepStrictEqual(state(net), before)
        for (const ends of ["first", "second"] as const) {
          const scopes = { first: yield* Scope.make(), second: yield* Scope.make() }
          yield* Scope.provide(Faults.inject(first), scopes.first)
          yield* Scope.provide(Faults.inject(second), scopes.second)
          yield* Scope.close(scopes[ends], Exit.void)
          const left = ends === "first" ? "second" : "first"
          assert.deepStrictEqual(state(net), alone[left], `${ends} ends before ${left}`)
          // And begins once more.
          const again = yield* Scope.make()
          yield* Scope.provide(Faults.inject(ends === "first" ? first : second), again)
          yield* Scope.close(scopes[left], Exit.void)
          assert.deepStrictEqual(state(net), alone[ends], `${ends} is left`)
          yield* Scope.close(again, Exit.void)
          assert.deepStrictEqual(state(net), before, `${ends} ended before ${left}`)
        }
      }).pipe(Effect.provide(TestNetwork.layer))
    )
  }

  it.effect("one on a host or a server that is not there is an error that names those there are", () =>
    Effect.gen(function* () {
      yield* serve
      for (const fault of [Faults.freeze(two), Faults.kill(two), Faults.all(Faults.latency(one, 5), Faults.cut(two))]) {
        const error: OptionsError = yield* Effect.flip(Effect.scoped(Faults.inject(fault)))
        assert.strictEqual(error._tag, "OptionsError")
        assert.include(error.message, one)
        assert.include(error.message, two)
      }
      const net = yield* TestNetwork.TestNetwork
      // What had begun of `all` was taken back.
      assert.strictEqual(net.servers.get(one)!.host.weather.latency, 0)
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it("arguments that break a rule are thrown where the fault is made", () => {
    const infinite = Infinity
    for (const make of [
      () => Faults.latency(one, -1),
      () => Faults.latency(one, infinite),
      () => Faults.latency(one, "soon" as never),
      () => Faults.latency(one, 1, NaN),
      () => Faults.slowSettings(one, -1),
      () => Faults.slowLookups(infinite),
      () => Faults.loss(one, 1),
      () => Faults.loss(one, NaN),
      () => Faults.bandwidth(one, 0),
      () => Faults.limit(one, 1.5),
      () => Faults.limit(one, -1),
      () => Faults.limit(one, NaN)
    ]) {
      assert.throws(make, /expected/)
    }
  })

  it.effect(
    "one that is injected ends with its scope, and one that lasts after its time or when it is interrupted",
    () =>
      Effect.gen(function* () {
        const { host } = yield* serve
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* Faults.inject(Faults.freeze(one))
            assert.isTrue(host.isFrozen)
          })
        )
        assert.isFalse(host.isFrozen)
        const lasting = Effect.forkChild(Faults.during(Faults.freeze(one), "2 seconds"), { startImmediately: true })
        const first = yield* lasting
        yield* TestClock.adjust(1_999)
        assert.isTrue(host.isFrozen)
        yield* TestClock.adjust(1)
        assert.isFalse(host.isFrozen)
        yield* Fiber.join(first)
        const second = yield* lasting
        assert.isTrue(host.isFrozen)
        yield* Fiber.interrupt(second)
        assert.isFalse(host.isFrozen)
      }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("a connect that waits in a black hole gets through when it is over", () =>
    Effect.gen(function* () {
      yield* serve
      const { network } = yield* TestNetwork.TestNetwork
      yield* Effect.forkChild(Faults.during(Faults.blackHole(one), 1_500), { startImmediately: true })
      const dial = yield* Effect.forkChild(network.dial(one), { startImmediately: true })
      yield* TestClock.adjust(1_499)
      assert.isUndefined(dial.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(dial)
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("they are repeated on a schedule", () =>
    Effect.gen(function* () {
      const { seen } = yield* serve
      const { network } = yield* TestNetwork.TestNetwork
      let cuts = 0
      network.observe((felt) => {
        if (felt === "cut") cuts++
      })
      yield* Effect.forkChild(
        Effect.repeat(
          Effect.scoped(Effect.andThen(network.dial(one), Faults.inject(Faults.cut(one)))),
          Schedule.spaced("1 second")
        )
      )
      yield* TestClock.adjust(4_500)
      assert.deepStrictEqual([cuts, seen.accepted], [5, 5])
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("oneOf draws each of them, the same ones for the same seed", () =>
    Effect.gen(function* () {
      const faults = [Faults.cut(one), Faults.kill(one), Faults.freeze(one)] as const
      const draw = Effect.map(Effect.replicateEffect(Faults.oneOf(faults), 60), (drawn) =>
        drawn.map(({ name }) => name)
      )
      const first = yield* Random.withSeed(draw, "a")
      assert.deepStrictEqual(yield* Random.withSeed(draw, "a"), first)
      assert.deepStrictEqual(new Set(first), new Set([`cut ${one}`, `kill ${one}`, `freeze ${one}`]))
    })
  )

  it("every one of them lets calls through again when it is over, in any order of things", async () => {
    for (const [name, [first, second]] of Object.entries(pairs)) {
      for (let seed = 1; seed <= 3; seed++) {
        const { exit } = await new World({ seed }).run(
          Effect.gen(function* () {
            const client = yield* Echo
            const say = client.say("a", { timeout: "20 seconds" })
            yield* Effect.forkChild(
              Effect.exit(Effect.forever(Effect.andThen(Effect.exit(say), Effect.sleep("1 second"))))
            )
            yield* Effect.sleep("500 millis")
            yield* Effect.all(
              [Faults.during(first, "5 seconds"), Effect.delay(Faults.during(second, "5 seconds"), 2_000)],
              {
                concurrency: 2
              }
            )
            yield* Effect.sleep("60 seconds")
            return yield* say
          }).pipe(Effect.provide(echo({ say: Effect.succeed }, {}, { connections: { connectTimeout: "2 seconds" } })))
        )
        assert.deepStrictEqual(exit, Exit.succeed("a"), `${name}, seed ${seed}`)
      }
    }
  })

  it.effect("failCalls answers alone, and refuseStreams as a server that never looked", () =>
    Effect.gen(function* () {
      const client = yield* Echo
      const { seen } = yield* TestNetwork.server(one)
      const failed = (fault: Faults.Fault) =>
        Effect.scoped(Effect.andThen(Faults.inject(fault), Effect.flip(client.say("a"))))
      const internal = yield* failed(Faults.failCalls(one, "Internal", "injected"))
      assert.deepInclude(internal.reason, { _tag: "Internal", details: "injected" })
      const refused = yield* failed(Faults.refuseStreams(one))
      assert.deepStrictEqual([refused.reason._tag, refused.progress], ["Unavailable", "Refused"])
      assert.deepInclude(seen, { started: 2, completed: 1, refused: 1 })
      assert.strictEqual(yield* client.say("a"), "a")
    }).pipe(Effect.provide(echo({ say: Effect.succeed })))
  )

  it.effect("resetStreams ends what runs with the code of the reset", () =>
    Effect.gen(function* () {
      const client = yield* Echo
      const reset = (fault: Faults.Fault) =>
        Effect.gen(function* () {
          const call = yield* Effect.forkChild(Effect.flip(client.say("a")))
          yield* TestNetwork.settle
          yield* Effect.scoped(Faults.inject(fault))
          return (yield* Fiber.join(call)).reason.details
        })
      assert.include(yield* reset(Faults.resetStreams(one)), "RST_STREAM with code 2")
      assert.include(yield* reset(Faults.resetStreams(one, 3)), "RST_STREAM with code 3")
      const { seen } = yield* TestNetwork.server(one)
      assert.deepInclude(seen, { cancelled: 2, inFlight: 0 })
    }).pipe(Effect.provide(echo({ say: () => Effect.never })))
  )

  it.effect("a server that is muted greets nobody, and one that is slow greets late", () =>
    Effect.gen(function* () {
      const { manners, seen } = yield* TestNetwork.server(one)
      const client = yield* Echo
      assert.strictEqual(manners.settingsMillis, 1_000)
      const first = yield* Effect.forkChild(client.say("a", { waitForReady: true }))
      yield* TestNetwork.settle
      yield* TestClock.adjust(999)
      assert.isUndefined(first.pollUnsafe())
      assert.strictEqual(seen.accepted, 1)
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Fiber.join(first), "a")
      // The next connection is not greeted at all.
      yield* Faults.inject(Faults.all(Faults.mute(one), Faults.cut(one)))
      const second = yield* Effect.forkChild(client.say("b", { waitForReady: true, timeout: "10 seconds" }))
      yield* TestNetwork.settle
      yield* TestClock.adjust(9_999)
      assert.isUndefined(second.pollUnsafe())
      assert.strictEqual(seen.accepted, 2)
      yield* TestClock.adjust(1)
      const exit = yield* Fiber.await(second)
      assert.isTrue(Exit.isFailure(exit))
    }).pipe(Effect.provide(Layer.provideMerge(clientOf(), slow)))
  )
})
