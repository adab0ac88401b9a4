/** What the conductor and its child processes say to each other. */
import type { Event } from "@hawser/core/Event"
import type { ClusterSnapshot } from "@hawser/core/Cluster"
import type { OutlierOptions } from "@hawser/core/Outlier"
import type { ProxyFaults } from "../../support/grpc/TcpProxy.ts"

/** Milliseconds since 1970 with fractions: the same clock in all processes of one machine. */
export const wallMillis = (): number => performance.timeOrigin + performance.now()

// ------------------------------------------------------------------------------------------------------------- server

export interface ServerConfig {
  readonly name: string
  readonly host: string
  /** 0: a free one. */
  readonly port: number
  readonly delayMillis: number
  /** `undefined`: no limit is announced. */
  readonly maxStreams?: number | undefined
  /** Says GOAWAY on a connection after so many calls on it. */
  readonly goawayAfter?: number | undefined
  readonly tls?: boolean | undefined
  /** What `grpc.health.v1.Health` does; `undefined`: there is no such service. */
  readonly health?: HealthManners | undefined
}

/** How a health service behaves. */
export type HealthManners =
  | "Serving"
  | "NotServing"
  | "ServiceUnknown"
  | "Unimplemented"
  | "Hangs"
  | "Dies"
  | "Floods"
  | "Flaps"

export interface ServerCounts {
  readonly started: number
  readonly ended: number
  readonly cancelled: number
  readonly running: number
  /** The most that ran at once since the last count. */
  readonly maxRunning: number
  /** TCP connections accepted so far, and open now. */
  readonly accepted: number
  readonly sockets: number
  /** Watch streams of the health service: opened so far, and the most at once on one connection. */
  readonly watches: number
  readonly maxWatches: number
  /** Of the delays of its event loop since the last count. */
  readonly lagP99: number
}

export type ToServer =
  | {
      readonly tag: "set"
      readonly delayMillis?: number
      /** Calls fail with it; 0: they don't. */
      readonly failCode?: number
      /** So many of them; 1 unless it is said. */
      readonly failShare?: number
      readonly health?: HealthManners
    }
  | { readonly tag: "count" }
  /** On all connections: with a code of HTTP/2 and a text. */
  | { readonly tag: "goaway"; readonly code: number; readonly text: string }
  | { readonly tag: "reset" }

export type FromServer =
  | { readonly tag: "listening"; readonly port: number }
  | { readonly tag: "count"; readonly counts: ServerCounts }
  | { readonly tag: "done" }

// ------------------------------------------------------------------------------------------------------------- client

export interface ClientConfig {
  readonly target: string
  readonly balancer?: "peak EWMA" | "round robin" | undefined
  /** Further options of `Grpc.layer` that are plain data. */
  readonly options?: Readonly<Record<string, unknown>> | undefined
  /** Turned into the values that `Grpc.layer` takes. */
  readonly health?: { readonly watch: string } | undefined
  readonly keepalive?: { readonly time: number; readonly timeout: number } | undefined
  readonly outlier?: OutlierOptions | undefined
  readonly tls?: boolean | undefined
  /** A word that must not be in anything that the client shows. */
  readonly canary: string
  /** The file that gets all that it shows. */
  readonly log: string
}

export interface LoadConfig {
  readonly name: string
  /** So many calls per second, whether or not earlier ones have ended; or … */
  readonly rps?: number | undefined
  /** … so many calls at a time, each followed by the next. */
  readonly concurrency?: number | undefined
  /** The callers begin one after another within this time: else their calls would end in waves. */
  readonly spreadMillis?: number | undefined
  /** Ends by itself after so many calls. */
  readonly calls?: number | undefined
  /** Calls that are open when the load is stopped are interrupted: they end as "interrupted". */
  readonly abandon?: boolean | undefined
  /** `echo` is idempotent, `put` is not. */
  readonly method: "echo" | "put"
  /** The deadline; default: the client's. */
  readonly timeoutMillis?: number | "none" | undefined
  /** `Effect.timeout` around the call. */
  readonly effectTimeoutMillis?: number | undefined
  /** Asks the server to take so long. */
  readonly delayMillis?: number | undefined
  readonly bytes?: number | undefined
}

export type ToClient =
  | { readonly tag: "load"; readonly load: LoadConfig }
  | { readonly tag: "stop"; readonly name: string }
  | { readonly tag: "watch"; readonly name: string; readonly delayMillis: number }
  | { readonly tag: "ready"; readonly count: number }
  /** `collect`: after a garbage collection. */
  | { readonly tag: "snapshot"; readonly collect?: boolean }
  /** The event loop stands still for so long. */
  | { readonly tag: "stall"; readonly millis: number }
  | { readonly tag: "close" }

/** All calls of a load, one column per fact. */
export interface Columns {
  /** When they were due, in wall milliseconds. */
  readonly due: ReadonlyArray<number>
  /** From then to the end. */
  readonly millis: ReadonlyArray<number>
  /** How they ended: an index into `endings`. */
  readonly ending: ReadonlyArray<number>
  readonly endings: ReadonlyArray<Ending>
  /** The longest stall of the client's own event loop while this went on, and the 99th percentile of its looks. */
  readonly lagMillis: number
  readonly lagP99: number
}

/** How calls end that a load has abandoned. */
export const interrupted = "interrupted"

/** `ok`: `text` names the server. Otherwise it is the kind of failure. */
export interface Ending {
  readonly ok: boolean
  readonly text: string
  readonly attempts: number
}

export interface Left {
  /** Sockets and timers of the process after the layer has closed. */
  readonly sockets: number
  readonly timers: number
  readonly cancelled: number
  readonly rssMiB: number
}

export type FromClient =
  | { readonly tag: "built" }
  | { readonly tag: "ready"; readonly ok: boolean }
  | { readonly tag: "event"; readonly at: number; readonly event: Event }
  | { readonly tag: "columns"; readonly name: string; readonly columns: Columns }
  | {
      readonly tag: "watched"
      readonly name: string
      readonly messages: number
      readonly at: number
      readonly why: string
    }
  | {
      readonly tag: "snapshot"
      readonly snapshot: ClusterSnapshot
      readonly cpuMillis: number
      readonly rssMiB: number
      /** In the heap, and outside of it. */
      readonly heldMiB: number
    }
  | { readonly tag: "closed"; readonly left: Left }

// -------------------------------------------------------------------------------------------------------------- proxy

export interface ProxyConfig {
  readonly host: string
  readonly port: number
  /** `HOST:PORT` */
  readonly to: string
}

export type ToProxy =
  | { readonly tag: "faults"; readonly faults: ProxyFaults }
  | { readonly tag: "reset" }
  | { readonly tag: "count" }

export type FromProxy =
  | { readonly tag: "listening"; readonly port: number }
  | { readonly tag: "done" }
  | { readonly tag: "count"; readonly accepted: number; readonly open: number }

// ---------------------------------------------------------------------------------------------------------------- DNS

export type DnsAnswer =
  /** One set after the other, a new one for each question. */
  | { readonly tag: "addresses"; readonly sets: ReadonlyArray<ReadonlyArray<string>> }
  | { readonly tag: "empty" }
  | { readonly tag: "nxdomain" }
  | { readonly tag: "servfail" }
  | { readonly tag: "silent" }

export type ToDns = { readonly tag: "say"; readonly answer: DnsAnswer } | { readonly tag: "count" }

export type FromDns =
  | { readonly tag: "listening" }
  | { readonly tag: "done" }
  /** Questions for A records. */
  | { readonly tag: "count"; readonly asked: number }
