import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Queue, Ref, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Event, Resolver, RoundRobin } from "@hawser/core"
import { Grpc, type GrpcOptions } from "@hawser/grpc"
import { Faults, TestNetwork } from "@hawser/testing"
import type { Answer } from "@hawser/testing/TestNetwork"
import { clientOf, definition, Echo } from "../../support/testing/echo.ts"

const hosts = [1, 2, 3, 4].map((i) => `10.0.0.${i}`)
const at = (host: string) => `${host}:50051`

/** Servers that say where they are, and a client that finds them by name or is told. */
const setup = Effect.fnUntraced(function* (options: Partial<GrpcOptions.GrpcOptions> = {}) {
  const net = yield* TestNetwork.make
  const events: Array<Event.Event> = []
  const bus: Event.Events = { publish: ({ event }) => void events.push(event), listen: () => Effect.void }
  for (const host of hosts) {
    const handlers = { say: () => Effect.succeed(host) }
    yield* Effect.provideService(
      TestNetwork.serve(definition, handlers, { address: at(host) }),
      TestNetwork.TestNetwork,
      net
    )
  }
  const name = (answer: Answer) => net.network.name("echo", answer)
  name(hosts.slice(0, 2))
  const client = Layer.provide(
    clientOf({
      target: "dns:///echo:50051",
      balancer: RoundRobin.policy,
      dns: { refresh: Schedule.spaced("10 seconds") },
      ...options
    }),
    TestNetwork.layerOf(net)
  )
  const context = yield* Effect.provideService(Layer.build(client), Event.Events, bus)
  const call = Effect.provide(
    Echo.use((echo) => echo.say("a")),
    context
  )
  const lost = yield* Ref.make(0)
  const calls = yield* Ref.make(0)
  /** Five calls a second. */
  const load = Effect.forkScoped(
    Effect.forever(
      Effect.delay(
        Effect.andThen(
          Ref.update(calls, (n) => n + 1),
          Effect.matchEffect(call, { onFailure: () => Ref.update(lost, (n) => n + 1), onSuccess: () => Effect.void })
        ),
        "200 millis"
      )
    )
  )
  const pass = (seconds: number) =>
    Effect.provideService(
      Effect.forEach(Array.from({ length: seconds * 5 }), () =>
        Effect.andThen(TestNetwork.settle, TestClock.adjust("200 millis"))
      ),
      TestNetwork.TestNetwork,
      net
    )
  const dials = (host: string) =>
    events.filter((event) => event._tag === "Connecting" && event.endpoint === at(host)).length
  const answers = Effect.map(Effect.all(Array.from({ length: 12 }, () => call)), (all) => [...new Set(all)].sort())
  const settle = Effect.provideService(TestNetwork.settle, TestNetwork.TestNetwork, net)
  return { net, name, call, answers, load, lost, calls, pass, dials, events, context, settle }
})

describe("a name that changes", () => {
  it.effect(
    "an address that is added is used within the interval and a second, and nobody else's socket is touched",
    () =>
      Effect.gen(function* () {
        const { answers, calls, dials, load, lost, name, net, pass } = yield* setup()
        assert.deepStrictEqual(yield* answers, hosts.slice(0, 2))
        yield* load
        yield* pass(3)
        const before = [...net.connections]
        name(hosts.slice(0, 3))
        yield* pass(11)
        assert.isAbove(net.servers.get(at(hosts[2]!))!.seen.completed, 0)
        assert.deepStrictEqual(yield* answers, hosts.slice(0, 3))
        name(hosts.slice(1, 3))
        yield* pass(11)
        assert.deepStrictEqual(yield* answers, hosts.slice(1, 3))
        assert.deepStrictEqual(hosts.map(dials), [1, 1, 1, 0])
        assert.strictEqual(net.connections.length, before.length + 1)
        assert.isAbove(yield* Ref.get(calls), 100)
        assert.strictEqual(yield* Ref.get(lost), 0)
      }).pipe(Effect.scoped)
  )

  for (const answer of ["NotFound", "ServerFailure", "Silence", []] as const) {
    it.effect(`an outage of five minutes (${JSON.stringify(answer)}) loses no call`, () =>
      Effect.gen(function* () {
        const { answers, calls, dials, events, load, lost, name, net, pass } = yield* setup()
        yield* load
        yield* pass(3)
        const before = net.network.lookups
        name(answer)
        yield* pass(300)
        assert.isTrue(events.some(({ _tag }) => _tag === "ResolveFailed"))
        // 1 s × 1.6 up to 30 s, and a second for each that hangs.
        assert.isAtMost(net.network.lookups - before, 22)
        name(hosts.slice(0, 3))
        yield* pass(40)
        assert.deepStrictEqual(yield* answers, hosts.slice(0, 3))
        assert.deepStrictEqual(hosts.map(dials), [1, 1, 1, 0])
        assert.isAbove(yield* Ref.get(calls), 1_600)
        assert.strictEqual(yield* Ref.get(lost), 0)
      }).pipe(Effect.scoped)
    )
  }

  it.effect("an outage of eleven minutes is told with its reason, and is over when it is over", () =>
    Effect.gen(function* () {
      const { answers, call, events, name, pass } = yield* setup()
      yield* answers
      name("ServerFailure")
      yield* pass(660)
      const error = yield* Effect.flip(call)
      const reason = error._tag === "RpcError" && error.reason._tag === "Unavailable" ? error.reason.connect : undefined
      assert.deepStrictEqual(reason?.reason, { _tag: "Resolution", target: "echo" })
      assert.isTrue(events.some((event) => event._tag === "ResolveFailed" && event.keptForMillis === 0))
      name(hosts.slice(0, 2))
      yield* pass(40)
      assert.deepStrictEqual(yield* answers, hosts.slice(0, 2))
    }).pipe(Effect.scoped)
  )

  it.effect("a lost connection is a reason to look at once: a pod that was replaced is found after a second", () =>
    Effect.gen(function* () {
      const { answers, name, net, pass } = yield* setup({ dns: { refresh: "1 hour" } })
      assert.deepStrictEqual(yield* answers, hosts.slice(0, 2))
      yield* pass(2)
      name(hosts.slice(1, 3))
      yield* Effect.scoped(
        Effect.provideService(Faults.inject(Faults.kill(at(hosts[0]!))), TestNetwork.TestNetwork, net)
      )
      yield* pass(1)
      assert.deepStrictEqual(yield* answers, hosts.slice(1, 3))
    }).pipe(Effect.scoped)
  )

  it.effect("that nobody knows fails calls with the reason, and whoever waits for ready gets through later", () =>
    Effect.gen(function* () {
      const { context, name, net, pass, settle } = yield* setup({ target: "dns:///later:50051" })
      const say = (waitForReady: boolean) =>
        Effect.provide(
          Echo.use((echo) => echo.say("a", { waitForReady })),
          context
        )
      yield* settle
      const error = yield* Effect.flip(say(false))
      assert.match(String(error.message), /Resolution later/)
      const waiting = yield* Effect.forkChild(say(true))
      yield* settle
      net.network.name("later", hosts.slice(0, 1))
      name([])
      yield* pass(5)
      assert.strictEqual(yield* Fiber.join(waiting), hosts[0])
    }).pipe(Effect.scoped)
  )

  it.effect("a huge answer is a thousand endpoints", () =>
    Effect.gen(function* () {
      const { context, name, pass } = yield* setup({ connections: { min: 0 } })
      name([...hosts, ...Array.from({ length: 5_000 }, (_, i) => `10.9.${i >> 8}.${i & 255}`)])
      yield* pass(11)
      const { root } = yield* Effect.provide(
        Grpc.GrpcCluster.use((cluster) => cluster.snapshot),
        context
      )
      assert.strictEqual(root.children.length, 1_000)
    }).pipe(Effect.scoped)
  )
})

describe("sets that are pushed", () => {
  it.effect("a hundred changes a second dial nobody who stays, and cost ten updates", () =>
    Effect.gen(function* () {
      const sets = yield* Queue.unbounded<ReadonlyArray<string>>()
      const resolver = Resolver.fromStream(
        "registry",
        Stream.map(Stream.fromQueue(sets), (list) => list.map((host) => ({ addresses: [at(host)] })))
      )
      const { answers, calls, dials, events, load, lost, net, pass, settle } = yield* setup({
        resolver,
        dns: undefined
      })
      yield* Queue.offer(sets, hosts.slice(0, 2))
      yield* settle
      assert.deepStrictEqual(yield* answers, hosts.slice(0, 2))
      yield* load
      yield* pass(1)
      const seen = events.filter(({ _tag }) => _tag === "Resolved").length
      for (let i = 0; i < 1_000; i++) {
        // Each set differs from the one before: a third or a fourth comes and goes.
        yield* Queue.offer(sets, [hosts[0]!, hosts[1]!, ...(i % 3 === 0 ? [] : [hosts[1 + (i % 3)]!])])
        yield* settle
        yield* TestClock.adjust("10 millis")
      }
      yield* pass(1)
      assert.deepStrictEqual(hosts.slice(0, 2).map(dials), [1, 1])
      assert.isAtMost(events.filter(({ _tag }) => _tag === "Resolved").length - seen, 101)
      assert.strictEqual(
        net.connections.filter(({ peer }) => peer === at(hosts[0]!) || peer === at(hosts[1]!)).length,
        2
      )
      assert.isAbove(yield* Ref.get(calls), 40)
      assert.strictEqual(yield* Ref.get(lost), 0)
    }).pipe(Effect.scoped)
  )
})
