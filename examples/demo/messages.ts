/** What the demo's processes say to each other, over the channel that Node gives a child. */
import type { ClientName } from "./echo.ts"
import type { Summary } from "./ledger.ts"

export interface ServerConfig {
  /** 0 lets the system choose. */
  readonly port: number
  readonly millis: number
}
export type ToServer = { readonly tag: "latency"; readonly millis: number } | { readonly tag: "count" }
export type FromServer =
  | { readonly tag: "listening"; readonly port: number }
  | { readonly tag: "latency" }
  | { readonly tag: "count"; readonly inFlight: Readonly<Record<ClientName, number>> }

export type ToSilent = { readonly tag: "listen"; readonly port: number }
export type FromSilent = { readonly tag: "ready" } | { readonly tag: "listening" }

export interface ClientConfig {
  readonly addresses: ReadonlyArray<string>
  readonly rps: number
}
export type ToClient =
  | { readonly tag: "start" }
  | { readonly tag: "phase"; readonly index: number }
  | { readonly tag: "stop" }
export type FromClient =
  | { readonly tag: "ready" }
  /** Every call that started before this phase has ended. */
  | { readonly tag: "settled"; readonly index: number }
  | Tick
  | { readonly tag: "summary"; readonly summary: Summary }

/** A client's totals so far, four times a second. */
export interface Tick {
  readonly tag: "tick"
  readonly calls: number
  readonly failed: number
  readonly inFlight: number
  readonly answered: Readonly<Record<string, number>>
  /** Of the calls that ended since the last tick. */
  readonly recent: ReadonlyArray<number>
  /** What the client itself knows about its endpoints, if it can tell. */
  readonly endpoints: ReadonlyArray<EndpointView>
  readonly events: ReadonlyArray<EventView>
}

export interface EventView {
  readonly address: string | undefined
  readonly text: string
}

export interface EndpointView {
  readonly address: string
  readonly state: string
  readonly connections: number
  readonly inFlight: number
  readonly latencyMillis: number | undefined
}

export type ToWatchdog = { readonly tag: "watch"; readonly pid: number }
export type FromWatchdog = { readonly tag: "ready" }
