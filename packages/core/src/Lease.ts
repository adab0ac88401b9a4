/**
 * A permit on one live connection: the only thing in Hawser that is released.
 *
 * The first release wins and every later one does nothing, so a release is safe in any callback.
 */
import type { Demand } from "./Demand.ts"
import type { Endpoint } from "./Endpoint.ts"
import type { Outcome } from "./Outcome.ts"

/** A backend's own account of its load (ORCA), if it sends one. */
export interface LoadReport {
  /** 0 idle, 1 full, and more when there is too much: the application's figure, or else that of the CPU. */
  readonly utilization: number
  readonly requestsPerSecond: number
  readonly errorsPerSecond?: number | undefined
  /** 0 idle, 1 full. */
  readonly cpu?: number | undefined
  /** 0 empty, 1 full. */
  readonly memory?: number | undefined
  /** Figures of its own, by name. */
  readonly named?: ReadonlyMap<string, number> | undefined
}

/** A permit on one live connection. */
export interface Lease<out C> {
  readonly _tag: "Lease"
  readonly connection: C
  readonly endpoint: Endpoint
  /** Identity of the connection in errors, events and snapshots: `10.0.0.7:50051#12`. */
  readonly id: string
  /** Monotonic milliseconds. */
  readonly startedAt: number
  /** What was asked for, where the upstream keeps that. */
  readonly demand?: Demand | undefined
  /** When it was released, in monotonic milliseconds, where the upstream keeps that; negative until then. */
  readonly releasedAt?: number | undefined
  /** Stamps the first response. Latency runs to here; without it, to `release`. Streams call it. */
  responded(): void
  /** Returns the permit. The first call wins; safe in any callback; never throws. */
  release(outcome: Outcome, report?: LoadReport): void
  /** For authors of upstreams: called on release, innermost first, all before a waiter is woken. */
  observe(observer: LeaseObserver): void
}

/** A long-lived object, one per member or gate: observing allocates nothing per call. Must not throw. */
export interface LeaseObserver {
  released(lease: Lease<unknown>, outcome: Outcome, latencyMillis: number, report: LoadReport | undefined): void
}

/** Why there is no lease now, and whether waiting can help. */
export type Refusal<E> =
  /** Every permit is taken. The next release may help. */
  | { readonly _tag: "Full" }
  /** No connection yet. */
  | { readonly _tag: "Pending" }
  /** The last attempt failed with `error`; another one is scheduled. */
  | { readonly _tag: "Failing"; readonly error: E }
  /** Never again. */
  | { readonly _tag: "Closed"; readonly error: E }

/**
 * Every permit is taken: for upstreams of your own that have a limit.
 *
 * ```ts import.meta.vitest
 * import { Lease } from "@hawser/core"
 *
 * // What the queue goes by: these two are always waited out, the others carry the error to fail with.
 * const waits = (refusal: Lease.Refusal<string>) => !("error" in refusal)
 * waits(Lease.Full) // => true
 * waits(Lease.Pending) // => true
 * waits({ _tag: "Closed", error: "shut down" }) // => false
 * ```
 */
export const Full: Refusal<never> = { _tag: "Full" }

/** No connection yet: for upstreams of your own that are still dialling. See `Full`. */
export const Pending: Refusal<never> = { _tag: "Pending" }
