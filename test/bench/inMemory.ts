/**
 * Connections that answer in the same turn, or never grant a permit: what is left is Hawser's own cost.
 */
import type { Connector } from "@hawser/core/Session"
import * as Channel from "@hawser/grpc/Channel"
import * as Client from "@hawser/grpc/Client"
import type { CallListener, Connection, StartOptions, Wire } from "@hawser/grpc/Connection"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import * as Metadata from "@hawser/grpc/Metadata"
import type { Method } from "@hawser/grpc/Method"
import { Transport } from "@hawser/grpc/Transport"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** The codec is the caller's: here it costs nothing. */
export const method: Method<Uint8Array, Uint8Array> = {
  path: "/bench.Echo/Echo",
  kind: "unary",
  idempotency: "Idempotent",
  encode: (bytes) => bytes,
  decode: (bytes) => bytes
}

/** Sends back what it is sent, at the moment it is asked for a message. */
class EchoWire implements Wire {
  readonly #listener: CallListener
  #bytes: Uint8Array | undefined

  constructor(listener: CallListener) {
    this.#listener = listener
  }

  send(bytes: Uint8Array): void {
    this.#bytes = bytes
  }
  end(): void {}
  read(): void {
    const bytes = this.#bytes
    // There is one message, however often one is asked for.
    if (bytes === undefined) return
    this.#bytes = undefined
    this.#listener.onHeaders(Metadata.empty)
    this.#listener.onMessage(bytes)
    this.#listener.onStatus(0, "", Metadata.empty, "Answered")
  }
  cancel(): void {}
}

/** Dials at once; every connection lends `permits` at a time. */
export const connector =
  (permits: number): Connector<Connection> =>
  (endpoint) =>
    Effect.succeed({
      connection: {
        peer: endpoint.addresses[0],
        start: (_: StartOptions, listener: CallListener) => new EchoWire(listener)
      },
      limit: () => permits,
      heardAt: () => performance.now(),
      ended: () => undefined,
      listen: () => {}
    })

/** A client with everything that `Grpc.layer` puts around a call by default, over such connections. */
export const client = (permits: number, maxWaiting: number) => {
  const transport = Layer.succeed(Transport, { connector: () => Effect.succeed(connector(permits)) })
  const options = { target: "ipv4:10.0.0.1:50051", credentials: Credentials.insecure, queue: { max: maxWaiting } }
  return Effect.map(Layer.build(Layer.provide(Grpc.layer(options), transport)), (context) => ({
    cluster: Context.get(context, Grpc.GrpcCluster),
    ...Client.make(echo, Context.get(context, Channel.Channel), { idempotent: ["echo"] })
  }))
}

const echo = {
  echo: {
    path: method.path,
    requestStream: false,
    responseStream: false,
    requestSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes
  }
} as const
