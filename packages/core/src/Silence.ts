/**
 * Finds connections that are dead without saying so, and does not ask them.
 *
 * Evidence is traffic that anybody can see: a call is overdue, measured by what its method usually takes, and nothing was
 * heard on its connection for that long. Such a connection is put aside at once (reversible: any word lifts it) and one
 * replacement is dialled. If the replacement answers, the old path is dead and what can be sent again is; if it does not
 * even become Ready, the endpoint is silent and is ejected. No ping, no probe call: servers punish those. A slow handler
 * costs nothing once it is known, and a stall of this process proves nothing.
 */
import type { Balancer } from "./Balancer.ts"
import { name } from "./Endpoint.ts"
import type { MethodEstimates } from "./Estimate.ts"
import type { Event } from "./Event.ts"
import type { LiveConnection, LiveLease } from "./LiveConnection.ts"
import type { Pool } from "./Pool.ts"
import type { Subchannel } from "./Subchannel.ts"

/** A call is overdue after so many times what its method takes. */
const factor = 4
/** The same on a connection that was idle: NATs and firewalls forget idle connections. */
const idleFactor = 2
const idleMillis = 60_000
/** At most one replacement per endpoint in this time. */
const replaceEveryMillis = 10_000
/** A replacement has this long to become Ready, or three times what a dial took. */
const readyWithinMillis = 500
const readyWithinDials = 3
/** A call on a silent connection that has no more time than this left is sent again while there is time. */
const lastChanceMillis = 400
/** So many calls in a row that were given up without a word are worth as much as one that is overdue. */
const enoughGivenUp = 3
/** Stalls are forgotten after this long. */
const rememberedMillis = 60_000

/** What the detector needs. */
export interface SilenceOptions<C, E> {
  readonly atLeastMillis: number
  /** Those that it begins with. */
  readonly pools?: ReadonlyArray<Pool<C>>
  readonly balancer: Balancer<C, E>
  readonly methods: MethodEstimates
  readonly publish: (event: Event) => void
}

/** What is known about one endpoint. */
class Suspicion<C> {
  readonly pool: Pool<C>
  /** When a replacement was last dialled. */
  replacedAt = -Infinity
  replacement: Subchannel<C> | undefined = undefined
  /** By when the replacement must be Ready. */
  readyBy = Infinity
  /** Since when it is ejected. */
  ejectedAt: number | undefined = undefined

  constructor(pool: Pool<C>) {
    this.pool = pool
  }
}

/** Finds connections that are dead without saying so. */
export class Silence<C, E> {
  private pools: ReadonlyArray<Pool<C>> = []
  /** Of those that fell silent: most never do. */
  private readonly suspicions = new Map<Pool<C>, Suspicion<C>>()
  private readonly options: SilenceOptions<C, E>
  /** Stalls of this process: when they ended, and how long they were. */
  private stalls: ReadonlyArray<{ readonly end: number; readonly millis: number }> = []

  constructor(options: SilenceOptions<C, E>) {
    this.options = options
    this.follow(options.pools ?? [])
  }

  /** Looks at these from now on. What is known of those that stay is kept. */
  follow(pools: ReadonlyArray<Pool<C>>): void {
    this.pools = pools
    const stays = new Set(pools)
    for (const pool of this.suspicions.keys()) if (!stays.has(pool)) this.suspicions.delete(pool)
  }

  /** There are other endpoints than before: nobody stays ejected beyond what may be. */
  resized(now: number): void {
    const { ejection } = this.options.balancer
    for (const suspicion of this.suspicions.values()) {
      const { ejectedAt, pool } = suspicion
      if (ejectedAt !== undefined && ejection.excess(pool)) this.readmit(suspicion, ejectedAt, now)
    }
  }

  /** Looks at every connection. Called every 50 ms while there are borrows in flight or suspicions. */
  tick(now: number, deafMillis: number): void {
    if (deafMillis > 0 || this.stalls.length > 0) this.remember(now, deafMillis)
    for (const pool of this.pools) {
      let suspicion = this.suspicions.get(pool)
      if (this.listen(pool, now) && suspicion === undefined) {
        suspicion = new Suspicion(pool)
        this.suspicions.set(pool, suspicion)
      }
      if (suspicion !== undefined) this.judge(suspicion, now)
    }
  }

  /** Whether somebody is under suspicion, so that the ticks must go on. */
  busy(): boolean {
    for (const s of this.suspicions.values()) if (s.ejectedAt !== undefined || s.replacement !== undefined) return true
    return false
  }

  /** Puts connections aside, and takes them back when they speak. Answers whether one was put aside. */
  private listen(pool: Pool<C>, now: number): boolean {
    let aside = false
    for (const subchannel of pool.subchannels) {
      const live = subchannel.current
      if (live === undefined || !live.lending || live.doubted) continue
      const heard = live.heardAt()
      if (live.quarantinedAt === undefined) {
        if (now - heard < this.options.atLeastMillis || !this.overdue(live, heard, now)) continue
        live.quarantinedAt = now
        aside = true
        this.tell({
          _tag: "Quarantined",
          endpoint: name(pool.endpoint),
          connection: live.id,
          silentMillis: now - heard
        })
        pool.update()
      } else if (heard >= live.quarantinedAt) {
        const silentMillis = now - live.quarantinedAt
        live.quarantinedAt = undefined
        live.alive = false
        live.unanswered = undefined
        this.tell({ _tag: "Recovered", endpoint: name(pool.endpoint), connection: live.id, silentMillis })
        pool.update()
      }
    }
    return aside
  }

  /** A call should have been answered, and nothing at all was heard for that long. */
  private overdue(live: LiveConnection<C>, heard: number, now: number): boolean {
    for (let lease = live.oldest; lease !== undefined; lease = lease.next) {
      if (this.listened(Math.max(lease.startedAt, heard), now) >= this.patience(lease, heard)) return true
    }
    const { unanswered } = live
    if (unanswered === undefined || unanswered.count < enoughGivenUp || heard > unanswered.since) return false
    const millis = this.listened(unanswered.since, now) - (now - unanswered.until)
    return millis >= Math.max(this.options.atLeastMillis, factor * unanswered.usualMillis)
  }

  /** How long we really listened since then. */
  private listened(since: number, now: number): number {
    let millis = now - since
    for (const stall of this.stalls) if (stall.end > since) millis -= Math.min(stall.millis, stall.end - since)
    return millis
  }

  private remember(now: number, deafMillis: number): void {
    const recent = this.stalls.filter((stall) => now - stall.end < rememberedMillis)
    this.stalls = deafMillis > 0 ? [...recent, { end: now, millis: deafMillis }] : recent
  }

  private patience(lease: LiveLease<C>, heard: number): number {
    const { demand } = lease
    const estimate = this.usual(lease)
    const usual =
      estimate === undefined
        ? (demand.deadline - lease.startedAt) / 2
        : estimate * (lease.startedAt - heard > idleMillis ? idleFactor : factor)
    return Math.max(this.options.atLeastMillis, usual)
  }

  /** Replaces, ejects and readmits. */
  private judge(suspicion: Suspicion<C>, now: number): void {
    const { pool, replacement } = suspicion
    const silent = pool.subchannels.filter((s) => s.current?.quarantinedAt !== undefined)
    const spoke = pool.subchannels.some((s) => s.current !== undefined && s.current.quarantinedAt === undefined)
    if (suspicion.ejectedAt !== undefined) {
      const { ejection } = this.options.balancer
      if (spoke || silent.length === 0 || ejection.excess(pool)) this.readmit(suspicion, suspicion.ejectedAt, now)
    }
    if (silent.length === 0) {
      this.settle(suspicion)
      return
    }
    this.rescue(silent, now)
    if (replacement === undefined) {
      if (now - suspicion.replacedAt >= replaceEveryMillis) this.replace(suspicion, now)
      // It had a replacement a moment ago: no second dial, but no more patience either.
      else if (!spoke && now - silentSince(silent) >= this.readyWithin(pool)) this.eject(suspicion, silent, now)
      return
    }
    const fresh = replacement.current
    if (fresh !== undefined) for (const old of silent) old.current!.alive = true
    if (fresh !== undefined && fresh.quarantinedAt === undefined) {
      // Ready is a sign of life, an answer is the proof: the endpoint works, the old path does not.
      for (const old of silent) {
        const { inFlight, quarantinedAt } = old.current!
        // A connection beside it that was heard since then is as good a proof.
        const others = pool
          .connections()
          .some((c) => c.quarantinedAt === undefined && c.answered > 0 && c.heardAt() > quarantinedAt!)
        if (fresh.answered > 0 || others || inFlight === 0) {
          // The server is there: what can't be answered once more in time is left to it, and what may just be slow.
          old.current!.giveUp((lease) => this.inTime(lease, now, false))
          pool.remove(old, "Replaced")
        }
      }
    } else if (!spoke && (now >= suspicion.readyBy || fresh !== undefined)) {
      this.eject(suspicion, silent, now)
    }
  }

  private replace(suspicion: Suspicion<C>, now: number): void {
    const { pool } = suspicion
    suspicion.replacement = pool.replace()
    if (suspicion.replacement === undefined) return
    suspicion.replacedAt = now
    suspicion.readyBy = now + this.readyWithin(pool)
  }

  private readyWithin(pool: Pool<C>): number {
    return Math.max(readyWithinMillis, readyWithinDials * pool.connectMillis())
  }

  /** Calls whose time runs out before the verdict are given up one by one, if there is somewhere else to go. */
  private rescue(silent: ReadonlyArray<Subchannel<C>>, now: number): void {
    if (this.options.balancer.usable().length === 0) return
    for (const subchannel of silent) {
      const { alive } = subchannel.current!
      subchannel.current!.giveUp((lease) => {
        const { demand, startedAt } = lease
        const usual = this.usual(lease)
        // A call that began with little time gets half of it first.
        const left = Math.min(Math.max(lastChanceMillis, factor * (usual ?? 0)), (demand.deadline - startedAt) / 2)
        return demand.deadline - now <= left && this.inTime(lease, now, !alive)
      })
    }
  }

  private usual({ demand }: LiveLease<C>): number | undefined {
    return demand.method === undefined ? undefined : this.options.methods.get(demand.method)
  }

  /** Whether there is as much time left as its method usually takes. `unknown`: what to say while that is not known. */
  private inTime(lease: LiveLease<C>, now: number, unknown: boolean): boolean {
    const usual = this.usual(lease)
    return usual === undefined ? unknown : lease.demand.deadline - now >= usual
  }

  /** Nobody is silent: the replacement is one too many, or has become the connection. */
  private settle(suspicion: Suspicion<C>): void {
    const { pool, replacement } = suspicion
    if (replacement === undefined) return
    suspicion.replacement = undefined
    suspicion.readyBy = Infinity
    if (!pool.replacing) return
    const works = replacement.connectivity() === "Ready"
    const dead = works ? pool.subchannels.find((s) => s.connectivity() !== "Ready") : undefined
    pool.remove(dead ?? replacement, "Surplus")
  }

  /** The whole endpoint is silent: what can be sent again goes elsewhere. */
  private eject(suspicion: Suspicion<C>, silent: ReadonlyArray<Subchannel<C>>, now: number): void {
    if (suspicion.ejectedAt !== undefined) return
    const { pool } = suspicion
    const { balancer } = this.options
    const elsewhere = balancer.usable().length > 0
    if (elsewhere) for (const s of silent) s.current!.giveUp((lease) => this.inTime(lease, now, true))
    if (!balancer.ejection.may(pool)) return
    suspicion.ejectedAt = now
    balancer.ejection.add(pool, "silence")
    const since = Math.min(...silent.map((s) => s.current?.heardAt() ?? now))
    const [value, limit] = [now - since, Math.round(this.readyWithin(pool))]
    this.tell({ _tag: "Ejected", endpoint: name(pool.endpoint), rule: "silence", value, limit, millis: undefined })
  }

  private readmit(suspicion: Suspicion<C>, since: number, now: number): void {
    const { pool } = suspicion
    suspicion.ejectedAt = undefined
    this.options.balancer.ejection.remove(pool, "silence")
    this.tell({ _tag: "Readmitted", endpoint: name(pool.endpoint), rule: "silence", millis: now - since })
  }

  private tell(event: Event): void {
    this.options.publish(event)
  }
}

/** When the last of them was put aside. */
const silentSince = <C>(silent: ReadonlyArray<Subchannel<C>>): number =>
  Math.max(...silent.map((s) => s.current?.quarantinedAt ?? -Infinity))
