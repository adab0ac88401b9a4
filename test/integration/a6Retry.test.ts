/**
 * gRFC A6, retries, as real servers see them: streams, headers, moments. The rules one by one are in
 * `test/unit/grpc/a6Retry.test.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { RetryThrottle } from "@hawser/core"
import * as Retry from "@hawser/grpc/Retry"
import { Effect, Fiber } from "effect"
import * as http2 from "node:http2"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import * as Http2Server from "../support/grpc/Http2Server.ts"

const put = { id: "p", delayMillis: 0, failCode: 0 }

const policy = (options: Partial<Retry.A6Options> = {}) =>
  Retry.a6({
    maxAttempts: 4,
    initialBackoff: "1 milli",
    maxBackoff: "4 millis",
    backoffMultiplier: 2,
    retryableStatusCodes: ["UNAVAILABLE"],
    ...options
  })

const told = (server: Http2Server.Http2Server) => server.streams.map((s) => s.headers["grpc-previous-rpc-attempts"])

describe("A6 on the wire", () => {
  it.live("grpc-previous-rpc-attempts is absent first, then 1, 2, 3; methods need not be idempotent", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => s.trailersOnly("14", "not now"))
        const client = yield* Client.make({ endpoints: [server.address], retry: policy() })
        const error = yield* Client.failure(client.echo.put(put))
        assert.strictEqual(error.attempts, 4)
        assert.deepStrictEqual(told(server), [undefined, "1", "2", "3"])
      })
    )
  )

  it.live("a grpc-js server counts maxAttempts handlers, and another endpoint gets each retry", () =>
    leavesNothing(
      Effect.gen(function* () {
        const servers = yield* Effect.all([EchoServer.make({ name: "a" }), EchoServer.make({ name: "b" })])
        for (const server of servers) server.behaviour = (call) => call.fail(grpc.status.UNAVAILABLE)
        const retry = policy({ maxAttempts: 2 })
        const client = yield* Client.make({ endpoints: servers.map((s) => s.address), retry })
        yield* Effect.orDie(client.cluster.awaitReady(2))
        for (let i = 1; i <= 3; i++) {
          yield* Client.failure(client.echo.put(put))
          assert.deepStrictEqual(
            servers.map((s) => s.calls.length),
            [i, i]
          )
        }
      })
    )
  )

  it.live("unreadable pushback forbids the retry; grpc-js sends four attempts (J2)", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => s.trailersOnly("14", "no", { "grpc-retry-pushback-ms": "soon" }))
        const client = yield* Client.make({ endpoints: [server.address], retry: policy() })
        const error = yield* Client.failure(client.echo.put(put))
        assert.strictEqual(error.attempts, 1)
        assert.lengthOf(server.streams, 1)
      })
    )
  )

  it.live("pushback is waited for, however short the backoff", () =>
    leavesNothing(
      Effect.gen(function* () {
        const moments: Array<number> = []
        const server = yield* Http2Server.make((s) => {
          moments.push(performance.now())
          s.trailersOnly("14", "later", { "grpc-retry-pushback-ms": "150" })
        })
        const client = yield* Client.make({ endpoints: [server.address], retry: policy({ maxAttempts: 2 }) })
        yield* Client.failure(client.echo.put(put))
        assert.lengthOf(moments, 2)
        assert.isAtLeast(moments[1]! - moments[0]!, 148)
      })
    )
  )

  it.live("a refused stream is sent again once more than there are attempts, and costs no token for it", () =>
    leavesNothing(
      Effect.gen(function* () {
        const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 0.1 })
        const server = yield* Http2Server.make((s) => s.reset(http2.constants.NGHTTP2_REFUSED_STREAM))
        const retry = policy({ maxAttempts: 2, throttle })
        const client = yield* Client.make({ endpoints: [server.address], retry })
        const error = yield* Client.failure(client.echo.put(put))
        assert.strictEqual(error.progress, "Refused")
        assert.strictEqual(error.attempts, 2)
        assert.deepStrictEqual(told(server), [undefined, undefined, "1"])
        assert.strictEqual(throttle.balance(), 8)
      })
    )
  )

  it.live("a stream above the last id of a GOAWAY is sent again, without counting", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make()
        server.script = (s) =>
          server.streams.length === 2 ? s.session.goaway(http2.constants.NGHTTP2_NO_ERROR, 1) : Http2Server.polite(s)
        const client = yield* Client.make({ endpoints: [server.address], retry: policy({ maxAttempts: 2 }) })
        yield* Effect.orDie(client.echo.put(put))
        yield* Effect.orDie(client.echo.put(put))
        assert.deepStrictEqual(told(server), [undefined, undefined, undefined])
        assert.strictEqual(server.accepted, 2)
      })
    )
  )

  it.live("a call whose headers have come is not sent again, whatever follows them", () =>
    leavesNothing(
      Effect.gen(function* () {
        const after: ReadonlyArray<Http2Server.Script> = [
          (s) => s.end("14"),
          (s) => s.end("14", { "grpc-retry-pushback-ms": "1" }),
          (s) => s.reset(http2.constants.NGHTTP2_INTERNAL_ERROR),
          (s) => s.session.destroy()
        ]
        for (const then of after) {
          const server = yield* Http2Server.make((s) => s.open())
          const client = yield* Client.make({ endpoints: [server.address], retry: policy() })
          // Only then, or else the headers might be lost with the connection.
          client.gauge.onHeaders = () => then(server.streams[0]!)
          const error = yield* Client.failure(client.echo.put(put))
          assert.deepInclude(error, { attempts: 1, progress: "Answered", committed: true })
          assert.strictEqual(error.reason._tag, "Unavailable")
          assert.deepStrictEqual(told(server), [undefined])
        }
      })
    )
  )

  it.live("a status alone and a page of a proxy commit nothing: both are sent again", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make()
        server.script = (s) => {
          if (server.streams.length === 1) s.trailersOnly("14", "not now")
          else if (server.streams.length === 2) s.page(503, "<h1>Service Unavailable</h1>")
          else Http2Server.polite(s)
        }
        const client = yield* Client.make({ endpoints: [server.address], retry: policy() })
        yield* Effect.orDie(client.echo.put(put))
        assert.deepStrictEqual(told(server), [undefined, "1", "2"])
      })
    )
  )

  it.live("one deadline spans all: each attempt is told what is left of it", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) =>
          s.trailersOnly("14", "later", { "grpc-retry-pushback-ms": "200" })
        )
        const client = yield* Client.make({ endpoints: [server.address], retry: policy({ maxAttempts: 3 }) })
        yield* Client.failure(client.echo.put(put, { timeout: "9 seconds" }))
        const left = server.streams.map((s) => Number.parseInt(String(s.headers["grpc-timeout"]), 10))
        assert.lengthOf(left, 3)
        assert.isAtMost(left[0]!, 9_000)
        assert.isAtMost(left[1]!, left[0]! - 190)
        assert.isAtMost(left[2]!, left[1]! - 190)
      })
    )
  )

  it.live("a drained throttle sends each call once; plain grpc-js hedges on (J1)", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => s.trailersOnly("14", "not now"))
        const throttle = RetryThrottle.make({ maxTokens: 2, tokenRatio: 0.1 })
        const client = yield* Client.make({ endpoints: [server.address], retry: policy({ throttle }) })
        const errors = []
        for (let i = 0; i < 5; i++) errors.push(yield* Client.failure(client.echo.put(put)))
        assert.deepStrictEqual(
          errors.map((error) => error.attempts),
          [1, 1, 1, 1, 1]
        )
        assert.lengthOf(server.streams, 5)
        assert.include(errors[4]!.reason.details, "retries are throttled")
      })
    )
  )

  it.live("a call that is interrupted in its second attempt leaves no stream open (J5)", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make()
        server.script = (s) => (server.streams.length === 1 ? s.trailersOnly("14", "not now") : undefined)
        const client = yield* Client.make({ endpoints: [server.address], retry: policy() })
        const fiber = yield* Effect.forkChild(client.echo.put(put))
        yield* server.until("the second attempt", (s) => s.streams.length === 2)
        yield* Fiber.interrupt(fiber)
        yield* server.until("its end", (s) => s.streams[1]!.rst !== undefined)
        assert.strictEqual(server.streams[1]!.rst, http2.constants.NGHTTP2_CANCEL)
      })
    )
  )

  it.live("the time of one attempt is told to the server, and ends the stream there", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make()
        server.script = (s) => (server.streams.length === 1 ? undefined : Http2Server.polite(s))
        const retry = Retry.make({ perAttempt: "100 millis", resendable: true })
        const client = yield* Client.make({ endpoints: [server.address], retry })
        yield* Effect.orDie(client.echo.put(put, { timeout: "20 seconds" }))
        assert.deepStrictEqual(
          server.streams.map((s) => Number.parseInt(String(s.headers["grpc-timeout"]), 10) <= 100),
          [true, true]
        )
        yield* server.until("the first one's end", (s) => s.streams[0]!.rst !== undefined)
      })
    )
  )

  it.live("when the time of the last attempt is up, the error says whose it was", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make(() => {})
        const retry = Retry.make({ perAttempt: "50 millis", resendable: true, maxAttempts: 2 })
        const client = yield* Client.make({ endpoints: [server.address], retry })
        const error = yield* Client.failure(client.echo.put(put, { timeout: "20 seconds" }))
        assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: "Sent", by: "Us" })
        assert.include(error.reason.details, "the attempt's own time of 50 ms is up")
        assert.lengthOf(server.streams, 2)
      })
    )
  )
})
