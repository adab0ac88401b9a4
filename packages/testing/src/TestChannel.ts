/**
 * A channel without sockets: handlers in the place of servers.
 *
 * Programs under test keep their clients; only the layer below them changes. Calls are recorded, deadlines hold under
 * `TestClock`, and messages go through the real codecs. There is no pool, no queue and no retry below: what is tested is
 * the program. Put middleware such as `Retry.layer()` on top where it belongs to the test.
 */
import * as Call from "@hawser/grpc/Call"
import * as Channel from "@hawser/grpc/Channel"
import * as Deadline from "@hawser/grpc/Deadline"
import type { RpcError } from "@hawser/grpc/RpcError"
import { Issues } from "@hawser/core/OptionsError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Handlers, ServiceHandlers } from "./Handler.ts"
import * as Serve from "./Serve.ts"

export {
  /** A message with headers and trailers; made by `reply`. */
  TestReply,
  /**
   * An answer with headers and trailers, for handlers that give one answer.
   *
   * ```ts import.meta.vitest
   * import { Effect } from "effect"
   * import { Call, Channel, Metadata } from "@hawser/grpc"
   * import { TestChannel } from "@hawser/testing"
   *
   * const layer = TestChannel.layer({
   *   "/demo.Greeter/SayHello": (name: string) =>
   *     Effect.succeed(TestChannel.reply(`hello ${name}`, { trailers: Metadata.fromRecord({ "x-cost": "3" }) }))
   * })
   * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
   * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
   * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer))
   * const { message, trailers } = await Effect.runPromise(program)
   * message // => "hello ada"
   * trailers.get("x-cost") // => "3"
   * TestChannel.reply("hello") instanceof TestChannel.TestReply // => true
   * ```
   */
  reply,
  /**
   * Sends the response headers of a call now, before its answer or its status.
   *
   * **When to use**: in the handler of a method with one answer, on a channel, a network or a server of a test: to play a
   * server that begins to answer and then fails, or takes its time. Without it, a failure is a status alone.
   *
   * **Details**: by gRFC A6 the headers commit the call: such a retry does not send it again, and such hedging cancels the
   * others.
   *
   * ```ts import.meta.vitest
   * import { Effect, Layer } from "effect"
   * import { Call, Channel, Retry } from "@hawser/grpc"
   * import { TestChannel } from "@hawser/testing"
   *
   * let calls = 0
   * const fails = TestChannel.layer({
   *   "/demo.Greeter/SayHello": (_, call) =>
   *     Effect.andThen(
   *       calls++ === 0 ? Effect.void : TestChannel.sendHeaders(call),
   *       Effect.fail({ _tag: "Unavailable" } as const)
   *     )
   * })
   * const wait = { initialBackoff: "1 milli", maxBackoff: "1 milli", backoffMultiplier: 1 } as const
   * const policy = Retry.a6({ maxAttempts: 4, retryableStatusCodes: ["UNAVAILABLE"], ...wait })
   * const layer = Layer.provide(Retry.layer(policy), fails)
   * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
   * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
   * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer), Effect.flip)
   * const { attempts, committed } = await Effect.runPromise(program)
   * attempts // => 2
   * committed // => true
   * ```
   */
  sendHeaders
} from "./Handler.ts"
export type {
  BidiStreamingHandler,
  ClientStreamingHandler,
  Handler,
  HandlerOf,
  Handlers,
  ServerStreamingHandler,
  ServiceHandlers,
  Status
} from "./Handler.ts"

/** Options of a test channel. */
export interface TestChannelOptions {
  /**
   * For calls with one answer that name no timeout; above 0, at most 24 days, or else the layer is a defect with an
   * `OptionsError`. Default: none. Timeouts of calls and of `Deadline.within` always hold.
   */
  readonly deadline?: Duration.Input | undefined
}

/** The calls that a test channel has seen. */
export interface TestChannel {
  /** In the order in which they began; the last 10,000. */
  readonly calls: Effect.Effect<ReadonlyArray<Call.Call<unknown, unknown>>>
}

/**
 * The calls that a test channel has seen, as a service beside `Channel`.
 *
 * **When to use**: to hand the calls of one test channel to a helper, as where a test has two of them;
 * `TestChannel.calls` is the short way.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Effect.gen(function*() {
 *   const { calls } = yield* TestChannel.TestChannel
 *   const channel = yield* Channel.Channel
 *   yield* Effect.exit(channel.unary(call))
 *   return (yield* calls).map(({ input, method }) => [method.path, input])
 * })
 * await Effect.runPromise(Effect.provide(program, TestChannel.layer({}))) // => [["/demo.Greeter/SayHello", "ada"]]
 * ```
 */
export const TestChannel: Context.Service<TestChannel, TestChannel> = Context.Service<TestChannel, TestChannel>(
  "hawser/testing/TestChannel"
)

const maxCalls = 10_000

/**
 * The calls so far, in the order in which they began; the last 10,000.
 *
 * **Details**: needs the layer to be merged into the test (`Layer.provideMerge`), not only provided to the client.
 * Attempts are calls: with `Retry.layer()` above, each is one.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const GreeterService = {
 *   sayHello: {
 *     path: "/demo.Greeter/SayHello",
 *     requestStream: false,
 *     responseStream: false,
 *     requestSerialize: (name: string) => Buffer.from(name),
 *     responseDeserialize: String
 *   }
 * } as const
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const handlers = { sayHello: (name: string) => Effect.succeed(`hello ${name}`) }
 * const layer = Layer.provideMerge(Greeter.layer, TestChannel.layerService(GreeterService, handlers))
 * const program = Effect.gen(function*() {
 *   const greeter = yield* Greeter
 *   yield* greeter.sayHello("ada", { metadata: { "x-tenant": "acme" } })
 *   const [call] = yield* TestChannel.calls
 *   return call?.metadata?.get("x-tenant")
 * })
 * await Effect.runPromise(Effect.provide(program, layer)) // => "acme"
 * ```
 */
export const calls: Effect.Effect<ReadonlyArray<Call.Call<unknown, unknown>>, never, TestChannel> = TestChannel.use(
  (self) => self.calls
)

/**
 * A channel whose methods are found by path. A path without a handler is `Unimplemented`.
 *
 * **Details**: the request is encoded, so that a codec that can't take it shows, and the handler gets the value itself.
 * `layerService` sends messages through both codecs. A method with many requests gives its handler a `Stream` of them;
 * one with many answers needs a `Stream` of them.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, type Method } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const layer = TestChannel.layer({ "/demo.Greeter/SayHello": (name: string) => Effect.succeed(`hello ${name}`) })
 * const method: Method.Method<string, string> = {
 *   path: "/demo.Greeter/SayHello",
 *   kind: "unary",
 *   idempotency: "Unknown",
 *   encode: (text) => Buffer.from(text),
 *   decode: (bytes) => Buffer.from(bytes).toString()
 * }
 * const program = Effect.gen(function*() {
 *   const channel = yield* Channel.Channel
 *   const { message } = yield* channel.unary(Call.make(method, "ada"))
 *   const seen = yield* TestChannel.calls
 *   return [message, seen.length]
 * })
 * await Effect.runPromise(Effect.provide(program, layer)) // => ["hello ada", 1]
 * ```
 */
export const layer = (
  handlers: Handlers,
  options?: TestChannelOptions | undefined
): Layer.Layer<Channel.Channel | TestChannel> =>
  fromServers(
    new Map(Object.entries(handlers).map(([path, handler]) => [path, { handler, codec: undefined }])),
    options
  )

/**
 * A channel for a service definition: handlers by the definition's own names, each with its types. A method without a
 * handler is `Unimplemented`.
 *
 * **Details**: requests and answers pass through the definition's codecs both ways, as on a wire: what a codec drops is
 * gone, and one that throws is an `Internal`. Names that the definition does not have are refused by the types; where
 * those were bypassed, the layer is a defect with an `OptionsError`.
 *
 * **Example** (A status instead of an answer)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const text = { serialize: (value: string) => Buffer.from(value), deserialize: (bytes: Buffer) => bytes.toString() }
 * const GreeterService = {
 *   sayHello: {
 *     path: "/demo.Greeter/SayHello",
 *     requestStream: false,
 *     responseStream: false,
 *     requestSerialize: text.serialize,
 *     requestDeserialize: text.deserialize,
 *     responseSerialize: text.serialize,
 *     responseDeserialize: text.deserialize
 *   }
 * } as const
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const layer = Greeter.layer.pipe(Layer.provide(TestChannel.layerService(GreeterService, {
 *   sayHello: (name) => name === "" ? Effect.fail({ _tag: "InvalidArgument" }) : Effect.succeed(`hello ${name}`)
 * })))
 * const program = Greeter.use((greeter) => greeter.sayHello("")).pipe(
 *   Effect.catchReason("RpcError", "InvalidArgument", () => Effect.succeed("who?"))
 * )
 * await Effect.runPromise(Effect.provide(program, layer)) // => "who?"
 * ```
 *
 * **Example** (Streams)
 *
 * ```ts import.meta.vitest
 * import { Effect, Stream } from "effect"
 * import { Channel, Client } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const text = { serialize: (value: string) => Buffer.from(value), deserialize: (bytes: Buffer) => bytes.toString() }
 * const codecs = {
 *   requestSerialize: text.serialize,
 *   requestDeserialize: text.deserialize,
 *   responseSerialize: text.serialize,
 *   responseDeserialize: text.deserialize
 * }
 * const Greeter = {
 *   watch: { path: "/demo.Greeter/Watch", requestStream: false, responseStream: true, ...codecs },
 *   upload: { path: "/demo.Greeter/Upload", requestStream: true, responseStream: false, ...codecs }
 * } as const
 *
 * const layer = TestChannel.layerService(Greeter, {
 *   watch: (name) => Stream.map(Stream.iterate(1, (n) => n + 1), (n) => `hello ${name} ${n}`),
 *   upload: (names) => Effect.map(Stream.mkString(names), (all) => `hello ${all}`)
 * })
 * const program = Effect.gen(function*() {
 *   const greeter = Client.make(Greeter, yield* Channel.Channel)
 *   const watched = yield* greeter.watch("ada").pipe(Stream.take(2), Stream.runCollect)
 *   return [...watched, yield* greeter.upload(Stream.make("ada", "bob"))]
 * })
 * await Effect.runPromise(Effect.provide(program, layer)) // => ["hello ada 1", "hello ada 2", "hello adabob"]
 * ```
 */
export const layerService = <const S extends object>(
  definition: S,
  handlers: ServiceHandlers<S>,
  options?: TestChannelOptions | undefined
): Layer.Layer<Channel.Channel | TestChannel> =>
  Layer.unwrap(
    Effect.sync(() => {
      const issues = new Issues()
      const servers = new Map<string, Serve.Server>()
      const codecs = new Map(Object.entries<Serve.Codec>(definition as {}))
      const known = `one of ${[...codecs.keys()].join(", ")}`
      for (const [name, handler] of Object.entries<Serve.Server["handler"] | undefined>(handlers)) {
        const codec = codecs.get(name)
        issues.check(codec !== undefined, `handlers.${name}`, known, name)
        if (codec !== undefined && handler !== undefined) servers.set(codec.path, { handler, codec })
      }
      issues.throwIfAny()
      return fromServers(servers, options)
    })
  )

const fromServers = (
  servers: ReadonlyMap<string, Serve.Server>,
  options: TestChannelOptions | undefined
): Layer.Layer<Channel.Channel | TestChannel> =>
  Layer.effectContext(
    Effect.sync(() => {
      const seen: Array<Call.Call<unknown, unknown>> = []
      const found: Serve.Servers = {
        get: (path) => servers.get(path),
        record: (call) => {
          if (seen.length === maxCalls) seen.shift()
          seen.push(call)
        }
      }
      const channel = Channel.make<RpcError>({
        unary: (call) => Serve.unary(call, found),
        stream: (call) => Serve.stream(call, found)
      }).pipe(Deadline.withDefault(options?.deadline ?? Call.none))
      return Context.make(Channel.Channel, channel).pipe(
        Context.add(TestChannel, { calls: Effect.sync(() => [...seen]) })
      )
    })
  )
