/**
 * The calls that clients make: a unary echo of about 100 bytes, or a thousand of it, with one codec for all of them.
 */
import type { MethodDefinition } from "@grpc/grpc-js"
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader"
import { fileURLToPath } from "node:url"

export interface Message {
  readonly id: string
  readonly payload: string
}

export interface EchoDefinition {
  readonly echo: MethodDefinition<Message, Message> & { readonly requestStream: false; readonly responseStream: false }
  readonly watch: MethodDefinition<Message, Message> & { readonly requestStream: false; readonly responseStream: true }
}

const loaded = loadSync(fileURLToPath(new URL("./echo.proto", import.meta.url)))

const { Echo, Watch } = loaded["bench.Echo"] as unknown as {
  readonly Echo: EchoDefinition["echo"]
  readonly Watch: EchoDefinition["watch"]
}

export const definition: EchoDefinition = { echo: Echo, watch: Watch }

/** The same as a `FileDescriptorProto`, for clients with a codec of their own. */
export const [file] = (loaded["bench.Message"] as MessageTypeDefinition<object, object>).fileDescriptorProtos as [
  Buffer
]

/** What the servers answer to one `watch`. */
export const messagesPerWatch = 1_000

export const request: Message = { id: "0123456789", payload: "x".repeat(84) }
