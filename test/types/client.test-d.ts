// @effect-diagnostics floatingEffect:off missingEffectError:off
// Checked by tsc, never run: what a client's types say for each way to get a service definition.
import type * as grpc from "@grpc/grpc-js"
import type * as protoLoader from "@grpc/proto-loader"
import type { Call, Channel, RpcError } from "@hawser/grpc"
import { Client, Deadline, Method } from "@hawser/grpc"
import { TestChannel } from "@hawser/testing"
import type { Context, Layer, Scope } from "effect"
import { Data, Effect, Stream } from "effect"
import type {
  ChatReply,
  EchoReply,
  EchoRequest,
  PutReply,
  PutRequest,
  UploadReply,
  WatchReply,
  WatchRequest
} from "../generated/echo.ts"
import { EchoService } from "../generated/echo.ts"
import type { Equals } from "./equals.ts"
import { check } from "./equals.ts"

class NoTenant extends Data.TaggedError("NoTenant")<{}> {}
interface Tenant {
  readonly _: unique symbol
}
declare const channel: Channel.Channel
declare const wider: Channel.Channel.With<RpcError.RpcError | NoTenant, Tenant>

// ------------------------------------------------------------------------------------------------------- ts-proto
{
  const echo = Client.make(EchoService, channel, { idempotent: ["echo"] })
  check<Equals<keyof typeof echo, "echo" | "put" | "watch" | "upload" | "chat">>()
  const request: EchoRequest = { id: "1", payload: Buffer.alloc(0), delayMillis: 0, failCode: 0 }
  const plain = echo.echo(request)
  check<Equals<typeof plain, Effect.Effect<EchoReply, RpcError.RpcError>>>()
  const reply = echo.echo.reply(request, { timeout: "1 second" })
  check<Equals<typeof reply, Effect.Effect<Call.Reply<EchoReply>, RpcError.RpcError>>>()
  check<Equals<Parameters<typeof echo.put>, [input: PutRequest, options?: Call.CallOptions | undefined]>>()
  check<Equals<ReturnType<typeof echo.put>, Effect.Effect<PutReply, RpcError.RpcError>>>()

  echo.echo(request, {
    timeout: Deadline.none,
    metadata: { "x-a": "1" },
    affinity: "k",
    priority: 2,
    waitForReady: true
  })
  // @ts-expect-error a field of another message
  void echo.echo({ ...request, nobody: 1 })
  // @ts-expect-error not a request
  void echo.echo("ada")
  // @ts-expect-error no request
  void echo.echo()
  // @ts-expect-error an option that does not exist
  void echo.echo(request, { timeoutMs: 5 })
  // @ts-expect-error not a duration
  void echo.echo(request, { timeout: "1 fortnight" })
  // @ts-expect-error not a priority
  void echo.echo(request, { priority: 3 })
  // @ts-expect-error no such method
  void echo.ecko

  // @ts-expect-error no such method
  Client.make(EchoService, channel, { idempotent: ["Echo"] })
  Client.make(EchoService, channel, { idempotent: ["watch"] })
  const watch: WatchRequest = { id: "1", count: 3, delayMillis: 0, payload: Buffer.alloc(0), failCode: 0 }
  const watched = echo.watch(watch)
  check<Equals<typeof watched, Stream.Stream<WatchReply, RpcError.RpcError>>>()
  const replies = echo.watch.replies(watch)
  check<
    Equals<typeof replies, Effect.Effect<Call.Replies<WatchReply, RpcError.RpcError>, RpcError.RpcError, Scope.Scope>>
  >()
  const uploaded = echo.upload(Stream.fail(new NoTenant()))
  check<Equals<typeof uploaded, Effect.Effect<UploadReply, NoTenant | RpcError.RpcError>>>()
  const chatted = echo.chat(Stream.empty)
  check<Equals<typeof chatted, Stream.Stream<ChatReply, RpcError.RpcError>>>()
  // @ts-expect-error a stream of requests, not one
  void echo.upload({ payload: Buffer.alloc(0) })
  // @ts-expect-error one request, not a stream
  void echo.watch(Stream.empty)
  // @ts-expect-error an option that does not exist
  Client.make(EchoService, channel, { idempotents: [] })

  const other = Client.make(EchoService, wider)
  const withTenant = other.echo(request)
  check<Equals<typeof withTenant, Effect.Effect<EchoReply, RpcError.RpcError | NoTenant, Tenant>>>()
}

// -------------------------------------------------------------------------------------------------------- services
class Echo extends Client.Service<Echo>()("test/Echo", EchoService, { idempotent: ["echo"] }) {}
{
  check<Equals<typeof Echo.layer, Layer.Layer<Echo, never, Channel.Channel>>>()
  check<Equals<typeof Echo.key, "test/Echo">>()
  check<Equals<Context.Service.Shape<typeof Echo>, Client.Client<typeof EchoService>>>()
  const used = Echo.use((echo) => echo.put({ id: "1", delayMillis: 0, failCode: 0 }))
  check<Equals<typeof used, Effect.Effect<PutReply, RpcError.RpcError, Echo>>>()
  const gen = Effect.gen(function* () {
    const echo = yield* Echo
    return yield* echo.put.reply({ id: "1", delayMillis: 0, failCode: 0 })
  })
  check<Equals<typeof gen, Effect.Effect<Call.Reply<PutReply>, RpcError.RpcError, Echo>>>()
  const caught = used.pipe(
    Effect.catchReason("RpcError", "DeadlineExceeded", (reason, error) =>
      Effect.succeed([reason.phase, error.endpoint] as const)
    )
  )
  check<
    Equals<
      Effect.Success<typeof caught>,
      PutReply | readonly ["Queued" | "Connecting" | "Sent" | "Receiving", string | undefined]
    >
  >()
  // @ts-expect-error no such method
  Client.Service<Echo>()("test/Echo", EchoService, { idempotent: ["Echo"] })
}

// ---------------------------------------------------------------------------------------------------- hand-written
{
  const hand = {
    hello: {
      path: "/demo.Greeter/Hello",
      requestStream: false,
      responseStream: false,
      requestSerialize: (value: { readonly name: string }) => Buffer.from(value.name),
      responseDeserialize: (bytes: Buffer) => ({ text: bytes.toString() })
    },
    watch: {
      path: "/demo.Greeter/Watch",
      requestStream: false,
      responseStream: true,
      requestSerialize: (value: string) => Buffer.from(value),
      responseDeserialize: String
    }
  } as const
  const client = Client.make(hand, channel)
  check<Equals<keyof typeof client, "hello" | "watch">>()
  check<Equals<ReturnType<typeof client.hello>, Effect.Effect<{ text: string }, RpcError.RpcError>>>()
  check<Equals<Parameters<typeof client.hello>[0], { readonly name: string }>>()

  const method = Method.fromDefinition(hand.hello)
  check<Equals<typeof method, Method.Method<{ readonly name: string }, { text: string }, "unary">>>()
  check<Equals<Method.FromDefinition<typeof hand.watch>, Method.Method<string, string, "serverStreaming">>>()
}

// ---------------------------------------------------------------------------------------------------- proto-loader
interface Hello {
  readonly name?: string
}
interface HelloOutput {
  readonly name: string
}
interface Text {
  readonly text?: string
}
interface TextOutput {
  readonly text: string
}
/** As proto-loader-gen-types writes it. */
interface GreeterDefinition extends grpc.ServiceDefinition {
  SayHello: protoLoader.MethodDefinition<Hello, Text, HelloOutput, TextOutput>
  Watch: protoLoader.MethodDefinition<Hello, Text, HelloOutput, TextOutput>
  Upload: protoLoader.MethodDefinition<Hello, Text, HelloOutput, TextOutput>
  Chat: protoLoader.MethodDefinition<Hello, Text, HelloOutput, TextOutput>
}
interface GreeterHandlers extends grpc.UntypedServiceImplementation {
  SayHello: grpc.handleUnaryCall<HelloOutput, Text>
  Watch: grpc.handleServerStreamingCall<HelloOutput, Text>
  Upload: grpc.handleClientStreamingCall<HelloOutput, Text>
  Chat: grpc.handleBidiStreamingCall<HelloOutput, Text>
}
declare const definition: GreeterDefinition
{
  const greeter = Client.make(Method.withKinds<GreeterHandlers>()(definition), channel, { idempotent: ["SayHello"] })
  check<Equals<keyof typeof greeter, "SayHello" | "Watch" | "Upload" | "Chat">>()
  check<Equals<Parameters<typeof greeter.SayHello>[0], Hello>>()
  check<Equals<ReturnType<typeof greeter.SayHello>, Effect.Effect<TextOutput, RpcError.RpcError>>>()
  type Kinds = Method.WithKinds<GreeterDefinition, GreeterHandlers>
  check<Equals<Method.FromDefinition<Kinds["Watch"]>, Method.Method<Hello, TextOutput, "serverStreaming">>>()
  check<Equals<Method.FromDefinition<Kinds["Upload"]>, Method.Method<Hello, TextOutput, "clientStreaming">>>()
  check<Equals<Method.FromDefinition<Kinds["Chat"]>, Method.Method<Hello, TextOutput, "bidiStreaming">>>()

  // Without them a kind is not known, and a method whose kind is not known is absent.
  check<Equals<Method.FromDefinition<GreeterDefinition["SayHello"]>, Method.Method<Hello, TextOutput>>>()
  const lost = Client.make(definition, channel)
  // @ts-expect-error its type does not say that it is unary
  void lost.SayHello
}

// --------------------------------------------------------------------------------------------------- test channels
{
  const layer = TestChannel.layerService(EchoService, {
    echo: (request, call) => {
      check<Equals<typeof request, EchoRequest>>()
      check<Equals<typeof call.attempt, number>>()
      return Effect.succeed({ id: request.id, payload: request.payload, server: "a" })
    }
  })
  check<Equals<typeof layer, Layer.Layer<Channel.Channel | TestChannel.TestChannel>>>()
  TestChannel.layerService(EchoService, { put: () => Effect.fail({ _tag: "NotFound", details: "nobody" }) })
  TestChannel.layerService(EchoService, { put: () => Effect.fail({ _tag: "NotFound" }) })
  TestChannel.layerService(EchoService, {
    // @ts-expect-error no such method
    ecko: () => Effect.succeed({ id: "", server: "" })
  })
  TestChannel.layerService(EchoService, {
    // @ts-expect-error a streaming method
    watch: () => Effect.succeed({ index: 0, payload: Buffer.alloc(0), server: "" })
  })
  TestChannel.layerService(EchoService, {
    // @ts-expect-error not the answer of this method
    put: () => Effect.succeed({ text: "" })
  })
  TestChannel.layerService(EchoService, {
    // @ts-expect-error not a status
    put: () => Effect.fail({ _tag: "Lost" })
  })
  TestChannel.layer({ "/demo.Greeter/SayHello": (hello: Hello) => Effect.succeed({ text: hello.name }) })
  TestChannel.layer({
    // @ts-expect-error not a path
    SayHello: (hello: Hello) => Effect.succeed({ text: hello.name })
  })
}
