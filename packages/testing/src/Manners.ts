/**
 * How a server of the virtual network behaves beside its handlers, and what it saw.
 */

/** How a server behaves. Faults change it. */
export interface Manners {
  /** Milliseconds from the connection to its greeting. */
  settingsMillis: number
  /** Accepts connections and never greets. */
  mute: boolean
  /** MAX_CONCURRENT_STREAMS; `Infinity` for none stated. */
  maxStreams: number
  /** Refuses every stream. */
  refuseStreams: boolean
  /** The least time between two pings of a client; 5 min, as with gRPC's servers. */
  minPingMillis: number
  /** Whether it takes pings while no call is running. */
  pingsWithoutCalls: boolean
  /** Answers every call with this status, alone. */
  failWith: { readonly code: number; readonly details: string } | undefined
}

/** What a server saw: the truth that the client's figures are compared with. */
export interface Seen {
  /** Connections, since it was made. */
  accepted: number
  /** Streams that came in, those refused included. */
  started: number
  /** Streams that ended with a status. */
  completed: number
  /** Streams that ended otherwise: the client, the line or the server gave up. */
  cancelled: number
  refused: number
  /** Streams above a limit that the client had confirmed: always 0. */
  overTheLimit: number
  inFlight: number
  /** Pings of clients, and those that came too early. */
  pings: number
  earlyPings: number
  /** The most streams at once on one connection. */
  most: number
}

/** A server with good manners. */
export const good = (maxStreams = Infinity): Manners => ({
  settingsMillis: 0,
  mute: false,
  maxStreams,
  refuseStreams: false,
  minPingMillis: 300_000,
  pingsWithoutCalls: false,
  failWith: undefined
})

/** A server that saw nothing yet. */
export const nothing = (): Seen => ({
  accepted: 0,
  started: 0,
  completed: 0,
  cancelled: 0,
  refused: 0,
  overTheLimit: 0,
  inFlight: 0,
  pings: 0,
  earlyPings: 0,
  most: 0
})
