import { assert, describe, it } from "@effect/vitest"
import { Channel, Client, Credentials, Deadline, Grpc, type GrpcOptions, Metadata, RpcError } from "@hawser/grpc"
import { OptionsError } from "@hawser/core/OptionsError"
import { TestChannel, TestServer } from "@hawser/testing"
import * as Health from "@hawser/testing/Health"
import { Cause, Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Queue, Scope, Stream } from "effect"
import * as http2 from "node:http2"
import * as net from "node:net"
import { EchoService, type WatchReply } from "../generated/echo.ts"
import { cert, key } from "../support/grpc/certificate.ts"
import { request } from "../support/grpc/client.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as TlsCertificates from "../support/grpc/TlsCertificates.ts"
import { otherKey } from "../support/pem.ts"

class Echo extends Client.Service<Echo>()("test/Echo", EchoService, { idempotent: ["watch"] }) {}
class Probe extends Client.Service<Probe>()("test/Probe", Health.HealthService) {}

type Handlers = TestChannel.ServiceHandlers<typeof EchoService>

const channel = (address: string, options: Partial<GrpcOptions.GrpcOptions> = {}) =>
  Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure, retry: false, ...options })

/** A server of these handlers, and clients of it, for the rest of the test. */
const start = (handlers: Handlers, options?: TestServer.TestServerOptions, client?: Partial<GrpcOptions.GrpcOptions>) =>
  Effect.gen(function* () {
    const server = yield* TestServer.make(EchoService, handlers, options)
    const context = yield* Layer.build(
      Layer.provideMerge(Layer.merge(Echo.layer, Probe.layer), channel(server.address, client))
    )
    return { server, echo: Context.get(context, Echo), probe: Context.get(context, Probe), context }
  })

const answer = (index: number, size = 0): WatchReply => ({ index, payload: Buffer.alloc(size), server: "a" })
const watch = { id: "w", count: 3, delayMillis: 0, payload: Buffer.alloc(0), failCode: 0 }
const line = (id: string) => ({ id, payload: Buffer.alloc(0) })
const chunk = (size: number) => ({ payload: Buffer.alloc(size) })

/** What never ends by itself, when it began, and when it was stopped. */
const endless = () => {
  const begun = Deferred.makeUnsafe<void>()
  const stopped = Deferred.makeUnsafe<void>()
  const forever = Effect.suspend(() => {
    Deferred.doneUnsafe(begun, Exit.void)
    return Effect.never
  }).pipe(Effect.onInterrupt(() => Effect.sync(() => Deferred.doneUnsafe(stopped, Exit.void))))
  return { begun: Deferred.await(begun), stopped: Deferred.await(stopped), forever }
}

/** Each kind with a handler that never ends. */
const stuck = (forever: Effect.Effect<never>): Handlers => ({
  echo: () => forever,
  watch: () => Stream.concat(Stream.make(answer(0)), Stream.fromEffect(forever)),
  upload: (requests) => Effect.andThen(Stream.runDrain(requests), forever),
  chat: (requests) => Stream.flatMap(requests, () => Stream.fromEffect(forever))
})
const kinds = ["echo", "watch", "upload", "chat"] as const
const open = (echo: Context.Service.Shape<typeof Echo>, kind: (typeof kinds)[number]) => {
  switch (kind) {
    case "echo":
      return echo.echo(request())
    case "watch":
      return Stream.runDrain(echo.watch(watch))
    case "upload":
      return echo.upload(Stream.make(chunk(1)))
    case "chat":
      return Stream.runDrain(echo.chat(Stream.concat(Stream.make(line("a")), Stream.never)))
  }
}

describe("a test server", () => {
  it.live("answers calls of all four kinds through its codecs, and keeps them", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { echo, server } = yield* start({
          echo: ({ id, payload }) => Effect.succeed({ id, payload, server: "a", extra: "dropped" }),
          watch: ({ count }) => Stream.map(Stream.range(1, count), (index) => answer(index)),
          upload: (requests) =>
            Effect.map(
              Stream.runFold(
                requests,
                () => 0,
                (bytes, { payload }) => bytes + payload.length
              ),
              (bytes) => ({ messages: 0, bytes, server: "a" })
            ),
          chat: (requests) =>
            Stream.map(requests, ({ id, payload }) => ({ id: id.toUpperCase(), payload, server: "a" }))
        })
        const metadata = { "x-tenant": ["acme", "other"], "x-key-bin": Buffer.from([0, 255]) }
        const echoed = yield* echo.echo(request({ id: "e", payload: Buffer.from("hi") }), { metadata })
        assert.deepStrictEqual({ ...echoed }, { id: "e", payload: Buffer.from("hi"), server: "a" })
        assert.deepStrictEqual(
          (yield* Stream.runCollect(echo.watch({ ...watch, count: 40 }))).map(({ index }) => index),
          Array.from({ length: 40 }, (_, index) => index + 1)
        )
        const chunks = Stream.map(Stream.range(1, 100), () => chunk(1_000))
        assert.strictEqual((yield* echo.upload(chunks)).bytes, 100_000)
        const names = Array.from({ length: 40 }, (_, n) => `n${n}`)
        assert.deepStrictEqual(
          (yield* Stream.runCollect(echo.chat(Stream.map(Stream.fromIterable(names), line)))).map(({ id }) => id),
          names.map((name) => name.toUpperCase())
        )
        assert.deepStrictEqual(yield* Stream.runCollect(echo.chat(Stream.empty)), [])
        const calls = yield* server.calls
        assert.deepStrictEqual(
          calls.map(({ method }) => `${method.kind} ${method.path}`),
          [
            "unary /hawser.test.v1.Echo/Echo",
            "serverStreaming /hawser.test.v1.Echo/Watch",
            "clientStreaming /hawser.test.v1.Echo/Upload",
            "bidiStreaming /hawser.test.v1.Echo/Chat",
            "bidiStreaming /hawser.test.v1.Echo/Chat"
          ]
        )
        assert.deepInclude(calls[0]!.input, { id: "e" })
        assert.deepStrictEqual(Metadata.getAll(calls[0]!.metadata!, "x-tenant"), ["acme, other"])
        assert.deepStrictEqual(Buffer.from(calls[0]!.metadata!.get("x-key-bin") as Uint8Array), Buffer.from([0, 255]))
        assert.deepStrictEqual(yield* server.defects, [])
      })
    )
  )

  it.live("takes requests and answers of no bytes, and values that are falsy", () =>
    leavesNothing(
      Effect.gen(function* () {
        const text = { to: (value: string) => Buffer.from(value), from: (bytes: Buffer) => bytes.toString() }
        const codecs = {
          requestSerialize: text.to,
          requestDeserialize: text.from,
          responseSerialize: (value: string) => new Uint8Array(Buffer.from(value)),
          responseDeserialize: text.from
        }
        const Texts = {
          say: { path: "/t.T/Say", requestStream: false, responseStream: false, ...codecs },
          chat: { path: "/t.T/Chat", requestStream: true, responseStream: true, ...codecs }
        } as const
        const server = yield* TestServer.make(Texts, { say: Effect.succeed, chat: (texts) => texts })
        const context = yield* Layer.build(channel(server.address))
        const client = Client.make(Texts, Context.get(context, Channel.Channel))
        assert.strictEqual(yield* client.say(""), "")
        assert.strictEqual(yield* client.say("ada"), "ada")
        assert.deepStrictEqual(yield* Stream.runCollect(client.chat(Stream.make("", "a", ""))), ["", "a", ""])
      })
    )
  )

  it.live("answers with headers, trailers, and the status that a handler fails with", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { echo } = yield* start({
          echo: ({ id, payload }) =>
            Effect.succeed(
              TestChannel.reply(
                { id, payload, server: "a" },
                { headers: Metadata.fromRecord({ "x-h": "1" }), trailers: Metadata.fromRecord({ "x-t": "2" }) }
              )
            ),
          put: () =>
            Effect.fail({
              _tag: "FailedPrecondition",
              details: "größer als 1 %\n\ud800",
              metadata: Metadata.fromRecord({ "x-why": "so" })
            }),
          watch: () =>
            Stream.concat(
              Stream.make(answer(0), answer(1)),
              Stream.fail(
                RpcError.of("/other", { _tag: "NotFound", details: "gone" }, "Answered", {
                  metadata: Metadata.fromRecord({ "x-cost": "3" })
                })
              )
            ),
          upload: () => Effect.fail({ _tag: "ResourceExhausted" })
        })
        const reply = yield* echo.echo.reply(request())
        assert.deepStrictEqual([reply.headers.get("x-h"), reply.trailers.get("x-t")], ["1", "2"])
        const error = yield* Effect.flip(echo.put({ id: "", delayMillis: 0, failCode: 0 }))
        assert.deepStrictEqual(error.reason, { _tag: "FailedPrecondition", details: "größer als 1 %\n\ufffd" })
        assert.deepStrictEqual([error.progress, error.metadata?.get("x-why")], ["Answered", "so"])
        const seen: Array<number> = []
        const failed = yield* Effect.flip(
          Stream.runForEach(echo.watch(watch), ({ index }) => Effect.sync(() => seen.push(index)))
        )
        assert.deepStrictEqual(seen, [0, 1])
        assert.deepStrictEqual(failed.reason, { _tag: "NotFound", details: "gone" })
        assert.strictEqual(failed.metadata?.get("x-cost"), "3")
        // Before the requests have ended.
        const early = yield* Effect.flip(echo.upload(Stream.concat(Stream.make(chunk(1)), Stream.never)))
        assert.deepStrictEqual(early.reason, { _tag: "ResourceExhausted", details: "", by: "Server" })
        assert.strictEqual((yield* Effect.flip(Stream.runDrain(echo.chat(Stream.empty)))).reason._tag, "Unimplemented")
      })
    )
  )

  it.live("answers Internal where a handler or a codec throws, and shows what was thrown", () =>
    leavesNothing(
      Effect.gen(function* () {
        const bug = new Error("bug")
        const huge = new Error("x".repeat(100_000))
        const { echo, server } = yield* start({
          echo: () => {
            throw bug
          },
          put: () => Effect.die(huge),
          watch: () => Stream.concat(Stream.make(answer(0)), Stream.die(bug)),
          upload: () => Effect.succeed(undefined as never),
          chat: (requests) => Stream.map(requests, () => null as never)
        })
        const errors = [
          yield* Effect.flip(echo.echo(request())),
          yield* Effect.flip(echo.put({ id: "", delayMillis: 0, failCode: 0 })),
          yield* Effect.flip(Stream.runDrain(echo.watch(watch))),
          yield* Effect.flip(echo.upload(Stream.empty)),
          yield* Effect.flip(Stream.runDrain(echo.chat(Stream.make(line("a")))))
        ]
        for (const error of errors) assert.deepInclude(error.reason, { _tag: "Internal" })
        assert.include(errors[0]!.reason.details, "bug")
        assert.isBelow(errors[1]!.reason.details.length, 2_000)
        const thrown = yield* server.defects
        assert.deepStrictEqual(thrown.slice(0, 3), [bug, huge, bug])
        assert.lengthOf(thrown, 5)
        assert.instanceOf(thrown[3], TypeError)
      })
    )
  )

  it.live("answers Internal where what a handler says can't be sent", () =>
    leavesNothing(
      Effect.gen(function* () {
        const bad = Metadata.fromRecord({ "grpc-status": "0" })
        const { echo, server } = yield* start({
          echo: ({ id, payload }) => Effect.succeed(TestChannel.reply({ id, payload, server: "a" }, { trailers: bad })),
          put: () => Effect.fail({ _tag: "NotFound", metadata: bad }),
          // What types refuse.
          upload: () => Effect.fail(null as never),
          watch: () => Stream.fail({ _tag: "Bogus" } as never)
        })
        assert.strictEqual((yield* Effect.flip(echo.echo(request()))).reason._tag, "Internal")
        const error = yield* Effect.flip(echo.put({ id: "", delayMillis: 0, failCode: 0 }))
        assert.strictEqual(error.reason._tag, "Internal")
        assert.strictEqual((yield* Effect.flip(echo.upload(Stream.empty))).reason._tag, "Internal")
        assert.strictEqual((yield* Effect.flip(Stream.runDrain(echo.watch(watch)))).reason._tag, "Internal")
        assert.lengthOf(yield* server.defects, 4)
      })
    )
  )

  it.live("answers Cancelled where a handler interrupts itself", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { echo } = yield* start({ echo: () => Effect.interrupt })
        assert.strictEqual((yield* Effect.flip(echo.echo(request()))).reason._tag, "Cancelled")
      })
    )
  )

  it.live("answers Internal for a request that is no message, and lives on", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { echo, probe, server } = yield* start({
          echo: ({ id, payload }) => Effect.succeed({ id, payload, server: "a" })
        })
        const session = http2.connect(`http://${server.address}`)
        const statuses: Array<unknown> = []
        for (const [path, bytes] of [
          ["/hawser.test.v1.Echo/Echo", [0x0a, 0x7f]],
          ["/grpc.health.v1.Health/Check", [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x61]],
          ["/grpc.health.v1.Health/Check", [0x0b]],
          ["/grpc.health.v1.Health/Check", Array.from({ length: 12 }, () => 0xff)]
        ] as const) {
          statuses.push(
            yield* Effect.callback<unknown>((resume) => {
              const call = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc" })
              call.on("response", (headers) => resume(Effect.succeed(headers["grpc-status"])))
              call.on("error", (error) => resume(Effect.die(error)))
              call.resume().end(Buffer.from([0, 0, 0, 0, bytes.length, ...bytes]))
            })
          )
        }
        session.destroy()
        assert.deepStrictEqual(statuses, ["13", "13", "13", "13"])
        assert.strictEqual((yield* echo.echo(request({ id: "e" }))).id, "e")
        assert.strictEqual((yield* probe.check({ service: "" })).status, "Serving")
      })
    )
  )

  it.live("interrupts a handler of any kind when its client goes", () =>
    leavesNothing(
      Effect.gen(function* () {
        for (const kind of kinds) {
          const { begun, forever, stopped } = endless()
          const { echo, server } = yield* start(stuck(forever))
          const fiber = yield* Effect.forkChild(Effect.exit(open(echo, kind)))
          yield* begun
          yield* Fiber.interrupt(fiber)
          yield* stopped
          assert.deepStrictEqual(yield* server.defects, [])
        }
      })
    )
  )

  it.live("gives a handler the deadline of its call, and interrupts it when that has passed", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { forever, stopped } = endless()
        const left: Array<number> = []
        const ambient = Effect.map(Deadline.remaining, (remaining) => void left.push(Duration.toMillis(remaining)))
        const { echo, server } = yield* start({
          echo: () => Effect.andThen(ambient, forever),
          watch: () => Stream.fromEffect(Effect.as(ambient, answer(0)))
        })
        const error = yield* Effect.flip(echo.echo(request(), { timeout: "100 millis" }))
        assert.strictEqual(error.reason._tag, "DeadlineExceeded")
        yield* stopped
        assert.isTrue(left[0]! > 0 && left[0]! <= 100, `${left[0]} ms left`)
        yield* Stream.runDrain(echo.watch(watch, { timeout: "1 hour" }))
        assert.isTrue(left[1]! > 3_500_000 && left[1]! <= 3_600_000, `${left[1]} ms left`)
        yield* Stream.runDrain(echo.watch(watch))
        assert.strictEqual(left[2], Infinity)
        assert.deepStrictEqual(
          (yield* server.calls).map(({ deadline }) => deadline! < Infinity),
          [true, true, false]
        )
      })
    )
  )

  it.live("writes no further than its client reads", () =>
    leavesNothing(
      Effect.gen(function* () {
        let sent = 0
        const { echo } = yield* start({
          watch: () =>
            Stream.map(
              Stream.iterate(0, (n) => n + 1),
              (index) => {
                sent++
                return answer(index, 10_000)
              }
            )
        })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const replies = yield* echo.watch.replies(watch)
            const pull = yield* Stream.toPull(replies.messages)
            yield* pull
            yield* still(() => sent)
            assert.isBelow(sent, 200)
            for (let n = 0; n < 20; n++) yield* pull
            assert.isAbove(sent, 20)
          })
        ).pipe(Effect.catchCause((cause) => Effect.die(Cause.squash(cause))))
      })
    )
  )

  it.live("reads no further than its handler takes", () =>
    leavesNothing(
      Effect.gen(function* () {
        let sent = 0
        const go = Deferred.makeUnsafe<void>()
        const { echo } = yield* start({
          upload: (requests) =>
            requests.pipe(
              Stream.mapEffect((one) => Effect.as(Deferred.await(go), one)),
              Stream.runFold(
                () => 0,
                (messages) => messages + 1
              ),
              Effect.map((messages) => ({ messages, bytes: 0, server: "a" }))
            )
        })
        const chunks = Stream.range(1, 1_000).pipe(
          Stream.rechunk(1),
          Stream.map(() => {
            sent++
            return chunk(10_000)
          })
        )
        const fiber = yield* Effect.forkChild(echo.upload(chunks))
        yield* still(() => sent)
        assert.isBelow(sent, 200)
        Deferred.doneUnsafe(go, Exit.void)
        assert.strictEqual((yield* Fiber.join(fiber)).messages, 1_000)
      })
    )
  )

  it.live("says what it is told of health, and tells who watches of each change", () =>
    leavesNothing(
      Effect.gen(function* () {
        const name = "hawser.test.v1.Echo"
        const { probe, server } = yield* start({})
        const check = (service: string) => Effect.map(probe.check({ service }), ({ status }) => status)
        assert.deepStrictEqual([yield* check(""), yield* check(name)], ["Serving", "Serving"])
        assert.strictEqual((yield* Effect.flip(check("other"))).reason._tag, "NotFound")
        const seen = yield* Queue.unbounded<Health.ServingStatus>()
        const long = `other.${"é".repeat(97)}`
        const watcher = yield* Effect.forkChild(
          Stream.runForEach(probe.watch({ service: long }), ({ status }) => Queue.offer(seen, status))
        )
        const next = Queue.take(seen)
        assert.strictEqual(yield* next, "ServiceUnknown")
        yield* server.setHealth(long, "NotServing")
        assert.strictEqual(yield* next, "NotServing")
        yield* server.setHealth(name, "NotServing")
        yield* server.setHealth(long, "NotServing")
        yield* server.setHealth(long, "Unknown")
        yield* server.setHealth(long, "Serving")
        assert.deepStrictEqual([yield* next, yield* next], ["Unknown", "Serving"])
        assert.deepStrictEqual(
          [yield* check(""), yield* check(name), yield* check(long)],
          ["Serving", "NotServing", "Serving"]
        )
        yield* server.setHealth(long, "ServiceUnknown")
        assert.strictEqual((yield* Effect.flip(check(long))).reason._tag, "NotFound")
        assert.deepStrictEqual(yield* server.calls, [])
        yield* Fiber.interrupt(watcher)
      })
    )
  )

  it.live("leaves a health service of the definition to its handlers", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TestServer.make(Health.HealthService, {
          check: () => Effect.succeed({ status: "NotServing" })
        })
        const context = yield* Layer.build(Layer.provide(Probe.layer, channel(server.address)))
        const { status } = yield* Context.get(context, Probe).check({ service: "" })
        assert.deepStrictEqual([status, (yield* server.calls).length], ["NotServing", 1])
      })
    )
  )

  it.live("ends all that runs when it is killed, refuses, and comes back at its address", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { begun, forever, stopped } = endless()
        const { echo, server } = yield* start({
          ...stuck(forever),
          put: ({ id }) => Effect.succeed({ id, server: "a" })
        })
        const put = (options?: { readonly waitForReady: boolean }) =>
          echo.put({ id: "p", delayMillis: 0, failCode: 0 }, options)
        const fiber = yield* Effect.forkChild(Effect.flip(echo.echo(request())))
        yield* begun
        // No bytes: a connection without a session.
        const mute = yield* connect(server.address)
        const { address } = server
        yield* server.kill
        yield* stopped
        yield* Effect.promise(() => mute.closed)
        const lost = yield* Fiber.join(fiber)
        assert.deepStrictEqual([lost.reason._tag, lost.progress], ["Unavailable", "MaybeProcessed"])
        const refused = yield* Effect.flip(
          Effect.flatMap(connect(address), () => Effect.fail("connected")).pipe(Effect.catchDefect(Effect.fail))
        )
        assert.strictEqual((refused as NodeJS.ErrnoException).code, "ECONNREFUSED")
        yield* server.kill
        yield* server.restart
        assert.strictEqual(server.address, address)
        assert.strictEqual((yield* put({ waitForReady: true })).id, "p")
        // Without a kill before it.
        yield* server.restart
        assert.strictEqual((yield* put({ waitForReady: true })).id, "p")
        assert.lengthOf(yield* server.calls, 3)
      })
    )
  )

  it.live("restarts once at a time", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { echo, server } = yield* start({ put: ({ id }) => Effect.succeed({ id, server: "a" }) })
        yield* Effect.all([server.restart, server.kill, server.restart, server.restart], { concurrency: "unbounded" })
        assert.strictEqual((yield* echo.put({ id: "p", delayMillis: 0, failCode: 0 }, { waitForReady: true })).id, "p")
      })
    )
  )

  it.live("leaves nothing when its scope closes with calls of every kind running", () =>
    leavesNothing(
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        let stopped = 0
        const begun = yield* Queue.unbounded<void>()
        const forever = Effect.andThen(Queue.offer(begun, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Effect.sync(() => stopped++))
        )
        const server = yield* Scope.provide(TestServer.make(EchoService, stuck(forever)), scope)
        const context = yield* Layer.build(Layer.provide(Layer.merge(Echo.layer, Probe.layer), channel(server.address)))
        const fibers = [
          ...kinds.map((kind) => open(Context.get(context, Echo), kind)),
          Stream.runDrain(Context.get(context, Probe).watch({ service: "" }))
        ]
        const running = yield* Effect.forEach(fibers, (call) =>
          Effect.forkChild(Effect.flip(call as Effect.Effect<void, RpcError.RpcError>))
        )
        for (const _ of kinds) yield* Queue.take(begun)
        const mute = yield* connect(server.address)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(stopped, kinds.length)
        yield* Effect.promise(() => mute.closed)
        for (const fiber of running) assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Unavailable")
        const exit = yield* Effect.exit(server.restart)
        assert.isTrue(Exit.hasDies(exit))
      })
    )
  )

  it.live("states its limit of calls on one connection", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TestServer.make(EchoService, {}, { maxStreams: 3 })
        const limit = yield* Effect.callback<number | undefined>((resume) => {
          const session = http2.connect(`http://${server.address}`)
          session.once("remoteSettings", ({ maxConcurrentStreams }) => {
            session.destroy()
            resume(Effect.succeed(maxConcurrentStreams))
          })
        })
        assert.strictEqual(limit, 3)
      })
    )
  )

  it.live("serves TLS, over a restart, too", () =>
    leavesNothing(
      Effect.gen(function* () {
        const credentials = Credentials.tls({ ca: cert, serverName: "localhost" })
        const { echo, server } = yield* start(
          { put: ({ id }) => Effect.succeed({ id, server: "a" }) },
          { tls: { cert, key } },
          { credentials }
        )
        const put = echo.put({ id: "p", delayMillis: 0, failCode: 0 }, { waitForReady: true })
        assert.strictEqual((yield* put).id, "p")
        const mute = yield* connect(server.address)
        yield* server.restart
        yield* Effect.promise(() => mute.closed)
        assert.strictEqual((yield* put).id, "p")
        const plain = yield* Layer.build(Layer.provide(Echo.layer, channel(server.address)))
        const error = yield* Effect.flip(Context.get(plain, Echo).echo(request(), { timeout: "10 seconds" }))
        assert.strictEqual(error.reason._tag, "Unavailable")
      })
    )
  )

  it.live("lets in only clients with a certificate of the signer that it is given", () =>
    leavesNothing(
      Effect.gen(function* () {
        const signer = TlsCertificates.make({ name: "signer", ca: true })
        const client = TlsCertificates.make({ name: "client", issuer: signer })
        const { server } = yield* start(
          {},
          { tls: { cert, key, ca: signer.cert } },
          {
            credentials: Credentials.tls({ ca: cert, serverName: "localhost", cert: client.cert, key: client.key })
          }
        )
        for (const [credentials, tag] of [
          [Credentials.tls({ ca: cert, serverName: "localhost", cert: client.cert, key: client.key }), "Unimplemented"],
          [Credentials.tls({ ca: cert, serverName: "localhost" }), "Unavailable"]
        ] as const) {
          const context = yield* Layer.build(Layer.provide(Echo.layer, channel(server.address, { credentials })))
          const error = yield* Effect.flip(Context.get(context, Echo).echo(request(), { timeout: "10 seconds" }))
          assert.strictEqual(error.reason._tag, tag)
        }
      })
    )
  )

  it.live("fails with every option and handler that breaks a rule, before it listens", () =>
    leavesNothing(
      Effect.gen(function* () {
        const bad = { nobody: () => Effect.void } as never
        const error = yield* Effect.flip(
          TestServer.make(EchoService, bad, { maxStreams: 0, tls: { cert, key: otherKey } })
        )
        assert.instanceOf(error, OptionsError)
        assert.deepStrictEqual(
          error.issues.map(({ path }) => path),
          ["handlers.nobody", "maxStreams", "tls.key"]
        )
        const half: object = { say: { path: "/t.T/Say", requestStream: false, responseStream: false } }
        const codecs = yield* Effect.flip(TestServer.make(half, {}))
        assert.deepStrictEqual(
          codecs.issues.map(({ path }) => path),
          ["definition.say"]
        )
        const none = { tls: {} as TestServer.TestServerTls }
        assert.strictEqual((yield* Effect.flip(TestServer.make(EchoService, {}, none))).issues[0]?.path, "tls.cert")
      })
    )
  )
})

/** A connection that says nothing. */
const connect = (address: string) =>
  Effect.callback<{ readonly closed: Promise<void> }>((resume) => {
    const socket = net.connect(Number(address.split(":")[1]), "127.0.0.1")
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
    socket.on("error", (error) => resume(Effect.die(error)))
    socket.once("connect", () => resume(Effect.succeed({ closed })))
    socket.resume()
  })

/** Waits until a count has stood still for as long as the loopback could ever need. */
const still = (count: () => number) => {
  let last = -1
  let same = 0
  return eventually("still", () => {
    same = count() === last && last > 0 ? same + 1 : 0
    last = count()
    return same === 50
  })
}
