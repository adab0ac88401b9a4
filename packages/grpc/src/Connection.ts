/**
 * The bytes half of a gRPC connection.
 *
 * grpc-js stands behind it in production and a virtual network in tests. Everything above speaks this interface and
 * never grpc-js's own types.
 */
import type { KeepaliveMillis } from "@hawser/core/Pings"
import type { OptionsError } from "@hawser/core/OptionsError"
import type { Connector } from "@hawser/core/Session"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Credentials } from "./Credentials.ts"
import type { Metadata } from "./Metadata.ts"
import type { Progress } from "./RpcError.ts"

/** One connection that calls are started on. */
export interface Connection {
  /** `10.0.0.7:50051` */
  readonly peer: string
  /**
   * Starts a call. `listener` is never called before this returns. Does not throw: a call that can't be started gets a
   * status.
   */
  readonly start: (options: StartOptions, listener: CallListener) => Wire
}

/** What is sent at the start of a call. */
export interface StartOptions {
  /** `/pkg.Service/Method` */
  readonly path: string
  readonly metadata: Metadata | undefined
  /** Monotonic milliseconds, or `Infinity`. */
  readonly deadline: number
  /** What the clock says, in monotonic milliseconds, where somebody has just looked. */
  readonly now?: number | undefined
  /** 1 for the first; later ones are told to the server as `grpc-previous-rpc-attempts`. */
  readonly attempt: number
}

/** What comes back. After `onStatus` nothing comes. */
export interface CallListener {
  onHeaders(metadata: Metadata): void
  onMessage(bytes: Uint8Array): void
  onStatus(code: number, details: string, metadata: Metadata, progress: Progress): void
}

/** The sending side of a call. */
export interface Wire {
  /** Sends a message. `written` is called when the transport has taken it: the signal to send the next. */
  send(bytes: Uint8Array, written?: () => void): void
  /** No more messages from this side. */
  end(): void
  /** Asks for one message more. */
  read(): void
  /** Gives the call up. Its status may still come. */
  cancel(): void
}

/** What a transport needs to dial. */
export interface TransportOptions {
  readonly credentials: Credentials
  /** The name that servers are asked for, and that their certificates must carry. */
  readonly authority: string
  /** Of one message; a larger one ends its call. */
  readonly maxReceiveBytes: number
  readonly userAgent: string
  /** The HTTP proxy to go through, by CONNECT. */
  readonly proxy?: { readonly address: string; readonly credentials: Redacted.Redacted<string> | undefined } | undefined
  /** How requests are compressed; `undefined`: not at all. */
  readonly compression?: "gzip" | "deflate" | undefined
  /** Bytes a peer may send ahead, on a connection and on each stream; `undefined`: what HTTP/2 says, 65,535. */
  readonly flowControlWindow?: number | undefined
  /** For transports whose sessions have no `ping`: they must do it themselves. */
  readonly keepalive?: KeepaliveMillis | undefined
}

/** How connections are made. */
export interface Transport {
  /** Fails when the credentials can't be used. */
  readonly connector: (options: TransportOptions) => Effect.Effect<Connector<Connection>, OptionsError>
}
