import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Call, Metadata, type Method, type RpcError, type ThrownError } from "@hawser/grpc"
import * as Credentials from "@hawser/grpc/Credentials"
import { Effect, Exit, Fiber, Redacted, Schedule, Scope } from "effect"
import * as certificate from "../support/grpc/certificate.ts"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as frames from "../support/grpc/frames.ts"
import * as Http2Server from "../support/grpc/Http2Server.ts"
import * as TcpServer from "../support/grpc/TcpServer.ts"

/** The default, which the test client leaves out. */
const retry = undefined
const put = { id: "p", delayMillis: 0, failCode: 0 }
const one = { min: 1, max: 1, streamsPerConnection: 1 }
const soon = Schedule.spaced(20)

describe("a dial", () => {
  it.live("to a peer that accepts and is silent ends at its timeout and leaves no socket, there or here", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(TcpServer.silent)
        const client = yield* Client.make({ endpoints: [server.address], connections: { connectTimeout: 300 } })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        const reason = Client.connectReason(error)
        assert.strictEqual(reason?._tag, "TimedOut")
        assert.strictEqual(error.progress, "NotSent")
        assert.strictEqual(error.endpoint, server.address)
        assert.isAtLeast(error.waitedMillis, 290)
        yield* server.until("closed", (s) => s.sockets.size === 0)
        assert.strictEqual(server.accepted, 1)
      })
    )
  )

  it.live("to a peer that is silent in TLS ends at its timeout, too", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(TcpServer.silent)
        const client = yield* Client.make({
          endpoints: [server.address],
          connections: { connectTimeout: 300 },
          credentials: Credentials.tls({ ca: certificate.cert })
        })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        assert.strictEqual(Client.connectReason(error)?._tag, "TimedOut")
        yield* server.until("closed", (s) => s.sockets.size === 0)
      })
    )
  )

  it.live("that is given up in the middle leaves no socket", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(TcpServer.silent)
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const client = yield* Scope.provide(Client.make({ endpoints: [server.address] }), scope)
        yield* server.until("accepted", (s) => s.accepted === 1)
        const waiting = yield* Effect.forkScoped(Client.failure(client.echo.echo(Client.request())))
        yield* eventually("waiting", () => client.cluster.waitingUnsafe() === 1)
        yield* Scope.close(scope, Exit.void)
        const error = yield* Fiber.join(waiting)
        assert.strictEqual(error.progress, "NotSent")
        assert.strictEqual(Client.connectReason(error)?._tag, "Closed")
        yield* server.until("closed", (s) => s.sockets.size === 0)
      })
    )
  )

  const impolite: ReadonlyArray<readonly [string, TcpServer.Manners]> = [
    ["hangs up", TcpServer.rude],
    ["does not speak HTTP/2", TcpServer.babbling],
    ["says goodbye with its greeting", frames.farewell]
  ]
  for (const [how, manners] of impolite) {
    it.live(`to a peer that ${how} fails at once`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* TcpServer.make(manners)
          const client = yield* Client.make({ endpoints: [server.address], connections: { max: 1 } })
          const error = yield* Client.failure(client.echo.echo(Client.request(), { timeout: 8_000 }))
          assert.strictEqual(error.reason._tag, "Unavailable")
          assert.isTrue(error.isUnsent)
          const failed = client.events.find((event) => event._tag === "ConnectFailed" || event._tag === "Disconnected")!
          assert.include(["Closed", "Reset"], failed.error.reason._tag)
          assert.isAtMost(error.waitedMillis, 5_000)
          yield* server.until("closed", (s) => s.sockets.size === 0)
        })
      )
    )
  }

  it.live("to a name that nobody knows says so", () =>
    leavesNothing(
      Effect.gen(function* () {
        const client = yield* Client.make({ target: "dns:///nobody.invalid:50051" })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        assert.deepStrictEqual(Client.connectReason(error), { _tag: "Resolution", target: "nobody.invalid" })
        assert.strictEqual(error.progress, "NotSent")
      })
    )
  )
})

describe("TLS", () => {
  const secured = grpc.ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(certificate.cert), private_key: Buffer.from(certificate.key) }
  ])
  const trusting = Credentials.tls({ ca: certificate.cert })

  it.live("works with the name in the target, and with a name of its own", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ credentials: secured })
        for (const options of [
          { target: `dns:///localhost:${server.port}`, credentials: trusting },
          { endpoints: [server.address], credentials: trusting },
          { endpoints: [server.address], credentials: trusting, authority: "localhost:1" },
          {
            endpoints: [server.address],
            authority: "greeter",
            credentials: Credentials.tls({ ca: certificate.cert, serverName: "localhost" })
          }
        ]) {
          const client = yield* Client.make({ connections: { max: 1 }, ...options })
          const reply = yield* Effect.orDie(client.echo.echo(Client.request({ id: "over TLS" })))
          assert.strictEqual(reply.id, "over TLS")
        }
      })
    )
  )

  const refused: ReadonlyArray<readonly [string, Client.ClientOptions, Record<string, string>]> = [
    ["an unknown issuer", { credentials: Credentials.tls() }, { _tag: "Tls", problem: "UnknownIssuer" }],
    ["the wrong name", { credentials: trusting, authority: "greeter" }, { _tag: "Tls", problem: "WrongHost" }]
  ]
  for (const [what, options, reason] of refused) {
    it.live(`refuses ${what}, and says so`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* EchoServer.make({ credentials: secured })
          const client = yield* Client.make({ endpoints: [server.address], ...options })
          const error = yield* Client.failure(client.echo.echo(Client.request()))
          assert.deepStrictEqual(Client.connectReason(error) as object, reason)
          assert.strictEqual(error.progress, "NotSent")
          assert.strictEqual(server.calls.length, 0)
        })
      )
    )
  }

  it.live("against a plaintext server fails as TLS", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({ endpoints: [server.address], credentials: trusting })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        assert.deepStrictEqual(Client.connectReason(error), { _tag: "Tls", problem: "NotTls" })
        yield* eventually("closed", () => server.sockets.size === 0)
      })
    )
  )

  it.live("is not guessed: a plaintext client against a TLS server fails", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ credentials: secured })
        const client = yield* Client.make({ endpoints: [server.address] })
        const error = yield* Client.failure(client.echo.echo(Client.request()))
        assert.include(["Closed", "Reset"], Client.connectReason(error)?._tag)
        assert.strictEqual(error.progress, "NotSent")
        yield* eventually("closed", () => server.sockets.size === 0)
      })
    )
  )
})

describe("the loss of a connection", () => {
  it.live("fails the call on it and none after it", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
        const client = yield* Client.make({ endpoints: [server.address], reconnect: soon })
        // A connection that has answered has proved itself: calls wait for the next one.
        const first = yield* Effect.forkScoped(client.echo.echo(Client.request()))
        yield* server.until("running", (s) => s.running === 1)
        server.calls[0]!.answer()
        yield* Effect.orDie(Fiber.join(first))
        const call = yield* Effect.forkScoped(Client.failure(client.echo.echo(Client.request())))
        yield* server.until("running", (s) => s.running === 1)
        server.drop()
        const error = yield* Fiber.join(call)
        assert.strictEqual(error.reason._tag, "Unavailable")
        assert.strictEqual(error.progress, "MaybeProcessed")
        assert.strictEqual(error.connection, `${server.address}#1`)
        server.behaviour = undefined
        const reply = yield* Effect.orDie(client.echo.echo.reply(Client.request()))
        assert.strictEqual(reply.connection, `${server.address}#2`)
        const lost = client.events.find((event) => event._tag === "Disconnected")!
        assert.deepInclude(lost.error.reason, { _tag: "Reset" })
        assert.strictEqual(lost.inFlight, 1)
      })
    )
  )

  it.live("is hidden by a retry where the method is idempotent, and only there", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
        const client = yield* Client.make({ endpoints: [server.address], reconnect: soon, retry })
        const safe = yield* Effect.forkScoped(client.echo.echo(Client.request({ id: "safe" })))
        const unsafe = yield* Effect.forkScoped(Client.failure(client.echo.put(put)))
        yield* server.until("both running", (s) => s.running === 2)
        server.behaviour = (call) => call.answer()
        server.drop()
        assert.strictEqual((yield* Effect.orDie(Fiber.join(safe))).id, "safe")
        assert.strictEqual((yield* Fiber.join(unsafe)).progress, "MaybeProcessed")
        assert.deepStrictEqual(server.calls.map((call) => call.method).sort(), ["echo", "echo", "put"])
      })
    )
  )
})

describe("GOAWAY", () => {
  it.live(
    "lets calls in flight finish on the old connection, starts new ones on a new one, and nobody sees an error",
    () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
          const client = yield* Client.make({ endpoints: [server.address], connections: { max: 1 }, reconnect: soon })
          const before = yield* Effect.forEach([1, 2, 3, 4, 5], () =>
            Effect.forkScoped(client.echo.echo.reply(Client.request()))
          )
          yield* server.until("five running", (s) => s.running === 5)
          server.goaway()
          yield* client.until("reconnected", () => client.count("Connected") === 2)
          const after = yield* Effect.forkScoped(client.echo.echo.reply(Client.request()))
          yield* server.until("six running", (s) => s.running === 6)
          for (const call of server.calls) call.answer()
          for (const fiber of before) {
            assert.strictEqual((yield* Effect.orDie(Fiber.join(fiber))).connection, `${server.address}#1`)
          }
          assert.strictEqual((yield* Effect.orDie(Fiber.join(after))).connection, `${server.address}#2`)
          yield* server.until("old one closed", (s) => s.sockets.size === 1)
          assert.strictEqual(server.accepted, 2)
          assert.strictEqual(server.calls.length, 6)
        })
      )
  )

  it.live("below a stream has it sent again elsewhere, idempotent or not", () =>
    leavesNothing(
      Effect.gen(function* () {
        let streams = 0
        const server = yield* TcpServer.make(
          frames.byHand((stream, writer, connection) => {
            streams++
            if (connection === 1) writer.goaway(0, 0)
            else writer.answer(stream)
          })
        )
        const client = yield* Client.make({
          endpoints: [server.address],
          connections: { max: 1 },
          reconnect: soon,
          retry
        })
        const reply = yield* Effect.orDie(client.echo.put.reply(put))
        assert.strictEqual(reply.connection, `${server.address}#2`)
        assert.strictEqual(streams, 2)
        assert.strictEqual(server.accepted, 2)
      })
    )
  )

  it.live("in one segment with an answer: the answer counts, and who is turned away is sent again", () =>
    leavesNothing(
      Effect.gen(function* () {
        let answers = 0
        const server = yield* TcpServer.make(
          frames.byHand((stream, writer, connection) => {
            if (connection > 3) return writer.answer(stream)
            writer.together(() => {
              answers++
              writer.answer(stream)
              writer.goaway(stream, 0)
            })
          })
        )
        const client = yield* Client.make({ endpoints: [server.address], connections: one, reconnect: soon, retry })
        const calls = Array.from({ length: 20 }, () => client.echo.put(put))
        yield* Effect.orDie(Effect.forEach(calls, (call) => call, { concurrency: 20 }))
        assert.strictEqual(answers, 3)
        assert.strictEqual(server.accepted, 4)
        assert.strictEqual(client.count("Connected"), 4)
      })
    )
  )
})

describe("an interrupt", () => {
  const interrupted = (fiber: Fiber.Fiber<unknown, unknown>) =>
    Effect.flatMap(Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber)), (exit) =>
      Effect.sync(() => assert.isTrue(Exit.hasInterrupts(exit)))
    )
  const inFlight = (client: Client.TestClient) => Effect.map(client.cluster.snapshot, (s) => s.root.inFlight)

  it.live("while queued leaves the queue; the server never hears of the call", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
        const client = yield* Client.make({ endpoints: [server.address], connections: one })
        const first = yield* Effect.forkScoped(client.echo.echo(Client.request()))
        yield* server.until("running", (s) => s.running === 1)
        const second = yield* Effect.forkScoped(client.echo.echo(Client.request()))
        yield* eventually("waiting", () => client.cluster.waitingUnsafe() === 1)
        yield* interrupted(second)
        assert.strictEqual(client.cluster.waitingUnsafe(), 0)
        server.calls[0]!.answer()
        yield* Effect.orDie(Fiber.join(first))
        assert.strictEqual(server.calls.length, 1)
        assert.strictEqual(yield* inFlight(client), 0)
      })
    )
  )

  it.live("while connecting leaves the queue, and the dial goes on", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(TcpServer.silent)
        const client = yield* Client.make({ endpoints: [server.address] })
        const call = yield* Effect.forkScoped(client.echo.echo(Client.request()))
        yield* server.until("accepted", (s) => s.accepted === 1)
        yield* eventually("waiting", () => client.cluster.waitingUnsafe() === 1)
        yield* interrupted(call)
        assert.strictEqual(client.cluster.waitingUnsafe(), 0)
        assert.strictEqual(server.sockets.size, 1)
        assert.strictEqual(client.count("Connecting"), 1)
      })
    )
  )

  it.live("in the turn of the start returns the permit; the server never hears of the call", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({ endpoints: [server.address], connections: one })
        yield* Effect.orDie(client.cluster.awaitReady())
        for (let i = 0; i < 10; i++) {
          const call = yield* Effect.forkChild(client.echo.echo(Client.request({ id: "never" })), {
            startImmediately: true
          })
          assert.strictEqual(client.gauge.connections[0]!.started, i + 1)
          yield* interrupted(call)
        }
        assert.strictEqual(yield* inFlight(client), 0)
        yield* Effect.orDie(client.echo.echo(Client.request({ id: "last" })))
        assert.deepStrictEqual(
          server.calls.map((call) => call.id),
          ["last"]
        )
      })
    )
  )

  for (const headers of [false, true]) {
    it.live(`when ${headers ? "headers have come" : "sent"} cancels at the server and returns the permit`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* EchoServer.make({
            behaviour: (call) => {
              if (headers) call.sendHeaders()
            }
          })
          const client = yield* Client.make({ endpoints: [server.address], connections: one })
          const call = yield* Effect.forkScoped(client.echo.echo(Client.request()))
          yield* server.until("running", (s) => s.running === 1)
          yield* eventually("headers", () => client.gauge.headers === (headers ? 1 : 0))
          yield* interrupted(call)
          assert.strictEqual(yield* inFlight(client), 0)
          yield* server.until("cancelled", (s) => s.cancelled === 1)
          server.behaviour = undefined
          yield* Effect.orDie(client.echo.echo(Client.request()))
          assert.strictEqual(server.accepted, 1)
        })
      )
    )
  }

  it.live("at any moment of a call leaves no permit out and no stream open", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({
          endpoints: [server.address],
          connections: { min: 1, max: 1, streamsPerConnection: 4 }
        })
        yield* Effect.orDie(client.cluster.awaitReady())
        let n = 0
        yield* Effect.forEach(
          Array.from({ length: 400 }),
          () =>
            Effect.suspend(() => {
              const micros = (n++ * 37) % 3_000
              return Effect.raceFirst(
                Effect.exit(client.echo.echo(Client.request({ delayMillis: n % 2 }))),
                Effect.sleep(micros / 1_000)
              )
            }),
          { concurrency: 16 }
        )
        assert.strictEqual(client.cluster.waitingUnsafe(), 0)
        assert.strictEqual(yield* inFlight(client), 0)
        yield* eventually("idle server", () => server.running === 0)
        assert.isAtMost(client.gauge.max, 4)
        assert.isAtMost(server.max, 4)
        assert.strictEqual(server.accepted, 1)
      })
    )
  )

  it.live("while the request is held up by a server that does not read cancels it", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => void s.stream.pause())
        const client = yield* Client.make({ endpoints: [server.address] })
        const call = yield* Effect.forkScoped(client.echo.echo(Client.request({ payload: Buffer.alloc(1_000_000) })))
        yield* server.until("started", (s) => s.streams.length === 1)
        yield* interrupted(call)
        assert.strictEqual(yield* inFlight(client), 0)
        yield* eventually("reset", () => server.streams[0]!.stream.destroyed || server.streams[0]!.stream.aborted)
        server.script = Http2Server.polite
        yield* Effect.orDie(client.echo.echo(Client.request()))
        assert.strictEqual(server.accepted, 1)
      })
    )
  )

  it.live("after the answer changes nothing", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({ endpoints: [server.address] })
        const call = yield* Effect.forkScoped(client.echo.echo(Client.request()))
        yield* Effect.orDie(Fiber.join(call))
        yield* Fiber.interrupt(call)
        assert.isTrue(Exit.isSuccess(yield* Fiber.await(call)))
        assert.strictEqual(server.cancelled, 0)
      })
    )
  )
})

describe("messages", () => {
  type Codec = Pick<Method.Method<string, string>, "encode" | "decode">
  const codec: Codec = { encode: (text) => Buffer.from(text), decode: String }
  const method = (path: string, change: Partial<Codec> = {}): Method.Method<string, string, "unary"> => ({
    path,
    kind: "unary",
    idempotency: "Unknown",
    ...codec,
    ...change
  })
  const path = "/hawser.test.v1.Echo/Echo"

  it.live("above maxSendBytes are not sent", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({ endpoints: [server.address], maxSendBytes: 1_000 })
        const error = yield* Client.failure(client.echo.echo(Client.request({ payload: Buffer.alloc(1_000) })))
        assert.deepInclude(error.reason, { _tag: "ResourceExhausted", by: "Us" })
        assert.strictEqual(error.progress, "NotSent")
        assert.strictEqual(server.calls.length, 0)
        yield* Effect.orDie(client.echo.echo(Client.request({ payload: Buffer.alloc(990) })))
      })
    )
  )

  it.live("above maxReceiveBytes end their call and leave the connection alone", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({ endpoints: [server.address], maxReceiveBytes: 10_000 })
        const error = yield* Client.failure(client.echo.echo(Client.request({ payload: Buffer.alloc(10_001) })))
        assert.deepInclude(error.reason, { _tag: "ResourceExhausted", by: "Us" })
        assert.strictEqual(error.progress, "Answered")
        yield* Effect.orDie(client.echo.echo(Client.request({ payload: Buffer.alloc(9_000) })))
        assert.strictEqual(server.accepted, 1)
        assert.strictEqual(client.count("Disconnected"), 0)
      })
    )
  )

  it.live("that can't be encoded or decoded fail their call with Internal", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make()
        const client = yield* Client.make({ endpoints: [server.address] })
        const cause = new Error("codec")
        const broken = (): never => {
          throw cause
        }
        const unsent = yield* Client.failure(client.channel.unary(Call.make(method(path, { encode: broken }), "a")))
        const original = ({ cause }: RpcError.RpcError) => Redacted.value((cause as ThrownError.ThrownError).original)
        assert.strictEqual(original(unsent), cause)
        assert.strictEqual(unsent.progress, "NotSent")
        assert.strictEqual(unsent.reason._tag, "Internal")
        assert.strictEqual(server.streams.length, 0)
        const answered = yield* Client.failure(client.channel.unary(Call.make(method(path, { decode: broken }), "a")))
        assert.strictEqual(original(answered), cause)
        assert.strictEqual(answered.progress, "Answered")
        assert.strictEqual(answered.reason._tag, "Internal")
        const snapshot = yield* client.cluster.snapshot
        assert.strictEqual(snapshot.root.inFlight, 0)
      })
    )
  )

  it.live("to a method that does not exist are Unimplemented", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const client = yield* Client.make({ endpoints: [server.address] })
        const error = yield* Client.failure(client.channel.unary(Call.make(method("/hawser.test.v1.Echo/Nope"), "a")))
        assert.strictEqual(error.reason._tag, "Unimplemented")
        assert.strictEqual(error.progress, "Answered")
      })
    )
  )

  it.live("that nobody asked for may not be pushed", () =>
    leavesNothing(
      Effect.gen(function* () {
        const allowed: Array<boolean> = []
        const server = yield* Http2Server.make((s) => {
          allowed.push(s.stream.pushAllowed)
          Http2Server.polite(s)
        })
        const client = yield* Client.make({ endpoints: [server.address] })
        yield* client.channel.unary(Call.make(method("/hawser.test.v1.Echo/Echo"), "a"))
        assert.deepStrictEqual(allowed, [false])
      })
    )
  )

  const odd: ReadonlyArray<readonly [string, Http2Server.Script, RpcError.RpcReason["_tag"], string]> = [
    ["twice in a unary answer", (s) => (s.message(), s.message(), s.end()), "Internal", "more than one message"],
    ["not at all, with OK", (s) => s.end(), "Internal", "without an answer"],
    ["not at all, with OK in trailers only", (s) => s.trailersOnly("0"), "Internal", "without an answer"],
    ["with the status 999", (s) => s.trailersOnly("999", "odd"), "Unknown", "illegal status code 999"],
    ["with the status abc", (s) => s.trailersOnly("abc"), "Unknown", "illegal status code NaN"],
    ["with the status -1", (s) => s.trailersOnly("-1"), "Unknown", "illegal status code -1"],
    ["and broken off without a status", (s) => (s.open(), void s.stream.end()), "Unavailable", "without gRPC status"],
    [
      "in an encoding that nobody knows",
      (s) => {
        s.stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-encoding": "zorp" })
        s.stream.end(Buffer.from([1, 0, 0, 0, 1, 7]))
      },
      "Internal",
      "grpc-encoding"
    ]
  ]
  for (const [how, script, tag, details] of odd) {
    it.live(`answered ${how}: ${tag}`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* Http2Server.make(script)
          const client = yield* Client.make({ endpoints: [server.address], deadline: "8 seconds" })
          const error = yield* Client.failure(client.echo.echo(Client.request()))
          assert.strictEqual(error.reason._tag, tag)
          assert.include(error.reason.details, details)
          assert.include(["Answered", "MaybeProcessed"], error.progress)
          assert.strictEqual((yield* client.cluster.snapshot).root.inFlight, 0)
          yield* server.until("stream closed", (s) => s.streams.every((stream) => stream.rst !== undefined))
        })
      )
    )
  }

  it.live("that are refused before they were read end by the deadline at the latest", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => {
          s.stream.pause()
          s.open()
          s.reset(0)
        })
        const client = yield* Client.make({ endpoints: [server.address], silence: false })
        const error = yield* Client.failure(client.echo.put({ ...put, id: "x".repeat(1_000_000) }, { timeout: 500 }))
        assert.include(["DeadlineExceeded", "Unavailable"], error.reason._tag)
        assert.include(["Answered", "MaybeProcessed"], error.progress)
        assert.strictEqual((yield* client.cluster.snapshot).root.inFlight, 0)
        server.script = Http2Server.polite
        yield* Effect.orDie(client.echo.put(put))
        assert.strictEqual(server.accepted, 1)
      })
    )
  )

  it.live("carry metadata both ways", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => {
          s.stream.respond(
            { ":status": 200, "content-type": "application/grpc", "x-head": "h" },
            { waitForTrailers: true }
          )
          s.stream.write(Buffer.alloc(5))
          s.stream.on("wantTrailers", () => s.stream.sendTrailers({ "grpc-status": "0", "x-tail-bin": "AAE=" }))
          s.stream.end()
        })
        const client = yield* Client.make({ endpoints: [server.address] })
        const metadata = { "x-text": ["a", "b"], "x-bytes-bin": new Uint8Array([0, 255]) }
        const reply = yield* Effect.orDie(client.echo.echo.reply(Client.request(), { metadata }))
        assert.strictEqual(server.streams[0]!.headers["x-text"], "a, b")
        assert.strictEqual(server.streams[0]!.headers["x-bytes-bin"], "AP8=")
        assert.strictEqual(server.streams[0]!.headers["grpc-previous-rpc-attempts"], undefined)
        assert.strictEqual(reply.headers.get("x-head"), "h")
        assert.deepStrictEqual([...(reply.trailers.get("x-tail-bin") as Uint8Array)], [0, 1])
        assert.isTrue(Metadata.isMetadata(reply.headers))
      })
    )
  )
})
