/**
 * What happens to connections and endpoints, as data: one model for metrics, logs, tests and the inspector.
 *
 * Control-plane facts only. Calls are not events: they are counted where they end and read on demand. When nobody
 * listens, publishing costs the test of a length.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ConnectError } from "./ConnectError.ts"
import type { DrainReport } from "./DrainReport.ts"

/** Why a dial was started. */
export type DialReason = "Demand" | "Min" | "Reconnect" | "Replace" | "Rotate"

/** Why we closed a connection. */
export type CloseReason =
  /** Fewer connections are enough. */
  | "Surplus"
  /** It was silent, and another connection to the same endpoint is not. */
  | "Replaced"
  /** The cluster drains. */
  | "Drain"
  /** Its endpoint is no longer among those that the resolver names. */
  | "Removed"
  /** It was open for long enough; another one is Ready in its place. */
  | "Age"
  /** Many calls on it were cancelled in a short time, which servers punish; another one is Ready in its place. */
  | "Cancels"
  /** This process was frozen, and the connection could not be asked whether it is still there. */
  | "Thawed"
  /** What it leads to keeps failing, and another connection may lead elsewhere. */
  | "Ejected"

/** What a health check says of a connection. `Unknown`: nothing yet. `Unsupported`: its peer can't be asked. */
export type HealthState = "Healthy" | "Unhealthy" | "Unknown" | "Unsupported"

/** What an endpoint was ejected for, and what `value` and `limit` of the event are. */
export type EjectionRule =
  /** Failures in a row. */
  | "consecutive-failures"
  /** The share of calls that succeeded in the last interval, from 0 to 1. */
  | "success-rate"
  /** Of a hundred calls of the last interval. */
  | "failure-percentage"
  /** The median of the last interval, in milliseconds. */
  | "latency"
  /** Its replacement was silent too: nothing was heard for `value` ms, the replacement had `limit` ms. */
  | "silence"
  /** Its time was over, and the first call to it failed. */
  | "trial"

/** A control-plane fact. */
export type Event =
  | { readonly _tag: "Connecting"; readonly endpoint: string; readonly why: DialReason }
  /** `millis` is how long the dial took. */
  | { readonly _tag: "Connected"; readonly endpoint: string; readonly connection: string; readonly millis: number }
  /** The dial failed, or the connection ended before it had proved itself. */
  | {
      readonly _tag: "ConnectFailed"
      readonly endpoint: string
      readonly error: ConnectError
      readonly retryInMillis: number
    }
  /** Lost, or ended by the peer; what is `inFlight` on it may go on. */
  | {
      readonly _tag: "Disconnected"
      readonly endpoint: string
      readonly connection: string
      readonly error: ConnectError
      readonly inFlight: number
    }
  /** We lend it no more; it closes after its last borrow. */
  | { readonly _tag: "Closed"; readonly endpoint: string; readonly connection: string; readonly why: CloseReason }
  /** Nothing was heard while a call was overdue: it is not picked until it speaks. */
  | {
      readonly _tag: "Quarantined"
      readonly endpoint: string
      readonly connection: string
      readonly silentMillis: number
    }
  /** A quarantined connection spoke. */
  | {
      readonly _tag: "Recovered"
      readonly endpoint: string
      readonly connection: string
      readonly silentMillis: number
    }
  /** This process was frozen for so long. Connections are asked whether they are still there before they lend again. */
  | { readonly _tag: "Thawed"; readonly frozenMillis: number }
  /** The peer ended a connection because of too many pings. The keepalive time from now on; without keepalive `undefined`. */
  | { readonly _tag: "TooManyPings"; readonly endpoint: string; readonly keepaliveMillis: number | undefined }
  /** The resolver has named other endpoints: who came, and who left. */
  | { readonly _tag: "Resolved"; readonly added: ReadonlyArray<string>; readonly removed: ReadonlyArray<string> }
  /** The resolver has no answer. The last one stays in use for `keptForMillis`; 0: there is none any more. */
  | { readonly _tag: "ResolveFailed"; readonly error: ConnectError; readonly keptForMillis: number }
  /** Endpoints of another priority are used from now on, because those before can't serve, or can again. */
  | { readonly _tag: "Failover"; readonly from: number; readonly to: number }
  /** What the health check says of a connection has changed. It lends while it is `Healthy` or `Unsupported`. */
  | {
      readonly _tag: "HealthChanged"
      readonly endpoint: string
      readonly connection: string
      readonly was: HealthState
      readonly health: HealthState
      /** Why, in the words of the check. */
      readonly said: string | undefined
    }
  /** Who is picked from now on, by name. */
  | { readonly _tag: "PickSet"; readonly ready: ReadonlyArray<string> }
  /**
   * It is not picked, unless panic holds: a rule found `value`, and `limit` is where that begins. It is tried after `millis`;
   * `undefined`: it comes back with its first word.
   */
  | {
      readonly _tag: "Ejected"
      readonly endpoint: string
      readonly rule: EjectionRule
      readonly value: number
      readonly limit: number
      readonly millis: number | undefined
    }
  /** It is picked again, after `millis`. */
  | { readonly _tag: "Readmitted"; readonly endpoint: string; readonly rule: EjectionRule; readonly millis: number }
  /** On: fewer than half of the Ready endpoints are usable, so all of them are picked. */
  | { readonly _tag: "Panic"; readonly on: boolean; readonly usable: number; readonly ready: number }
  /** The wait queue turned a borrow away because it was full; at most once a second. */
  | { readonly _tag: "Saturated"; readonly waiting: number }
  | { readonly _tag: "Drained"; readonly report: DrainReport }

/** What a listener is handed. `seq` has no gaps within a cluster, so that a reader knows what it missed. */
export interface Envelope {
  /** From 0. */
  readonly seq: number
  /** The target of the cluster. */
  readonly cluster: string
  readonly monotonicMillis: number
  /** Since 1970. */
  readonly wallMillis: number
  readonly event: Event
}

/** Where the events of a cluster go, beside its own stream. Synchronous listeners miss none. */
export interface Events {
  readonly publish: (envelope: Envelope) => void
  readonly listen: (listener: (envelope: Envelope) => void) => Effect.Effect<void, never, Scope.Scope>
}

/**
 * The bus for all clusters of a program. Its default drops everything.
 *
 * **Gotchas**: read when a cluster is made; provide it to the layer, not inside the program.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, ConnectError, Endpoint, Event } from "@hawser/core"
 *
 * const bus = Event.makeEvents()
 * const seen: Array<string> = []
 * const program = Effect.gen(function*() {
 *   yield* bus.listen(({ cluster, event }) => { seen.push(`${cluster} ${event._tag}`) })
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: [Endpoint.makeUnsafe({ addresses: ["a:1"] })],
 *     connector: () => Effect.fail(new ConnectError.ConnectError({ reason: { _tag: "Refused" } }))
 *   })
 *   yield* cluster.drain
 * })
 * await Effect.runPromise(program.pipe(Effect.provideService(Event.Events, bus), Effect.scoped))
 * seen // => ["orders Connecting", "orders ConnectFailed", "orders Drained"]
 * ```
 */
export const Events: Context.Reference<Events> = Context.Reference<Events>("hawser/Events", {
  defaultValue: () => ({ publish: () => {}, listen: () => Effect.void })
})

/**
 * A bus that hands each event to its listeners at once, in order. A listener that throws is left out from then on.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Event } from "@hawser/core"
 *
 * const bus = Event.makeEvents()
 * const seen: Array<string> = []
 * const program = Effect.scoped(Effect.gen(function*() {
 *   yield* bus.listen((envelope) => { seen.push(envelope.event._tag) })
 *   bus.publish({ seq: 0, cluster: "c", monotonicMillis: 0, wallMillis: 0, event: { _tag: "Saturated", waiting: 3 } })
 * }))
 * Effect.runSync(program)
 * seen // => ["Saturated"]
 * ```
 */
export const makeEvents = (): Events => {
  let listeners: ReadonlyArray<(envelope: Envelope) => void> = []
  const remove = (listener: (envelope: Envelope) => void) => {
    listeners = listeners.filter((l) => l !== listener)
  }
  return {
    publish: (envelope) => {
      for (const listener of listeners) {
        try {
          listener(envelope)
        } catch {
          remove(listener)
        }
      }
    },
    listen: (listener) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => {
            listeners = [...listeners, listener]
          }),
          () => Effect.sync(() => remove(listener))
        )
      )
  }
}
