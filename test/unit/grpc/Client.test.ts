import { assert, describe, it } from "@effect/vitest"
import * as protoLoader from "@grpc/proto-loader"
import { OptionsError } from "@hawser/core"
import { type Call, Channel, Client, Deadline, Metadata, RpcError } from "@hawser/grpc"
import { Cause, Clock, Duration, Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import { join } from "node:path"
import { EchoReply, EchoService, PutReply } from "../../generated/echo.ts"

const request = { id: "1", payload: Buffer.from("x"), delayMillis: 0, failCode: 0 }
const put = { id: "2", delayMillis: 0, failCode: 0 }

/** Answers with the request's id, through the codecs, and keeps the calls. */
const answering = () => {
  const seen: Array<Call.Call<unknown, unknown>> = []
  const channel: Channel.Channel = Channel.make({
    unary: <I, O>(call: Call.Call<I, O>) =>
      Effect.sync(() => {
        seen.push(call as unknown as Call.Call<unknown, unknown>)
        const { id } = call.input as { readonly id: string }
        const bytes = call.method.path.endsWith("/Echo")
          ? EchoReply.encode({ id, payload: Buffer.alloc(0), server: "a" }).finish()
          : PutReply.encode({ id, server: "a" }).finish()
        const trailers = Metadata.received(() => [["x-cost", "3"]], undefined)
        return { message: call.method.decode(bytes), headers: Metadata.empty, trailers, connection: "a:1#1" }
      })
  })
  return { channel, seen }
}

describe("Client.make", () => {
  it.effect("sends the request as a plain call and gives the message", () =>
    Effect.gen(function* () {
      const { channel, seen } = answering()
      const client = Client.make(EchoService, channel)
      assert.deepInclude(yield* client.echo(request), { id: "1", server: "a" })
      assert.deepInclude(yield* client.put(put), { id: "2" })
      const [call] = seen
      assert.strictEqual(call?.input, request)
      assert.deepInclude(call, {
        metadata: undefined,
        deadline: undefined,
        waitForReady: undefined,
        affinity: undefined,
        priority: 1,
        attempt: 1,
        avoid: undefined,
        resend: undefined
      })
      assert.strictEqual(call?.method.path, "/hawser.test.v1.Echo/Echo")
    })
  )

  it.effect("gives the whole answer to .reply", () =>
    Effect.gen(function* () {
      const client = Client.make(EchoService, answering().channel)
      const reply = yield* client.echo.reply(request)
      assert.strictEqual(reply.message.id, "1")
      assert.strictEqual(reply.trailers.get("x-cost"), "3")
      assert.strictEqual(reply.connection, "a:1#1")
    })
  )

  it("has the methods of the definition, and nothing else", () => {
    const client = Client.make(EchoService, answering().channel)
    assert.deepStrictEqual(Object.keys(client), ["echo", "put", "watch", "upload", "chat"])
    assert.strictEqual(Object.getPrototypeOf(client), null)
  })

  it.effect("keeps the names of proto-loader, and its idempotency", () =>
    Effect.gen(function* () {
      const all = protoLoader.loadSync(join(import.meta.dirname, "../../proto/echo.proto"))
      const { channel, seen } = answering()
      const service = all["hawser.test.v1.Echo"] as unknown as typeof EchoService & { Echo: typeof EchoService.echo }
      const client = Client.make(service, channel)
      assert.deepStrictEqual(Object.keys(client), ["Echo", "Put", "Watch", "Upload", "Chat"])
      yield* client.Echo(request)
      assert.strictEqual(seen[0]?.method.idempotency, "Idempotent")
    })
  )

  it.effect("marks the methods that are declared idempotent, and only those", () =>
    Effect.gen(function* () {
      const { channel, seen } = answering()
      const client = Client.make(EchoService, channel, { idempotent: ["echo"] })
      yield* client.echo(request)
      yield* client.put(put)
      assert.deepStrictEqual(
        seen.map((call) => call.method.idempotency),
        ["Idempotent", "Unknown"]
      )
    })
  )

  it("refuses names that the definition does not have, all of them", () => {
    const bypassed = { idempotent: ["ecko", "echo", "wach"] as unknown as ReadonlyArray<"echo"> }
    try {
      Client.make(EchoService, answering().channel, bypassed)
      assert.fail("no error")
    } catch (error) {
      assert.instanceOf(error, OptionsError.OptionsError)
      assert.deepStrictEqual((error as OptionsError.OptionsError).issues, [
        { path: "idempotent[0]", rule: "one of echo, put, watch, upload, chat", value: '"ecko"' },
        { path: "idempotent[2]", rule: "one of echo, put, watch, upload, chat", value: '"wach"' }
      ])
    }
  })

  it("refuses what is no definition", () => {
    assert.throws(
      () => Client.make({ hello: () => {} }, answering().channel),
      'definition.hello: expected a grpc-js method definition, got "function"'
    )
  })

  it.effect("does nothing until the effect runs, and everything again each time it runs", () =>
    Effect.gen(function* () {
      const { channel, seen } = answering()
      const effect = Client.make(EchoService, channel).echo(request, { timeout: "1 second" })
      assert.lengthOf(seen, 0)
      yield* effect
      yield* TestClock.adjust("10 seconds")
      yield* effect
      assert.strictEqual(seen[1]!.deadline! - seen[0]!.deadline!, 10_000)
    })
  )
})

describe("options of a call", () => {
  const send = (options: Call.CallOptions) =>
    Effect.gen(function* () {
      const { channel, seen } = answering()
      yield* Client.make(EchoService, channel).echo(request, options)
      return seen[0]!
    })
  const refuse = (options: Record<string, unknown>) =>
    Effect.gen(function* () {
      const { channel, seen } = answering()
      const error = yield* Effect.flip(Client.make(EchoService, channel).echo(request, options as Call.CallOptions))
      assert.lengthOf(seen, 0)
      return error
    })

  it.effect("reach the channel", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 minute")
      const now = Number(yield* Clock.monotonicTimeNanos) / 1e6
      const hard = { key: "k", hard: true }
      const call = yield* send({
        metadata: { "x-a": "1" },
        timeout: "2 seconds",
        waitForReady: true,
        affinity: hard,
        priority: 2
      })
      assert.deepInclude(call, { deadline: now + 2000, waitForReady: true, affinity: hard, priority: 2 })
      assert.strictEqual(call.metadata?.get("x-a"), "1")
    })
  )

  it.effect("take a string for a soft affinity, and metadata as it is", () =>
    Effect.gen(function* () {
      const metadata = Metadata.fromRecord({ "x-a": "1" })
      const call = yield* send({ affinity: "k", metadata })
      assert.deepStrictEqual(call.affinity, { key: "k", hard: false })
      assert.strictEqual(call.metadata, metadata)
      assert.strictEqual(call.deadline, undefined)
    })
  )

  it.effect("without a value say nothing", () =>
    Effect.gen(function* () {
      const call = yield* send({ timeout: undefined, metadata: undefined, affinity: undefined, priority: undefined })
      assert.deepInclude(call, { deadline: undefined, metadata: undefined, affinity: undefined, priority: 1 })
    })
  )

  it.effect.each([
    [100, 100],
    ["1 second", 1000],
    [Duration.minutes(1), 60_000],
    ["24 days", 24 * 86_400_000],
    ["1 nano", 1e-6],
    [Deadline.none, Infinity]
  ] as const)("take a timeout of %s", ([timeout, millis]) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* send({ timeout })).deadline, millis)
    })
  )

  it.effect.each([
    ["timeout", 0],
    ["timeout", -5],
    ["timeout", NaN],
    ["timeout", Infinity],
    ["timeout", "25 days"],
    ["timeout", "Infinity"],
    ["timeout", "-1 seconds"],
    ["timeout", "1 fortnight"],
    ["timeout", "500"],
    ["timeout", null],
    ["timeout", { second: 5 }],
    ["timeout", Symbol.for("none")],
    ["metadata", "x-a: 1"],
    ["metadata", null],
    ["waitForReady", "yes"],
    ["waitForReady", 1],
    ["affinity", ""],
    ["affinity", 5],
    ["affinity", { key: "k" }],
    ["affinity", { key: "", hard: false }],
    ["priority", 3],
    ["priority", "1"],
    ["priority", NaN],
    ["timeoutMs", 500],
    ["deadline", 500]
  ] as const)("refuse %o, naming option, rule and value", ([option, value]) =>
    Effect.gen(function* () {
      const error = yield* refuse({ [option]: value })
      assert.isTrue(RpcError.isRpcError(error))
      assert.strictEqual(error.reason._tag, "InvalidArgument")
      assert.strictEqual(error.progress, "NotSent")
      assert.strictEqual(error.attempts, 0)
      assert.match(error.reason.details, new RegExp(`^${option}: expected .+, got .+`))
      assert.instanceOf(error.cause, OptionsError.OptionsError)
    })
  )

  it.effect("refuse a bad key of metadata, and show no value", () =>
    Effect.gen(function* () {
      const error = yield* refuse({ metadata: { "X-Token": "s3cret", "grpc-x": "s3cret", "x-a": "s3cret\n" } })
      assert.strictEqual(error.reason._tag, "InvalidArgument")
      for (const key of ["X-Token", "grpc-x", "x-a"]) assert.include(error.reason.details, `metadata["${key}"]`)
      assert.notInclude(error.message + JSON.stringify(error) + String(error.cause), "s3cret")
    })
  )

  it.effect("are refused all at once", () =>
    Effect.gen(function* () {
      const error = yield* refuse({ timeout: 0, priority: 9, nonsense: true })
      assert.lengthOf((error.cause as OptionsError.OptionsError).issues, 3)
    })
  )
})

describe("Client.Service", () => {
  class Echo extends Client.Service<Echo>()("test/Echo", EchoService, { idempotent: ["echo"] }) {}

  it.effect("is a service with a layer over any channel", () =>
    Effect.gen(function* () {
      const { channel, seen } = answering()
      const reply = yield* Echo.use((echo) => echo.echo(request)).pipe(
        Effect.provide(Echo.layer.pipe(Layer.provide(Layer.succeed(Channel.Channel, channel))))
      )
      assert.strictEqual(reply.id, "1")
      assert.strictEqual(seen[0]?.method.idempotency, "Idempotent")
      assert.strictEqual(Echo.key, "test/Echo")
    })
  )

  it.effect("can be replaced by a mock", () =>
    Effect.gen(function* () {
      const reply = yield* Echo.use((echo) => echo.put(put)).pipe(
        Effect.provide(
          Layer.mock(Echo, {
            put: Object.assign(() => Effect.succeed({ id: "m", server: "mock" }), { reply: () => Effect.die("") })
          })
        )
      )
      assert.strictEqual(reply.server, "mock")
    })
  )

  it.effect("is a defect with an OptionsError where the types were bypassed", () =>
    Effect.gen(function* () {
      const names = ["ecko"] as unknown as ReadonlyArray<"echo">
      class Broken extends Client.Service<Broken>()("test/Broken", EchoService, { idempotent: names }) {}
      const exit = yield* Effect.exit(
        Layer.build(Broken.layer.pipe(Layer.provide(Layer.succeed(Channel.Channel, answering().channel))))
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      if (Exit.isFailure(exit)) assert.instanceOf(Cause.squash(exit.cause), OptionsError.OptionsError)
    })
  )
})
