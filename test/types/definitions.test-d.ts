// @effect-diagnostics floatingEffect:off missingEffectError:off
// Checked by tsc, never run: the exact types of clients from generators whose definitions are those of grpc-js.
import type * as grpc from "@grpc/grpc-js"
import type * as protoLoader from "@grpc/proto-loader"
import type { Call, Channel, RpcError } from "@hawser/grpc"
import { Client, Method } from "@hawser/grpc"
import { TestChannel } from "@hawser/testing"
import { type Context, Data, Effect, type Scope, Stream } from "effect"
import type * as proto from "../generated/echo.ts"
import { EchoService } from "../generated/echo.ts"
import type { ProtoGrpcType } from "../generated/proto-loader/echo.ts"
import type { ChatReply__Output as ChatReply } from "../generated/proto-loader/hawser/test/v1/ChatReply.ts"
import type { ChatRequest } from "../generated/proto-loader/hawser/test/v1/ChatRequest.ts"
import type { EchoDefinition, EchoHandlers } from "../generated/proto-loader/hawser/test/v1/Echo.ts"
import type { EchoReply__Output as EchoReply } from "../generated/proto-loader/hawser/test/v1/EchoReply.ts"
import type {
  EchoRequest,
  EchoRequest__Output as EchoReceived
} from "../generated/proto-loader/hawser/test/v1/EchoRequest.ts"
import type { PutReply__Output as PutReply } from "../generated/proto-loader/hawser/test/v1/PutReply.ts"
import type { UploadReply__Output as UploadReply } from "../generated/proto-loader/hawser/test/v1/UploadReply.ts"
import type { UploadRequest } from "../generated/proto-loader/hawser/test/v1/UploadRequest.ts"
import type { WatchReply__Output as WatchReply } from "../generated/proto-loader/hawser/test/v1/WatchReply.ts"
import type { WatchRequest } from "../generated/proto-loader/hawser/test/v1/WatchRequest.ts"
import type { Equals } from "./equals.ts"
import { check } from "./equals.ts"

class NoTenant extends Data.TaggedError("NoTenant")<{}> {}
declare const channel: Channel.Channel
declare const bytes: Buffer
type Replies<O> = Effect.Effect<Call.Replies<O, RpcError.RpcError>, RpcError.RpcError, Scope.Scope>

// --------------------------------------------------------------------------------------------- ts-proto for grpc-js
class Echo extends Client.Service<Echo>()("test/Echo", EchoService, { idempotent: ["watch"] }) {}
{
  const echo = Client.make(EchoService, channel, { idempotent: ["put"] })
  check<Equals<keyof typeof echo, "echo" | "put" | "watch" | "upload" | "chat">>()
  check<Equals<Context.Service.Shape<typeof Echo>, Client.Client<typeof EchoService>>>()
  check<Equals<Parameters<typeof echo.echo>[0], proto.EchoRequest>>()

  const reply = echo.put.reply({ id: "1", delayMillis: 0, failCode: 0 })
  check<Equals<typeof reply, Effect.Effect<Call.Reply<proto.PutReply>, RpcError.RpcError>>>()
  const watched = echo.watch({ id: "1", count: 3, delayMillis: 0, payload: bytes, failCode: 0 })
  check<Equals<typeof watched, Stream.Stream<proto.WatchReply, RpcError.RpcError>>>()
  const uploaded = echo.upload(Stream.fail(new NoTenant()))
  check<Equals<typeof uploaded, Effect.Effect<proto.UploadReply, NoTenant | RpcError.RpcError>>>()
  const chatted = echo.chat(Stream.make({ id: "1", payload: bytes }))
  check<Equals<typeof chatted, Stream.Stream<proto.ChatReply, RpcError.RpcError>>>()

  // @ts-expect-error not the whole message
  void echo.echo({ id: "1" })
  // @ts-expect-error one request, not a stream
  void echo.watch(Stream.empty)
  // @ts-expect-error a stream of requests, not one
  void echo.upload({ payload: bytes })
  // @ts-expect-error a stream of other requests
  void echo.chat(Stream.make({ id: 1 }))
  // @ts-expect-error no such method
  Client.make(EchoService, channel, { idempotent: ["Echo"] })
}

// ----------------------------------------------------------------------- proto-loader with proto-loader-gen-types
declare const loaded: ProtoGrpcType
const loadedService = Method.withKinds<EchoHandlers>()(loaded.hawser.test.v1.Echo.service)
class LoadedEcho extends Client.Service<LoadedEcho>()("test/LoadedEcho", loadedService, { idempotent: ["Watch"] }) {}
{
  const echo = Client.make(loadedService, channel, { idempotent: ["Put"] })
  check<Equals<keyof typeof echo, "Echo" | "Put" | "Watch" | "Upload" | "Chat">>()
  check<Equals<Context.Service.Shape<typeof LoadedEcho>, Client.Client<typeof loadedService>>>()
  check<Equals<Parameters<typeof echo.Echo>[0], EchoRequest>>()
  check<Equals<Parameters<typeof echo.Watch>[0], WatchRequest>>()

  const one = echo.Echo({ id: "1" }, { timeout: "1 second" })
  check<Equals<typeof one, Effect.Effect<EchoReply, RpcError.RpcError>>>()
  const reply = echo.Put.reply({})
  check<Equals<typeof reply, Effect.Effect<Call.Reply<PutReply>, RpcError.RpcError>>>()
  const watched = echo.Watch({ count: 3 })
  check<Equals<typeof watched, Stream.Stream<WatchReply, RpcError.RpcError>>>()
  const replies = echo.Watch.replies({ count: 3 })
  check<Equals<typeof replies, Replies<WatchReply>>>()
  const uploaded = echo.Upload(Stream.make({ payload: bytes }))
  check<Equals<typeof uploaded, Effect.Effect<UploadReply, RpcError.RpcError>>>()
  const failing = echo.Upload(Stream.fail(new NoTenant()))
  check<Equals<typeof failing, Effect.Effect<UploadReply, NoTenant | RpcError.RpcError>>>()
  const chatted = echo.Chat(Stream.make({ id: "1" }))
  check<Equals<typeof chatted, Stream.Stream<ChatReply, RpcError.RpcError>>>()
  check<
    Equals<Method.FromDefinition<typeof loadedService.Chat>, Method.Method<ChatRequest, ChatReply, "bidiStreaming">>
  >()
  check<
    Equals<
      Method.FromDefinition<typeof loadedService.Upload>,
      Method.Method<UploadRequest, UploadReply, "clientStreaming">
    >
  >()

  // @ts-expect-error a field that the message does not have
  void echo.Echo({ nobody: 1 })
  // @ts-expect-error a field of another type
  void echo.Echo({ id: 1 })
  // @ts-expect-error no request
  void echo.Echo()
  // @ts-expect-error one request, not a stream
  void echo.Watch(Stream.empty)
  // @ts-expect-error a stream of requests, not one
  void echo.Upload({ payload: bytes })
  // @ts-expect-error a stream of other requests
  void echo.Chat(Stream.make({ id: 1 }))
  // @ts-expect-error proto-loader's names are those of the proto file
  void echo.echo
  // @ts-expect-error no such method
  Client.make(loadedService, channel, { idempotent: ["put"] })

  // Without the handlers no kind is known, and a method without a kind is absent.
  const lost = Client.make(loaded.hawser.test.v1.Echo.service, channel)
  check<Equals<keyof typeof lost, never>>()
  // @ts-expect-error so it is with those of another service
  void Client.make(Method.withKinds<{ Other: EchoHandlers["Echo"] }>()({} as EchoDefinition), channel).Echo

  TestChannel.layerService(loadedService, {
    Echo: (request) => {
      check<Equals<typeof request, EchoReceived>>()
      return Effect.succeed({ server: request.id })
    }
  })
  // @ts-expect-error an answer of another type
  TestChannel.layerService(loadedService, { Echo: () => Effect.succeed({ server: 1 }) })
}

// ------------------------------------------------------------------------------------- proto-loader without types
declare const untyped: protoLoader.ServiceDefinition
declare const ofClient: grpc.ServiceDefinition
/** What a program says of the methods that it calls. */
interface SomeMethods {
  readonly Echo: Method.Definition<{ readonly id: string }, { readonly server: string }, false, false>
  readonly Watch: Method.Definition<{ readonly count: number }, { readonly index: number }, false, true>
}
{
  const echo = Client.make(untyped as unknown as SomeMethods, channel, { idempotent: ["Echo"] })
  check<Equals<keyof typeof echo, "Echo" | "Watch">>()
  const one = echo.Echo({ id: "1" })
  check<Equals<typeof one, Effect.Effect<{ readonly server: string }, RpcError.RpcError>>>()
  const watched = echo.Watch({ count: 3 })
  check<Equals<typeof watched, Stream.Stream<{ readonly index: number }, RpcError.RpcError>>>()
  // @ts-expect-error not said of it
  void echo.Put
  // @ts-expect-error a field of another type
  void echo.Echo({ id: 1 })

  // Nothing is guessed: a client of what has no types has no methods.
  const nothing = Client.make(untyped, channel)
  check<Equals<keyof typeof nothing, never>>()
  const nobody = Client.make(ofClient, channel)
  check<Equals<keyof typeof nobody, never>>()
  // @ts-expect-error a method without types
  void nobody.Echo
}
