/**
 * HTTP/2 as the virtual network speaks it: the frames that matter to a gRPC client, as values.
 */
import type { Metadata } from "@hawser/grpc/Metadata"

/** Error codes of RST_STREAM and GOAWAY (RFC 9113, section 7). */
export const codes = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  refusedStream: 7,
  cancel: 8,
  enhanceYourCalm: 11,
  inadequateSecurity: 12
} as const

/** What each stream may send before its reader has taken anything: the default of HTTP/2. */
export const windowBytes = 65_535

/** What a client sends. */
export type ClientFrame =
  | {
      readonly _tag: "Headers"
      readonly stream: number
      readonly path: string
      readonly metadata: Metadata | undefined
      /** `grpc-timeout`, in milliseconds. */
      readonly timeout: number
      readonly attempt: number
    }
  | Data
  | { readonly _tag: "End"; readonly stream: number }
  | Reset
  | WindowUpdate
  | { readonly _tag: "SettingsAck" }
  | { readonly _tag: "Ping"; readonly id: number }
  | { readonly _tag: "PingAck" }

/** What a server sends. */
export type ServerFrame =
  | { readonly _tag: "Settings"; readonly maxStreams: number }
  | { readonly _tag: "Headers"; readonly stream: number; readonly metadata: Metadata }
  | Data
  | {
      readonly _tag: "Trailers"
      readonly stream: number
      readonly code: number
      readonly details: string
      readonly metadata: Metadata
    }
  | Reset
  | WindowUpdate
  | { readonly _tag: "Ping" }
  | { readonly _tag: "PingAck"; readonly id: number }
  | { readonly _tag: "GoAway"; readonly lastStream: number; readonly code: number; readonly debug?: string | undefined }

interface Data {
  readonly _tag: "Data"
  readonly stream: number
  readonly bytes: Uint8Array
}
interface Reset {
  readonly _tag: "Reset"
  readonly stream: number
  readonly code: number
}
interface WindowUpdate {
  readonly _tag: "WindowUpdate"
  readonly stream: number
  readonly bytes: number
}

/** About so many bytes for what has no body. */
export const headerBytes = 100
