import { assert, describe, it } from "@effect/vitest"
import type { RpcError } from "@hawser/grpc/RpcError"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import * as http2 from "node:http2"
import * as Client from "../support/grpc/client.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as frames from "../support/grpc/frames.ts"
import * as Http2Server from "../support/grpc/Http2Server.ts"
import * as TcpServer from "../support/grpc/TcpServer.ts"

const { constants } = http2

/** What an error says, as one line. */
const verdict = (error: RpcError): string => {
  const { reason } = error
  const by = "by" in reason ? ` by ${reason.by}` : ""
  const phase = "phase" in reason ? ` in ${reason.phase}` : ""
  return `${error.progress}: ${reason._tag}${by}${phase}`
}

const one = { min: 1, max: 1, streamsPerConnection: 1 }

describe("a call that never left", () => {
  it.live("to a refused port says so, and why there is no connection", () =>
    leavesNothing(
      Effect.gen(function* () {
        const address = yield* TcpServer.refused
        const client = yield* Client.make({ endpoints: [address] })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        assert.strictEqual(verdict(error), "NotSent: Unavailable")
        assert.deepStrictEqual(Client.connectReason(error), { _tag: "Refused" })
        assert.strictEqual(error.endpoint, address)
        assert.strictEqual(error.connection, undefined)
        assert.isTrue(error.isUnsent)
      })
    )
  )

  it.live("because its peer was silent until its deadline was spent on connecting", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(TcpServer.silent)
        const client = yield* Client.make({ endpoints: [server.address] })
        const error = yield* Client.failure(client.echo.put({ id: "", delayMillis: 0, failCode: 0 }, { timeout: 200 }))
        assert.strictEqual(verdict(error), "NotSent: DeadlineExceeded by Us in Connecting")
        assert.isAtLeast(error.waitedMillis, 190)
      })
    )
  )

  it.live("because its deadline was spent in the queue", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make(() => {})
        const client = yield* Client.make({ endpoints: [server.address], connections: one, drain: 0 })
        yield* Effect.forkScoped(Effect.exit(client.echo.echo(Client.request())))
        yield* server.until("one sent", (s) => s.streams.length === 1)
        const error = yield* Client.failure(client.echo.echo(Client.request(), { timeout: 100 }))
        assert.strictEqual(verdict(error), "NotSent: DeadlineExceeded by Us in Queued")
        assert.strictEqual(server.streams.length, 1)
      })
    )
  )

  it.live("because the queue's own limit had passed, long before its deadline", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make(() => {})
        const queue = { timeout: 100 }
        const client = yield* Client.make({ endpoints: [server.address], connections: one, queue, drain: 0 })
        yield* Effect.forkScoped(Effect.exit(client.echo.echo(Client.request())))
        yield* server.until("one sent", (s) => s.streams.length === 1)
        const error = yield* Client.failure(client.echo.echo(Client.request(), { timeout: "1 hour" }))
        assert.strictEqual(verdict(error), "NotSent: DeadlineExceeded by Us in Queued")
        assert.isBelow(error.waitedMillis, 20_000)
      })
    )
  )

  it.live("because the queue was full", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make(() => {})
        const client = yield* Client.make({
          endpoints: [server.address],
          connections: one,
          queue: { max: 1 },
          drain: 0
        })
        yield* Effect.orDie(client.cluster.awaitReady())
        for (let i = 0; i < 2; i++) yield* Effect.forkScoped(Effect.exit(client.echo.echo(Client.request())))
        yield* server.until("one sent", (s) => s.streams.length === 1)
        yield* eventually("one waiting", () => client.cluster.waitingUnsafe() === 1)
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        assert.strictEqual(verdict(error), "NotSent: ResourceExhausted by Us")
      })
    )
  )

  it.live("because everything was closed while it waited; the one on the wire may have been processed", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make(() => {})
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const client = yield* Scope.provide(
          Client.make({ endpoints: [server.address], connections: one, drain: 0 }),
          scope
        )
        const sent = yield* Effect.forkScoped(Client.failure(client.echo.echo(Client.request())))
        yield* server.until("one sent", (s) => s.streams.length === 1)
        const queued = yield* Effect.forkScoped(Client.failure(client.echo.echo(Client.request())))
        yield* eventually("one waiting", () => client.cluster.waitingUnsafe() === 1)
        yield* Scope.close(scope, Exit.void)
        const error = yield* Fiber.join(queued)
        assert.strictEqual(verdict(error), "NotSent: Unavailable")
        assert.deepStrictEqual(Client.connectReason(error), { _tag: "Closed" })
        assert.strictEqual(verdict(yield* Fiber.join(sent)), "MaybeProcessed: Unavailable")
        const late = yield* Client.failure(client.echo.echo(Client.request()))
        assert.strictEqual(verdict(late), "NotSent: Unavailable")
        assert.deepStrictEqual(Client.connectReason(late), { _tag: "Closed" })
        assert.strictEqual(server.streams.length, 1)
      })
    )
  )
})

describe("a call that was turned away", () => {
  it.live("by RST_STREAM REFUSED_STREAM is unsent", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => s.reset(constants.NGHTTP2_REFUSED_STREAM))
        const client = yield* Client.make({ endpoints: [server.address] })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        assert.strictEqual(verdict(error), "Refused: Unavailable")
        assert.isTrue(error.isUnsent)
        assert.strictEqual(error.connection, `${server.address}#1`)
        // It says nothing bad about the connection.
        assert.strictEqual(client.count("Disconnected"), 0)
      })
    )
  )

  it.live("by a GOAWAY below its stream is unsent", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(frames.byHand((_, writer) => writer.goaway(0, 0)))
        const client = yield* Client.make({ endpoints: [server.address] })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        assert.strictEqual(verdict(error), "Refused: Unavailable")
      })
    )
  )
})

describe("a call that the server answered", () => {
  const answered: ReadonlyArray<readonly [string, Http2Server.Script, string]> = [
    ["with an error in trailers", (s) => s.end("5", { "grpc-message": "gone" }), "Answered: NotFound"],
    ["with an error in trailers only", (s) => s.trailersOnly("5", "gone"), "Answered: NotFound"],
    ["with an error after a message", (s) => (s.message(), s.end("13")), "Answered: Internal"],
    ["with a deadline of its own", (s) => s.trailersOnly("4"), "Answered: DeadlineExceeded by Server"],
    ["with too much to do", (s) => s.trailersOnly("8"), "Answered: ResourceExhausted by Server"],
    ["that it cancelled", (s) => s.trailersOnly("1"), "Answered: Cancelled"],
    ["in the words of a refusal", (s) => s.trailersOnly("14", "Stream refused by server"), "Answered: Unavailable"],
    [
      "with headers, and then refused the stream",
      (s) => {
        s.open()
        setImmediate(() => s.reset(constants.NGHTTP2_REFUSED_STREAM))
      },
      "Answered: Unavailable"
    ]
  ]
  for (const [how, script, expected] of answered) {
    it.live(how, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* Http2Server.make(script)
          const client = yield* Client.make({ endpoints: [server.address] })
          const error = yield* Client.failure(client.echo.echo(Client.request()))
          assert.strictEqual(verdict(error).replace(/ in \w+$/, ""), expected)
          assert.isFalse(error.isUnsent)
        })
      )
    )
  }

  it.live("with several values of one trailer", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => s.end("5", { "x-a-bin": ["AQ==", "Ag=="] }))
        const client = yield* Client.make({ endpoints: [server.address] })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        const values = Array.from(error.metadata!.entries).filter(([key]) => key === "x-a-bin")
        assert.deepStrictEqual(
          values.map(([, value]) => [...(value as Uint8Array)]),
          [[1], [2]]
        )
      })
    )
  )

  it.live("only with headers by the deadline", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => s.open())
        const client = yield* Client.make({ endpoints: [server.address] })
        yield* Effect.orDie(client.cluster.awaitReady())
        const error = yield* Client.failure(client.echo.echo(Client.request(), { timeout: 200 }))
        assert.strictEqual(verdict(error), "Answered: DeadlineExceeded by Us in Receiving")
        yield* server.until("cancelled", (s) => s.streams[0]?.rst === constants.NGHTTP2_CANCEL)
      })
    )
  )
})

describe("a call that may have been processed", () => {
  const maybe: ReadonlyArray<readonly [string, Http2Server.Script, string]> = [
    ["reset as cancelled, which we did not ask for", (s) => s.reset(8), "MaybeProcessed: Unavailable"],
    ["reset with an internal error", (s) => s.reset(2), "MaybeProcessed: Unavailable"],
    ["told to calm down", (s) => s.reset(11), "MaybeProcessed: Unavailable"],
    ["lost with its connection", (s) => s.session.destroy(), "MaybeProcessed: Unavailable"],
    ["answered by a proxy with HTML and 503", (s) => s.page(503, "<html>503</html>"), "MaybeProcessed: Unavailable"],
    [
      "answered by a proxy with HTML and 401",
      (s) => s.page(401, "<html>401</html>"),
      "MaybeProcessed: Unauthenticated"
    ],
    ["answered by a proxy with 404 and nothing", (s) => s.page(404, ""), "MaybeProcessed: Unimplemented"]
  ]
  for (const [how, script, expected] of maybe) {
    it.live(how, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* Http2Server.make(script)
          const client = yield* Client.make({ endpoints: [server.address] })
          const error = yield* Client.failure(client.echo.echo(Client.request()))
          assert.strictEqual(verdict(error), expected)
          assert.isFalse(error.isUnsent)
        })
      )
    )
  }

  it.live("dropped after it was sent", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make()
        server.script = () => {
          for (const socket of server.sockets) socket.resetAndDestroy()
        }
        const client = yield* Client.make({ endpoints: [server.address] })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        assert.strictEqual(verdict(error), "MaybeProcessed: Unavailable")
        assert.strictEqual(error.connection, `${server.address}#1`)
      })
    )
  )

  it.live("and whose handler was silent until the deadline", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make(() => {})
        const client = yield* Client.make({ endpoints: [server.address] })
        yield* Effect.orDie(client.cluster.awaitReady())
        const error = yield* Client.failure(client.echo.echo(Client.request(), { timeout: 200 }))
        assert.strictEqual(verdict(error), "MaybeProcessed: DeadlineExceeded by Us in Sent")
        yield* server.until("cancelled", (s) => s.streams[0]?.rst === constants.NGHTTP2_CANCEL)
      })
    )
  )
})

describe("a stream whose deadline passes", () => {
  const watch = { id: "", count: 0, delayMillis: 0, payload: Buffer.alloc(0), failCode: 0 }
  const kinds: ReadonlyArray<readonly [string, (echo: Client.TestClient["echo"]) => Effect.Effect<unknown, RpcError>]> =
    [
      ["of answers", (echo) => Stream.runDrain(echo.watch(watch, { timeout: 200 }))],
      ["of requests", (echo) => echo.upload(Stream.never, { timeout: 200 })],
      ["both ways", (echo) => Stream.runDrain(echo.chat(Stream.never, { timeout: 200 }))]
    ]
  for (const [kind, call] of kinds) {
    it.live(`${kind}, while a connection is made`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* TcpServer.make(TcpServer.silent)
          const client = yield* Client.make({ endpoints: [server.address] })
          const error = yield* Client.failure(call(client.echo))
          assert.strictEqual(verdict(error), "NotSent: DeadlineExceeded by Us in Connecting")
        })
      )
    )

    it.live(`${kind}, in the queue`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* Http2Server.make((s) => s.message())
          const client = yield* Client.make({ endpoints: [server.address], connections: one, drain: 0 })
          yield* client.echo.watch.replies(watch)
          const error = yield* Client.failure(call(client.echo))
          assert.strictEqual(verdict(error), "NotSent: DeadlineExceeded by Us in Queued")
          assert.strictEqual(server.streams.length, 1)
        })
      )
    )

    it.live(`${kind}, before the headers`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* Http2Server.make(() => {})
          const client = yield* Client.make({ endpoints: [server.address] })
          yield* Effect.orDie(client.cluster.awaitReady())
          const error = yield* Client.failure(call(client.echo))
          assert.strictEqual(verdict(error), "MaybeProcessed: DeadlineExceeded by Us in Sent")
          yield* server.until("cancelled", (s) => s.streams[0]?.rst === constants.NGHTTP2_CANCEL)
        })
      )
    )

    for (const [far, script] of [
      ["the headers", (s) => s.open()],
      ["a message", (s) => s.message()]
    ] satisfies ReadonlyArray<readonly [string, Http2Server.Script]>) {
      it.live(`${kind}, after ${far}`, () =>
        leavesNothing(
          Effect.gen(function* () {
            const server = yield* Http2Server.make(script)
            const client = yield* Client.make({ endpoints: [server.address] })
            yield* Effect.orDie(client.cluster.awaitReady())
            const error = yield* Client.failure(call(client.echo))
            assert.strictEqual(verdict(error), "Answered: DeadlineExceeded by Us in Receiving")
            yield* server.until("cancelled", (s) => s.streams[0]?.rst === constants.NGHTTP2_CANCEL)
          })
        )
      )
    }
  }
})
