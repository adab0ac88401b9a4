import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Random, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Faults, Simulation, TestNetwork } from "@hawser/testing"
import { clientOf, definition, Echo, echo, one, two } from "../../support/testing/echo.ts"

const issues = <A, E>(layer: Layer.Layer<A, E>) =>
  Effect.map(Effect.flip(Effect.scoped(Layer.build(layer))), (error) => String((error as Error).message).split("\n"))

const say = (text: string) => Echo.use((client) => client.say(text))

describe("TestNetwork", () => {
  it.effect("reports everything that is wrong with its options at once", () =>
    Effect.gen(function* () {
      const service = (options: TestNetwork.ServiceOptions, handlers = {}) =>
        issues(TestNetwork.layerService(definition, handlers, options))
      assert.deepStrictEqual(yield* service({ addresses: [] }), ["addresses: expected at least one address, got []"])
      assert.deepStrictEqual(yield* service({ addresses: [one, two, one] }), [
        `addresses: expected each address once, got ${JSON.stringify([one, two, one])}`
      ])
      const all = yield* service(
        {
          addresses: [one, "10.0.0.2", "10.0.0.3:0", "a b:1", "ipv4:10.0.0.1:1"],
          maxStreams: NaN,
          maxConnectionAge: 0
        },
        { sai: () => Effect.succeed("") }
      )
      assert.deepStrictEqual(
        all.map((line) => line.slice(0, line.indexOf(":"))),
        [
          "handlers.sai",
          "addresses[1]",
          "addresses[2]",
          "addresses[3]",
          "addresses[4]",
          "maxStreams",
          "maxConnectionAge"
        ]
      )
      for (const maxStreams of [-1, 1.5, Infinity, 2 ** 32]) {
        assert.lengthOf(yield* service({ addresses: [one], maxStreams }), 1, String(maxStreams))
      }
      const clientOnly = { say: { path: "/a/B", requestStream: false, responseStream: false } }
      const [line] = yield* issues(TestNetwork.layerService(clientOnly, {}, { addresses: [one] }))
      assert.strictEqual(line, 'definition.say: expected a method with the codecs of a server, got "none"')
    })
  )

  it.effect("serve reports the same, and that the address is taken", () =>
    Effect.gen(function* () {
      const serve = (options: TestNetwork.ServeOptions) =>
        Effect.flip(TestNetwork.serve(definition, { sai: 1 } as {}, options))
      const error = yield* serve({ address: "nowhere", maxStreams: NaN })
      assert.match(error.message, /^handlers\.sai: .*\naddress: .*\nmaxStreams: /)
      yield* TestNetwork.serve(definition, {}, { address: one })
      const taken = yield* Effect.flip(TestNetwork.serve(definition, {}, { address: one }))
      assert.include(taken.message, "nobody listens at yet")
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("a limit of 0 and addresses of every form are legal", () =>
    Effect.gen(function* () {
      const { servers } = yield* TestNetwork.TestNetwork
      assert.deepStrictEqual([...servers.keys()], [one, "[::1]:1", "unix:/run/a.sock", "cache:1"])
      assert.strictEqual((yield* TestNetwork.server(one)).manners.maxStreams, 0)
    }).pipe(
      Effect.provide(
        TestNetwork.layerService(
          definition,
          {},
          { addresses: [one, "[::1]:1", "unix:/run/a.sock", "cache:1"], maxStreams: 0 }
        )
      )
    )
  )

  it.effect("a server that is not there is an error that names those there are", () =>
    Effect.gen(function* () {
      const none = yield* Effect.flip(TestNetwork.server(one))
      assert.strictEqual(none.message, `address: expected a server; there is none, got "${one}"`)
      yield* TestNetwork.serve(definition, {}, { address: two })
      const other = yield* Effect.flip(TestNetwork.server(one))
      assert.strictEqual(other.message, `address: expected a server: ${two}, got "${one}"`)
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("a proxy is refused: there is none on the network", () =>
    Effect.gen(function* () {
      const client = clientOf({ proxy: { address: "10.0.0.3:3128" } })
      const [line, ...others] = yield* issues(Layer.provide(client, TestNetwork.layer))
      assert.strictEqual(line, "proxy: expected no proxy: the virtual network has none, got 10.0.0.3:3128")
      assert.deepStrictEqual(others, [])
    })
  )

  it.effect("a server that has taken the place of a killed one stays when that one's scope is closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const serve = TestNetwork.serve(definition, {}, { address: one })
      const first = yield* Scope.provide(serve, scope)
      first.kill()
      const second = yield* serve
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* TestNetwork.server(one), second)
      assert.isTrue(second.up)
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("two networks know nothing of one another", () =>
    Effect.gen(function* () {
      const at = (text: string) => Effect.provide(say("a"), echo({ say: () => Effect.succeed(text) }), { local: true })
      assert.deepStrictEqual(yield* Effect.all([at("one"), at("two")], { concurrency: 2 }), ["one", "two"])
    })
  )

  it.effect("when it is closed nothing is left, calls in flight included", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const handlers = { say: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)) }
      const { net, server } = yield* Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(echo(handlers))
          yield* Effect.provide(Effect.forkScoped(Effect.exit(say("a"))), context)
          const server = yield* Effect.provide(TestNetwork.server(one), context)
          yield* Effect.provide(TestNetwork.settle, context)
          assert.strictEqual(server.seen.inFlight, 1)
          return { net: yield* Effect.provide(TestNetwork.TestNetwork, context), server }
        })
      )
      assert.strictEqual(interrupted, 1)
      assert.deepStrictEqual(
        [server.seen.inFlight, server.connections.size, net.servers.size, server.up],
        [0, 0, 0, false]
      )
      assert.strictEqual(server.host.openClients, 0)
    })
  )

  it.effect("settle lets everything happen that takes no time, and no time pass", () =>
    Effect.gen(function* () {
      const call = yield* Effect.forkChild(say("a"))
      const { seen } = yield* TestNetwork.server(one)
      assert.strictEqual(seen.started, 0)
      yield* TestNetwork.settle
      assert.strictEqual(seen.inFlight, 1)
      yield* TestClock.adjust(99)
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Fiber.join(call), "a")
    }).pipe(Effect.provide(echo({ say: (text) => Effect.delay(Effect.succeed(text), 100) })))
  )

  it.effect("settle ends where it never gets quiet", () =>
    Effect.gen(function* () {
      const chatter = yield* Effect.forkChild(Effect.forever(say("a")))
      yield* TestNetwork.settle
      yield* Fiber.interrupt(chatter)
      assert.isAbove((yield* TestNetwork.server(one)).seen.completed, 100)
    }).pipe(Effect.provide(echo({ say: Effect.succeed })))
  )

  it.effect("a name can be moved while calls go on: clients follow when they look again", () =>
    Effect.gen(function* () {
      yield* TestNetwork.serve(definition, { say: () => Effect.succeed("one") }, { address: one })
      yield* TestNetwork.serve(definition, { say: () => Effect.succeed("two") }, { address: two })
      yield* TestNetwork.name("echo", ["10.0.0.1"])
      const net = yield* TestNetwork.TestNetwork
      const context = yield* Layer.build(
        Layer.provide(clientOf({ target: "dns:///echo:50051" }), TestNetwork.layerOf(net))
      )
      const ask = Effect.provide(
        Echo.use((client) => client.say("a", { waitForReady: true })),
        context
      )
      assert.strictEqual(yield* ask, "one")
      yield* TestNetwork.name("echo", ["10.0.0.2"])
      assert.strictEqual(yield* ask, "one")
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* ask, "two")
      // A lost connection is a reason to look, too.
      yield* TestNetwork.name("echo", ["10.0.0.1"])
      yield* Effect.scoped(Faults.inject(Faults.kill(two)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* ask, "one")
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it("one seed is one run, and other seeds are others", async () => {
    const play = async (seed: number) => {
      const { exit, hash } = await Simulation.run({ seed }, (world) =>
        Effect.gen(function* () {
          const { network } = yield* TestNetwork.TestNetwork
          network.tap = (to, packet) => world.note(`${to} ${packet._tag}`)
          yield* Faults.inject(Faults.all(Faults.latency(one, 5, 20), Faults.loss(one, 0.3)))
          const client = yield* Echo
          yield* Effect.forkChild(
            Effect.delay(
              Effect.flatMap(Faults.oneOf([Faults.cut(one), Faults.freeze(one)]), (fault) => Faults.during(fault, 300)),
              200
            )
          )
          const call = (n: number) =>
            Effect.flatMap(Random.nextIntBetween(0, 500), (after) =>
              Effect.delay(Effect.exit(client.say(`${n}`, { waitForReady: true, timeout: "20 seconds" })), after)
            )
          return yield* Effect.forEach(Array(20).keys(), call, { concurrency: "unbounded" })
        }).pipe(Effect.provide(echo({ say: (text) => Effect.delay(Effect.succeed(text), 50) })))
      )
      assert.isTrue(Exit.isSuccess(exit), `seed ${seed}`)
      return hash
    }
    const hashes = new Set<number>()
    for (let seed = 0; seed < 20; seed++) {
      const hash = await play(seed)
      assert.strictEqual(await play(seed), hash, `seed ${seed}`)
      hashes.add(hash)
    }
    assert.strictEqual(hashes.size, 20)
  })
})
