import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Schedule } from "effect"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import * as HealthCheck from "@hawser/grpc/HealthCheck"
import * as TestServer from "@hawser/testing/TestServer"
import { servers, start } from "../interop/servers.ts"
import { definition, Echo } from "../support/testing/echo.ts"

/** A client, and waiting for what its cluster comes to. */
const client = Effect.fnUntraced(function* (address: string, options: Partial<GrpcOptions> = {}) {
  const context = yield* Layer.build(
    Echo.layer.pipe(
      Layer.provideMerge(
        Grpc.layer({
          target: `ipv4:${address}`,
          credentials: Credentials.insecure,
          retry: false,
          health: HealthCheck.watch("test.Echo"),
          ...options
        })
      )
    )
  )
  const cluster = Context.get(context, Grpc.GrpcCluster)
  const state = Effect.map(cluster.snapshot, ({ root }) => root.connectivity)
  const until = (wanted: string) =>
    Effect.gen(function* () {
      while ((yield* state) !== wanted) yield* Effect.sleep(5)
    }).pipe(Effect.timeout("10 seconds"))
  return { cluster, echo: Context.get(context, Echo), state, until }
})

const handlers = { say: (text: string) => Effect.succeed(text) }

describe("A17 against grpc-js servers", () => {
  it.live("SERVING, NOT_SERVING and back, on one connection", () =>
    Effect.gen(function* () {
      const server = yield* TestServer.make(definition, handlers)
      const { cluster, echo, until } = yield* client(server.address)
      assert.strictEqual(yield* echo.say("a"), "a")
      yield* server.setHealth("test.Echo", "NotServing")
      yield* until("TransientFailure")
      assert.match((yield* Effect.flip(echo.say("b"))).message, /Unhealthy: NOT_SERVING/)
      yield* server.setHealth("test.Echo", "Serving")
      yield* until("Ready")
      assert.strictEqual((yield* cluster.use((lease) => Effect.succeed(lease.id))).split("#")[1], "1")
      assert.strictEqual(server.health.watching, 1)
    })
  )

  it.live("a service that is not there, and the server as a whole", () =>
    Effect.gen(function* () {
      const server = yield* TestServer.make(definition, handlers)
      const wrong = yield* client(server.address, { health: HealthCheck.watch("no.Such") })
      yield* wrong.until("TransientFailure")
      assert.match((yield* Effect.flip(wrong.echo.say("a"))).message, /SERVICE_UNKNOWN/)
      const whole = yield* client(server.address, { health: HealthCheck.watch() })
      assert.strictEqual(yield* whole.echo.say("a"), "a")
    })
  )

  it.live("Watch hangs, ends and floods; the client goes on", () =>
    Effect.gen(function* () {
      const server = yield* TestServer.make(definition, handlers)
      const { until } = yield* client(server.address, { health: HealthCheck.watch("test.Echo", { within: 200 }) })
      yield* until("Ready")
      server.health.manner = { _tag: "Fails", status: { _tag: "Unavailable" } }
      yield* until("TransientFailure")
      server.health.manner = "Hangs"
      yield* Effect.sleep(50)
      server.health.manner = "Good"
      yield* until("Ready")
      server.health.manner = "Floods"
      const before = server.health.asked
      yield* Effect.sleep(1_500)
      yield* until("Ready")
      // Left, and begun anew a second later.
      assert.isAtLeast(server.health.asked, before + 1)
      assert.isAtMost(server.health.asked, before + 3)
    })
  )

  it.live("a drain ends the Watch at once, and its server sees it", () =>
    Effect.gen(function* () {
      const server = yield* TestServer.make(definition, handlers)
      const { cluster, until } = yield* client(server.address)
      yield* until("Ready")
      const { elapsed } = yield* cluster.drain
      assert.isBelow(Duration.toMillis(elapsed), 1_000)
      while (server.health.watching > 0) yield* Effect.sleep(5)
    })
  )

  it.live("with one stream allowed, Check takes turns with calls", () =>
    Effect.gen(function* () {
      const server = yield* TestServer.make(definition, handlers, { maxStreams: 1 })
      const { echo, until } = yield* client(server.address, { connections: { max: 1 } })
      yield* until("Ready")
      const texts = yield* Effect.forEach(Array.from({ length: 20 }, String), (text) => echo.say(text), {
        concurrency: "unbounded"
      })
      assert.strictEqual(texts.length, 20)
      assert.deepStrictEqual([server.health.watching, server.health.asked > 0], [0, true])
    })
  )
})

const go = servers.go.present()
if (!go) console.log(`skipped: A17 against a server in Go, which needs ${servers.go.packages}`)

describe.runIf(go)("A17 against a server in Go", () => {
  const server = Effect.acquireRelease(
    Effect.promise(() => start("go", undefined)),
    ({ stop }) => Effect.promise(stop)
  )

  it.live(
    "its health service: SERVING, NOT_SERVING, SERVICE_UNKNOWN",
    () =>
      Effect.gen(function* () {
        const { address, say } = yield* server
        say("shop.Orders 1")
        const { cluster, until } = yield* client(address, { health: HealthCheck.watch("shop.Orders") })
        yield* until("Ready")
        say("shop.Orders 2")
        yield* until("TransientFailure")
        say("shop.Orders 1")
        yield* until("Ready")
        const checked = yield* client(address, {
          health: HealthCheck.poll("shop.Orders", Schedule.spaced(20), { unhealthyAfter: 1 })
        })
        yield* checked.until("Ready")
        say("shop.Orders 2")
        yield* checked.until("TransientFailure")
        const other = yield* client(address, { health: HealthCheck.watch("no.Such") })
        yield* other.until("TransientFailure")
        assert.match((yield* Effect.flip(other.cluster.use(() => Effect.void))).message, /SERVICE_UNKNOWN/)
        yield* cluster.drain
      }),
    120_000
  )

  it.live(
    "a flood takes no more than a twentieth of a processor",
    () =>
      Effect.gen(function* () {
        const { address, say } = yield* server
        say("shop.Orders 1")
        const { until } = yield* client(address, { health: HealthCheck.watch("shop.Orders") })
        yield* until("Ready")
        say("shop.Orders flood")
        const shares: Array<number> = []
        for (let i = 0; i < 3; i++) {
          const before = process.cpuUsage()
          yield* Effect.sleep(1_000)
          const { system, user } = process.cpuUsage(before)
          shares.push((user + system) / 1_000_000)
        }
        assert.isAtMost(shares.toSorted((a, b) => a - b)[1]!, 0.05)
      }),
    120_000
  )
})
