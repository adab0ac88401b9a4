/**
 * A service config against real servers, where grpc-js 1.14.7 falls short: the rows J6 to J9 of the conformance tables.
 * J1 to J5 and J15 are in `a6Retry.test.ts` and `a6Hedging.test.ts`, here and in `test/unit/grpc`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Dns } from "@hawser/grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import { decode } from "@hawser/grpc/Options"
import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
import { Effect, Fiber } from "effect"
import { Resolver } from "node:dns/promises"
import { createSocket } from "node:dgram"
import type { AddressInfo } from "node:net"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import * as Http2Server from "../support/grpc/Http2Server.ts"

const put = { id: "p", delayMillis: 0, failCode: 0 }
const name = [{ service: "hawser.test.v1.Echo" }]
const of = (settings: object, more: object = {}) =>
  ServiceConfig.make({ methodConfig: [{ name, ...settings }], ...more })

/** Everything that is wrong with a config in its slot, by path. */
const refused = (serviceConfig: object) =>
  Effect.map(
    Effect.flip(decode({ target: "greeter:1", serviceConfig: JSON.stringify(serviceConfig) } satisfies GrpcOptions)),
    ({ issues }) => issues.map(({ path }) => path)
  )

describe("a service config on the wire", () => {
  it.live.each([
    ["0.5s", 500],
    ["1.5s", 1_500],
    ["0.000000001s", 1],
    ["2s", 2_000]
  ] as const)(
    "a timeout of %s is as long as it says; grpc-js takes half a second for five nanoseconds (J6)",
    ([text, millis]) =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* Http2Server.make()
          const client = yield* Client.make({ endpoints: [server.address], serviceConfig: of({ timeout: text }) })
          yield* Effect.orDie(client.cluster.awaitReady(1))
          if (millis === 1) {
            const { reason } = yield* Client.failure(client.echo.put(put))
            assert.strictEqual(reason._tag, "DeadlineExceeded")
            return
          }
          yield* Effect.orDie(client.echo.put(put))
          const told = Number.parseInt(String(server.streams[0]!.headers["grpc-timeout"]), 10)
          assert.isAtMost(told, millis)
          assert.isAbove(told, millis - 400)
        })
      )
  )

  it.live("waitForReady waits: grpc-js reads it and does nothing (J7)", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ name: "a" })
        const { port } = server
        server.kill()
        const reconnect = { connections: { min: 0 } }
        const endpoints = [`127.0.0.1:${port}`]
        const hasty = yield* Client.make({ endpoints, serviceConfig: of({ waitForReady: false }), ...reconnect })
        assert.strictEqual((yield* Client.failure(hasty.echo.put(put))).reason._tag, "Unavailable")
        const patient = yield* Client.make({ endpoints, serviceConfig: of({ waitForReady: true }), ...reconnect })
        const fiber = yield* Effect.forkChild(patient.echo.put(put))
        yield* patient.until("a failed dial", () => patient.count("ConnectFailed") >= 1)
        yield* EchoServer.make({ name: "b", port })
        assert.strictEqual((yield* Effect.orDie(Fiber.join(fiber))).server, "b")
      })
    )
  )

  it.live("sizes are held to, both ways: grpc-js reads them and does nothing (J7)", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ name: "a" })
        const endpoints = [server.address]
        const payload = Buffer.alloc(2_000)
        const sent = yield* Client.make({ endpoints, serviceConfig: of({ maxRequestMessageBytes: 1_000 }) })
        const request = yield* Client.failure(sent.echo.echo(Client.request({ payload })))
        assert.deepInclude(request.reason, { _tag: "ResourceExhausted", by: "Us" })
        assert.lengthOf(server.calls, 0)
        const taken = yield* Client.make({ endpoints, serviceConfig: of({ maxResponseMessageBytes: 1_000 }) })
        const answer = yield* Client.failure(taken.echo.echo(Client.request({ payload })))
        assert.deepInclude(answer.reason, { _tag: "ResourceExhausted", by: "Us" })
        assert.lengthOf(server.calls, 1)
      })
    )
  )

  it.live("the balancing that it names is the one there is (J8)", () =>
    leavesNothing(
      Effect.gen(function* () {
        const servers = yield* Effect.all([EchoServer.make({ name: "a" }), EchoServer.make({ name: "b" })])
        for (const server of servers) server.behaviour = (call) => call.answer()
        const endpoints = servers.map(({ address }) => address)
        const serviceConfig = ServiceConfig.make({ loadBalancingConfig: [{ grpclb: {} }, { round_robin: {} }] })
        const client = yield* Client.make({ endpoints, serviceConfig })
        yield* Effect.orDie(client.cluster.awaitReady(2))
        for (let i = 0; i < 10; i++) yield* Effect.orDie(client.echo.put(put))
        assert.deepStrictEqual(
          servers.map(({ calls }) => calls.length),
          [5, 5]
        )
      })
    )
  )

  it.effect("loadBalancingPolicy and a policy that nobody knows are refused; grpc-js takes pick_first (J8)", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* refused({ loadBalancingPolicy: "round_robin" }), [
        "serviceConfig.loadBalancingPolicy"
      ])
      assert.deepStrictEqual(yield* refused({ loadBalancingConfig: [{ nobody_knows: {} }] }), [
        "serviceConfig.loadBalancingConfig"
      ])
    })
  )

  it.effect("no backoff, a methodConfig that is no list, and unknown keys are refused; grpc-js takes them (J4)", () =>
    Effect.gen(function* () {
      const retryPolicy = {
        maxAttempts: 3,
        initialBackoff: "0s",
        maxBackoff: "1s",
        backoffMultiplier: 2,
        retryableStatusCodes: [14]
      }
      assert.deepStrictEqual(yield* refused({ methodConfig: [{ name, retryPolicy }] }), [
        "serviceConfig.methodConfig[0].retryPolicy.initialBackoff"
      ])
      assert.deepStrictEqual(yield* refused({ methodConfig: { name } }), ["serviceConfig.methodConfig"])
      assert.deepStrictEqual(yield* refused({ methodConfig: [{ name, timeot: "1s" }] }), [
        "serviceConfig.methodConfig[0].timeot"
      ])
    })
  )

  it.live("TXT is asked for under _grpc_config; grpc-js asks for the host itself (J9)", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      // A name server that has one record, and says what it was asked for.
      const socket = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createSocket>>((resume) => {
          const server = createSocket("udp4")
          server.on("message", (query, { address, port }) => {
            let at = 12
            const labels: Array<string> = []
            while (query[at] !== 0) {
              labels.push(query.toString("latin1", at + 1, at + 1 + query[at]!))
              at += query[at]! + 1
            }
            names.push(labels.join("."))
            const end = at + 5
            const text = 'grpc_config=[{"serviceConfig":{"methodConfig":[{"name":[{}],"timeout":"3s"}]}}]'
            const header = Buffer.from([query[0]!, query[1]!, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
            const record = Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, text.length + 1, text.length])
            server.send(Buffer.concat([header, query.subarray(12, end), record, Buffer.from(text)]), port, address)
          })
          server.bind(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = socket.address() as AddressInfo
      const texts: Dns.DnsService["texts"] = (name) =>
        Effect.promise(() => {
          const resolver = new Resolver()
          resolver.setServers([`127.0.0.1:${port}`])
          return resolver.resolveTxt(name).then((records) => records.map((texts) => texts.join("")))
        })
      const config = yield* ServiceConfig.fromDns("greeter.internal").pipe(
        Effect.provideService(Dns.DnsService, { ...Dns.hosts({}), texts })
      )
      assert.deepStrictEqual(names, ["_grpc_config.greeter.internal"])
      assert.strictEqual(config?.forMethod("/demo.Greeter/SayHello").timeoutMillis, 3_000)
    })
  )
})
