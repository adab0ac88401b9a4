/**
 * gRFC A17, rule by rule, on the virtual network: the text of a test is the rule.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Metric, Redacted, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Events } from "@hawser/core/Event"
import * as RoundRobin from "@hawser/core/RoundRobin"
import * as Auth from "@hawser/grpc/Auth"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import * as HealthCheck from "@hawser/grpc/HealthCheck"
import { codes, type Tag } from "@hawser/grpc/RpcError"
import * as Route from "@hawser/testing/Route"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Recorder } from "../../support/core/Recorder.ts"
import { definition, Echo, one, two } from "../../support/testing/echo.ts"
import { HealthServer } from "../../support/testing/HealthServer.ts"

/** 1 s, 2 s, 4 s, … */
const exact = Schedule.exponential("1 second")
const unavailable = { _tag: "Unavailable", details: "no" } as const
/** SERVING and the rest, by number. */
const serving = 1
const notServing = 2
const serviceUnknown = 3

interface Options extends Partial<GrpcOptions> {
  readonly addresses?: ReadonlyArray<string>
  readonly maxStreams?: number
  readonly first?: HealthServer["answer"]
  readonly unimplemented?: boolean
  readonly security?: "Tls"
  /** What surrounds the layer. */
  readonly around?: Layer.Layer<never>
}

const setup = Effect.fnUntraced(function* (options: Options = {}) {
  const {
    addresses = [one],
    around = Layer.empty,
    first,
    maxStreams,
    security,
    unimplemented = false,
    ...rest
  } = options
  const net = yield* TestNetwork.make
  const healths = addresses.map(() => new HealthServer())
  const servers = yield* Effect.forEach(addresses, (address, i) => {
    const health = healths[i]!
    health.answer = "first" in options ? first : serving
    const routes = new Map(
      Route.ofService(definition, {
        say: (text: string) =>
          text === "slow" ? Effect.delay(Effect.succeed(text), "10 seconds") : Effect.succeed(text)
      })
    )
    if (!unimplemented) for (const [path, route] of health.routes) routes.set(path, route)
    return net.serve({ address, routes, maxStreams, health: false, security })
  })
  const recorder = new Recorder()
  const logged: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => void logged.push(`${logLevel} ${String(message)}`))
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(
    Echo.layer.pipe(
      Layer.provideMerge(
        Grpc.layer({
          target: `ipv4:${addresses.join(",")}`,
          credentials: Credentials.insecure,
          retry: false,
          silence: false,
          drain: 0,
          deadline: "1 minute",
          health: HealthCheck.watch("test.Echo", { backoff: exact }),
          ...rest
        })
      ),
      Layer.provide(around),
      Layer.provideMerge(TestNetwork.layerOf(net)),
      Layer.provide(Layer.succeed(Events, recorder)),
      Layer.provideMerge(Logger.layer([logger]))
    ),
    scope
  )
  const cluster = Context.get(context, Grpc.GrpcCluster)
  const settle = Effect.provide(TestNetwork.settle, context)
  yield* settle
  const state = Effect.map(cluster.snapshot, ({ root }) => root.connectivity)
  const say = (text: string) => Context.get(context, Echo).say(text)
  const changes = () => recorder.of("HealthChanged").map(({ health }) => health)
  const adjust = (millis: number) => Effect.andThen(TestClock.adjust(millis), settle)
  const end = Effect.suspend(() => Scope.close(scope, Exit.void))
  return {
    adjust,
    changes,
    cluster,
    end,
    health: healths[0]!,
    healths,
    logged,
    net,
    recorder,
    say,
    servers,
    settle,
    state
  }
})

describe("A17: API changes", () => {
  it.effect("Watch is Check with many answers: the request names the service", () =>
    Effect.gen(function* () {
      const { health } = yield* setup()
      assert.deepStrictEqual(
        health.watches.map(({ service }) => service),
        ["test.Echo"]
      )
    })
  )

  it.effect("the empty name is the server as a whole, and is asked for", () =>
    Effect.gen(function* () {
      const { health } = yield* setup({ health: HealthCheck.watch() })
      assert.deepStrictEqual(
        health.watches.map(({ service }) => service),
        [""]
      )
    })
  )

  it.effect("Watch says SERVICE_UNKNOWN where Check fails with NOT_FOUND: both are bad", () =>
    Effect.gen(function* () {
      const watched = yield* setup({ first: serviceUnknown })
      assert.strictEqual((yield* Effect.flip(watched.say("a"))).message.includes("SERVICE_UNKNOWN"), true)
      const polled = yield* setup({ health: HealthCheck.poll("test.Echo"), unimplemented: false, first: undefined })
      polled.health.fails = { _tag: "NotFound" }
      yield* polled.adjust(1_000)
      yield* polled.adjust(12_000)
      yield* polled.adjust(12_000)
      const { message } = yield* Effect.flip(polled.say("a"))
      assert.match(message, /Unhealthy/)
    })
  )
})

describe("A17: client workflow", () => {
  it.effect("when a connection is established, the client immediately starts the Watch", () =>
    Effect.gen(function* () {
      const { health, recorder } = yield* setup({ first: undefined })
      assert.deepStrictEqual(recorder.tags.slice(0, 2), ["Connecting", "Connected"])
      assert.deepStrictEqual([health.open, health.watches[0]!.at], [1, 0])
    })
  )

  it.effect("stays in state CONNECTING until it receives the first response: calls wait", () =>
    Effect.gen(function* () {
      const { health, say, settle, state } = yield* setup({ first: undefined })
      assert.strictEqual(yield* state, "Connecting")
      const call = yield* Effect.forkChild(say("hello"))
      yield* settle
      assert.isUndefined(call.pollUnsafe())
      health.last.say(serving)
      assert.strictEqual(yield* Fiber.join(call), "hello")
    })
  )

  it.effect("a response that says healthy: READY", () =>
    Effect.gen(function* () {
      const { say, state } = yield* setup()
      assert.strictEqual(yield* state, "Ready")
      assert.strictEqual(yield* say("hello"), "hello")
    })
  )

  for (const [name, answer, said] of [
    ["UNKNOWN", 0, "UNKNOWN"],
    ["NOT_SERVING", notServing, "NOT_SERVING"],
    ["SERVICE_UNKNOWN", serviceUnknown, "SERVICE_UNKNOWN"],
    ["a status that nobody knows", 77, "status 77"],
    ["bytes that are no message", Uint8Array.from([0x0a, 0xff, 0xff]), "an answer that can't be read"],
    ["a status of the wrong type", Uint8Array.from([0x0a, 0x01, 0x01]), "an answer that can't be read"],
    ["a status of 64 bits", Uint8Array.from([0x08, ...Array(9).fill(0xff), 0x01]), "status -1"]
  ] as const) {
    it.effect(`a response that says otherwise: TRANSIENT_FAILURE (${name}), without disconnecting`, () =>
      Effect.gen(function* () {
        const { health, recorder, say, servers, state } = yield* setup({ first: answer })
        assert.strictEqual(yield* state, "TransientFailure")
        const { isUnsent, reason } = yield* Effect.flip(say("hello"))
        assert.isTrue(isUnsent)
        assert.deepStrictEqual(reason._tag === "Unavailable" && reason.connect?.reason, { _tag: "Unhealthy", said })
        assert.deepStrictEqual([servers[0]!.seen.accepted, recorder.of("Disconnected").length, health.open], [1, 0, 1])
      })
    )
  }

  it.effect("a field that the message does not have yet is passed over", () =>
    Effect.gen(function* () {
      const { state } = yield* setup({ first: Uint8Array.from([0x12, 0x02, 0x41, 0x42, 0x08, 0x01]) })
      assert.strictEqual(yield* state, "Ready")
    })
  )

  it.effect("from unhealthy to healthy: from TRANSIENT_FAILURE directly to READY, with no stop at CONNECTING", () =>
    Effect.gen(function* () {
      const { changes, health, settle, state } = yield* setup({ first: notServing })
      health.last.say(serving)
      yield* settle
      assert.strictEqual(yield* state, "Ready")
      health.last.say(notServing)
      health.last.say(serving)
      yield* settle
      assert.strictEqual(yield* state, "Ready")
      assert.isFalse(changes().includes("Unknown"))
    })
  )

  it.effect("calls that run go on when it becomes unhealthy", () =>
    Effect.gen(function* () {
      const { adjust, health, say, settle } = yield* setup()
      const call = yield* Effect.forkChild(say("slow"))
      yield* settle
      health.last.say(notServing)
      yield* settle
      assert.isTrue(Exit.isFailure(yield* Effect.exit(say("hello"))))
      yield* adjust(10_000)
      assert.strictEqual(yield* Fiber.join(call), "slow")
    })
  )

  it.effect("UNIMPLEMENTED: not retried, healthy, and recorded once", () =>
    Effect.gen(function* () {
      const { adjust, logged, recorder, say, servers } = yield* setup({ unimplemented: true, addresses: [one, two] })
      assert.strictEqual(yield* say("hello"), "hello")
      yield* adjust(600_000)
      assert.deepStrictEqual(
        servers.map(({ seen }) => seen.started),
        servers[0]!.seen.started === 2 ? [2, 1] : [1, 2]
      )
      assert.deepStrictEqual(
        recorder.of("HealthChanged").map(({ health, said }) => [health, said]),
        [
          ["Unsupported", "the server has no health service"],
          ["Unsupported", "the server has no health service"]
        ]
      )
      assert.lengthOf(logged, 1)
      assert.match(logged[0]!, /^Error .*the server has no health service; its connections count as healthy/)
    })
  )

  for (const tag of Object.keys(codes).filter((tag) => tag !== "Unimplemented") as ReadonlyArray<Tag>) {
    it.effect(`any other status: TRANSIENT_FAILURE, and the call is retried (${tag})`, () =>
      Effect.gen(function* () {
        const { adjust, health, say, settle, state } = yield* setup({ first: undefined })
        health.last.end({ _tag: tag })
        yield* settle
        assert.strictEqual(yield* state, "TransientFailure")
        assert.match((yield* Effect.flip(say("a"))).message, /Watch ended with/)
        health.answer = serving
        yield* adjust(1_000)
        assert.deepStrictEqual([health.watches.length, yield* state], [2, "Ready"])
      })
    )
  }

  it.effect("OK is another status, too", () =>
    Effect.gen(function* () {
      const { health, settle, state } = yield* setup({ first: undefined })
      health.last.end()
      yield* settle
      assert.strictEqual(yield* state, "TransientFailure")
    })
  )

  it.effect("exponential backoff between attempts", () =>
    Effect.gen(function* () {
      const { adjust, health } = yield* setup({ first: undefined })
      health.fails = unavailable
      health.last.end(unavailable)
      for (let i = 0; i < 20; i++) yield* adjust(1_000)
      assert.deepStrictEqual(
        health.watches.map(({ at }) => at),
        [0, 1_000, 3_000, 7_000, 15_000]
      )
    })
  )

  it.effect(
    "a message resets the backoff: the next attempt is immediate, any subsequent one is subject to backoff",
    () =>
      Effect.gen(function* () {
        const { adjust, health, settle } = yield* setup({ first: undefined })
        health.fails = unavailable
        health.last.end(unavailable)
        for (let i = 0; i < 3; i++) yield* adjust(1_000)
        assert.deepStrictEqual(
          health.watches.map(({ at }) => at),
          [0, 1_000, 3_000]
        )
        health.fails = undefined
        health.answer = serving
        for (let i = 0; i < 4; i++) yield* adjust(1_000)
        assert.strictEqual(health.last.at, 7_000)
        health.fails = unavailable
        health.last.end(unavailable)
        yield* settle
        assert.strictEqual(health.last.at, 7_000)
        assert.lengthOf(health.watches, 5)
        for (let i = 0; i < 4; i++) yield* adjust(1_000)
        assert.deepStrictEqual(
          health.watches.slice(5).map(({ at }) => at),
          [8_000, 10_000]
        )
      })
  )

  it.effect("when the next attempt starts: CONNECTING", () =>
    Effect.gen(function* () {
      const { adjust, health, settle, state } = yield* setup({ first: undefined })
      health.last.end(unavailable)
      yield* settle
      assert.strictEqual(yield* state, "TransientFailure")
      yield* adjust(1_000)
      assert.deepStrictEqual([health.watches.length, yield* state], [2, "Connecting"])
      health.last.say(serving)
      yield* settle
      assert.strictEqual(yield* state, "Ready")
      // At once, where it had been answered: nobody is told a failure in between.
      health.answer = undefined
      health.last.end(unavailable)
      yield* settle
      assert.deepStrictEqual([health.watches.length, yield* state], [3, "Connecting"])
    })
  )

  it.effect("when the backend sends a GOAWAY, the Watch is cancelled", () =>
    Effect.gen(function* () {
      const { health, say, servers, settle } = yield* setup()
      yield* say("a")
      const call = yield* Effect.forkChild(say("slow"))
      yield* settle
      servers[0]!.goAway()
      yield* settle
      // The old one is gone although a call runs on its connection, and the new connection has its own.
      assert.deepStrictEqual(
        health.watches.map(({ open }) => open),
        [false, true]
      )
      assert.strictEqual(servers[0]!.connections.size, 2)
      yield* Fiber.interrupt(call)
    })
  )

  it.effect("when the client is shutting down, the Watch is cancelled, and nobody waits for its status", () =>
    Effect.gen(function* () {
      const { cluster, health, say, servers, settle } = yield* setup({ drain: "1 minute" })
      const call = yield* Effect.forkChild(say("slow"))
      yield* settle
      const drain = yield* Effect.forkChild(cluster.drain)
      yield* settle
      assert.deepStrictEqual([health.open, servers[0]!.seen.inFlight], [0, 1])
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(drain)
      assert.strictEqual(yield* Fiber.join(call), "slow")
    })
  )

  it.effect("when the connection is lost, the next one has a Watch of its own", () =>
    Effect.gen(function* () {
      const { adjust, health, servers, settle, state } = yield* setup()
      yield* adjust(11_000)
      servers[0]!.kill()
      yield* settle
      assert.strictEqual(health.open, 0)
      servers[0]!.start()
      yield* adjust(2_000)
      assert.deepStrictEqual([health.watches.length, health.open, yield* state], [2, 1, "Ready"])
    })
  )
})

describe("A17: call credentials", () => {
  const token = Effect.succeed(Redacted.make("canary"))

  it.effect("those of the channel are sent with the Watch", () =>
    Effect.gen(function* () {
      const { health } = yield* setup({ auth: Auth.make({ token }), credentials: Credentials.tls(), security: "Tls" })
      assert.strictEqual(health.last.metadata?.get("authorization"), "Bearer canary")
    })
  )

  it.effect("and never in plaintext", () =>
    Effect.gen(function* () {
      const { cluster, health, servers } = yield* setup({ auth: Auth.make({ token }) })
      assert.deepStrictEqual([health.watches.length, servers[0]!.seen.started], [0, 0])
      const { message } = yield* Effect.flip(cluster.use(() => Effect.void))
      assert.match(message, /Watch ended with Unauthenticated/)
      assert.notInclude(message, "canary")
    })
  )
})

describe("A17: defaults", () => {
  it.effect("disabled unless it is enabled", () =>
    Effect.gen(function* () {
      const { health, recorder, state } = yield* setup({ health: undefined })
      assert.deepStrictEqual([health.watches.length, yield* state], [0, "Ready"])
      assert.lengthOf(recorder.of("HealthChanged"), 0)
    })
  )

  it.effect("a client can disable what is enabled around it", () =>
    Effect.gen(function* () {
      const around = HealthCheck.layerWatch("test.Echo")
      const on = yield* setup({ health: undefined, around, first: notServing })
      assert.strictEqual(yield* on.state, "TransientFailure")
      const off = yield* setup({ health: false, around, first: notServing })
      assert.strictEqual(yield* off.state, "Ready")
      const own = yield* setup({ health: HealthCheck.watch("own"), around })
      assert.strictEqual(own.health.last.service, "own")
    })
  )
})

describe("A17: policies", () => {
  it.effect("round robin: the unhealthy one is not READY, and picks are not assigned to it", () =>
    Effect.gen(function* () {
      const { health, healths, say, servers, settle } = yield* setup({
        addresses: [one, two],
        balancer: RoundRobin.policy
      })
      for (let i = 0; i < 4; i++) yield* say("a")
      const before = servers.map(({ seen }) => seen.completed)
      assert.deepStrictEqual(before, [2, 2])
      health.last.say(notServing)
      yield* settle
      for (let i = 0; i < 4; i++) yield* say("a")
      assert.deepStrictEqual(
        servers.map(({ seen }) => seen.completed),
        [2, 6]
      )
      healths[0]!.last.say(serving)
      yield* settle
      for (let i = 0; i < 4; i++) yield* say("a")
      assert.deepStrictEqual(
        servers.map(({ seen }) => seen.completed),
        [4, 8]
      )
    })
  )

  it.effect("one endpoint (pick first there, unchecked): here it is checked, because it was asked for", () =>
    Effect.gen(function* () {
      const { health, say, settle } = yield* setup({ first: notServing })
      assert.match((yield* Effect.flip(say("a"))).message, /NOT_SERVING/)
      health.last.say(serving)
      yield* settle
      assert.strictEqual(yield* say("a"), "a")
    })
  )
})

describe("A17: caveats", () => {
  it.effect("the Watch takes a stream of MAX_CONCURRENT_STREAMS, and calls know", () =>
    Effect.gen(function* () {
      const { adjust, say, servers, settle } = yield* setup({ maxStreams: 3, connections: { max: 1 } })
      const calls = yield* Effect.forkChild(Effect.forEach(["slow", "slow", "slow"], say, { concurrency: 3 }))
      yield* settle
      assert.deepStrictEqual(
        [servers[0]!.seen.most, servers[0]!.seen.inFlight, servers[0]!.seen.overTheLimit],
        [3, 3, 0]
      )
      yield* adjust(10_000)
      yield* adjust(10_000)
      yield* Fiber.join(calls)
    })
  )

  it.effect("with a limit of 1, Check takes turns with calls", () =>
    Effect.gen(function* () {
      const { adjust, health, say, servers, settle, state } = yield* setup({
        maxStreams: 1,
        connections: { max: 1 },
        health: HealthCheck.watch("test.Echo", { every: Schedule.spaced("9 seconds") })
      })
      assert.deepStrictEqual([health.watches.length, health.checks.length, yield* state], [0, 1, "Ready"])
      const calls = yield* Effect.forkChild(Effect.forEach(Array(3).fill("slow"), say, { concurrency: 3 }))
      yield* settle
      for (let i = 0; i < 3; i++) yield* adjust(10_000)
      yield* Fiber.join(calls)
      assert.isAtLeast(health.checks.length, 3)
      assert.deepStrictEqual([servers[0]!.seen.most, servers[0]!.seen.overTheLimit], [1, 0])
      health.answer = notServing
      yield* adjust(12_000)
      assert.strictEqual(yield* state, "TransientFailure")
      health.answer = serving
      yield* adjust(12_000)
      assert.strictEqual(yield* state, "Ready")
    })
  )

  it.effect("a limit that falls to 1 turns a Watch into Checks, and one that rises turns them into a Watch again", () =>
    Effect.gen(function* () {
      const { adjust, health, say, servers, settle } = yield* setup({
        maxStreams: 2,
        connections: { max: 1 },
        health: HealthCheck.watch("test.Echo", { every: Schedule.spaced("9 seconds") })
      })
      assert.strictEqual(health.open, 1)
      servers[0]!.manners.maxStreams = 1
      servers[0]!.tellLimit()
      yield* settle
      assert.deepStrictEqual([health.open, health.checks.length], [0, 1])
      assert.strictEqual(yield* say("a"), "a")
      servers[0]!.manners.maxStreams = 2
      servers[0]!.tellLimit()
      yield* adjust(12_000)
      assert.strictEqual(health.open, 1)
      assert.strictEqual(servers[0]!.seen.overTheLimit, 0)
    })
  )

  it.effect("a Watch does not keep a connection from being idle", () =>
    Effect.gen(function* () {
      const { adjust, health, say, servers, settle, state } = yield* setup({ connections: { min: 0 } })
      assert.strictEqual(yield* say("a"), "a")
      assert.strictEqual(health.open, 1)
      for (let i = 0; i < 3; i++) yield* adjust(60_000)
      yield* settle
      assert.deepStrictEqual([health.open, servers[0]!.connections.size, yield* state], [0, 0, "Idle"])
    })
  )

  it.effect("a Watch is no call: nothing counts it, and a drain does not wait for it", () =>
    Effect.gen(function* () {
      const { cluster, health, say, settle } = yield* setup({ drain: "1 minute" })
      yield* say("a")
      yield* settle
      const { root } = yield* cluster.snapshot
      assert.deepStrictEqual([root.inFlight, health.open], [0, 1])
      const started = (yield* Metric.snapshot).flatMap((metric) =>
        metric.id === "grpc.client.attempt.started" && metric.type === "Counter" ? [metric.state.count] : []
      )
      assert.deepStrictEqual(started.map(Number), [1])
      const { cancelled } = yield* cluster.drain
      yield* settle
      assert.deepStrictEqual([cancelled, health.open], [0, 0])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})

describe("beyond A17", () => {
  it.effect("a Watch whose first answer does not come within 5 s has failed, and is begun anew", () =>
    Effect.gen(function* () {
      const { adjust, health, say, state } = yield* setup({ first: undefined })
      yield* adjust(4_999)
      assert.strictEqual(yield* state, "Connecting")
      yield* adjust(1)
      assert.strictEqual(yield* state, "TransientFailure")
      assert.match((yield* Effect.flip(say("a"))).message, /Watch ended with DeadlineExceeded/)
      assert.strictEqual(health.open, 0)
      yield* adjust(1_000)
      assert.deepStrictEqual([health.open, yield* state], [1, "Connecting"])
    })
  )

  it.effect("a flood is read in portions, and what it says last holds", () =>
    Effect.gen(function* () {
      const { adjust, health, recorder, settle, state } = yield* setup()
      for (let second = 0; second < 5; second++) {
        for (let i = 0; i < 5_000; i++) health.last.say(i % 2 === 0 ? notServing : serving)
        health.answer = notServing
        yield* settle
        yield* adjust(1_000)
      }
      // One Watch a second, each left after a hundred answers or so.
      assert.isAtMost(health.watches.length, 7)
      assert.strictEqual(health.open, 1)
      assert.isAtMost(recorder.of("HealthChanged").length, 40)
      assert.strictEqual(yield* state, "TransientFailure")
    })
  )

  it.effect("a server that answers each Watch and ends it is not asked in a spin", () =>
    Effect.gen(function* () {
      const { adjust, health, settle } = yield* setup()
      for (let i = 0; i < 200; i++) {
        for (const watch of health.watches) if (watch.open) watch.end(unavailable)
        yield* settle
        if (i % 10 === 0) yield* adjust(100)
      }
      assert.isAtMost(health.watches.length, 8)
    })
  )

  it.effect("names and options out of bounds are thrown, all at once", () =>
    Effect.sync(() => {
      const issues = (f: () => unknown): ReadonlyArray<string> => {
        try {
          f()
        } catch (error) {
          return (error as { issues: ReadonlyArray<{ path: string }> }).issues.map(({ path }) => path)
        }
        return []
      }
      const never = {} as Schedule.Schedule<unknown>
      const watch = () => HealthCheck.watch("x".repeat(1_025), { within: 0, backoff: never, every: never })
      assert.deepStrictEqual(issues(watch), ["service", "within", "backoff", "every"])
      assert.deepStrictEqual(
        issues(() => HealthCheck.poll(7 as never)),
        ["service"]
      )
      assert.deepStrictEqual(
        issues(() => HealthCheck.poll("", undefined, { timeout: NaN })),
        ["timeout"]
      )
    })
  )
})

describe("HealthCheck.poll", () => {
  const every = Schedule.spaced("1 second")

  it.effect("the first Check decides, then three bad ones in a row; one good one brings it back", () =>
    Effect.gen(function* () {
      const { adjust, health, state } = yield* setup({ health: HealthCheck.poll("test.Echo", every) })
      assert.deepStrictEqual([health.checks.length, health.watches.length, yield* state], [1, 0, "Ready"])
      health.answer = notServing
      const seen: Array<string> = []
      for (let i = 0; i < 3; i++) {
        yield* adjust(1_000)
        seen.push(yield* state)
      }
      assert.deepStrictEqual(seen, ["Ready", "Ready", "TransientFailure"])
      health.answer = serving
      yield* adjust(1_000)
      assert.strictEqual(yield* state, "Ready")
    })
  )

  it.effect("a Check that hangs is a bad one, after a second", () =>
    Effect.gen(function* () {
      const { adjust, say } = yield* setup({ health: HealthCheck.poll("", every), first: undefined })
      yield* adjust(1_000)
      assert.match((yield* Effect.flip(say("a"))).message, /Unhealthy/)
    })
  )

  it.effect("UNIMPLEMENTED: healthy, and not asked again", () =>
    Effect.gen(function* () {
      const { adjust, logged, say, servers } = yield* setup({
        health: HealthCheck.poll("", every),
        unimplemented: true
      })
      assert.strictEqual(yield* say("a"), "a")
      yield* adjust(60_000)
      assert.deepStrictEqual([servers[0]!.seen.started, logged.length], [2, 1])
    })
  )
})
