/**
 * The call that every client makes: a unary echo of about 100 bytes, with one codec for all of them.
 */
import type { MethodDefinition } from "@grpc/grpc-js"
import { loadSync } from "@grpc/proto-loader"
import { fileURLToPath } from "node:url"

export interface Message {
  readonly id: string
  readonly payload: string
}

export interface EchoDefinition {
  readonly echo: MethodDefinition<Message, Message> & { readonly requestStream: false; readonly responseStream: false }
}

const loaded = loadSync(fileURLToPath(new URL("./echo.proto", import.meta.url)))

export const definition: EchoDefinition = {
  echo: (loaded["bench.Echo"] as unknown as { readonly Echo: EchoDefinition["echo"] }).Echo
}

export const request: Message = { id: "0123456789", payload: "x".repeat(84) }
