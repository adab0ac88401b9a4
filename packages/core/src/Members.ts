/**
 * The endpoints of a cluster as pools: who comes is dialled, who leaves is drained, who stays keeps its sockets.
 *
 * It is the control side: it tells the balancer and the silence detector whom they work with, and never lends anything.
 */
import type { Balancer, Candidate } from "./Balancer.ts"
import { ConnectError } from "./ConnectError.ts"
import { type Endpoint, name } from "./Endpoint.ts"
import type { CloseReason, Event } from "./Event.ts"
import { Pool, type PoolOptions } from "./Pool.ts"
import { pressure } from "./Pressure.ts"
import type { Update } from "./Resolver.ts"
import * as Rotation from "./Rotation.ts"
import type { Silence } from "./Silence.ts"

/** What members need. */
export interface MembersOptions<C> {
  /** The cluster, in errors. */
  readonly target: string
  readonly pool: PoolOptions<C>
  /** Each connection is a member of its own, and `pool` says how many of them an endpoint has. */
  readonly l4: boolean
  readonly balancer: Balancer<C, ConnectError>
  readonly silence: Silence<C, ConnectError> | undefined
  readonly publish: (event: Event) => void
  /** Told with each answer why there is nobody, should there be nobody. */
  readonly answered: (error: ConnectError) => void
}

/** One endpoint: one pool, or one for each connection. There may be thousands: no object stands around the one pool. */
type Group<C> = Pool<C> | ReadonlyArray<Pool<C>>

/** A connection that leads to trouble is exchanged at most once in this time. */
const exchangeEveryMillis = 10_000

/** The endpoints of a cluster as pools. */
export class Members<C> {
  pools: ReadonlyArray<Pool<C>> = []
  /** Left, with borrows in flight. */
  private leaving: ReadonlyArray<Pool<C>> = []
  private groups = new Map<string, Group<C>>()
  private exchangedAt = new WeakMap<Pool<C>, number>()
  private peak = 0
  private stopped = false
  private readonly options: MembersOptions<C>

  constructor(options: MembersOptions<C>) {
    this.options = options
  }

  /** Takes what a resolver says. */
  resolved(update: Update): void {
    const { publish } = this.options
    if (update._tag === "Failed") {
      const { error, keptForMillis } = update
      publish({ _tag: "ResolveFailed", error, keptForMillis })
      if (keptForMillis > 0 && this.pools.length > 0) return
      this.change([], error, publish)
      return
    }
    this.change(update.endpoints, this.noEndpoints(), publish)
  }

  /** These are the endpoints, and nothing had to be found out. */
  fix(endpoints: ReadonlyArray<Endpoint>): void {
    this.change(endpoints, this.noEndpoints(), () => {})
  }

  /** All pools, those that only drain included. */
  all(): ReadonlyArray<Pool<C>> {
    return this.leaving.length === 0 ? this.pools : [...this.pools, ...this.leaving]
  }

  /** Borrows in flight. */
  load(): number {
    let n = 0
    for (const pool of this.pools) n += pool.load()
    for (const pool of this.leaving) n += pool.load()
    return n
  }

  /** Exchanges connections that are due, and those that lead to trouble; opens more where they are members. */
  tick(now: number): void {
    for (const pool of this.pools) Rotation.due(pool, now)
    const { l4, silence } = this.options
    // An address alone may be that of many servers, too; without silence detection connections are left as they are.
    if (l4 || (this.pools.length === 1 && silence !== undefined)) this.exchange(now)
    if (l4) this.grow()
  }

  /** Gives back connections that nobody needs. Called every minute. */
  shrink(): void {
    if (!this.options.l4) {
      for (const pool of this.pools) pool.shrink()
      return
    }
    const { max, min } = this.options.pool
    const { peak } = this
    this.peak = this.load()
    for (const [key, group] of this.groups) {
      const pools = poolsOf(group)
      if (pools.length <= min || pools.length > max) continue
      const last = pools.at(-1)!
      const rest = pools.slice(0, -1)
      if (peak >= capacity(rest) * pressure * 0.75) continue
      this.groups.set(key, rest)
      this.dismiss([last], "Surplus")
      this.told()
    }
  }

  /** No new borrow, dial or endpoint from here on; for the end of the cluster. */
  stop(): void {
    this.stopped = true
    for (const pool of this.pools) pool.stop("Drain")
  }

  /** Forgets a hard affinity. Answers whether there was one. */
  unbind(key: string): boolean {
    for (const pool of this.pools) pool.unbind(key)
    return this.options.balancer.unbind(key)
  }

  private noEndpoints(): ConnectError {
    return new ConnectError({ reason: { _tag: "NoEndpoints", target: this.options.target } })
  }

  private change(endpoints: ReadonlyArray<Endpoint>, error: ConnectError, publish: (event: Event) => void): void {
    if (this.stopped) return
    this.options.answered(error)
    const before = this.groups
    const added: Array<Group<C>> = []
    this.groups = new Map()
    for (const endpoint of endpoints) {
      const key = keyOf(endpoint)
      // Listed twice: the first one counts.
      if (this.groups.has(key)) continue
      const known = before.get(key)
      const group = known ?? this.create(endpoint)
      for (const pool of poolsOf(group)) pool.endpoint = endpoint
      if (known === undefined) added.push(group)
      this.groups.set(key, group)
    }
    const removed = [...before].flatMap(([key, group]) => (this.groups.has(key) ? [] : [group]))
    if (added.length > 0 || removed.length > 0) {
      publish({ _tag: "Resolved", added: names(added), removed: names(removed) })
    }
    // Before anybody is told, so that who waits finds them dialling, and nobody finds those that are gone.
    for (const group of added) for (const pool of poolsOf(group)) pool.start()
    this.told()
    this.dismiss(
      removed.flatMap((group) => poolsOf(group)),
      "Removed"
    )
  }

  private create(endpoint: Endpoint): Group<C> {
    const { l4, pool } = this.options
    return l4 ? Array.from({ length: pool.min }, (_, i) => this.single(endpoint, i)) : new Pool<C>(endpoint, pool)
  }

  private single(endpoint: Endpoint, index: number): Pool<C> {
    return new Pool<C>(endpoint, { ...this.options.pool, min: 1, max: 1, label: `${name(endpoint)}/${index + 1}` })
  }

  /** Tells the others who is there. */
  private told(): void {
    const { balancer, silence } = this.options
    const candidates: Array<Candidate<C, ConnectError>> = []
    const all: Array<Pool<C>> = []
    for (const group of this.groups.values()) {
      for (const pool of poolsOf(group)) {
        candidates.push({ upstream: pool, endpoint: pool.endpoint })
        all.push(pool)
      }
    }
    this.pools = all
    silence?.follow(all)
    balancer.update(candidates)
    silence?.resized(this.options.pool.now())
  }

  private dismiss(pools: ReadonlyArray<Pool<C>>, why: CloseReason): void {
    for (const pool of pools) {
      // Silent, and no longer named: nobody will judge it any more.
      for (const live of pool.connections()) if (live.quarantinedAt !== undefined) live.giveUp()
      pool.stop(why)
      if (pool.load() === 0) continue
      this.leaving = [...this.leaving, pool]
      // Whoever waits for the end of all borrows listens to the balancer, which has forgotten this one.
      pool.subscribe(() => {
        if (pool.load() > 0) return
        this.leaving = this.leaving.filter((other) => other !== pool)
        this.options.balancer.changed()
      })
    }
  }

  /** Behind one address another connection may lead to another server, so the one that fails is exchanged. */
  private exchange(now: number): void {
    for (const member of this.options.balancer.members) {
      if (!member.convicted) continue
      const pool = member.upstream as Pool<C>
      if (now - (this.exchangedAt.get(pool) ?? -Infinity) < exchangeEveryMillis) continue
      const old = pool.subchannels.find((s) => s.current !== undefined)
      if (old === undefined) continue
      this.exchangedAt.set(pool, now)
      pool.exchanged = () => this.options.balancer.forgive(pool)
      pool.rotate(old, "Ejected")
    }
  }

  /** Where connections are members: one more when nine tenths of their permits are taken, one dial at a time. */
  private grow(): void {
    const { max } = this.options.pool
    for (const [key, group] of this.groups) {
      const pools = poolsOf(group)
      const load = pools.reduce((n, pool) => n + pool.load(), 0)
      this.peak = Math.max(this.peak, load)
      if (pools.length >= max || load < capacity(pools) * pressure) continue
      if (!pools.every((pool) => pool.connectivity() === "Ready")) continue
      const more = this.single(pools[0]!.endpoint, pools.length)
      this.groups.set(key, [...pools, more])
      more.start()
      this.told()
    }
  }
}

/** Borrows at once, as far as their peers say. */
const capacity = <C>(pools: ReadonlyArray<Pool<C>>): number =>
  pools.reduce((n, pool) => pool.connections().reduce((m, live) => m + live.limit(), n), 0)

const poolsOf = <C>(group: Group<C>): ReadonlyArray<Pool<C>> => (group instanceof Pool ? [group] : group)

/** Equal for endpoints that connections may go on serving. */
const keyOf = (endpoint: Endpoint): string =>
  endpoint.authority === undefined && endpoint.addresses.length === 1
    ? endpoint.addresses[0]
    : JSON.stringify([endpoint.authority, [...endpoint.addresses].sort()])

const names = <C>(groups: ReadonlyArray<Group<C>>): ReadonlyArray<string> =>
  groups.map((group) => name(poolsOf(group)[0]!.endpoint))
