import { assert, describe, it } from "@effect/vitest"
import { Call, Channel, Client, Deadline, Metadata, Retry, type RpcError } from "@hawser/grpc"
import { TestChannel } from "@hawser/testing"
import { Context, Data, Deferred, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { EchoService, type WatchReply } from "../../generated/echo.ts"
import { method } from "../../support/channels.ts"

class Echo extends Client.Service<Echo>()("test/Echo", EchoService, { idempotent: ["watch"] }) {}

const Tenant = Context.Reference<string>("test/Tenant", { defaultValue: () => "nobody" })

class Spilled extends Data.TaggedError("Spilled")<{}> {}

const request = { id: "w", count: 3, delayMillis: 0, payload: Buffer.alloc(0), failCode: 0 }
const answer = (index: number): WatchReply => ({ index, payload: Buffer.alloc(0), server: "a" })
const uploaded = { messages: 0, bytes: 0, server: "a" }
const chunk = (size: number) => ({ payload: Buffer.alloc(size) })
const line = (id: string) => ({ id, payload: Buffer.alloc(0) })
const spilling = <A>(first: A) => Stream.concat(Stream.make(first), Stream.fail(new Spilled()))

type Handlers = TestChannel.ServiceHandlers<typeof EchoService>
const service = (handlers: Handlers, options?: TestChannel.TestChannelOptions) =>
  Layer.provideMerge(Echo.layer, TestChannel.layerService(EchoService, handlers, options))

/** A client of these handlers, for the rest of the test. */
const client = (handlers: Handlers, options?: TestChannel.TestChannelOptions) =>
  Effect.provide(Echo, service(handlers, options))

/** What never ends by itself, and how often it was stopped. */
const endless = () => {
  const counts = { started: 0, stopped: 0 }
  const begun = Deferred.makeUnsafe<void>()
  const forever = Effect.suspend(() => {
    counts.started++
    Deferred.doneUnsafe(begun, Exit.void)
    return Effect.never
  }).pipe(Effect.onInterrupt(() => Effect.sync(() => counts.stopped++)))
  return { begun, counts, forever }
}

describe("a server-streaming handler", () => {
  it.effect("answers in order, through both codecs", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const echo = yield* client({
        watch: (received) => {
          seen.push(received)
          return Stream.map(Stream.range(0, received.count - 1), (index) => ({ ...answer(index), extra: "dropped" }))
        }
      })
      const sent = { ...request, count: 40, extra: "dropped" }
      const answers = yield* Stream.runCollect(echo.watch(sent))
      assert.deepStrictEqual(seen, [{ ...request, count: 40 }])
      assert.deepStrictEqual(
        answers.map((one) => ({ ...one })),
        Array.from({ length: 40 }, (_, index) => answer(index))
      )
    })
  )

  it.effect("may give no answer at all", () =>
    Effect.gen(function* () {
      const echo = yield* client({ watch: () => Stream.empty })
      assert.deepStrictEqual(yield* Stream.runCollect(echo.watch(request)), [])
      const replies = yield* Effect.scoped(echo.watch.replies(request))
      assert.strictEqual(replies.connection, "test#1")
    })
  )

  it.effect("runs once for each run of the stream", () =>
    Effect.gen(function* () {
      let runs = 0
      const echo = yield* client({ watch: () => Stream.make(answer(runs++)) })
      const stream = Stream.map(echo.watch(request), ({ index }) => index)
      assert.deepStrictEqual(yield* Stream.runCollect(stream), [0])
      assert.deepStrictEqual(yield* Stream.runCollect(stream), [1])
    })
  )

  it.effect("that fails before its first answer fails the opening, and is retried", () =>
    Effect.gen(function* () {
      let attempts = 0
      const base = TestChannel.layerService(EchoService, {
        watch: () => (attempts++ < 2 ? Stream.fail({ _tag: "Unavailable" }) : Stream.make(answer(attempts)))
      })
      const layer = Echo.layer.pipe(Layer.provide(Retry.layer()), Layer.provideMerge(base))
      const program = Echo.use((echo) => Stream.runCollect(echo.watch(request)))
      const fiber = yield* Effect.forkChild(Effect.provide(program, layer))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        (yield* Fiber.join(fiber)).map(({ index }) => index),
        [3]
      )
    })
  )

  it.effect("that fails after some answers has them read first, and its trailers kept", () =>
    Effect.gen(function* () {
      const metadata = Metadata.fromRecord({ "x-cost": "3" })
      const echo = yield* client({
        watch: () => Stream.concat(Stream.make(answer(0), answer(1)), Stream.fail({ _tag: "Unavailable", metadata }))
      })
      const seen: Array<number> = []
      yield* Effect.scoped(
        Effect.gen(function* () {
          const replies = yield* echo.watch.replies(request)
          const error = yield* Stream.runForEach(replies.messages, ({ index }) =>
            Effect.sync(() => seen.push(index))
          ).pipe(Effect.flip)
          assert.deepInclude(error, { progress: "Answered", connection: "test#1", endpoint: "test" })
          assert.strictEqual(error.reason._tag, "Unavailable")
          assert.strictEqual((yield* replies.trailers).get("x-cost"), "3")
        })
      )
      assert.deepStrictEqual(seen, [0, 1])
    })
  )

  it.effect("that throws or dies is a server that crashes", () =>
    Effect.gen(function* () {
      const bug = new Error("bug")
      const throwing: Handlers = {
        watch: () => {
          throw bug
        }
      }
      const dying: Handlers = { watch: () => Stream.concat(Stream.make(answer(0)), Stream.die(bug)) }
      for (const handlers of [throwing, dying]) {
        const echo = yield* client(handlers)
        const error = yield* Effect.flip(Stream.runDrain(echo.watch(request)))
        assert.strictEqual(error.reason._tag, "Internal")
        assert.include(error.reason.details, "bug")
        assert.strictEqual(error.cause, bug)
      }
    })
  )

  it.effect("is interrupted when the reader leaves early", () =>
    Effect.gen(function* () {
      const { counts, forever } = endless()
      const echo = yield* client({
        watch: () => Stream.concat(Stream.make(answer(0), answer(1)), Stream.fromEffect(forever))
      })
      const some = yield* Stream.runCollect(Stream.take(echo.watch(request), 2))
      assert.lengthOf(some, 2)
      assert.deepStrictEqual(counts, { started: 1, stopped: 1 })
    })
  )

  it.effect("is interrupted when the reader of its messages leaves, before the scope ends", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { counts, forever } = endless()
        const echo = yield* client({ watch: () => Stream.concat(Stream.make(answer(0)), Stream.fromEffect(forever)) })
        const { messages } = yield* echo.watch.replies(request)
        yield* Stream.runDrain(Stream.take(messages, 1))
        assert.deepStrictEqual(counts, { started: 1, stopped: 1 })
      })
    )
  )

  it.effect("is interrupted when the scope ends unread, and with its caller while it opens", () =>
    Effect.gen(function* () {
      const { counts, forever } = endless()
      const echo = yield* client({ watch: () => Stream.concat(Stream.make(answer(0)), Stream.fromEffect(forever)) })
      const scope = yield* Scope.make()
      const { trailers } = yield* Scope.provide(echo.watch.replies(request), scope)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(counts, { started: 1, stopped: 1 })
      assert.strictEqual((yield* trailers).size, 0)
      const silent = yield* client({ watch: () => Stream.fromEffect(forever) })
      const fiber = yield* Effect.forkChild(Stream.runDrain(silent.watch(request)), { startImmediately: true })
      yield* Effect.yieldNow
      assert.strictEqual(counts.started, 2)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(counts.stopped, 2)
    })
  )

  it.effect("is held back by a slow reader", () =>
    Effect.gen(function* () {
      let given = 0
      const echo = yield* client({ watch: () => Stream.fromEffectRepeat(Effect.sync(() => answer(given++))) })
      const read = echo.watch(request).pipe(Stream.runForEach(() => Effect.never))
      const fiber = yield* Effect.forkChild(read)
      yield* TestClock.adjust("1 minute")
      assert.isAtLeast(given, 16)
      assert.isBelow(given, 64)
      yield* Fiber.interrupt(fiber)
    })
  )
})

describe("a client-streaming handler", () => {
  it.effect("reads the requests through both codecs, and answers once", () =>
    Effect.gen(function* () {
      const headers = Metadata.fromRecord({ "x-shard": "7" })
      const echo = yield* client({
        upload: (requests) =>
          Effect.map(Stream.runCollect(requests), (all) => {
            assert.isFalse(all.some((one) => "extra" in one))
            const bytes = all.reduce((sum, { payload }) => sum + payload.length, 0)
            return TestChannel.reply({ ...uploaded, messages: all.length, bytes }, { headers })
          })
      })
      const sent = Stream.range(1, 50).pipe(Stream.map(() => ({ ...chunk(10), extra: "dropped" })))
      assert.deepInclude(yield* echo.upload(sent), { messages: 50, bytes: 500 })
      const nothing = yield* echo.upload.reply(Stream.empty)
      assert.strictEqual(nothing.message.messages, 0)
      assert.strictEqual(nothing.headers.get("x-shard"), "7")
    })
  )

  it.effect("may answer without reading on: the requests are interrupted", () =>
    Effect.gen(function* () {
      const { counts, forever } = endless()
      const echo = yield* client({
        upload: (requests) => Effect.as(Stream.runDrain(Stream.take(requests, 1)), uploaded)
      })
      yield* echo.upload(Stream.concat(Stream.make(chunk(1)), Stream.fromEffect(forever)))
      assert.deepStrictEqual(counts, { started: 1, stopped: 1 })
    })
  )

  it.effect("is interrupted when the requests fail, with whose error the call fails", () =>
    Effect.gen(function* () {
      const { counts, forever } = endless()
      const echo = yield* client({ upload: (requests) => Effect.andThen(Stream.runDrain(requests), forever) })
      const waiting = yield* client({ upload: () => forever })
      assert.strictEqual((yield* Effect.flip(echo.upload(spilling(chunk(1)))))._tag, "Spilled")
      assert.deepStrictEqual(counts, { started: 0, stopped: 0 })
      assert.strictEqual((yield* Effect.flip(waiting.upload(spilling(chunk(1)))))._tag, "Spilled")
      assert.deepStrictEqual(counts, { started: 1, stopped: 1 })
    })
  )

  it.effect("holds the requests back where it does not read", () =>
    Effect.gen(function* () {
      let pulled = 0
      const { forever } = endless()
      const echo = yield* client({ upload: () => forever })
      const input = Stream.fromEffectRepeat(
        Effect.sync(() => {
          pulled++
          return chunk(1)
        })
      )
      const fiber = yield* Effect.forkChild(echo.upload(input))
      yield* TestClock.adjust("1 minute")
      assert.isAtLeast(pulled, 16)
      assert.isBelow(pulled, 64)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("may fail with a status, and is a crash when it dies", () =>
    Effect.gen(function* () {
      const failing = yield* client({ upload: () => Effect.fail({ _tag: "ResourceExhausted" }) })
      const full = yield* Effect.flip(failing.upload(Stream.never))
      assert.deepInclude(full.reason, { _tag: "ResourceExhausted", by: "Server" })
      const dying = yield* client({ upload: () => Effect.die(new Error("bug")) })
      assert.strictEqual((yield* Effect.flip(dying.upload(Stream.never))).reason._tag, "Internal")
    })
  )
})

describe("a bidirectional handler", () => {
  it.effect("answers while it is asked", () =>
    Effect.gen(function* () {
      const answered = yield* Deferred.make<void>()
      const echo = yield* client({ chat: Stream.map((one) => ({ ...one, server: "a" })) })
      // The second is asked only when the first is answered.
      const input = Stream.concat(
        Stream.make(line("a")),
        Stream.fromEffect(Effect.as(Deferred.await(answered), line("b")))
      )
      const ids = yield* echo.chat(input).pipe(
        Stream.map(({ id }) => id),
        Stream.tap(() => Deferred.succeed(answered, undefined)),
        Stream.runCollect
      )
      assert.deepStrictEqual(ids, ["a", "b"])
    })
  )

  it.effect("is interrupted when the requests fail, with whose error the call fails", () =>
    Effect.gen(function* () {
      const { begun, counts, forever } = endless()
      const echo = yield* client({
        chat: (requests) =>
          Stream.merge(
            Stream.map(requests, (one) => ({ ...one, server: "a" })),
            Stream.fromEffect(forever)
          )
      })
      const input = Stream.concat(Stream.drain(Stream.fromEffect(Deferred.await(begun))), spilling(line("a")))
      const error = yield* Effect.flip(Stream.runDrain(echo.chat(input)))
      assert.strictEqual(error._tag, "Spilled")
      assert.deepStrictEqual(counts, { started: 1, stopped: 1 })
    })
  )

  it.effect("ends both sides when the reader leaves", () =>
    Effect.gen(function* () {
      const asking = endless()
      const answering = endless()
      const echo = yield* client({
        chat: (requests) =>
          Stream.merge(
            Stream.map(requests, (one) => ({ ...one, server: "a" })),
            Stream.fromEffect(answering.forever)
          )
      })
      const input = Stream.concat(Stream.make(line("a")), Stream.fromEffect(asking.forever))
      assert.lengthOf(yield* Stream.runCollect(Stream.take(echo.chat(input), 1)), 1)
      assert.deepStrictEqual(asking.counts, { started: 1, stopped: 1 })
      assert.deepStrictEqual(answering.counts, { started: 1, stopped: 1 })
    })
  )

  it.effect("does not give its own services to the requests", () =>
    Effect.gen(function* () {
      const echo = yield* client({
        chat: (requests) =>
          Stream.provideService(
            Stream.map(requests, (one) => ({ ...one, server: "a" })),
            Tenant,
            "of the server"
          )
      })
      const input = Stream.fromEffect(Effect.map(Tenant, line))
      const ids = yield* echo.chat(input).pipe(
        Stream.map(({ id }) => id),
        Stream.runCollect,
        Effect.provideService(Tenant, "of the caller")
      )
      assert.deepStrictEqual(ids, ["of the caller"])
    })
  )
})

describe("a stream", () => {
  it.effect("is Unimplemented where there is no handler, and recorded", () =>
    Effect.gen(function* () {
      const calls = yield* Effect.gen(function* () {
        const echo = yield* Echo
        for (const failing of [
          Stream.runDrain(echo.watch(request)),
          echo.upload(Stream.never),
          Stream.runDrain(echo.chat(Stream.never))
        ]) {
          const error = yield* Effect.flip(failing)
          assert.strictEqual(error.reason._tag, "Unimplemented")
          assert.strictEqual(error.progress, "Answered")
        }
        return yield* TestChannel.calls
      }).pipe(Effect.provide(service({})))
      assert.deepStrictEqual(
        calls.map((one) => one.method.kind),
        ["serverStreaming", "clientStreaming", "bidiStreaming"]
      )
      assert.deepStrictEqual({ ...(calls[0]?.input as typeof request) }, request)
    })
  )

  it.effect("with metadata that can't be sent is refused and not recorded", () =>
    Effect.gen(function* () {
      const bad = Metadata.fromRecord({ "grpc-x": "1" })
      const one = Call.make<string, string>({ ...method(), kind: "serverStreaming" }, "ada", { metadata: bad })
      const { calls, error } = yield* Effect.gen(function* () {
        const channel = yield* Channel.Channel
        const error = yield* Effect.flip(Effect.scoped(channel.stream(one)))
        return { error, calls: yield* TestChannel.calls }
      }).pipe(Effect.provide(TestChannel.layer({ [one.method.path]: () => Stream.empty })))
      assert.deepInclude(error, { progress: "NotSent" })
      assert.strictEqual(error.reason._tag, "InvalidArgument")
      assert.lengthOf(calls, 0)
    })
  )

  it.effect.each([
    ["a request can't be encoded", "requestSerialize", "MaybeProcessed"],
    ["a request can't be decoded", "requestDeserialize", "Answered"],
    ["an answer can't be encoded", "responseSerialize", "Answered"],
    ["an answer can't be decoded", "responseDeserialize", "Answered"]
  ] as const)("says where %s", ([, name, progress]) =>
    Effect.gen(function* () {
      const boom = (): never => {
        throw new Error("bad codec")
      }
      const definition = { ...EchoService, chat: { ...EchoService.chat, [name]: boom } }
      const layer = TestChannel.layerService(definition, {
        chat: (requests) => Stream.as(requests, { ...line("a"), server: "a" })
      })
      const program = Channel.Channel.use((channel) =>
        Stream.runDrain(Client.make(definition, channel).chat(Stream.make(line("a"))))
      )
      const error = yield* Effect.flip(Effect.provide(program, layer))
      assert.strictEqual(error.reason._tag, "Internal")
      assert.strictEqual(error.progress, progress)
      assert.include(error.reason.details, "bad codec")
    })
  )

  it.effect("may be served by path, and says when the handler is of another kind", () =>
    Effect.gen(function* () {
      const many = { ...method(), kind: "bidiStreaming", path: "/demo.Greeter/Chat" } as const
      const single = { ...method(), kind: "clientStreaming", path: "/demo.Greeter/Upload" } as const
      const asked = <K extends object>(one: K) =>
        Call.make<string, string>(one as never, "", { requests: Stream.make("ada", "bob") })
      const shout = (names: Stream.Stream<string>) => Stream.map(names, (name) => name.toUpperCase())
      const count = (names: Stream.Stream<string>) => Effect.map(Stream.runCollect(names), (all) => all.join())
      const read = Channel.Channel.use((channel) =>
        Effect.scoped(Effect.flatMap(channel.stream(asked(many)), ({ messages }) => Stream.runCollect(messages)))
      )
      const send = Channel.Channel.use((channel) => channel.unary(asked(single)))
      const right = TestChannel.layer({ [many.path]: shout, [single.path]: count })
      assert.deepStrictEqual(yield* Effect.provide(read, right), ["ADA", "BOB"])
      assert.strictEqual((yield* Effect.provide(send, right)).message, "ada,bob")
      const wrong = TestChannel.layer({ [many.path]: count, [single.path]: shout })
      const errors = [yield* Effect.flip(Effect.provide(read, wrong)), yield* Effect.flip(Effect.provide(send, wrong))]
      assert.deepStrictEqual(
        errors.map(({ reason }) => [reason._tag, /gives an? (\w+)/.exec(reason.details)?.[1]]),
        [
          ["Internal", "Stream"],
          ["Internal", "Effect"]
        ]
      )
    })
  )
})

describe("deadlines of streams", () => {
  const late = Effect.fnUntraced(function* (
    program: (echo: Client.Client<typeof EchoService>) => Effect.Effect<unknown, RpcError.RpcError>,
    handlers: Handlers
  ) {
    const echo = yield* client(handlers, { deadline: "1 second" })
    const fiber = yield* Effect.forkChild(Effect.flip(program(echo)))
    yield* TestClock.adjust("999 millis")
    assert.strictEqual(fiber.pollUnsafe(), undefined)
    yield* TestClock.adjust("1 millis")
    return yield* Fiber.join(fiber)
  })

  it.effect("hold before the first answer, and interrupt the handler", () =>
    Effect.gen(function* () {
      const { counts, forever } = endless()
      const error = yield* late((echo) => Stream.runDrain(echo.watch(request, { timeout: "1 second" })), {
        watch: () => Stream.fromEffect(forever)
      })
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", by: "Us", phase: "Sent" })
      assert.strictEqual(error.progress, "MaybeProcessed")
      assert.deepStrictEqual(counts, { started: 1, stopped: 1 })
    })
  )

  it.effect("hold after the first answer, read or not", () =>
    Effect.gen(function* () {
      const { counts, forever } = endless()
      const handlers: Handlers = { watch: () => Stream.concat(Stream.make(answer(0)), Stream.fromEffect(forever)) }
      const read = yield* late((echo) => Deadline.within(Stream.runDrain(echo.watch(request)), "1 second"), handlers)
      assert.deepInclude(read.reason, { _tag: "DeadlineExceeded", by: "Us", phase: "Receiving" })
      const unread = yield* late(
        (echo) =>
          Effect.scoped(
            Effect.gen(function* () {
              const { messages } = yield* echo.watch.replies(request, { timeout: "500 millis" })
              yield* Effect.sleep("1 second")
              assert.strictEqual(counts.stopped, 2)
              yield* Stream.runDrain(messages)
            })
          ),
        handlers
      )
      assert.strictEqual(unread.reason._tag, "DeadlineExceeded")
    })
  )

  it.effect("by default are for uploads, not for streams of answers", () =>
    Effect.gen(function* () {
      const { forever } = endless()
      const error = yield* late((echo) => echo.upload(Stream.never), { upload: () => forever })
      assert.strictEqual(error.reason._tag, "DeadlineExceeded")
      const echo = yield* client({ chat: () => Stream.fromEffect(forever) }, { deadline: "1 second" })
      const fiber = yield* Effect.forkChild(Stream.runDrain(echo.chat(Stream.never)))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      yield* Fiber.interrupt(fiber)
    })
  )
})
