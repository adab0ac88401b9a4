import { assert, describe, it } from "@effect/vitest"
import * as GrpcJs from "@hawser/grpc/GrpcJs"
import { Effect, Fiber } from "effect"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as Http2Server from "../support/grpc/Http2Server.ts"

/** The limits of the connections, as snapshots show them. */
const limits = (client: Client.TestClient): ReadonlyArray<unknown> =>
  Effect.runSync(client.cluster.snapshot).root.children.flatMap((pool) => pool.children.map((s) => s.details["limit"]))

describe("streams on one connection", () => {
  it.live("never exceed the configured limit, and who waits is counted at every instant", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const connections = { min: 1, max: 3, streamsPerConnection: 10 }
        const client = yield* Client.make({ endpoints: [server.address], connections })
        let issued = 0
        let started = 0
        const wrong: Array<string> = []
        const check = () => {
          const waiting = client.cluster.waitingUnsafe()
          if (waiting !== issued - started) wrong.push(`${waiting} waiting, ${issued} issued, ${started} started`)
        }
        client.gauge.onStart = (running) => {
          started++
          check()
          if (running > 10) wrong.push(`${running} on one connection`)
        }
        const call = Effect.suspend(() => {
          issued++
          return Effect.tap(client.echo.echo(Client.request({ delayMillis: 2 })), Effect.sync(check))
        })
        yield* Effect.orDie(Effect.forEach(Array.from({ length: 500 }), () => call, { concurrency: 500 }))
        assert.deepStrictEqual(wrong, [])
        assert.strictEqual(started, 500)
        assert.strictEqual(client.gauge.max, 10)
        assert.isAtMost(server.max, 30)
        assert.strictEqual(server.accepted, 3)
        assert.strictEqual((yield* client.cluster.snapshot).waiting, 0)
      })
    )
  )

  it.live("leave the gauge when they are interrupted, one by one", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
        const connections = { min: 1, max: 1, streamsPerConnection: 10 }
        const client = yield* Client.make({ endpoints: [server.address], connections, drain: 0 })
        yield* Effect.orDie(client.cluster.awaitReady())
        const fibers = yield* Effect.forEach(Array.from({ length: 50 }), () =>
          Effect.forkScoped(Effect.exit(client.echo.echo(Client.request())))
        )
        yield* server.until("ten running", (s) => s.running === 10)
        assert.strictEqual(client.cluster.waitingUnsafe(), 40)
        for (let i = 49; i >= 10; i--) {
          yield* Fiber.interrupt(fibers[i]!)
          const snapshot = yield* client.cluster.snapshot
          assert.deepStrictEqual(
            [client.cluster.waitingUnsafe(), snapshot.waiting, snapshot.root.inFlight],
            [i - 10, i - 10, 10]
          )
        }
        assert.strictEqual(server.calls.length, 10)
      })
    )
  )

  it.live("never exceed what the server allows, and as many connections open as that takes", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ maxStreams: 10 })
        const client = yield* Client.make({ endpoints: [server.address] })
        const call = client.echo.echo(Client.request({ delayMillis: 5 }))
        yield* Effect.orDie(Effect.forEach(Array.from({ length: 500 }), () => call, { concurrency: 500 }))
        assert.strictEqual(client.gauge.max, 10)
        assert.strictEqual(server.accepted, 4)
        assert.isAtMost(server.max, 40)
        assert.deepStrictEqual(limits(client), [10, 10, 10, 10])
      })
    )
  )

  it.live("follow the peer's SETTINGS from the first call on, and when they change", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make(() => {}, { maxConcurrentStreams: 10 })
        const client = yield* Client.make({ endpoints: [server.address], connections: { min: 1, max: 1 }, drain: 0 })
        yield* Effect.forEach(Array.from({ length: 30 }), () =>
          Effect.forkScoped(Effect.exit(client.echo.echo(Client.request())))
        )
        yield* server.until("ten running", (s) => s.streams.length === 10)
        assert.deepStrictEqual(limits(client), [10])
        assert.strictEqual(client.gauge.max, 10)
        assert.strictEqual(client.cluster.waitingUnsafe(), 20)
        for (const session of server.sessions) session.settings({ maxConcurrentStreams: 25 })
        yield* server.until("25 running", (s) => s.streams.length === 25)
        assert.strictEqual(client.cluster.waitingUnsafe(), 5)
        for (const session of server.sessions) session.settings({ maxConcurrentStreams: 5 })
        yield* eventually(
          "limited to 5",
          () => limits(client)[0] === 5,
          () => limits(client)
        )
        for (const stream of server.streams.slice(0, 20)) Http2Server.polite(stream)
        yield* eventually("five left", () => client.gauge.running === 5)
        assert.strictEqual(server.streams.length, 25)
        Http2Server.polite(server.streams[20]!)
        yield* server.until("one more", (s) => s.streams.length === 26)
      })
    )
  )

  const learning: ReadonlyArray<readonly [string, number, number]> = [
    ["of quick handlers and many calls", 300, 20],
    ["of few calls above it", 14, 50],
    ["of slow handlers", 40, 250]
  ]
  for (const [load, calls, delayMillis] of learning) {
    it.live(`are learned within 2 s where SETTINGS can't be read, under a load ${load}`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* EchoServer.make({ maxStreams: 10 })
          const client = yield* Client.make({
            endpoints: [server.address],
            connections: { min: 1, max: 1 },
            transport: GrpcJs.make({ settings: false }),
            drain: 0
          })
          yield* Effect.orDie(client.cluster.awaitReady())
          assert.deepStrictEqual(limits(client), [100])
          const since = performance.now()
          const running = yield* Effect.forkScoped(
            Effect.forEach(
              Array.from({ length: calls }),
              () => Effect.forever(Effect.exit(client.echo.echo(Client.request({ delayMillis })))),
              { concurrency: calls }
            )
          )
          yield* eventually(
            "learned",
            () => limits(client)[0] !== 100,
            () => server.counts()
          )
          assert.isAtMost(performance.now() - since, 2_000)
          assert.deepStrictEqual(limits(client), [10])
          // Those that were started before have to end first.
          yield* eventually("settled", () => client.gauge.running <= 10)
          let most = 0
          client.gauge.onStart = (n) => (most = Math.max(most, n))
          const ended = server.calls.length
          yield* server.until("fifty more", (s) => s.calls.length > ended + 50)
          assert.strictEqual(most, 10)
          assert.deepStrictEqual(limits(client), [10])
          assert.strictEqual(server.max, 10)
          yield* Fiber.interrupt(running)
        })
      )
    )
  }

  it.live("are not learned from a peer that just takes its time", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({
          endpoints: [server.address],
          connections: { min: 1, max: 1 },
          transport: GrpcJs.make({ settings: false }),
          drain: 0
        })
        // The first ones fill the window of the connection, so that the small ones are held back, too.
        const payload = Buffer.alloc(1_000_000)
        const calls = Array.from({ length: 60 }, (_, i) =>
          client.echo.echo(Client.request({ delayMillis: 50, ...(i < 5 ? { payload } : {}) }))
        )
        yield* Effect.orDie(Effect.forEach(calls, (call) => Effect.repeat(call, { times: 5 }), { concurrency: 60 }))
        assert.deepStrictEqual(limits(client), [100])
      })
    )
  )
})
