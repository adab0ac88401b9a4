// @effect-diagnostics floatingEffect:off missingEffectError:off
// Checked by tsc, never run: what the handlers of a test channel take and give, by kind.
import type { RpcError } from "@hawser/grpc"
import { TestChannel } from "@hawser/testing"
import { Context, Data, Effect, Stream } from "effect"
import type {
  ChatReply,
  ChatRequest,
  EchoReply,
  EchoRequest,
  UploadReply,
  UploadRequest,
  WatchReply,
  WatchRequest
} from "../generated/echo.ts"
import { EchoService } from "../generated/echo.ts"
import type { Equals } from "./equals.ts"
import { check } from "./equals.ts"

class NoTenant extends Data.TaggedError("NoTenant")<{}> {}
class Tenant extends Context.Service<Tenant, { readonly id: string }>()("app/Tenant") {}

type Handlers = TestChannel.ServiceHandlers<typeof EchoService>
type Failure = RpcError.RpcError | TestChannel.Status
declare const watched: WatchReply
declare const uploaded: UploadReply
declare const line: ChatReply

// Each method has the handler of its kind, and each is optional.
{
  check<Equals<keyof Handlers, "echo" | "put" | "watch" | "upload" | "chat">>()
  check<Equals<NonNullable<Handlers["echo"]>, TestChannel.Handler<EchoRequest, EchoReply>>>()
  check<Equals<NonNullable<Handlers["watch"]>, TestChannel.ServerStreamingHandler<WatchRequest, WatchReply>>>()
  check<Equals<NonNullable<Handlers["upload"]>, TestChannel.ClientStreamingHandler<UploadRequest, UploadReply>>>()
  check<Equals<NonNullable<Handlers["chat"]>, TestChannel.BidiStreamingHandler<ChatRequest, ChatReply>>>()
  check<Equals<ReturnType<NonNullable<Handlers["watch"]>>, Stream.Stream<WatchReply, Failure>>>()
  TestChannel.layerService(EchoService, {})
}

// What they are given is inferred.
TestChannel.layerService(EchoService, {
  watch: (request, call) => {
    check<Equals<typeof request, WatchRequest>>()
    check<Equals<typeof call.attempt, number>>()
    return Stream.concat(Stream.make(watched), Stream.fail({ _tag: "NotFound" }))
  },
  upload: (requests, call) => {
    check<Equals<typeof requests, Stream.Stream<UploadRequest>>>()
    check<Equals<typeof call.attempt, number>>()
    return Effect.as(Stream.runDrain(requests), TestChannel.reply(uploaded))
  },
  chat: (requests) => {
    check<Equals<typeof requests, Stream.Stream<ChatRequest>>>()
    return Stream.map(requests, (request) => ({ ...request, server: "a" }))
  }
})

// And what they give is held to the definition.
TestChannel.layerService(EchoService, {
  // @ts-expect-error one answer where many are due
  watch: () => Effect.succeed(watched),
  // @ts-expect-error many answers where one is due
  upload: () => Stream.make(uploaded),
  // @ts-expect-error the answers of another method
  chat: () => Stream.make(uploaded)
})
TestChannel.layerService(EchoService, {
  // @ts-expect-error not a status
  watch: () => Stream.fail({ _tag: "Lost" }),
  // @ts-expect-error an error that no server can answer with
  upload: () => Effect.fail(new NoTenant()),
  // @ts-expect-error a handler brings its services
  chat: () => Stream.as(Stream.fromEffect(Tenant), line)
})
TestChannel.layerService(EchoService, {
  // @ts-expect-error one request where a stream of them comes
  upload: (request: UploadRequest) => Effect.succeed({ ...uploaded, bytes: request.payload.length }),
  // @ts-expect-error a stream of requests where one comes
  watch: (requests: Stream.Stream<WatchRequest>) => Stream.as(requests, watched)
})

// A definition that has lost its kinds has no handlers; see `Method.withKinds`.
{
  const lost: { readonly echo: Omit<typeof EchoService.echo, "requestStream"> & { readonly requestStream: boolean } } =
    EchoService
  check<Equals<keyof TestChannel.ServiceHandlers<typeof lost>, never>>()
}

// By path, a handler says itself what it takes.
TestChannel.layer({
  "/demo.Greeter/Watch": (request: WatchRequest) => Stream.make({ ...watched, index: request.count }),
  "/demo.Greeter/Upload": (requests: Stream.Stream<UploadRequest>) => Stream.runCount(requests)
})
TestChannel.layer({
  // @ts-expect-error neither an Effect nor a Stream
  "/demo.Greeter/Watch": () => watched
})
