import { assert, describe, it } from "@effect/vitest"
import { Channel, Client as Clients } from "@hawser/grpc"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import { Context, Effect, Exit, Fiber, Layer, Schedule, Scope } from "effect"
import { EchoService } from "../generated/echo.ts"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as TcpServer from "../support/grpc/TcpServer.ts"

const soon = Schedule.spaced(20)

describe("sockets", () => {
  for (const n of [1, 3, 8]) {
    it.live(`a pool of ${n} opens ${n}, and not one more under load`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* EchoServer.make()
          const client = yield* Client.make({ endpoints: [server.address], connections: { min: n, max: n } })
          yield* server.until("all connected", (s) => s.acknowledged === n)
          yield* client.until("all connected", () => client.count("Connected") === n)
          yield* Effect.orDie(
            Effect.forEach(Array.from({ length: 300 }), () => client.echo.echo(Client.request()), { concurrency: 300 })
          )
          assert.strictEqual(server.accepted, n)
          assert.strictEqual(server.acknowledged, n)
          assert.strictEqual(client.gauge.connections.filter((c) => c.started > 0).length, n)
        })
      )
    )
  }

  it.live("of localhost are one, however many addresses it has", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({ target: `dns:///localhost:${server.port}`, connections: { max: 1 } })
        const reply = yield* Effect.orDie(client.echo.echo.reply(Client.request()))
        assert.match(reply.connection, new RegExp(`^(127\\.0\\.0\\.1|\\[::1\\]):${server.port}#1$`))
        assert.strictEqual(server.accepted, 1)
        assert.strictEqual(client.count("Connecting"), 1)
      })
    )
  )

  it.live("as many sessions as the servers count are Connected events, over 15 faults under load", () =>
    leavesNothing(
      Effect.gen(function* () {
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const past: Array<EchoServer.EchoServer> = []
        const total = (f: (s: EchoServer.EchoServer) => number) => past.reduce((n, s) => n + f(s), 0)
        let servers: Array<EchoServer.EchoServer> = []
        for (let i = 0; i < 2; i++) {
          const server = yield* EchoServer.make({ name: `s${i}` })
          servers.push(server)
          past.push(server)
        }
        const endpoints = servers.map((s) => s.address)
        const client = yield* Scope.provide(
          Client.make({ endpoints, connections: { min: 2, max: 2 }, reconnect: soon, deadline: "5 seconds" }),
          scope
        )
        // All four are connected, and the servers know it.
        const settled = () =>
          client.count("Connected") - client.count("Disconnected") === 4 &&
          total((s) => s.acknowledged) >= client.count("Connected") &&
          servers.every((s) => s.sockets.size === 2)
        const quiet = eventually("settled", settled, () => [past.map((s) => s.counts()), client.count("Connected")])
        yield* quiet
        // Calls that start at every moment of every fault. How they end is the business of other tests.
        const load = yield* Effect.forkScoped(
          Effect.forEach(
            [1, 2, 3, 4],
            () => Effect.forever(Effect.exit(client.echo.echo(Client.request({ delayMillis: 1 })))),
            { concurrency: 4 }
          )
        )
        for (let fault = 0; fault < 15; fault++) {
          const which = fault % 2
          const server = servers[which]!
          const before = client.count("Disconnected")
          if (fault % 3 === 0) server.goaway()
          else if (fault % 3 === 1) server.drop()
          else {
            server.kill()
            const fresh = yield* EchoServer.make({ name: `s${which}-${fault}`, port: server.port })
            past.push(fresh)
            servers = servers.map((s) => (s === server ? fresh : s))
          }
          yield* client.until("both lost", () => client.count("Disconnected") === before + 2)
          yield* quiet
        }
        yield* Fiber.interrupt(load)
        const figures = {
          accepted: total((s) => s.accepted),
          acknowledged: total((s) => s.acknowledged),
          connected: client.count("Connected"),
          disconnected: client.count("Disconnected")
        }
        assert.deepStrictEqual(figures, { accepted: 34, acknowledged: 34, connected: 34, disconnected: 30 })
        yield* Scope.close(scope, Exit.void)
        yield* eventually("all closed", () => total((s) => s.sockets.size) === 0)
        assert.strictEqual(client.gauge.running, 0)
      })
    )
  )

  it.live("a lost connection is replaced by one, even where more would be allowed and calls wait", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({ endpoints: [server.address], reconnect: soon })
        yield* Effect.orDie(client.cluster.awaitReady())
        const load = yield* Effect.forkScoped(
          Effect.forEach(
            [1, 2, 3, 4],
            () => Effect.forever(Effect.exit(client.echo.echo(Client.request({ delayMillis: 1 })))),
            { concurrency: 4 }
          )
        )
        for (let fault = 1; fault <= 10; fault++) {
          const started = server.calls.length
          yield* server.until("busy", (s) => s.calls.length >= started + 20)
          if (fault % 2 === 0) server.goaway()
          else server.drop()
          yield* client.until("replaced", () => client.count("Connected") === fault + 1)
        }
        yield* Fiber.interrupt(load)
        assert.strictEqual(client.count("Connected"), 11)
        assert.strictEqual(client.count("Connecting"), 11)
        assert.strictEqual(server.accepted, 11)
      })
    )
  )

  it.live("a peer that hangs up is dialled when the backoff says so, and never by grpc-js itself", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(TcpServer.rude)
        // Longer than the second after which grpc-js would dial again.
        const client = yield* Client.make({ endpoints: [server.address], reconnect: Schedule.spaced(1_500) })
        yield* client.until("failed", () => client.count("ConnectFailed") === 1)
        const failed = client.events.find((event) => event._tag === "ConnectFailed")!
        assert.include(["Reset", "Closed"], failed.error.reason._tag)
        assert.isAtLeast(failed.retryInMillis, 1_000)
        yield* client.until("failed again", () => client.count("ConnectFailed") === 2)
        assert.strictEqual(server.accepted, 2)
      })
    )
  )
})

describe("pools", () => {
  const options = (address: string) => ({
    target: `ipv4:${address}`,
    credentials: Credentials.insecure,
    connections: { min: 2, max: 2 }
  })

  it.live("one layer value used eight times is one", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const layer = Grpc.layer(options(server.address))
        const ids = ["a", "b", "c", "d", "e", "f", "g", "h"]
        const keys = ids.map((id) => Context.Service<Clients.Client<typeof EchoService>>(id))
        const clients = keys.map((key) =>
          Layer.effect(
            key,
            Effect.map(Channel.Channel, (channel) => Clients.make(EchoService, channel))
          ).pipe(Layer.provide(layer))
        )
        const [first, ...rest] = clients
        const context = yield* Effect.orDie(Layer.build(Layer.mergeAll(first!, ...rest)))
        for (const key of keys) {
          const echo = Context.get(context as Context.Context<unknown>, key as never) as Clients.Client<
            typeof EchoService
          >
          yield* Effect.orDie(echo.echo(Client.request()))
        }
        yield* server.until("both connected", (s) => s.acknowledged === 2)
        assert.strictEqual(server.calls.length, 8)
        assert.strictEqual(server.accepted, 2)
      })
    )
  )

  it.live("eight layers built apart share no socket", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        for (let i = 0; i < 8; i++) yield* Effect.orDie(Layer.build(Grpc.layer(options(server.address))))
        yield* server.until("all connected", (s) => s.acknowledged === 16)
        assert.strictEqual(server.accepted, 16)
      })
    )
  )

  it.live("eight layers built apart share no backoff", () =>
    leavesNothing(
      Effect.gen(function* () {
        const address = yield* TcpServer.refused
        // Each fails once and then waits. One that took over another's backoff would not have dialled at all.
        for (let i = 0; i < 8; i++) {
          const client = yield* Client.make({ endpoints: [address], connections: { min: 1, max: 1 } })
          yield* client.until("failed", () => client.count("ConnectFailed") === 1)
          const failed = client.events.filter((event) => event._tag === "ConnectFailed")[0]!
          assert.isAtMost(failed.retryInMillis, 1_200)
          assert.strictEqual(failed.error.reason._tag, "Refused")
        }
      })
    )
  )
})
