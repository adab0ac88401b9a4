/**
 * What one borrow asks for.
 *
 * It is read synchronously on every lease, so callers pass a per-call object that they have anyway.
 */

/**
 * Equal keys prefer one endpoint; `hard` ones are bound to one connection and wait for it.
 *
 * **Gotchas**: it is for policies and upstreams of your own; `PeakEwma` and `RoundRobin` choose without it. The queue lets
 * others pass a `hard` one that gets no permit.
 */
export interface Affinity {
  readonly key: string
  readonly hard: boolean
}

/** 0 control (health probes, never stuck behind work), 1 calls, 2 bulk. */
export type Priority = 0 | 1 | 2

/** What one borrow asks for. */
export interface Demand {
  readonly priority: Priority
  /** Monotonic milliseconds on the cluster's clock. `Infinity` only for calls that have no deadline on purpose. */
  readonly deadline: number
  /** Whether to wait out `Failing`. `Full` and `Pending` are always waited for, within the deadline. */
  readonly waitForReady: boolean
  /** When the wait in the queue ends at the latest, in monotonic milliseconds. Default: with the deadline. */
  readonly waitUntil?: number | undefined
  readonly affinity: Affinity | undefined
  /** Key of the latency estimate by which a call is overdue; `undefined` (streams) is never overdue. */
  readonly method: string | undefined
  /** Endpoint names that already failed this call. A preference: used again when nothing else is left. */
  readonly avoid: ReadonlySet<string> | undefined
  /** The path under a granted lease is given up. Whoever can send the work again elsewhere does; must not throw. */
  lost?(): void
}

/**
 * A demand with nothing special: priority 1, no deadline.
 *
 * ```ts import.meta.vitest
 * import { Demand } from "@hawser/core"
 *
 * Demand.make({ deadline: 500 }).priority // => 1
 * ```
 */
export const make = (options?: Partial<Demand>): Demand => ({
  priority: 1,
  deadline: Infinity,
  waitForReady: false,
  affinity: undefined,
  method: undefined,
  avoid: undefined,
  ...options
})
