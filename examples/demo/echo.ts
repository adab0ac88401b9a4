/** The service that everybody in the demo speaks: one unary method, written by hand so that the demo needs no generator. */
import type { MethodDefinition } from "@grpc/grpc-js"

export type ClientName = "hawser" | "raw"

export interface EchoRequest {
  /** Who asks, so that a server can count its clients apart. */
  readonly client: ClientName
  readonly text: string
}

export interface EchoReply {
  readonly text: string
  /** The address of the server that answered. */
  readonly server: string
}

const encode = (value: EchoRequest | EchoReply): Buffer => Buffer.from(JSON.stringify(value))

export const EchoDefinition = {
  echo: {
    path: "/demo.Echo/Echo",
    requestStream: false,
    responseStream: false,
    requestSerialize: encode,
    requestDeserialize: (bytes: Buffer): EchoRequest => JSON.parse(bytes.toString()),
    responseSerialize: encode,
    responseDeserialize: (bytes: Buffer): EchoReply => JSON.parse(bytes.toString())
  }
} as const satisfies { readonly echo: MethodDefinition<EchoRequest, EchoReply> }

export const deadlineMillis = 1000
