/**
 * Looks at the core from inside, after every step: permits, states, picks, leases.
 *
 * The core is the real one; its classes are watched through their prototypes while a run lasts.
 */
import { Balancer } from "@hawser/core/Balancer"
import { name } from "@hawser/core/Endpoint"
import { LiveConnection, LiveLease } from "@hawser/core/LiveConnection"
import type { Connectivity } from "@hawser/core/Connectivity"
import type { Member } from "@hawser/core/Member"
import { Pool } from "@hawser/core/Pool"
import type { Policy } from "@hawser/core/Policy"
import { Subchannel } from "@hawser/core/Subchannel"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Connection } from "@hawser/grpc/Connection"

type Live = LiveConnection<Connection>
type Sub = Subchannel<Connection>

/** Where a subchannel may go from where it is. */
const legal: Readonly<Record<Connectivity, ReadonlyArray<Connectivity>>> = {
  Idle: ["Connecting", "Shutdown"],
  Connecting: ["Ready", "TransientFailure", "Shutdown"],
  Ready: ["Connecting", "TransientFailure", "Shutdown"],
  // It dials from there without a word: whoever asks is told the last error.
  TransientFailure: ["Connecting", "Ready", "Shutdown"],
  Shutdown: []
}

/** Ticks come every 50 ms while calls are in flight. */
const recoveredMillis = 300

/** Watches one run. */
export class Watch {
  readonly problems: Set<string>
  readonly pools: Array<Pool<Connection>> = []
  /** Leases that were granted and not given back, by connection. */
  private readonly out = new Map<Live, number>()
  /** Those of them that can be overdue. */
  private readonly timed = new Map<Live, number>()
  private readonly states = new Map<Sub, Connectivity>()
  private readonly currents = new Map<Sub, Live | undefined>()
  private members: ReadonlyArray<Member<Connection, ConnectError>> = []
  /** Whether the policy keeps to one member. */
  private one = false
  private balancer: Balancer<Connection, ConnectError> | undefined = undefined
  private readonly max: number
  /** How many leases were granted. */
  granted = 0
  /** While a caller gives up: what is released now says nothing about an endpoint. */
  interrupting = false
  /** Told of each connection that is lent. */
  lent: (connection: Connection) => void = () => {}
  /** Those of the endpoints that are there now. */
  set: () => ReadonlyArray<Pool<Connection>> = () => this.pools
  private busySince = Infinity
  private made = 0
  private lost = 0
  /** Lost, and had answered nothing so far. */
  private readonly unproven = new Set<Live>()
  /** Backoffs that have started. */
  restarts = 0

  constructor(problems: Set<string>, max: number) {
    this.problems = problems
    this.max = max
  }

  /** Wraps a policy, so that its members are known. */
  policy(inner: Policy): Policy {
    return {
      ...inner,
      picker: (members, random) => {
        this.members = members as unknown as typeof this.members
        this.one = inner.name === "pick_first"
        return inner.picker(members, random)
      }
    }
  }

  /** Starts watching. Returns what ends it. */
  static install(watch: Watch): () => void {
    const { start } = Pool.prototype
    const { lease: balance } = Balancer.prototype
    const { start: begin } = Subchannel.prototype
    const { grant } = LiveConnection.prototype
    const { release } = LiveLease.prototype
    const unreleased = new WeakMap<object, Live>()
    Balancer.prototype.lease = function (demand) {
      watch.balancer = this as unknown as typeof watch.balancer
      return balance.call(this, demand)
    }
    Subchannel.prototype.start = function () {
      watch.made++
      begin.call(this)
    }
    Pool.prototype.start = function () {
      watch.pools.push(this as Pool<Connection>)
      start.call(this)
    }
    LiveConnection.prototype.grant = function (demand, now) {
      // Asked of the connection itself: what core makes of it is what is watched.
      const room = this.inFlight < this.session.limit()
      const out = grant.call(this, demand, now)
      watch.granted++
      if (!this.healthy) watch.problems.add("I-7 a lease of a connection that is not healthy")
      watch.lent(this.connection as Connection)
      if (!this.lending) watch.problems.add("I-7 a lease of a connection that lends no more")
      if (!room) watch.problems.add("I-1 a lease above the limit")
      unreleased.set(out, this as unknown as Live)
      watch.out.set(this as unknown as Live, (watch.out.get(this as unknown as Live) ?? 0) + 1)
      if (demand.method !== undefined) {
        watch.timed.set(this as unknown as Live, (watch.timed.get(this as unknown as Live) ?? 0) + 1)
      }
      return out
    }
    LiveLease.prototype.release = function (outcome, report) {
      const live = unreleased.get(this)
      if (live !== undefined) {
        if (watch.interrupting && outcome !== "Neutral") watch.problems.add(`I-11 an interrupt is booked as ${outcome}`)
        unreleased.delete(this)
        watch.out.set(live, watch.out.get(live)! - 1)
        if (this.demand.method !== undefined) watch.timed.set(live, watch.timed.get(live)! - 1)
      }
      release.call(this, outcome, report)
    }
    return () => {
      Pool.prototype.start = start
      Subchannel.prototype.start = begin
      Balancer.prototype.lease = balance
      LiveConnection.prototype.grant = grant
      LiveLease.prototype.release = release
    }
  }

  /** I-1 to I-4 and I-7, after every step. */
  check(): void {
    for (const pool of this.pools) {
      // One may stand in for another beyond the maximum.
      if (pool.subchannels.length > this.max + 1) this.problems.add("I-1 more connections than the maximum and one")
      if (pool.load() < 0) this.problems.add("I-1 negative load")
      pool.subchannels.forEach((subchannel) => this.look(subchannel))
    }
    for (const live of this.unproven) if (live.answered > 0 && this.unproven.delete(live)) this.lost++
    // It starts with a subchannel, and anew after a connection that had proved itself; never after one that had not.
    if (this.restarts > this.made + this.lost) this.problems.add("I-12 the backoff starts afresh without a reason")
  }

  /** I-6: whether a permit is free that the first waiter could have. For when nothing is ready to run. */
  wasted(): boolean {
    const free = (live: Live, pool: Pool<Connection>) =>
      live.hasRoom() && (live.quarantinedAt !== undefined) === pool.penalised()
    return this.some((pool) => pool.connections().some((live) => free(live, pool)))
  }

  /** Whether this is so of a Ready pool that is picked from: of each, where the policy keeps to one of them. */
  private some(is: (pool: Pool<Connection>) => boolean): boolean {
    const pools = this.members.map((member) => member.upstream as unknown as Pool<Connection>)
    const ready = pools.filter((pool) => pool.connectivity() === "Ready")
    return ready.length > 0 && (this.one ? ready.every(is) : ready.some(is))
  }

  /** Whether a connection is there that calls may have, whether or not it has a stream left: healthy, where that is asked. */
  lends(): boolean {
    return this.members.some((member) => {
      const all = (member.upstream as unknown as Pool<Connection>).connections()
      const lives = all.filter((live) => live.lending && live.healthy)
      // Those that are put aside are lent only where there are no others.
      const silent = lives.every((live) => live.quarantinedAt !== undefined)
      return lives.some((live) => silent || live.quarantinedAt === undefined)
    })
  }

  /** Whether somebody might be told to wait, or be told why not: `Failing` only where every endpoint fails. */
  get failing(): boolean {
    return this.set().every((pool) => pool.connectivity() === "TransientFailure")
  }

  /** Whether a pool has nothing to lend, and does nothing about it although it may. */
  lazy(): boolean {
    // Those that are picked from: the others are not asked.
    return this.some((pool) => {
      const { subchannels } = pool
      if (pool.replacing || subchannels.length >= this.max) return false
      return subchannels.every((s) => {
        const { current } = s
        return current !== undefined && current.healthy && current.limit() > 0 && current.inFlight >= current.limit()
      })
    })
  }

  /** Every connection that the core knows, with what is in flight on it. */
  lives(): ReadonlyArray<Live> {
    const out: Array<Live> = []
    for (const pool of this.pools) {
      for (const { current, draining } of pool.all()) {
        if (current !== undefined) out.push(current)
        out.push(...draining)
      }
    }
    return out
  }

  /** Dials that go on. */
  dialling(): number {
    let n = 0
    for (const pool of this.pools) {
      for (const s of pool.subchannels) if (s.current === undefined && s.connectivity() !== "Shutdown") n++
    }
    return n
  }

  /** What must be so whenever nothing is ready to run. */
  idle(now: number): void {
    this.picks()
    // Who listens for silence rests while nothing is on any wire, and there is nobody then to be harmed.
    if (this.pools.every((pool) => pool.load() === 0)) this.busySince = Infinity
    else if (this.busySince === Infinity) this.busySince = now
    for (const live of this.lives()) {
      if (!live.lending && live.inFlight === 0) this.problems.add("I-3 a connection that is done is not closed")
      this.chain(live)
      const { quarantinedAt } = live
      if (quarantinedAt === undefined || !live.lending) continue
      const heard = live.heardAt()
      if (heard > quarantinedAt && now - Math.max(heard, this.busySince) > recoveredMillis) {
        this.problems.add("I-7 a connection spoke, and is still put aside")
      }
    }
  }

  /** I-7: those are picked that are Ready and not put aside; or all that are Ready, when fewer than half of them are well. */
  private picks(): void {
    if (this.balancer === undefined) return
    const ready = this.balancer.ready()
    const sound = ready.filter((member) => member.sound).length
    const panic = sound * 2 < ready.length
    const expected = panic ? ready : this.balancer.usable()
    this.ejections(this.balancer)
    if (expected.length === 0) return
    const picked = new Set(this.members)
    if (picked.size !== expected.length || expected.some((member) => !picked.has(member))) {
      this.problems.add("I-7 the set that is picked from is not what it should be")
    }
  }

  /** I-7: at most half are ejected, for whatever reason, and never the only one. */
  private ejections({ ejection, members }: Balancer<Connection, ConnectError>): void {
    const out = members.filter((member) => ejection.has(member.upstream)).length
    if (out !== ejection.count) this.problems.add("I-7 somebody is ejected who is not there")
    if (out * 2 > members.length) this.problems.add("I-7 more than half are ejected")
    if (members.some((member) => member.ejected && !ejection.has(member.upstream))) {
      this.problems.add("I-7 an ejection is not counted")
    }
  }

  /** The borrows that can be overdue hang together, oldest first. */
  private chain(live: Live): void {
    let n = 0
    let last = -Infinity
    for (let lease = live.oldest; lease !== undefined; lease = lease.next) {
      if (++n > live.inFlight || lease.startedAt < last) {
        return void this.problems.add("I-2 the chain of leases is broken")
      }
      last = lease.startedAt
    }
    if (n !== (this.timed.get(live) ?? 0)) this.problems.add("I-2 the chain of leases is incomplete")
  }

  /** I-10: what must be so when the client has been closed. */
  closed(): void {
    for (const pool of this.pools) {
      if (pool.connectivity() !== "Shutdown") this.problems.add("I-10 a pool is not shut down")
      if (pool.load() !== 0) this.problems.add(`I-10 ${pool.load()} permits left`)
    }
    if (this.lives().length > 0) this.problems.add("I-10 connections left")
    for (const n of this.out.values()) if (n !== 0) this.problems.add("I-2 a lease was not given back")
  }

  private look(subchannel: Sub): void {
    const now = subchannel.connectivity()
    const before = this.states.get(subchannel)
    if (before !== now) {
      this.states.set(subchannel, now)
      if (before !== undefined && !legal[before].includes(now)) this.problems.add(`I-4 from ${before} to ${now}`)
    }
    const { current, draining } = subchannel
    const held = this.currents.get(subchannel)
    if (held !== current) {
      // It proved itself if it lasted, or answers, were it after its end.
      if (held !== undefined && held.now() - held.openedAt >= 10_000) this.lost++
      else if (held !== undefined) this.unproven.add(held)
      this.currents.set(subchannel, current)
    }
    if (now === "Ready" && current?.healthy !== true) this.problems.add("I-3 I-7 Ready without a healthy connection")
    if (now !== "Ready" && current?.healthy === true) this.problems.add(`I-3 ${now} with a connection`)
    if (current !== undefined) {
      if (draining.includes(current)) this.problems.add("I-3 lends and drains")
      this.count(current)
    }
    for (const live of draining) {
      if (live.lending) this.problems.add(`I-3 drains and lends: ${name(live.endpoint)}`)
      this.count(live)
    }
  }

  private count(live: Live): void {
    const out = this.out.get(live) ?? 0
    if (live.inFlight !== out) this.problems.add(`I-2 ${live.inFlight} in flight, ${out} leases out`)
  }
}
