import { assert, describe, it } from "@effect/vitest"
import { Channel, Client, Credentials, Grpc, type GrpcOptions } from "@hawser/grpc"
import { Data, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { EchoService, type WatchRequest } from "../generated/echo.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import * as StreamServer from "../support/grpc/StreamServer.ts"

class Echo extends Client.Service<Echo>()("test/Echo", EchoService, { idempotent: ["watch"] }) {}

class Spilled extends Data.TaggedError("Spilled")<{}> {}

/** A client of some servers, and its cluster. */
const connect = (servers: ReadonlyArray<StreamServer.StreamServer>, options: Partial<GrpcOptions.GrpcOptions> = {}) =>
  Effect.gen(function* () {
    const channel = Grpc.layer({
      target: `ipv4:${servers.map((s) => s.address).join()}`,
      credentials: Credentials.insecure,
      ...options
    })
    const context = yield* Effect.orDie(Layer.build(Echo.layer.pipe(Layer.provideMerge(channel))))
    const echo = yield* Effect.provide(Echo, context)
    const cluster = yield* Effect.provide(Grpc.GrpcCluster, context)
    const inFlight = Effect.map(cluster.snapshot, (s) => s.root.inFlight)
    return { cluster, echo, inFlight, channel: yield* Effect.provide(Channel.Channel, context) }
  })

const request = (options: Partial<WatchRequest> = {}): WatchRequest => ({
  id: "w",
  count: 3,
  delayMillis: 0,
  payload: Buffer.alloc(0),
  failCode: 0,
  ...options
})
const chunk = { payload: Buffer.alloc(1_000) }
const line = (id: string) => ({ id, payload: Buffer.alloc(0) })

describe("server streaming", () => {
  it.live("gives the messages in order, with headers and trailers, and returns the permit", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make("here")
        const { echo, inFlight } = yield* connect([server])
        const indexes = yield* echo.watch(request({ count: 40 })).pipe(
          Stream.map((m) => m.index),
          Stream.runCollect
        )
        assert.deepStrictEqual(
          indexes,
          Array.from({ length: 40 }, (_, i) => i)
        )
        const trailers = yield* Effect.scoped(
          Effect.gen(function* () {
            const replies = yield* echo.watch.replies(request())
            assert.strictEqual(replies.headers.get("x-server"), "here")
            assert.strictEqual(yield* inFlight, 1)
            yield* Stream.runDrain(replies.messages)
            assert.strictEqual(yield* inFlight, 0)
            return yield* replies.trailers
          })
        )
        assert.strictEqual(trailers.get("x-server"), "here")
      })
    )
  )

  it.live("an answer without any message is an empty stream", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo } = yield* connect([server])
        const exit = yield* Effect.exit(Stream.runCollect(echo.watch(request({ count: 0, failCode: 5 }))))
        assert.isTrue(Exit.isFailure(exit))
        const error = yield* Effect.flip(Stream.runDrain(echo.watch(request({ count: 0, failCode: 5 }))))
        assert.strictEqual(error.reason._tag, "NotFound")
      })
    )
  )

  it.live("whoever leaves early cancels the call at once", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo, inFlight } = yield* connect([server])
        const some = yield* Stream.runCollect(Stream.take(echo.watch(request({ count: 0 })), 3))
        assert.strictEqual(some.length, 3)
        yield* server.until("cancelled", () => server.cancelled === 1)
        assert.strictEqual(yield* inFlight, 0)
        const fiber = yield* Effect.forkChild(Stream.runDrain(echo.watch(request({ count: 0 }))))
        yield* server.until("started", () => server.started === 2)
        yield* Fiber.interrupt(fiber)
        yield* server.until("cancelled", () => server.cancelled === 2)
        assert.strictEqual(yield* inFlight, 0)
      })
    )
  )

  it.live("is read on demand: a slow reader holds the server back", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo } = yield* connect([server])
        let read = 0
        let ahead = 0
        yield* echo.watch(request({ count: 3_000, payload: Buffer.alloc(10_000) })).pipe(
          Stream.rechunk(1),
          Stream.runForEach(() =>
            Effect.sync(() => {
              read++
              ahead = Math.max(ahead, server.sent - read)
            }).pipe(Effect.andThen(read % 10 === 0 ? Effect.promise(() => new Promise(setImmediate)) : Effect.void))
          )
        )
        assert.strictEqual(read, 3_000)
        // 16 here, 64 KiB in each HTTP/2 window, and what the sockets of the kernel hold.
        assert.isBelow(ahead, 900)
      })
    )
  )

  it.live("a failure before the headers is retried elsewhere, one after them is not", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo } = yield* connect([server])
        const before = yield* Effect.flip(Stream.runDrain(echo.watch(request({ count: 0, failCode: 14 }))))
        assert.strictEqual(before.reason._tag, "Unavailable")
        assert.strictEqual(before.attempts, 3)
        assert.strictEqual(server.started, 3)
        const seen: Array<number> = []
        const after = yield* echo.watch(request({ count: 2, failCode: 14 })).pipe(
          Stream.runForEach((m) => Effect.sync(() => seen.push(m.index))),
          Effect.flip
        )
        assert.strictEqual(after.reason._tag, "Unavailable")
        assert.deepStrictEqual(seen, [0, 1])
        assert.strictEqual(server.started, 4)
      })
    )
  )

  it.live("the end of the scope ends the call, read or not", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo, inFlight } = yield* connect([server])
        const scope = yield* Scope.make()
        yield* Scope.provide(echo.watch.replies(request({ count: 0 })), scope)
        assert.strictEqual(yield* inFlight, 1)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* inFlight, 0)
        yield* server.until("cancelled", () => server.cancelled === 1)
      })
    )
  )

  it.live("has no deadline of its own, but keeps one that is said", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo } = yield* connect([server], { deadline: "1 millis", silence: false })
        const few = yield* Stream.runCollect(Stream.take(echo.watch(request({ count: 0 })), 2))
        assert.strictEqual(few.length, 2)
        const error = yield* echo.watch(request({ count: 0 }), { timeout: "50 millis" }).pipe(
          Stream.runForEach(() => Effect.promise(() => new Promise(setImmediate))),
          Effect.flip
        )
        assert.strictEqual(error.reason._tag, "DeadlineExceeded")
      })
    )
  )
})

describe("client streaming", () => {
  it.live("sends what the stream gives and answers once", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo, inFlight } = yield* connect([server])
        const reply = yield* echo.upload(Stream.fromIterable(Array.from({ length: 50 }, () => chunk)))
        assert.deepStrictEqual([reply.messages, reply.bytes], [50, 50_000])
        const nothing = yield* echo.upload.reply(Stream.empty)
        assert.strictEqual(nothing.message.messages, 0)
        assert.strictEqual(yield* inFlight, 0)
      })
    )
  )

  it.live("the stream's own error cancels the call and is its error", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo, inFlight } = yield* connect([server])
        const input = Stream.concat(Stream.make(chunk), Stream.fail(new Spilled()))
        const error = yield* Effect.flip(echo.upload(input))
        assert.strictEqual(error._tag, "Spilled")
        yield* server.until("cancelled", () => server.cancelled === 1)
        assert.strictEqual(yield* inFlight, 0)
      })
    )
  )

  it.live("a server that does not read holds the stream back", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        server.holding = true
        const { echo } = yield* connect([server])
        let pulled = 0
        const big = { payload: Buffer.alloc(10_000) }
        const input = Stream.fromIterable(Array.from({ length: 2_000 }, () => big)).pipe(
          Stream.rechunk(1),
          Stream.tap(() => Effect.sync(() => pulled++))
        )
        const fiber = yield* Effect.forkChild(echo.upload(input))
        yield* server.until("started", () => server.started === 1)
        // A call of another stream goes through meanwhile, and the held one does not move on for it.
        for (let i = 0; i < 20; i++) yield* Stream.runDrain(echo.watch(request()))
        assert.isBelow(pulled, 300)
        server.release()
        assert.strictEqual((yield* Fiber.join(fiber)).messages, 2_000)
      })
    )
  )
})

describe("bidirectional streaming", () => {
  it.live("answers while it is asked", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo, inFlight } = yield* connect([server])
        const ids = yield* echo.chat(Stream.make(line("a"), line("b"), line("c"))).pipe(
          Stream.map((m) => m.id),
          Stream.runCollect
        )
        assert.deepStrictEqual(ids, ["a", "b", "c"])
        const error = yield* echo
          .chat(Stream.concat(Stream.make(line("a")), Stream.fail(new Spilled())))
          .pipe(Stream.runDrain, Effect.flip)
        assert.strictEqual(error._tag, "Spilled")
        assert.strictEqual(yield* inFlight, 0)
      })
    )
  )

  it.live("an interrupt ends both sides", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { echo, inFlight } = yield* connect([server])
        let stopped = 0
        const input = Stream.ensuring(
          Stream.concat(Stream.make(line("a")), Stream.never),
          Effect.sync(() => stopped++)
        )
        const one = yield* Stream.runCollect(Stream.take(echo.chat(input), 1))
        assert.strictEqual(one.length, 1)
        assert.strictEqual(stopped, 1)
        yield* server.until("cancelled", () => server.cancelled === 1)
        assert.strictEqual(yield* inFlight, 0)
      })
    )
  )
})
