/**
 * Connections that answer in the same turn, or never grant a permit: what is left is Hawser's own cost.
 */
import type { Connector } from "@hawser/core/Session"
import type { CallListener, Connection, StartOptions, Wire } from "@hawser/grpc/Connection"
import * as Metadata from "@hawser/grpc/Metadata"
import type { Method } from "@hawser/grpc/Method"
import * as Effect from "effect/Effect"

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
  read(): void {
    this.#listener.onHeaders(Metadata.empty)
    this.#listener.onMessage(this.#bytes!)
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
      ended: Effect.never,
      subscribe: () => () => {}
    })
