/**
 * How many streams the peer allows on one connection.
 *
 * grpc-js keeps that to itself. Two ways to know it anyway: the peer's SETTINGS, found along a path that is not part of
 * grpc-js's API and therefore only used where it is there, and followed when they change; or else, from the first call
 * that Node holds back: its write is not acknowledged while others' are. Until either speaks, 100 is assumed.
 */
import type * as grpc from "@grpc/grpc-js"
import type { ClientHttp2Session, Settings } from "node:http2"

/** Assumed until the peer says otherwise (RFC 9113 asks for no less than 100). */
const assumed = 100
/** A write that waits for so long, while the peer is heard, was held back by the stream limit. */
const heldBackMillis = 500
/** Larger messages may be held back by flow control instead. */
const tellingBytes = 8_192

/** How many streams the peer allows. */
export interface StreamLimit {
  /** Read on each lease. */
  value(): number
  /** A message is handed to Node. Returns what to call when Node has sent it; `undefined` where nobody needs to know. */
  writing(bytes: number): (() => void) | undefined
  /** A call has ended. */
  ended(written: (() => void) | undefined): void
}

/** The peer's HTTP/2 session, if this version of grpc-js keeps it where it was. */
export const sessionOf = (channel: grpc.Channel): ClientHttp2Session | undefined => {
  try {
    for (const wrapper of (channel as unknown as Hidden).internalChannel.wrappedSubchannels) {
      const session = wrapper.getRealSubchannel().transport?.session
      if (typeof session?.on === "function" && typeof session.remoteSettings === "object") return session
    }
  } catch {
    // Another version: learn it the slow way.
  }
  return undefined
}

interface Hidden {
  readonly internalChannel: {
    readonly wrappedSubchannels: Iterable<{
      readonly getRealSubchannel: () => { readonly transport: { readonly session: ClientHttp2Session } | null }
    }>
  }
}

/** The limit as the peer's SETTINGS state it. */
export const stated = (session: ClientHttp2Session, changed: () => void): StreamLimit => {
  const read = (settings: Settings): number => settings.maxConcurrentStreams ?? assumed
  let value = read(session.remoteSettings)
  session.on("remoteSettings", (settings) => {
    value = read(settings)
    changed()
  })
  return { value: () => value, writing: () => undefined, ended: () => {} }
}

/** The limit as learned downward from writes that are held back. */
export const learned = (now: () => number, heardAt: () => number): StreamLimit => {
  let value = assumed
  let inFlight = 0
  /** Since when each unacknowledged write waits, oldest first. */
  const waiting = new Map<() => void, number>()
  const look = () => {
    const oldest = waiting.values().next().value
    if (oldest === undefined) return
    const running = inFlight - waiting.size
    if (running > 0 && running < value && now() - oldest >= heldBackMillis && heardAt() > oldest) value = running
  }
  return {
    value: () => {
      if (waiting.size > 0) look()
      return value
    },
    writing: (bytes) => {
      inFlight++
      const written = () => {
        waiting.delete(written)
      }
      if (bytes <= tellingBytes) waiting.set(written, now())
      return written
    },
    ended: (written) => {
      inFlight--
      if (written !== undefined) waiting.delete(written)
    }
  }
}
