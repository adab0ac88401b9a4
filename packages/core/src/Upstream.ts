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
  /**
   * What a demand's `avoid` calls it, where that is not its name: one connection of many to one address goes by the id of the
   * connection.
   */
  avoidName?(): string | undefined
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

/**
 * Whether a value is an upstream, made by whatever copy of this package.
 *
 * ```ts import.meta.vitest
 * import { Upstream } from "@hawser/core"
 *
 * Upstream.isUpstream({ lease: () => {} }) // => false
 * ```
 */
export const isUpstream = (u: unknown): u is Upstream<unknown, unknown> => hasProperty(u, TypeId)

/**
 * The base of upstreams: listeners, `pipe`, and nothing penalised.
 *
 * **When to use**: to write an upstream of your own; say `changed()` whenever a refusal might now be a lease.
 *
 * **Example** (Maintenance: nothing is lent while it is closed)
 *
 * ```ts import.meta.vitest
 * import { Demand, Lease, Upstream } from "@hawser/core"
 *
 * class Gate<C, E> extends Upstream.UpstreamBase<C, E> {
 *   private open = true
 *   private readonly inner: Upstream.Upstream<C, E>
 *   constructor(inner: Upstream.Upstream<C, E>) {
 *     super()
 *     this.inner = inner
 *     inner.subscribe(() => this.changed())
 *   }
 *   set(open: boolean) {
 *     this.open = open
 *     this.changed()
 *   }
 *   lease(demand: Demand.Demand, now?: number) { return this.open ? this.inner.lease(demand, now) : Lease.Full }
 *   connectivity() { return this.inner.connectivity() }
 *   load() { return this.inner.load() }
 *   override penalised() { return this.inner.penalised() }
 *   override oldestSince() { return this.inner.oldestSince() }
 *   snapshot() { return { ...this.inner.snapshot(), details: { open: this.open } } }
 * }
 *
 * class Gone extends Upstream.UpstreamBase<never, string> {
 *   lease() { return { _tag: "Closed", error: "gone" } as const }
 *   connectivity() { return "Shutdown" as const }
 *   load() { return 0 }
 *   snapshot() {
 *     return { kind: "gone", name: "-", connectivity: this.connectivity(), inFlight: 0, details: {}, children: [] }
 *   }
 * }
 * const gate = new Gate(new Gone())
 * const asked: Array<string> = []
 * gate.subscribe(() => { asked.push(gate.lease(Demand.make())._tag) })
 * gate.set(false)
 * gate.set(true)
 * asked // => ["Full", "Closed"]
 * Upstream.isUpstream(gate) // => true
 * ```
 */
export abstract class UpstreamBase<C, E> implements Upstream<C, E> {
  declare readonly [TypeId]: typeof TypeId
  /** One is kept as it is: most have one, and there may be thousands. */
  private listeners: ReadonlyArray<() => void> | (() => void) | undefined = undefined
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
    this.listeners = this.listeners === undefined ? listener : [...this.listening(), listener]
    return () => {
      const rest = this.listening().filter((l) => l !== listener)
      this.listeners = rest.length === 0 ? undefined : rest
    }
  }
  /** Tells the listeners. */
  changed(): void {
    const { listeners } = this
    if (listeners === undefined) return
    if (typeof listeners === "function") return listeners()
    for (let i = 0; i < listeners.length; i++) listeners[i]!()
  }
  private listening(): ReadonlyArray<() => void> {
    const { listeners } = this
    return listeners === undefined ? [] : typeof listeners === "function" ? [listeners] : listeners
  }
  /** How many listen now: zero once everybody has left. */
  get listenerCount(): number {
    return this.listening().length
  }
  pipe() {
    return pipeArguments(this, arguments)
  }
}
// Not in each of thousands.
Object.defineProperty(UpstreamBase.prototype, TypeId, { value: TypeId })
