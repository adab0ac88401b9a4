/**
 * The connections to one endpoint: between a minimum and a maximum of subchannels.
 *
 * A second connection is worth its price only where a stream limit is in the way, so a pool starts with its minimum, opens
 * one more when nine tenths of its permits are taken, and gives one back after a minute in which it was not needed.
 * Within the pool, the connection with the fewest borrows lends.
 */
import { Bindings } from "./Bindings.ts"
import { Child, type Parent } from "./Child.ts"
import type { ConnectError } from "./ConnectError.ts"
import { best, type Connectivity } from "./Connectivity.ts"
import type { Demand } from "./Demand.ts"
import { type Endpoint, name } from "./Endpoint.ts"
import type { CloseReason, DialReason } from "./Event.ts"
import { Full, type Lease, Pending, type Refusal } from "./Lease.ts"
import type { LiveConnection } from "./LiveConnection.ts"
import { pressure } from "./Pressure.ts"
import { Subchannel } from "./Subchannel.ts"
import type { SubchannelOptions } from "./SubchannelOptions.ts"
import type { Snapshot } from "./Upstream.ts"

const none: ReadonlyArray<never> = []

/** What a pool needs. */
export interface PoolOptions<C> extends SubchannelOptions<C> {
  /** Connections that are kept. With 0 the first borrow dials. */
  readonly min: number
  /** Connections at most; one more while one is being replaced. */
  readonly max: number
  /** Its name, where that is not the endpoint's: it is one of many to that endpoint. */
  readonly label?: string
}

/** A connection on its way out, and why. */
interface Rotation<C> {
  readonly old: Subchannel<C>
  readonly why: CloseReason
}

/**
 * The connections to one endpoint. `Cluster.make` makes one for each.
 *
 * **Example** (It grows when nine tenths of the permits are taken)
 *
 * ```ts import.meta.vitest
 * import { Duration, Effect, FiberSet } from "effect"
 * import { Backoff, Demand, Endpoint, Estimate, Pool } from "@hawser/core"
 *
 * const program = Effect.gen(function*() {
 *   let ids = 0
 *   const pool = new Pool.Pool(Endpoint.makeUnsafe({ addresses: ["a:1"] }), {
 *     min: 1,
 *     max: 2,
 *     maxStreams: 10,
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     }),
 *     connectTimeout: Duration.seconds(20),
 *     reconnect: Backoff.connection,
 *     methods: new Estimate.MethodEstimates(),
 *     now: () => 0,
 *     publish: () => {},
 *     run: yield* FiberSet.makeRuntime<never, void, never>(),
 *     nextId: () => ++ids
 *   })
 *   pool.start()
 *   const lend = (n: number) => Array.from({ length: n }, () => pool.lease(Demand.make())._tag).at(-1)
 *   lend(8) // => "Lease"
 *   pool.connections().length // => 1
 *   lend(1) // => "Lease"
 *   pool.connections().length // => 2
 *   lend(12) // => "Full"
 * })
 * await Effect.runPromise(Effect.scoped(program))
 * ```
 */
export class Pool<C> extends Child<C, ConnectError> implements Parent {
  // First what each borrow looks at, as in a LiveConnection.
  /** The subchannel of a pool that has one, found without a look at a list: there may be thousands of pools. */
  private only: Subchannel<C> | undefined = undefined
  private silent = false
  private state: Connectivity = "Idle"
  private barred = false
  private readonly options: PoolOptions<C>
  /** As the resolver said last; its addresses never change. */
  endpoint: Endpoint
  subchannels: ReadonlyArray<Subchannel<C>> = none
  /** The most borrows at once since the last `shrink`. */
  private peak = 0
  /** The subchannel that was opened beyond the maximum, to replace a silent one. */
  private extra: Subchannel<C> | undefined = undefined
  /** Whom `extra` stands in for, when that one is not silent but is to go. */
  private rotation: Rotation<C> | undefined = undefined
  private bound: Bindings<LiveConnection<C>> | undefined = undefined
  private turn = 0
  private closed = false
  /** Told when a connection that led to trouble has been exchanged. */
  exchanged: (() => void) | undefined = undefined
  /** Gone from `subchannels`, with borrows in flight. */
  private retired: ReadonlyArray<Subchannel<C>> = none

  constructor(endpoint: Endpoint, options: PoolOptions<C>) {
    super()
    this.endpoint = endpoint
    this.options = options
  }

  /** Dials the minimum. */
  start(): void {
    while (this.subchannels.length < this.options.min) this.add("Min")
  }

  lease(demand: Demand, now?: number): Lease<C> | Refusal<ConnectError> {
    if (demand.affinity?.hard === true) return this.leaseBound(demand, demand.affinity.key, now)
    const { only } = this
    const chosen = only === undefined ? this.emptiest(this.silent) : this.lending(only, this.silent)
    if (chosen === undefined) return this.refuse(demand)
    const lease = chosen.grant(demand, now)
    const n = only === undefined ? this.subchannels.length : 1
    if (n < this.options.max && chosen.inFlight >= chosen.limit() * pressure) this.grow()
    if (n > this.options.min) this.peak = Math.max(this.peak, this.load())
    return lease
  }
  /** From the connection that the key is bound to; the first borrow binds it, for as long as that connection lends. */
  private leaseBound(demand: Demand, key: string, now: number | undefined): Lease<C> | Refusal<ConnectError> {
    const bound = this.bound?.get(key)
    if (bound !== undefined && bound.lending) {
      // One that is put aside may speak again, or is replaced.
      return bound.quarantinedAt !== undefined && !this.silent ? Full : bound.lease(demand, now)
    }
    // Keys are dealt out one after another.
    const chosen = this.emptiest(this.silent, this.turn++)
    if (chosen === undefined) return this.refuse(demand)
    ;(this.bound ??= new Bindings()).set(key, chosen)
    return chosen.lease(demand, now)
  }
  /** Forgets a hard affinity. */
  unbind(key: string): void {
    this.bound?.delete(key)
  }
  connectivity(): Connectivity {
    return this.state
  }
  protected override aside(): boolean {
    return this.penalised()
  }
  /** Every connection that lends is put aside for silence, or its peer wants no calls at all. */
  override penalised(): boolean {
    return this.silent || this.barred
  }
  load(): number {
    let n = 0
    for (let i = 0; i < this.subchannels.length; i++) n += this.subchannels[i]!.load()
    for (let i = 0; i < this.retired.length; i++) n += this.retired[i]!.load()
    return n
  }
  override oldestSince(): number {
    let oldest = Infinity
    for (let i = 0; i < this.subchannels.length; i++) {
      const since = this.subchannels[i]!.oldestSince()
      if (since < oldest) oldest = since
    }
    return oldest
  }
  snapshot(): Snapshot {
    return {
      kind: "pool",
      name: this.options.label ?? name(this.endpoint),
      connectivity: this.state,
      inFlight: this.load(),
      details: { connections: this.connections().length, min: this.options.min, max: this.options.max },
      children: this.subchannels.map((s) => s.snapshot())
    }
  }

  /** The connections that lend, those put aside included. */
  connections(): Array<LiveConnection<C>> {
    const out: Array<LiveConnection<C>> = []
    for (const s of this.subchannels) if (s.current?.lending === true) out.push(s.current)
    return out
  }

  /** The longest of the last successful dials, in milliseconds. */
  connectMillis(): number {
    return this.subchannels.reduce((a, s) => Math.max(a, s.connectMillis ?? 0), 0)
  }

  /** One of many to its endpoint goes by its connection: what failed there may not fail elsewhere. */
  avoidName(): string | undefined {
    return this.options.label === undefined ? undefined : this.subchannels[0]?.current?.id
  }

  /** Whether there are more connections than are kept. */
  get spare(): boolean {
    return this.extra === undefined && this.subchannels.length > this.options.min
  }

  /** Whether a replacement is open, or being dialled, beside the connection that it stands in for. */
  get replacing(): boolean {
    return this.extra !== undefined
  }

  /** Opens one connection beyond the maximum, to stand in for a silent one. */
  replace(): Subchannel<C> | undefined {
    if (this.closed) return undefined
    if (this.rotation !== undefined) {
      // One is on its way already, for another reason.
      this.rotation = undefined
      return this.extra
    }
    if (this.extra !== undefined) return undefined
    const known = this.connectMillis()
    this.extra = this.add("Replace")
    this.extra.connectMillis = known
    return this.extra
  }

  /**
   * Exchanges a connection: dials another one beyond the maximum if need be, and gives this one up when that is Ready. Not
   * while another exchange is under way.
   */
  rotate(old: Subchannel<C>, why: CloseReason): void {
    if (this.closed || this.extra !== undefined) return
    const known = this.connectMillis()
    this.rotation = { old, why }
    const extra = this.add("Rotate")
    // It may have been Ready at once.
    if (this.rotation === undefined) return
    this.extra = extra
    extra.connectMillis = known
  }

  /** Gives up a subchannel: it lends and dials no more, and closes after its last borrow. */
  remove(subchannel: Subchannel<C>, why: CloseReason): void {
    if (!this.subchannels.includes(subchannel)) return
    this.have(this.subchannels.filter((s) => s !== subchannel))
    this.retired = [...this.retired, subchannel]
    // Whichever of the two goes, the pool is back within its maximum.
    this.extra = undefined
    this.rotation = undefined
    subchannel.retire(why)
    this.forgetRetired()
    while (!this.closed && this.subchannels.length < this.options.min) this.add("Min")
    this.update()
  }

  /** Gives one connection back that the peak since the last call did not need. */
  shrink(): void {
    const load = this.load()
    const peak = Math.max(this.peak, load)
    this.peak = load
    const { min } = this.options
    const n = this.subchannels.length
    if (n <= min || this.extra !== undefined) return
    const last = this.subchannels[n - 1]!
    const limit = last.current?.limit() ?? 0
    let rest = 0
    for (const live of this.connections()) rest += live.limit()
    // The last one goes only from a pool that nobody used; any other with a margin below the mark at which it would open.
    const spare = n === 1 ? peak === 0 : peak < (rest - limit) * pressure * 0.75
    if (spare) this.remove(last, "Surplus")
  }

  /** Whether a connection is put aside has changed. */
  update(): void {
    this.state = this.closed
      ? "Shutdown"
      : this.subchannels.length === 0
        ? "Idle"
        : best(this.subchannels.map((s) => s.connectivity()))
    const live = this.connections().filter((c) => c.healthy)
    this.silent = live.length > 0 && live.every((c) => c.quarantinedAt !== undefined)
    this.barred = live.length > 0 && live.every((c) => c.barred)
    this.changed()
  }

  /** All subchannels, those that only drain included. */
  all(): Array<Subchannel<C>> {
    return [...this.subchannels, ...this.retired]
  }

  /** No new borrow and no new dial from here on: its endpoint is gone, or the cluster ends. */
  stop(why: CloseReason): void {
    this.closed = true
    for (const subchannel of this.subchannels) subchannel.retire(why)
    this.update()
  }

  private have(subchannels: ReadonlyArray<Subchannel<C>>): void {
    this.subchannels = subchannels
    this.only = subchannels.length === 1 ? subchannels[0] : undefined
  }

  private emptiest(quarantined: boolean, first = 0): LiveConnection<C> | undefined {
    let out: LiveConnection<C> | undefined
    const subchannels = this.subchannels
    const n = subchannels.length
    for (let i = 0; i < n; i++) {
      const live = this.lending(subchannels[first === 0 ? i : (i + first) % n]!, quarantined)
      if (live !== undefined && (out === undefined || live.inFlight < out.inFlight)) out = live
    }
    return out
  }

  private lending({ current }: Subchannel<C>, quarantined: boolean): LiveConnection<C> | undefined {
    if (current === undefined || (current.quarantinedAt !== undefined) !== quarantined) return undefined
    return current.hasRoom() ? current : undefined
  }

  private refuse(demand: Demand): Lease<C> | Refusal<ConnectError> {
    if (this.state === "Ready") {
      this.grow()
      return Full
    }
    if (this.state === "Idle") this.add("Demand")
    const first = this.subchannels[0]
    if (first === undefined) return Pending
    // A dial may be over before it returns: then this is a lease after all.
    return first.lease(demand)
  }

  private grow(): void {
    const n = this.subchannels.length - (this.extra === undefined ? 0 : 1)
    if (this.closed || n >= this.options.max) return
    // One dial at a time, and none while the endpoint turns connections away.
    // A limit of 0 is the end of a connection that is not yet told, or a peer that wants no calls at all.
    for (const s of this.subchannels) if (s.connectivity() !== "Ready" || s.current?.limit() === 0) return
    // What made it grow is what it was needed for.
    this.peak = Math.max(this.peak, this.load())
    this.add("Demand")
  }

  private add(why: DialReason): Subchannel<C> {
    const subchannel = new Subchannel(this.endpoint, why, this.options)
    // Not by a spread, which leaves room for 16 more.
    this.have(this.subchannels.concat(subchannel))
    subchannel.parent = this
    this.update()
    subchannel.start()
    return subchannel
  }

  childChanged(different: boolean, _before: Connectivity, child: Child<unknown, unknown>): void {
    const subchannel = child as Subchannel<C>
    if (different) {
      this.update()
      if (subchannel.connectivity() === "Ready") this.rotated(subchannel)
    } else {
      if (subchannel.connectivity() === "Shutdown") this.forgetRetired()
      this.changed()
    }
  }

  private rotated(fresh: Subchannel<C>): void {
    const { rotation } = this
    if (rotation === undefined || fresh === rotation.old) return
    if (this.extra !== undefined && fresh !== this.extra) return
    this.remove(rotation.old, rotation.why)
    if (rotation.why === "Ejected") this.exchanged?.()
  }

  private forgetRetired(): void {
    this.retired = this.retired.filter((s) => s.draining.length > 0)
  }
}
