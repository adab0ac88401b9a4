import { assert, describe, it } from "@effect/vitest"
import { OptionsError } from "@hawser/core"
import { Call, Channel, Client, Deadline, Metadata, Retry, RpcError } from "@hawser/grpc"
import { TestChannel } from "@hawser/testing"
import { Cause, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { EchoService } from "../../generated/echo.ts"
import { call, method } from "../../support/channels.ts"

class Echo extends Client.Service<Echo>()("test/Echo", EchoService, { idempotent: ["echo"] }) {}

const request = { id: "1", payload: Buffer.from("x"), delayMillis: 0, failCode: 0 }
const put = { id: "2", delayMillis: 0, failCode: 0 }
const path = "/demo.Greeter/SayHello"

const unary = (one = call()) => Channel.Channel.use((channel) => channel.unary(one))
const echo = Echo.use((client) => client.echo(request))
const over = (layer: Layer.Layer<Channel.Channel | TestChannel.TestChannel>) => Layer.provideMerge(Echo.layer, layer)
const service = (handlers: TestChannel.ServiceHandlers<typeof EchoService>, options?: TestChannel.TestChannelOptions) =>
  over(TestChannel.layerService(EchoService, handlers, options))

describe("TestChannel.layer", () => {
  it.effect("answers by path", () =>
    Effect.gen(function* () {
      const layer = TestChannel.layer({ [path]: (name: string) => Effect.succeed(`hello ${name}`) })
      const reply = yield* Effect.provide(unary(), layer)
      assert.deepInclude(reply, { message: "hello ada", connection: "test#1" })
    })
  )

  it.effect("answers Unimplemented where there is no handler", () =>
    Effect.gen(function* () {
      for (const handlers of [{}, { "/demo.Greeter/Other": () => Effect.succeed("") }]) {
        const error = yield* Effect.flip(Effect.provide(unary(), TestChannel.layer(handlers)))
        assert.strictEqual(error.reason._tag, "Unimplemented")
        assert.strictEqual(error.progress, "Answered")
        assert.strictEqual(error.method, path)
      }
    })
  )

  it.effect("encodes the request, so that a codec that can't take it shows", () =>
    Effect.gen(function* () {
      const broken = {
        ...method(),
        encode: () => {
          throw new Error("no such field")
        }
      }
      const layer = TestChannel.layer({ [path]: () => Effect.succeed("") })
      const error = yield* Effect.flip(Effect.provide(unary(Call.make(broken, "ada")), layer))
      assert.strictEqual(error.reason._tag, "Internal")
      assert.strictEqual(error.progress, "NotSent")
      assert.include(error.reason.details, "no such field")
    })
  )
})

describe("TestChannel.layerService", () => {
  it.effect("answers by name, with the types of the definition", () =>
    Effect.gen(function* () {
      const layer = service({
        echo: ({ id, payload }) => Effect.succeed({ id: `${id}!`, payload, server: "a" }),
        put: ({ id }) => Effect.succeed({ id, server: "b" })
      })
      yield* Effect.gen(function* () {
        const client = yield* Echo
        assert.deepInclude(yield* client.echo(request), { id: "1!", server: "a" })
        assert.deepInclude(yield* client.put(put), { id: "2", server: "b" })
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("may have handlers for some methods only", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.provide(echo, service({ put: () => Effect.succeed({ id: "", server: "" }) }))
      )
      assert.strictEqual(error.reason._tag, "Unimplemented")
    })
  )

  it.effect("sends messages through both codecs, as on a wire", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const layer = service({
        echo: (received) => {
          seen.push(received)
          return Effect.succeed({ id: "1", payload: Buffer.from("y"), server: "a", extra: "dropped" })
        }
      })
      const sent = { ...request, extra: "dropped" }
      const reply = yield* Echo.use((client) => client.echo(sent)).pipe(Effect.provide(layer))
      assert.deepStrictEqual(seen, [request])
      assert.deepStrictEqual({ ...reply }, { id: "1", payload: Buffer.from("y"), server: "a" })
    })
  )

  it.effect.each([
    ["the request can't be encoded", { requestSerialize: true }, "NotSent"],
    ["the request can't be decoded", { requestDeserialize: true }, "Answered"],
    ["the answer can't be encoded", { responseSerialize: true }, "Answered"],
    ["the answer can't be decoded", { responseDeserialize: true }, "Answered"]
  ] as const)("says where %s", ([, which, progress]) =>
    Effect.gen(function* () {
      const [name] = Object.keys(which)
      const boom = (): never => {
        throw new Error("bad codec")
      }
      const definition = { ...EchoService, echo: { ...EchoService.echo, [name!]: boom } }
      const layer = TestChannel.layerService(definition, {
        echo: () => Effect.succeed({ id: "", payload: Buffer.alloc(0), server: "" })
      })
      const program = Channel.Channel.use((channel) => Client.make(definition, channel).echo(request))
      const error = yield* Effect.flip(Effect.provide(program, layer))
      assert.strictEqual(error.reason._tag, "Internal")
      assert.strictEqual(error.progress, progress)
      assert.include(error.reason.details, "bad codec")
    })
  )

  it.effect("is a defect with an OptionsError for names that the types were told to forget", () =>
    Effect.gen(function* () {
      const handlers = {
        ecko: () => Effect.succeed({}),
        wotch: () => Stream.empty,
        watch: () => Stream.empty,
        echo: undefined
      } as TestChannel.ServiceHandlers<typeof EchoService>
      const exit = yield* Effect.exit(Layer.build(TestChannel.layerService(EchoService, handlers)))
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) {
        const defect = Cause.squash(exit.cause)
        assert.instanceOf(defect, OptionsError.OptionsError)
        assert.deepStrictEqual(
          (defect as OptionsError.OptionsError).issues.map(({ path }) => path),
          ["handlers.ecko", "handlers.wotch"]
        )
      }
    })
  )
})

describe("a handler", () => {
  it.effect.each<readonly [TestChannel.Status, object]>([
    [{ _tag: "NotFound" }, { _tag: "NotFound", details: "" }],
    [
      { _tag: "NotFound", details: "nobody" },
      { _tag: "NotFound", details: "nobody" }
    ],
    [{ _tag: "ResourceExhausted" }, { _tag: "ResourceExhausted", details: "", by: "Server" }],
    [{ _tag: "DeadlineExceeded" }, { _tag: "DeadlineExceeded", details: "", by: "Server", phase: "Sent" }],
    [{ _tag: "Unavailable" }, { _tag: "Unavailable", details: "", connect: undefined }]
  ])("may fail with a status: %o", ([status, reason]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.provide(echo, service({ echo: () => Effect.fail(status) })))
      assert.deepStrictEqual({ ...error.reason }, reason)
      assert.deepInclude(error, { progress: "Answered", connection: "test#1", endpoint: "test", attempts: 1 })
    })
  )

  it.effect("may fail with an error of its own making", () =>
    Effect.gen(function* () {
      const lost = RpcError.of(path, { _tag: "Unavailable", details: "", connect: undefined }, "Refused")
      assert.strictEqual(yield* Effect.flip(Effect.provide(echo, service({ echo: () => lost }))), lost)
    })
  )

  it.effect("that throws or dies is a server that crashes", () =>
    Effect.gen(function* () {
      const bug = new Error("bug")
      const throwing = service({
        echo: () => {
          throw bug
        }
      })
      for (const layer of [throwing, service({ echo: () => Effect.die(bug) })]) {
        const error = yield* Effect.flip(Effect.provide(echo, layer))
        assert.strictEqual(error.reason._tag, "Internal")
        assert.include(error.reason.details, "bug")
        assert.strictEqual(error.cause, bug)
      }
    })
  )

  it.effect("may send headers and trailers, with an answer or a failure", () =>
    Effect.gen(function* () {
      const trailers = Metadata.fromRecord({ "x-cost": "3" })
      const headers = Metadata.fromRecord({ "x-shard": "7" })
      const answer = { id: "", payload: Buffer.alloc(0), server: "" }
      const reply = yield* Echo.use((client) => client.echo.reply(request)).pipe(
        Effect.provide(service({ echo: () => Effect.succeed(TestChannel.reply(answer, { headers, trailers })) }))
      )
      assert.strictEqual(reply.headers.get("x-shard"), "7")
      assert.strictEqual(reply.trailers.get("x-cost"), "3")
      const error = yield* Effect.flip(
        Effect.provide(echo, service({ echo: () => Effect.fail({ _tag: "Aborted", metadata: trailers }) }))
      )
      assert.strictEqual(error.metadata?.get("x-cost"), "3")
    })
  )

  it.effect("that is interrupted by itself interrupts the call, and is no crash", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.provide(echo, service({ echo: () => Effect.interrupt })))
      assert.isTrue(Exit.hasInterrupts(exit))
      assert.isFalse(Exit.hasDies(exit))
    })
  )

  it.effect("fails the attempt that it was asked for", () =>
    Effect.gen(function* () {
      const layer = TestChannel.layer({ [path]: () => Effect.fail({ _tag: "NotFound" }) })
      const error = yield* Effect.flip(Effect.provide(unary(call({ attempt: 3 })), layer))
      assert.strictEqual(error.attempts, 3)
    })
  )

  it.effect("sees the call, and is interrupted with it", () =>
    Effect.gen(function* () {
      let interrupted = false
      const layer = service({
        echo: (_, { attempt, metadata }) => {
          assert.strictEqual(attempt, 1)
          assert.strictEqual(metadata?.get("x-a"), "1")
          return Effect.onInterrupt(Effect.never, () =>
            Effect.sync(() => {
              interrupted = true
            })
          )
        }
      })
      const program = Echo.use((client) => client.echo(request, { metadata: { "x-a": "1" } }))
      const fiber = yield* Effect.forkChild(Effect.provide(program, layer), { startImmediately: true })
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.isTrue(interrupted)
    })
  )
})

describe("deadlines", () => {
  const slow = { echo: () => Effect.never }
  const fails = Effect.fnUntraced(function* (
    program: Effect.Effect<unknown, RpcError.RpcError, Echo>,
    options?: TestChannel.TestChannelOptions
  ) {
    const fiber = yield* Effect.forkChild(Effect.flip(Effect.provide(program, service(slow, options))))
    yield* TestClock.adjust("999 millis")
    assert.strictEqual(fiber.pollUnsafe(), undefined)
    yield* TestClock.adjust("1 millis")
    return yield* Fiber.join(fiber)
  })

  it.effect.each<
    readonly [string, Effect.Effect<unknown, RpcError.RpcError, Echo>, TestChannel.TestChannelOptions | undefined]
  >([
    ["of the call", Echo.use((client) => client.echo(request, { timeout: "1 second" })), undefined],
    ["around the call", Deadline.within(echo, "1 second"), undefined],
    ["by default", echo, { deadline: "1 second" }]
  ])("%s hold under virtual time", ([, program, options]) =>
    Effect.gen(function* () {
      const error = yield* fails(program, options)
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", by: "Us", phase: "Sent" })
      assert.strictEqual(error.progress, "MaybeProcessed")
    })
  )

  it.effect("are not there by default", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.provide(echo, service(slow)))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      yield* Fiber.interrupt(fiber)
    })
  )
})

describe("TestChannel.calls", () => {
  const answer = { id: "", payload: Buffer.alloc(0), server: "" }

  it.effect("has the calls in order, with what was said about them", () =>
    Effect.gen(function* () {
      const layer = service({ echo: () => Effect.succeed(answer) })
      const calls = yield* Effect.gen(function* () {
        const client = yield* Echo
        yield* client.echo(request, { priority: 2 })
        yield* Effect.ignore(client.put(put))
        return yield* TestChannel.calls
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(
        calls.map((one) => one.method.path),
        ["/hawser.test.v1.Echo/Echo", "/hawser.test.v1.Echo/Put"]
      )
      assert.deepStrictEqual(calls[0]?.input, request)
      assert.deepInclude(calls[0], { priority: 2, attempt: 1 })
    })
  )

  it.effect("has no calls that were refused before they were sent", () =>
    Effect.gen(function* () {
      const bad = Metadata.fromRecord({ "grpc-x": "1" })
      const { calls, error } = yield* Effect.gen(function* () {
        const error = yield* Effect.flip(unary(call({ metadata: bad })))
        return { error, calls: yield* TestChannel.calls }
      }).pipe(Effect.provide(TestChannel.layer({ [path]: () => Effect.succeed("") })))
      assert.strictEqual(error.reason._tag, "InvalidArgument")
      assert.strictEqual(error.progress, "NotSent")
      assert.lengthOf(calls, 0)
    })
  )

  it.effect("is what was seen when it was asked: later calls do not change it", () =>
    Effect.gen(function* () {
      const [before, after] = yield* Effect.gen(function* () {
        yield* unary()
        const before = yield* TestChannel.calls
        yield* unary()
        return [before, yield* TestChannel.calls]
      }).pipe(Effect.provide(TestChannel.layer({ [path]: () => Effect.succeed("") })))
      assert.deepStrictEqual([before?.length, after?.length], [1, 2])
    })
  )

  it.effect("keeps the last 10,000", () =>
    Effect.gen(function* () {
      const layer = TestChannel.layer({ [path]: () => Effect.succeed("") })
      const calls = yield* Effect.gen(function* () {
        const channel = yield* Channel.Channel
        for (let i = 0; i < 10_010; i++) yield* channel.unary(call({ attempt: i }))
        return yield* TestChannel.calls
      }).pipe(Effect.provide(layer))
      assert.lengthOf(calls, 10_000)
      assert.strictEqual(calls[0]?.attempt, 10)
    })
  )

  it.effect("sees every attempt of middleware on top", () =>
    Effect.gen(function* () {
      let attempts = 0
      const base = TestChannel.layerService(EchoService, {
        echo: () => (attempts++ < 2 ? Effect.fail({ _tag: "Unavailable" }) : Effect.succeed(answer))
      })
      const program = Effect.andThen(echo, TestChannel.calls)
      const layer = Echo.layer.pipe(Layer.provide(Retry.layer()), Layer.provideMerge(base))
      const fiber = yield* Effect.forkChild(Effect.provide(program, layer))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        (yield* Fiber.join(fiber)).map((one) => one.attempt),
        [1, 2, 3]
      )
    })
  )
})
