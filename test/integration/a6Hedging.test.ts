/** gRFC A6, hedging, as grpc-js servers see it. The rules one by one: `test/unit/grpc/a6Hedging.test.ts`. */
import * as grpc from "@grpc/grpc-js"
import { assert, describe, it } from "@effect/vitest"
import { RetryThrottle } from "@hawser/core"
import { Hedge } from "@hawser/grpc"
import { Effect, Fiber } from "effect"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"

const policy = (options: Partial<Hedge.A6Options> = {}) =>
  Hedge.a6({ maxAttempts: 3, hedgingDelay: "20 millis", nonFatalStatusCodes: ["UNAVAILABLE"], ...options })

const start = (hedge: Hedge.Hedge, ...behaviours: ReadonlyArray<EchoServer.Behaviour>) =>
  Effect.gen(function* () {
    const servers = yield* Effect.forEach(behaviours, (behaviour, i) =>
      EchoServer.make({ name: `s${i + 1}`, behaviour })
    )
    const endpoints = servers.map(({ address }) => address)
    const client = yield* Client.make({ endpoints, perAttempt: Hedge.intercept(hedge), connections: { min: 1 } })
    yield* client.until("connected", () => client.count("Connected") >= servers.length)
    return { client, servers }
  })

const request = { id: "1", delayMillis: 0, failCode: 0 }
const previous = (call: EchoServer.ServerCall) => call.metadata.get("grpc-previous-rpc-attempts")
const pushback = (millis: string) => {
  const metadata = new grpc.Metadata()
  metadata.set("grpc-retry-pushback-ms", millis)
  return metadata
}

describe("real servers see", () => {
  it.live("a second attempt at the other one, and the first one cancelled when that has answered", () =>
    Effect.gen(function* () {
      let first: EchoServer.ServerCall | undefined
      const slowThenFast: EchoServer.Behaviour = (call) => {
        if (first === undefined) first = call
        else call.answer()
      }
      const { client, servers } = yield* start(policy({ maxAttempts: 2 }), slowThenFast, slowThenFast)
      yield* client.echo.put(request)
      const slow = servers.find((server) => server.calls.includes(first!))!
      const fast = servers.find((server) => server !== slow)!
      yield* slow.until("cancelled", ({ cancelled }) => cancelled === 1)
      assert.lengthOf(slow.calls, 1)
      assert.lengthOf(fast.calls, 1)
      assert.deepStrictEqual(previous(slow.calls[0]!), [])
      assert.deepStrictEqual(previous(fast.calls[0]!), ["1"])
      assert.strictEqual(client.gauge.running, 0)
    })
  )

  it.live("all attempts of a call that nobody answers, and all of them cancelled when its caller leaves", () =>
    Effect.gen(function* () {
      const { client, servers } = yield* start(policy(), EchoServer.holding)
      const [server] = servers
      const fiber = yield* Effect.forkChild(client.echo.put(request))
      yield* server!.until("three attempts", ({ calls }) => calls.length === 3)
      assert.deepStrictEqual(server!.calls.map(previous), [[], ["1"], ["2"]])
      yield* Fiber.interrupt(fiber)
      yield* server!.until("cancelled", ({ cancelled }) => cancelled === 3)
    })
  )

  it.live("no more attempts once one has sent its headers, and that one alone is left, though it fails", () =>
    Effect.gen(function* () {
      const { client, servers } = yield* start(policy(), EchoServer.holding)
      const [server] = servers
      const fiber = yield* Effect.forkChild(Client.failure(client.echo.put(request)))
      yield* server!.until("two attempts", ({ calls }) => calls.length === 2)
      server!.calls[1]!.sendHeaders()
      yield* server!.until("the other one's end", ({ cancelled }) => cancelled >= 1)
      server!.calls[1]!.fail(grpc.status.UNAVAILABLE)
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { committed: true, progress: "Answered" })
      assert.isAtMost(server!.calls.length, 3)
      yield* server!.until("the others' end", ({ calls, cancelled }) => cancelled === calls.length - 1)
      assert.strictEqual(client.gauge.running, 0)
    })
  )

  it.live("the next attempt at once after a non-fatal failure, and none after a fatal one", () =>
    Effect.gen(function* () {
      const hour = policy({ hedgingDelay: "1 hour" })
      const down = yield* start(hour, (call) => call.fail(grpc.status.UNAVAILABLE))
      assert.strictEqual((yield* Effect.flip(down.client.echo.put(request))).attempts, 3)
      assert.lengthOf(down.servers[0]!.calls, 3)
      const broken = yield* start(hour, (call) => call.fail(grpc.status.INTERNAL))
      yield* Effect.flip(broken.client.echo.put(request))
      assert.lengthOf(broken.servers[0]!.calls, 1)
    })
  )

  // J1: five in grpc-js.
  it.live("one attempt of each call while the bucket is half empty", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 2, tokenRatio: 0.1 })
      const hedge = policy({ maxAttempts: 5, hedgingDelay: "1 millis", throttle })
      const { client, servers } = yield* start(hedge, (call) => call.fail(grpc.status.UNAVAILABLE))
      const [server] = servers
      for (let i = 0; i < 5; i++) yield* Effect.flip(client.echo.put(request))
      assert.isAtMost(server!.calls.length, 6)
      const drained = server!.calls.length
      yield* Effect.flip(client.echo.put(request))
      assert.lengthOf(server!.calls, drained + 1)
    })
  )

  // J2: grpc-js sends all of them at once.
  it.live.each(["-1", "soon"])("no second attempt after a pushback of %s", (millis) =>
    Effect.gen(function* () {
      const { client, servers } = yield* start(policy({ hedgingDelay: "1 hour" }), (call) =>
        call.fail(grpc.status.UNAVAILABLE, "", pushback(millis))
      )
      yield* Effect.flip(client.echo.put(request))
      assert.lengthOf(servers[0]!.calls, 1)
    })
  )
})
