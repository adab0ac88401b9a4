/**
 * One address of the virtual network: who listens there, what the line to it is like, and every connection to it.
 *
 * All of its trouble is state: whoever injects a fault sets it, and takes it back. What the network and the server do
 * with it is theirs.
 */
import type { TlsProblem } from "@hawser/core/ConnectError"
import { calm, type Weather } from "./Link.ts"
import type { Pair, Socket } from "./Socket.ts"
import type { Timers } from "./Timers.ts"

/** A fault that made itself felt. */
export type Felt =
  | "refused"
  | "black-holed connect"
  | "accepted and silent"
  | "slow settings"
  | "cut"
  | "half-open silence"
  | "latency"
  | "loss"
  | "bandwidth"
  | "reset stream"
  | "goaway"
  | "goaway with a last id"
  | "refused stream"
  | "limit lowered"
  | "limit 0"
  | "killed"
  | "frozen"
  | "thawed"
  | "trailers-only error"
  | "resolution"

/** What a server shows to whoever connects: plaintext, a certificate that holds, or what is wrong with it. */
export type Security = "Plaintext" | "Tls" | TlsProblem

/** Who takes connections at an address. */
export interface Listener {
  readonly security: Security
  /** A connection has come in. Its listener must be set before this returns. */
  readonly accept: (socket: Socket<unknown, unknown>) => void
}

/** Which way a silent line is silent. */
export type Direction = "both" | "toServer" | "toClient"

/** One address of the virtual network. */
export class Host {
  readonly address: string
  readonly weather: Weather = { ...calm }
  /** Who listens; nobody: connects are refused. */
  listener: Listener | undefined = undefined
  /** How many faults refuse connects although somebody listens. */
  refusing = 0
  /** How many faults swallow connects. */
  swallowing = 0
  readonly pairs = new Set<Pair<unknown, unknown>>()
  /** Connects that nobody has answered yet. */
  readonly knocking = new Set<() => void>()
  private silent = { both: 0, toServer: 0, toClient: 0 }
  private frozen = 0
  private readonly timers: Timers
  private readonly feel: (felt: Felt, host: Host) => void

  constructor(address: string, timers: Timers, feel: (felt: Felt, host: Host) => void) {
    this.address = address
    this.timers = timers
    this.feel = feel
  }

  /** A fault makes itself felt. */
  felt(felt: Felt): void {
    this.feel(felt, this)
  }

  /** A connection has been made. It starts under whatever silence there is. */
  join(pair: Pair<unknown, unknown>): void {
    this.pairs.add(pair)
    pair.client.whenOver = pair.server.whenOver = () => {
      if (!pair.client.open && !pair.server.open) this.leave(pair)
    }
    for (let n = this.silent.both + this.silent.toServer + this.frozen; n > 0; n--) pair.toServer.hold()
    for (let n = this.silent.both + this.silent.toClient + this.frozen; n > 0; n--) pair.toClient.hold()
  }

  /** Connections that their clients have not closed. */
  get openClients(): number {
    let n = 0
    for (const { client } of this.pairs) if (client.open) n++
    return n
  }
  /** Whether the process behind it is stopped. */
  get isFrozen(): boolean {
    return this.frozen > 0
  }
  /** Whether nothing gets through to it. */
  get isSilent(): boolean {
    return this.silent.both + this.silent.toServer + this.silent.toClient > 0
  }
  /** Whether a connect gets no answer. */
  get swallows(): boolean {
    return this.swallowing > 0 || this.isSilent
  }

  /** Holds back what is sent, one way or both, until the returned function is called. */
  silence(direction: Direction): () => void {
    this.silent[direction]++
    for (const pair of this.pairs) {
      if (direction !== "toClient") pair.toServer.hold()
      if (direction !== "toServer") pair.toClient.hold()
    }
    return () => {
      this.silent[direction]--
      for (const pair of this.pairs) {
        if (direction !== "toClient") pair.toServer.release()
        if (direction !== "toServer") pair.toClient.release()
      }
      this.knock()
    }
  }

  /** Nothing gets through on the connections that exist now; later ones are spared. */
  forget(): () => void {
    const stranded = [...this.pairs]
    for (const { toClient, toServer } of stranded) {
      toServer.hold()
      toClient.hold()
    }
    return () => {
      for (const { toClient, toServer } of stranded) {
        toServer.release()
        toClient.release()
      }
    }
  }

  /** Stops the process: the system still accepts connections for it. */
  freeze(): () => void {
    this.frozen++
    for (const { toClient, toServer } of this.pairs) {
      toServer.hold()
      toClient.hold()
    }
    return () => {
      this.frozen--
      for (const { toClient, toServer } of this.pairs) {
        if (toServer.inFlight + toClient.inFlight > 0) this.felt("thawed")
        toServer.release()
        toClient.release()
      }
    }
  }

  /** Breaks every connection, at both ends, in turns of their own. */
  cut(): void {
    for (const pair of [...this.pairs]) {
      this.felt("cut")
      this.break(pair)
    }
  }

  /** Breaks one connection. */
  break(pair: Pair<unknown, unknown>): void {
    this.leave(pair)
    this.timers.soon(() => pair.client.end("Reset"))
    this.timers.soon(() => pair.server.end("Reset"))
  }

  /** What waited for an answer asks again. */
  knock(): void {
    for (const again of [...this.knocking]) again()
  }

  private leave(pair: Pair<unknown, unknown>): void {
    this.pairs.delete(pair)
    pair.toClient.cut()
    pair.toServer.cut()
  }
}
