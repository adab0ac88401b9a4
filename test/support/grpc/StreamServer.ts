import * as grpc from "@grpc/grpc-js"
import { Effect, type Scope } from "effect"
import {
  type ChatReply,
  type ChatRequest,
  EchoService,
  type UploadReply,
  type UploadRequest,
  type WatchReply,
  type WatchRequest
} from "../../generated/echo.ts"
import { Watched } from "./eventually.ts"

/** A grpc-js server of streams on a free loopback port, which counts what it sends and reads. */
export class StreamServer extends Watched {
  port = 0
  sent = 0
  read = 0
  started = 0
  ended = 0
  cancelled = 0
  /** While true, uploads are not read. */
  holding = false
  private resume: () => void = () => {}
  private readonly name: string

  constructor(name: string) {
    super()
    this.name = name
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** Reads on. */
  release(): void {
    this.holding = false
    this.resume()
  }

  private begin(call: grpc.ServerWritableStream<never, never> | grpc.ServerReadableStream<never, never>): void {
    this.started++
    call.on("cancelled", () => {
      this.cancelled++
      this.changed()
    })
    call.on("close", () => {
      this.ended++
      this.changed()
    })
    this.changed()
  }

  /** Numbered messages, as fast as the transport takes them; for ever when the count is 0. */
  readonly watch: grpc.handleServerStreamingCall<WatchRequest, WatchReply> = (call) => {
    this.begin(call as never)
    const { count, failCode, payload } = call.request
    let index = 0
    const metadata = new grpc.Metadata()
    metadata.set("x-server", this.name)
    if (count > 0 || failCode === 0) call.sendMetadata(metadata)
    const write = (): void => {
      while (!call.cancelled && (count === 0 ? failCode === 0 : index < count)) {
        this.sent++
        if (!call.write({ index: index++, payload, server: this.name })) {
          call.once("drain", write)
          return
        }
      }
      if (failCode > 0) call.emit("error", { code: failCode, details: "as asked" })
      else call.end(metadata)
    }
    write()
  }

  readonly upload: grpc.handleClientStreamingCall<UploadRequest, UploadReply> = (call, reply) => {
    this.begin(call as never)
    let messages = 0
    let bytes = 0
    const pump = () => {
      call.on("data", (message: UploadRequest) => {
        messages++
        this.read++
        bytes += message.payload.length
      })
      call.on("end", () => reply(null, { messages, bytes, server: this.name }))
    }
    if (this.holding) this.resume = pump
    else pump()
  }

  readonly chat: grpc.handleBidiStreamingCall<ChatRequest, ChatReply> = (call) => {
    this.begin(call as never)
    call.on("data", (message: ChatRequest) => call.write({ ...message, server: this.name }))
    call.on("end", () => call.end())
  }
}

/** Starts one, for as long as the scope lives. */
export const make = (name = "s"): Effect.Effect<StreamServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: grpc.Server; readonly counts: StreamServer }>((resume) => {
      const counts = new StreamServer(name)
      const server = new grpc.Server()
      const none = () => {}
      server.addService(EchoService, {
        echo: none,
        put: none,
        watch: counts.watch,
        upload: counts.upload,
        chat: counts.chat
      })
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
        counts.port = port
        resume(error === null ? Effect.succeed({ server, counts }) : Effect.die(error))
      })
    }),
    ({ server }) => Effect.sync(() => server.forceShutdown())
  ).pipe(Effect.map(({ counts }) => counts))
