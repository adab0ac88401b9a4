/**
 * Somewhere to lease a live connection from, now or not at all.
 *
 * A subchannel, a pool, a gate, a limiter, a balancer and a mock are all upstreams; every policy maps upstreams to an
 * upstream. An upstream never waits, which is what lets them nest freely: waiting happens once, in the cluster's queue.
 */
import type { Pipeable } from "effect/Pipeable"
import { pipeArguments } from "effect/Pipeable"
import { hasProperty } from "effect/Predicate"
import type { Connectivity } from "./Connectivity.ts"
import type { Demand } from "./Demand.ts"
import type { Lease, Refusal } from "./Lease.ts"

const TypeId = "~hawser/Upstream"

/** A node of the tree of upstreams, as the inspector, gauges and errors see it. Pulled, never pushed. */
export interface Snapshot {
  readonly kind: string
  readonly name: string
  readonly connectivity: Connectivity
  readonly inFlight: number
  readonly details: Readonly<Record<string, string | number | boolean>>
  readonly children: ReadonlyArray<Snapshot>
}

/**
 * Somewhere to lease a live `C` from, now or not at all.
 *
 * **Gotchas**: `lease`, `connectivity`, `penalised` and `load` run on every call: synchronous, total, no allocation
 * beyond the lease.
 */
export interface Upstream<out C, out E = never> extends Pipeable {
  readonly [TypeId]: typeof TypeId
  /** `now`: monotonic milliseconds, from a caller that has just read them. */
  lease(demand: Demand, now?: number): Lease<C> | Refusal<E>
  connectivity(): Connectivity
  /** Ready, but to be picked only when panic holds: silent or ejected. */
  penalised(): boolean
  /** Borrows in flight. Lower is preferred. */
  load(): number
  /** When the oldest borrow in flight that can be overdue began, in monotonic milliseconds; `Infinity` for none. */
  oldestSince(): number
  /**
   * Calls `listener` whenever a refusal might now be a lease: release, ready, readmitted, limit raised, member added,
   * closed. Synchronous, so that no wake-up can fall between a look and a sleep. Returns the unsubscribe.
   */
  subscribe(listener: () => void): () => void
  snapshot(): Snapshot
}

/** Whether a value is an upstream. */
export const isUpstream = (u: unknown): u is Upstream<unknown, unknown> => hasProperty(u, TypeId)

/**
 * The base of upstreams: listeners, `pipe`, and nothing penalised.
 *
 * **When to use**: to write an upstream of your own; say `changed()` whenever a refusal might now be a lease.
 */
export abstract class UpstreamBase<C, E> implements Upstream<C, E> {
  readonly [TypeId] = TypeId
  private listeners: ReadonlyArray<() => void> = []
  abstract lease(demand: Demand, now?: number): Lease<C> | Refusal<E>
  abstract connectivity(): Connectivity
  abstract load(): number
  abstract snapshot(): Snapshot
  penalised(): boolean {
    return false
  }
  oldestSince(): number {
    return Infinity
  }
  subscribe(listener: () => void): () => void {
    this.listeners = [...this.listeners, listener]
    return () => {
      this.listeners = this.listeners.filter((l) => l !== listener)
    }
  }
  /** Tells the listeners. */
  changed(): void {
    const listeners = this.listeners
    for (let i = 0; i < listeners.length; i++) listeners[i]!()
  }
  /** How many listen now: zero once everybody has left. */
  get listenerCount(): number {
    return this.listeners.length
  }
  pipe() {
    return pipeArguments(this, arguments)
  }
}
