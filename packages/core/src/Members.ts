/**
 * The endpoints of a cluster as pools: who comes is dialled, who leaves is drained, who stays keeps its sockets.
 *
 * It is the control side: it tells the balancer and the silence detector whom they work with, and never lends anything.
 */
import type { Balancer, Candidate } from "./Balancer.ts"
import { ConnectError } from "./ConnectError.ts"
import { type Endpoint, name } from "./Endpoint.ts"
import type { Event } from "./Event.ts"
import { Pool, type PoolOptions } from "./Pool.ts"
import type { Update } from "./Resolver.ts"
import type { Silence } from "./Silence.ts"

/** What members need. */
export interface MembersOptions<C> {
  /** The cluster, in errors. */
  readonly target: string
  readonly pool: PoolOptions<C>
  readonly balancer: Balancer<C, ConnectError>
  readonly silence: Silence<C, ConnectError> | undefined
  readonly publish: (event: Event) => void
  /** Told with each answer why there is nobody, should there be nobody. */
  readonly answered: (error: ConnectError) => void
}

/** The endpoints of a cluster as pools. */
export class Members<C> {
  pools: ReadonlyArray<Pool<C>> = []
  /** Left, with borrows in flight. */
  private leaving: ReadonlyArray<Pool<C>> = []
  private byKey = new Map<string, Pool<C>>()
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

  /** No new borrow, dial or endpoint from here on; for the end of the cluster. */
  stop(): void {
    this.stopped = true
    for (const pool of this.pools) pool.stop("Drain")
  }

  private noEndpoints(): ConnectError {
    return new ConnectError({ reason: { _tag: "NoEndpoints", target: this.options.target } })
  }

  private change(endpoints: ReadonlyArray<Endpoint>, error: ConnectError, publish: (event: Event) => void): void {
    if (this.stopped) return
    const { balancer, silence } = this.options
    const before = this.byKey
    const added: Array<Pool<C>> = []
    this.options.answered(error)
    this.byKey = new Map()
    const candidates: Array<Candidate<C, ConnectError>> = []
    for (const endpoint of endpoints) {
      const key = keyOf(endpoint)
      // Listed twice: the first one counts.
      if (this.byKey.has(key)) continue
      let pool = before.get(key)
      if (pool === undefined) {
        pool = new Pool<C>(endpoint, this.options.pool)
        added.push(pool)
      }
      this.byKey.set(key, pool)
      candidates.push({ upstream: pool, endpoint })
    }
    const removed = [...before].flatMap(([key, pool]) => (this.byKey.has(key) ? [] : [pool]))
    this.pools = candidates.map(({ upstream }) => upstream as Pool<C>)
    silence?.follow(this.pools)
    if (added.length > 0 || removed.length > 0) {
      publish({ _tag: "Resolved", added: names(added), removed: names(removed) })
    }
    // Before anybody is told, so that who waits finds them dialling, and nobody finds those that are gone.
    for (const pool of added) pool.start()
    balancer.update(candidates)
    this.leaving = [...this.leaving, ...removed].filter((pool) => {
      pool.stop("Removed")
      return pool.load() > 0
    })
    // Whoever waits for the end of all borrows listens to the balancer, which has forgotten them.
    for (const pool of removed) pool.subscribe(() => this.returned(pool))
  }

  private returned(pool: Pool<C>): void {
    if (pool.load() > 0) return
    this.leaving = this.leaving.filter((other) => other !== pool)
    this.options.balancer.changed()
  }
}

/** Equal for endpoints that connections may go on serving. */
const keyOf = (endpoint: Endpoint): string => JSON.stringify([endpoint.authority, [...endpoint.addresses].sort()])

const names = <C>(pools: ReadonlyArray<Pool<C>>): ReadonlyArray<string> => pools.map((pool) => name(pool.endpoint))
