// A server of streams in a process of its own: sends as fast as it may, reads as far as it is told. Ends with its parent.
import * as grpc from "@grpc/grpc-js"
import {
  EchoService,
  type UploadReply,
  type UploadRequest,
  type WatchReply,
  type WatchRequest
} from "../../generated/echo.ts"
import type { FlowCounts } from "./FlowServer.ts"

/** So many messages are read in one turn of the event loop. */
const perTurn = 10

let sent = 0
let read = 0
/** Uploads are read up to here. */
let limit = 0
let resume: () => void = () => {}

const watch: grpc.handleServerStreamingCall<WatchRequest, WatchReply> = (call) => {
  const { count, payload } = call.request
  const write = (): void => {
    while (!call.cancelled && sent < count) {
      if (!call.write({ index: sent++, payload, server: "" })) {
        call.once("drain", write)
        return
      }
    }
    call.end()
  }
  write()
}

const upload: grpc.handleClientStreamingCall<UploadRequest, UploadReply> = (call, reply) => {
  let bytes = 0
  resume = () => {
    if (read < limit) call.resume()
  }
  call.on("data", (message: UploadRequest) => {
    read++
    bytes += message.payload.length
    if (read % perTurn !== 0 && read < limit) return
    call.pause()
    setImmediate(() => resume())
  })
  call.on("end", () => reply(null, { messages: read, bytes, server: "" }))
  call.pause()
  resume()
}

const server = new grpc.Server()
const none = (): void => {}
server.addService(EchoService, { echo: none, put: none, watch, upload, chat: none })
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error
  process.on("disconnect", () => process.exit(0))
  process.on("message", (to: number) => {
    if (to > limit) {
      limit = to
      resume()
    }
    process.send!({ sent, read } satisfies FlowCounts)
  })
  process.send!(port)
})
