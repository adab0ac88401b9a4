// @effect-diagnostics floatingEffect:off missingEffectError:off
// Checked by tsc, never run: the exact types of clients from every generator, and of what tests put in their place.
import type { MessageInitShape } from "@bufbuild/protobuf"
import type * as grpc from "@grpc/grpc-js"
import type { Call, Channel, Method, RpcError } from "@hawser/grpc"
import { Client } from "@hawser/grpc"
import * as GenericDefinition from "@hawser/grpc/GenericDefinition"
import * as ProtobufEs from "@hawser/grpc/ProtobufEs"
import * as ProtobufTs from "@hawser/grpc/ProtobufTs"
import { TestChannel } from "@hawser/testing"
import { type Context, Data, Effect, type Scope, Stream } from "effect"
import type * as generic from "../generated/generic-definitions/echo.ts"
import { EchoDefinition } from "../generated/generic-definitions/echo.ts"
import * as es from "../generated/protobuf-es/echo_pb.ts"
import type { IEchoClient } from "../generated/protobuf-ts/echo.client.ts"
import * as ts from "../generated/protobuf-ts/echo.ts"
import type { Equals } from "./equals.ts"
import { check } from "./equals.ts"

class NoTenant extends Data.TaggedError("NoTenant")<{}> {}
declare const channel: Channel.Channel
declare const bytes: Buffer
type Names = "echo" | "put" | "watch" | "upload" | "chat"
type Replies<O> = Effect.Effect<Call.Replies<O, RpcError.RpcError>, RpcError.RpcError, Scope.Scope>

// ----------------------------------------------------------------------------------------------------- Protobuf-ES
const esService = ProtobufEs.definition(es.Echo)
class EsEcho extends Client.Service<EsEcho>()("test/EsEcho", esService, { idempotent: ["watch"] }) {}
{
  const echo = Client.make(esService, channel, { idempotent: ["put"] })
  check<Equals<keyof typeof echo, Names>>()
  check<Equals<Context.Service.Shape<typeof EsEcho>, Client.Client<typeof esService>>>()
  check<Equals<Parameters<typeof echo.echo>[0], MessageInitShape<typeof es.EchoRequestSchema>>>()
  check<Equals<Parameters<typeof echo.watch>[0], MessageInitShape<typeof es.WatchRequestSchema>>>()

  const one = echo.echo({ id: "1" }, { timeout: "1 second" })
  check<Equals<typeof one, Effect.Effect<es.EchoReply, RpcError.RpcError>>>()
  const reply = echo.put.reply({})
  check<Equals<typeof reply, Effect.Effect<Call.Reply<es.PutReply>, RpcError.RpcError>>>()
  const watched = echo.watch({ count: 3 })
  check<Equals<typeof watched, Stream.Stream<es.WatchReply, RpcError.RpcError>>>()
  const replies = echo.watch.replies({ count: 3 })
  check<Equals<typeof replies, Replies<es.WatchReply>>>()
  const uploaded = echo.upload(Stream.make({ payload: bytes }))
  check<Equals<typeof uploaded, Effect.Effect<es.UploadReply, RpcError.RpcError>>>()
  const failing = echo.upload(Stream.fail(new NoTenant()))
  check<Equals<typeof failing, Effect.Effect<es.UploadReply, NoTenant | RpcError.RpcError>>>()
  const chatted = echo.chat(Stream.make({ id: "1" }))
  check<Equals<typeof chatted, Stream.Stream<es.ChatReply, RpcError.RpcError>>>()

  // @ts-expect-error a field that the message does not have
  void echo.echo({ nobody: 1 })
  // @ts-expect-error a field of another type
  void echo.echo({ id: 1 })
  // @ts-expect-error no request
  void echo.echo()
  // @ts-expect-error a message of another type
  void echo.echo({ $typeName: "hawser.test.v1.PutRequest", id: "1" })
  // @ts-expect-error one request, not a stream
  void echo.watch(Stream.empty)
  // @ts-expect-error a stream of requests, not one
  void echo.upload({ payload: bytes })
  // @ts-expect-error a stream of other requests
  void echo.chat(Stream.make({ id: 1 }))
  // @ts-expect-error no such method
  void echo.Echo
  // @ts-expect-error no such method
  Client.make(esService, channel, { idempotent: ["Echo"] })
  // @ts-expect-error a message is no service
  ProtobufEs.definition(es.EchoRequestSchema)

  check<
    Equals<
      Method.FromDefinition<typeof esService.chat>,
      Method.Method<MessageInitShape<typeof es.ChatRequestSchema>, es.ChatReply, "bidiStreaming">
    >
  >()
  TestChannel.layerService(esService, {
    echo: (request) => {
      check<Equals<typeof request, es.EchoRequest>>()
      return Effect.succeed({ server: request.id })
    }
  })
  // @ts-expect-error an answer of another type
  TestChannel.layerService(esService, { echo: () => Effect.succeed({ server: 1 }) })
  const server: grpc.MethodDefinition<es.EchoRequest, es.EchoReply> = esService.echo
  void server
}

// ----------------------------------------------------------------------------------------------------- generic ones
const genericService = GenericDefinition.definition(EchoDefinition)
class GenericEcho extends Client.Service<GenericEcho>()("test/GenericEcho", genericService) {}
{
  const echo = Client.make(genericService, channel, { idempotent: ["put"] })
  check<Equals<keyof typeof echo, Names>>()
  check<Equals<Context.Service.Shape<typeof GenericEcho>, Client.Client<typeof genericService>>>()
  check<Equals<Parameters<typeof echo.echo>[0], generic.DeepPartial<generic.EchoRequest>>>()
  check<Equals<Parameters<typeof echo.watch>[0], generic.DeepPartial<generic.WatchRequest>>>()

  const one = echo.echo({ id: "1" })
  check<Equals<typeof one, Effect.Effect<generic.EchoReply, RpcError.RpcError>>>()
  const reply = echo.put.reply({})
  check<Equals<typeof reply, Effect.Effect<Call.Reply<generic.PutReply>, RpcError.RpcError>>>()
  const watched = echo.watch({ count: 3 })
  check<Equals<typeof watched, Stream.Stream<generic.WatchReply, RpcError.RpcError>>>()
  const replies = echo.watch.replies({ count: 3 })
  check<Equals<typeof replies, Replies<generic.WatchReply>>>()
  const uploaded = echo.upload(Stream.make({ payload: bytes }))
  check<Equals<typeof uploaded, Effect.Effect<generic.UploadReply, RpcError.RpcError>>>()
  const chatted = echo.chat(Stream.fail(new NoTenant()))
  check<Equals<typeof chatted, Stream.Stream<generic.ChatReply, NoTenant | RpcError.RpcError>>>()

  // @ts-expect-error a field that the message does not have
  void echo.echo({ nobody: 1 })
  // @ts-expect-error a field of another type
  void echo.echo({ id: 1 })
  // @ts-expect-error no request
  void echo.echo()
  // @ts-expect-error one request, not a stream
  void echo.watch(Stream.empty)
  // @ts-expect-error a stream of requests, not one
  void echo.upload({ payload: bytes })
  // @ts-expect-error a stream of other requests
  void echo.chat(Stream.make({ id: 1 }))
  // @ts-expect-error no such method
  Client.make(genericService, channel, { idempotent: ["Echo"] })
  // @ts-expect-error no service
  GenericDefinition.definition(EchoDefinition.methods)

  TestChannel.layerService(genericService, {
    echo: (request) => {
      check<Equals<typeof request, generic.EchoRequest>>()
      return Effect.succeed({ server: request.id })
    }
  })
  const server: grpc.MethodDefinition<generic.EchoRequest, generic.EchoReply> = genericService.echo
  void server

  // Without `fromPartial` a request is a whole message.
  interface Text {
    readonly text: string
  }
  interface Codec {
    encode(message: Text): { finish(): Uint8Array }
    decode(bytes: Uint8Array): Text
  }
  type Whole = GenericDefinition.MethodDefinition<{
    readonly name: "Say"
    readonly requestType: Codec
    readonly requestStream: true
    readonly responseType: Codec
    readonly responseStream: false
    readonly options: {}
  }>
  check<Equals<Method.FromDefinition<Whole>, Method.Method<Text, Text, "clientStreaming">>>()

  // So it is with ts-proto's exact types, whose `fromPartial` must see the argument.
  interface Exact extends Codec {
    fromPartial<I extends Partial<Text> & { readonly [K in Exclude<keyof I, "text">]: never }>(fields: I): Text
  }
  type Exactly = GenericDefinition.MethodDefinition<{
    readonly name: "Say"
    readonly requestType: Exact
    readonly requestStream: false
    readonly responseType: Exact
    readonly responseStream: true
    readonly options: {}
  }>
  check<Equals<Method.FromDefinition<Exactly>, Method.Method<Text, Text, "serverStreaming">>>()
}

// ----------------------------------------------------------------------------------------------------- protobuf-ts
const tsService = ProtobufTs.definition<IEchoClient>()(ts.Echo)
class TsEcho extends Client.Service<TsEcho>()("test/TsEcho", tsService) {}
{
  const echo = Client.make(tsService, channel, { idempotent: ["put"] })
  check<Equals<keyof typeof echo, Names>>()
  check<Equals<Context.Service.Shape<typeof TsEcho>, Client.Client<typeof tsService>>>()
  check<Equals<Parameters<typeof echo.echo>[0], ts.EchoRequest>>()
  check<Equals<Parameters<typeof echo.watch>[0], ts.WatchRequest>>()

  const request = ts.EchoRequest.create({ id: "1" })
  const one = echo.echo(request)
  check<Equals<typeof one, Effect.Effect<ts.EchoReply, RpcError.RpcError>>>()
  const reply = echo.put.reply(ts.PutRequest.create())
  check<Equals<typeof reply, Effect.Effect<Call.Reply<ts.PutReply>, RpcError.RpcError>>>()
  const watched = echo.watch(ts.WatchRequest.create())
  check<Equals<typeof watched, Stream.Stream<ts.WatchReply, RpcError.RpcError>>>()
  const replies = echo.watch.replies(ts.WatchRequest.create())
  check<Equals<typeof replies, Replies<ts.WatchReply>>>()
  const uploaded = echo.upload(Stream.fail(new NoTenant()))
  check<Equals<typeof uploaded, Effect.Effect<ts.UploadReply, NoTenant | RpcError.RpcError>>>()
  const chatted = echo.chat(Stream.make({ id: "1", payload: bytes }))
  check<Equals<typeof chatted, Stream.Stream<ts.ChatReply, RpcError.RpcError>>>()

  // @ts-expect-error a field that the message does not have
  void echo.echo({ ...request, nobody: 1 })
  // @ts-expect-error not the whole message
  void echo.echo({ id: "1" })
  // @ts-expect-error no request
  void echo.echo()
  // @ts-expect-error one request, not a stream
  void echo.watch(Stream.empty)
  // @ts-expect-error a stream of requests, not one
  void echo.upload({ payload: bytes })
  // @ts-expect-error a stream of other requests
  void echo.chat(Stream.make({ id: 1 }))
  // @ts-expect-error no such method
  Client.make(tsService, channel, { idempotent: ["Echo"] })
  // @ts-expect-error no service
  ProtobufTs.definition<IEchoClient>()(ts.EchoRequest)

  check<
    Equals<Method.FromDefinition<typeof tsService.chat>, Method.Method<ts.ChatRequest, ts.ChatReply, "bidiStreaming">>
  >()
  TestChannel.layerService(tsService, {
    echo: (request) => {
      check<Equals<typeof request, ts.EchoRequest>>()
      return Effect.succeed({ id: "1", payload: bytes, server: request.id })
    }
  })
  const server: grpc.MethodDefinition<ts.EchoRequest, ts.EchoReply> = tsService.echo
  void server
}
