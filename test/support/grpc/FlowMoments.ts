import * as grpc from "@grpc/grpc-js"
import { Effect, type Scope } from "effect"
import type { ServerHttp2Stream } from "node:http2"
import {
  type ChatReply,
  type ChatRequest,
  type EchoReply,
  type EchoRequest,
  EchoService,
  type PutReply,
  type PutRequest,
  type UploadReply,
  type UploadRequest,
  type WatchReply,
  type WatchRequest
} from "../../generated/echo.ts"

/** Calls `then` after so many turns of the event loop. */
export const afterTurns = (turns: number, then: () => void): void => {
  if (turns <= 0) then()
  else setImmediate(() => afterTurns(turns - 1, then))
}

type AnyCall = Pick<NodeJS.EventEmitter, "on">

/** A server of all kinds of call that knows which of them it has begun and not seen the end of. Delays are turns. */
export class MomentServer {
  port = 0
  begun = 0
  cancelled = 0
  /** Calls that were neither answered nor cancelled. */
  readonly open = new Set<AnyCall>()
  /** HTTP/2 streams that are not closed, answered or not. */
  streams = 0

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  streamed(stream: ServerHttp2Stream): void {
    this.streams++
    stream.on("close", () => this.streams--)
  }

  private begin(call: AnyCall): void {
    this.begun++
    this.open.add(call)
    call.on("cancelled", () => {
      if (this.open.delete(call)) this.cancelled++
    })
  }

  /** Answers a call once, unless it has been cancelled. */
  private answer(call: AnyCall, turns: number, f: () => void): void {
    afterTurns(turns, () => {
      if (this.open.delete(call)) f()
    })
  }

  readonly echo: grpc.handleUnaryCall<EchoRequest, EchoReply> = (call, reply) => {
    this.begin(call)
    const { delayMillis, failCode, id, payload } = call.request
    this.answer(call, delayMillis, () =>
      reply(failCode === 0 ? null : { code: failCode, details: "as asked" }, { id, payload, server: "" })
    )
  }

  readonly put: grpc.handleUnaryCall<PutRequest, PutReply> = (call, reply) => {
    this.begin(call)
    this.answer(call, call.request.delayMillis, () => reply(null, { id: call.request.id, server: "" }))
  }

  readonly watch: grpc.handleServerStreamingCall<WatchRequest, WatchReply> = (call) => {
    this.begin(call)
    const { count, delayMillis, payload } = call.request
    const last = count === 0 ? Infinity : count
    let index = 0
    const write = (): void => {
      while (this.open.has(call) && index < last) {
        if (!call.write({ index: index++, payload, server: "" })) return void call.once("drain", write)
      }
      this.answer(call, 0, () => call.end())
    }
    afterTurns(delayMillis, write)
  }

  readonly upload: grpc.handleClientStreamingCall<UploadRequest, UploadReply> = (call, reply) => {
    this.begin(call)
    let messages = 0
    call.on("error", () => {})
    call.on("data", () => messages++)
    call.on("end", () => this.answer(call, messages % 3, () => reply(null, { messages, bytes: 0, server: "" })))
  }

  readonly chat: grpc.handleBidiStreamingCall<ChatRequest, ChatReply> = (call) => {
    this.begin(call)
    call.on("error", () => {})
    call.on("data", (message: ChatRequest) => {
      if (!call.write({ ...message, server: "" })) {
        call.pause()
        call.once("drain", () => call.resume())
      }
    })
    call.on("end", () => this.answer(call, 0, () => call.end()))
  }
}

/** grpc-js does not hand out its HTTP/2 servers. */
interface Internals {
  readonly http2Servers: Map<NodeJS.EventEmitter, unknown>
}

/** A server that is gone when the scope closes. */
export const make: Effect.Effect<MomentServer, never, Scope.Scope> = Effect.acquireRelease(
  Effect.callback<readonly [grpc.Server, MomentServer]>((resume) => {
    const seen = new MomentServer()
    const server = new grpc.Server()
    const { chat, echo, put, upload, watch } = seen
    server.addService(EchoService, { chat, echo, put, upload, watch })
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
      if (error !== null) return resume(Effect.die(error))
      seen.port = port
      for (const one of (server as unknown as Internals).http2Servers.keys()) {
        one.on("stream", (stream: ServerHttp2Stream) => seen.streamed(stream))
      }
      resume(Effect.succeed([server, seen]))
    })
  }),
  ([server]) => Effect.sync(() => server.forceShutdown())
).pipe(Effect.map(([, seen]) => seen))
