/**
 * Spreads borrows over upstreams.
 *
 * The control side keeps members and publishes an immutable picker whenever the set of usable members changes; the data
 * side only reads it. Ready members that are silent or ejected are left out, unless panic holds: when fewer than half of the
 * Ready members are sound, all of them are used. What is left out gets a trial now and then, so that nobody stays out for
 * longer than he must.
 */
import { Affinities } from "./Affinity.ts"
import { adopt } from "./Child.ts"
import type { Connectivity } from "./Connectivity.ts"
import type { Demand } from "./Demand.ts"
import { type Endpoint, makeUnsafe } from "./Endpoint.ts"
import * as Ejection from "./Ejection.ts"
import type { Event } from "./Event.ts"
import { type Lease, Pending, type Refusal } from "./Lease.ts"
import { Member, type MemberOwner } from "./Member.ts"
import * as Outlier from "./Outlier.ts"
import { OutlierDetector } from "./OutlierDetector.ts"
import type { Picker, Policy } from "./Policy.ts"
import type { SlowStart } from "./SlowStart.ts"
import * as Tier from "./Tier.ts"
import { Trials } from "./Trials.ts"
import { type Snapshot, type Upstream, UpstreamBase } from "./Upstream.ts"

/** For so long the next tier waits for the first dials of the one before (gRFC A56). */
const failoverMillis = 10_000
const unsettled: ReadonlySet<Connectivity> = new Set(["Idle", "Connecting"])

/** One to spread borrows over. */
export interface Candidate<C, E> {
  readonly upstream: Upstream<C, E>
  /** What policies know of it: its weight, priority, zone and attributes may change in place. */
  readonly endpoint: Endpoint
}

/** What a balancer needs. */
export interface BalancerOptions<C, E> {
  readonly policy: Policy
  /** Those that it begins with, as endpoints with nothing special; `update` names others. */
  readonly upstreams?: ReadonlyArray<Upstream<C, E>>
  /** Numbers from 0 up to, not including, 1. */
  readonly random: () => number
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly publish: (event: Event) => void
  /** How members begin. Default: with their whole share. */
  readonly slowStart?: SlowStart | undefined
  /** What to say when there is nobody to ask; `undefined`: somebody may come. */
  readonly empty: () => E | undefined
  /** Who is ejected for failing. Default `Outlier.make()`. */
  readonly outlier?: Outlier.Outlier | false | undefined
}

/**
 * Spreads borrows over upstreams.
 *
 * **Example** (Its state is that of its best member, and its refusal that of a member)
 *
 * ```ts import.meta.vitest
 * import { Balancer, type Connectivity, Demand, RoundRobin, Upstream } from "@hawser/core"
 *
 * class Rack extends Upstream.UpstreamBase<never, string> {
 *   state: Connectivity.Connectivity = "TransientFailure"
 *   lease() { return { _tag: "Failing", error: "rack 7 is dark" } as const }
 *   connectivity() { return this.state }
 *   load() { return 0 }
 *   snapshot() {
 *     return { kind: "rack", name: "7", connectivity: this.state, inFlight: 0, details: {}, children: [] }
 *   }
 * }
 * const rack = new Rack()
 * const balancer = new Balancer.Balancer<never, string>({
 *   policy: RoundRobin.policy,
 *   upstreams: [rack],
 *   random: () => 0,
 *   now: () => 0,
 *   publish: () => {},
 *   empty: () => "there are no racks"
 * })
 * balancer.connectivity() // => "TransientFailure"
 * balancer.lease(Demand.make()) // => { _tag: "Failing", error: "rack 7 is dark" }
 * rack.state = "Connecting"
 * rack.changed()
 * balancer.lease(Demand.make()) // => { _tag: "Pending" }
 * ```
 */
export class Balancer<C, E> extends UpstreamBase<C, E> implements MemberOwner<C, E> {
  members: ReadonlyArray<Member<C, E>> = []
  /** Members to be picked: Ready and usable, or all Ready ones in panic. */
  private picked: ReadonlyArray<Member<C, E>> = []
  private picker: Picker<C, E> | undefined = undefined
  /** Of these, whoever was not picked for a while gets a trial. */
  private tried: ReadonlySet<Member<C, E>> = new Set()
  private panic = false
  private priority = 0
  /** Since when there has been work and nobody to pick. */
  private emptySince: number | undefined = undefined
  private state: Connectivity = "Connecting"
  private idle: ReadonlyArray<Member<C, E>> = []
  private readonly affinities = new Affinities<C, E>()
  private readonly options: BalancerOptions<C, E>
  /** Who is ejected, by whomever. */
  readonly ejection: Ejection.Ejection
  private readonly detector: OutlierDetector | undefined
  private readonly trials: Trials<C, E>

  constructor(options: BalancerOptions<C, E>) {
    super()
    this.options = options
    const { outlier = Outlier.make() } = options
    const cap = outlier === false ? Ejection.defaultCap : outlier.maximumEjected
    this.ejection = new Ejection.Ejection(cap, (upstream) => Tier.peers(this.members, upstream))
    this.detector =
      outlier === false
        ? undefined
        : new OutlierDetector({
            policy: outlier,
            ejection: this.ejection,
            tiers: () => Tier.tiers(this.members).map(([, tier]) => tier),
            panic: () => this.panic,
            random: options.random,
            now: options.now,
            publish: options.publish,
            changed: () => {
              this.refresh()
              this.changed()
            }
          })
    this.trials = new Trials(this.detector)
    this.update(
      (options.upstreams ?? []).map((upstream) => ({
        upstream,
        endpoint: makeUnsafe({ addresses: [upstream.snapshot().name] })
      }))
    )
  }

  /** Spreads over these from now on. Who was there before keeps what is known of it. */
  update(candidates: ReadonlyArray<Candidate<C, E>>): void {
    const before = new Map(this.members.map((member) => [member.upstream, member]))
    let changed = candidates.length !== before.size
    this.members = candidates.map(({ endpoint, upstream }) => {
      const known = before.get(upstream)
      before.delete(upstream)
      if (known === undefined) return this.follow(upstream, endpoint)
      if (known.endpoint !== endpoint) changed = true
      known.endpoint = endpoint
      return known
    })
    for (const member of before.values()) {
      member.owner = undefined
      this.detector?.removed(member)
      this.ejection.forget(member.upstream)
      this.trials.forget(member)
    }
    if (changed) this.detector?.updated()
    // A picker may have copied weights.
    if (changed) this.picker = undefined
    this.refresh()
    this.changed()
  }

  private follow(upstream: Upstream<C, E>, endpoint: Endpoint): Member<C, E> {
    const { now, slowStart } = this.options
    const member = new Member(upstream, endpoint, this.detector, slowStart)
    const state = upstream.connectivity()
    if (state === "Ready") member.ready(now())
    member.fresh = unsettled.has(state)
    member.owner = this
    adopt(upstream, member)
    return member
  }

  memberChanged(member: Member<C, E>, different: boolean, before: Connectivity): void {
    if (different) {
      const next = member.upstream.connectivity()
      if (next === "Ready" && before !== "Ready") member.ready(this.options.now())
      if (next === "TransientFailure") member.unreachable()
      if (!unsettled.has(next)) member.fresh = false
      this.refresh()
    }
    this.changed()
  }

  memberFreed(): void {
    this.changed()
  }

  lease(demand: Demand): Lease<C> | Refusal<E> {
    if (this.idle.length > 0) this.wakeIdle(demand)
    const { picker } = this
    if (demand.affinity !== undefined) {
      const { members, options, picked } = this
      const out = this.affinities.lease(demand, members, picked, options.policy.hashes === true, options.now())
      if (out !== undefined) return out
    }
    if (picker === undefined) return this.refuse()
    const trial = this.trials.lease(demand, this.priority)
    if (trial !== undefined) return trial
    return picker(demand, this.options.now())
  }
  connectivity(): Connectivity {
    return this.state
  }
  load(): number {
    let n = 0
    for (const m of this.members) n += m.outstanding
    return n
  }
  override oldestSince(): number {
    return this.members.reduce((a, m) => Math.min(a, m.upstream.oldestSince()), Infinity)
  }
  snapshot(): Snapshot {
    const now = this.options.now()
    return {
      kind: "balancer",
      name: this.options.policy.name,
      connectivity: this.state,
      inFlight: this.load(),
      details: {
        ready: this.ready().length,
        picked: this.picked.length,
        panic: this.panic,
        priority: this.priority
      },
      children: this.members.map((m) => m.snapshot(now, this.picked.includes(m)))
    }
  }

  /** Ready members. */
  ready(): Array<Member<C, E>> {
    return this.members.filter((m) => m.upstream.connectivity() === "Ready")
  }

  /** Ready members that are neither silent nor ejected. */
  usable(): Array<Member<C, E>> {
    return this.members.filter((m) => m.usable)
  }

  /** Forgets a hard affinity. Answers whether there was one. */
  unbind(key: string): boolean {
    return this.affinities.unbind(key)
  }

  /** What it is connected to has been exchanged: a clean sheet. */
  forgive(upstream: Upstream<C, E>): void {
    this.members.find((member) => member.upstream === upstream)?.forgive()
  }

  /** Whether ticks must go on although nothing is in flight: there are outcomes to be judged. */
  busy(): boolean {
    return this.detector?.pending() === true
  }

  /**
   * Judges what ended, and looks for members that deserve a trial. Called every so often while there is traffic. For
   * `deafMillis` before it this process stood still.
   */
  tick(now: number, deafMillis = 0): void {
    this.detector?.tick(now, deafMillis)
    if (this.picked.length === 0) this.failOver(now)
    // Whoever waits longest gets the trial, and not the next one to come.
    if (this.trials.look(this.members, this.tried, this.priority, now)) this.changed()
  }

  /** Whoever waits has waited long enough for the first dials. */
  private failOver(now: number): void {
    if (this.emptySince === undefined) this.emptySince = now
    if (now - this.emptySince < failoverMillis) return
    for (const m of this.members) m.fresh = false
    this.refresh()
    this.changed()
  }

  private wakeIdle(demand: Demand): void {
    const idle = this.idle
    this.idle = []
    for (const m of idle) {
      const out = m.upstream.lease(demand)
      // A dial may be over before it returns. Whoever asks is served by the policy.
      if (out._tag === "Lease") out.release("Neutral")
    }
  }

  /** Publishes a new picker if the set of usable members has changed. */
  private refresh(): void {
    const { members, options } = this
    const { panic, picked, priority, ready, usable } = Tier.choose(members)
    const states = members.map((m) => m.upstream.connectivity())
    this.idle = members.filter((_, i) => states[i] === "Idle")
    if (panic !== this.panic) {
      this.panic = panic
      options.publish({ _tag: "Panic", on: panic, usable, ready })
    }
    if (priority !== this.priority) {
      // The first tier is what one expects.
      if (priority > 0 || this.priority > 0) options.publish({ _tag: "Failover", from: this.priority, to: priority })
      this.priority = priority
    }
    const changed = !same(picked, this.picked)
    if (changed || (this.picker === undefined && picked.length > 0)) {
      this.picked = picked
      const { policy, random } = options
      this.picker = picked.length === 0 ? undefined : policy.picker(picked, random)
      this.tried = new Set(policy.trials === undefined ? picked : policy.trials(picked))
    }
    if (picked.length > 0) this.emptySince = undefined
    if (changed) options.publish({ _tag: "PickSet", ready: picked.map((m) => m.name) })
    this.state = this.aggregate(states)
  }

  private aggregate(states: ReadonlyArray<Connectivity>): Connectivity {
    for (const s of ["Ready", "Connecting", "Idle", "TransientFailure"] as const) if (states.includes(s)) return s
    if (states.length > 0) return "Shutdown"
    return this.options.empty() === undefined ? "Connecting" : "TransientFailure"
  }

  /** Why nobody can be picked. Asked anew each time, because errors change while states do not. */
  private refuse(): Refusal<E> {
    const states = this.members.map((m) => m.upstream.connectivity())
    if (states.length === 0) {
      const error = this.options.empty()
      return error === undefined ? Pending : { _tag: "Failing", error }
    }
    if (states.includes("Connecting") || states.includes("Idle")) return Pending
    const failing = states.lastIndexOf("TransientFailure")
    const asked = this.members[failing === -1 ? 0 : failing]!.upstream.lease(probe)
    return asked._tag === "Lease" ? Pending : asked
  }
}

/** Asks why; nothing is granted, because nobody is Ready. */
const probe: Demand = {
  priority: 0,
  deadline: 0,
  waitForReady: false,
  affinity: undefined,
  method: undefined,
  avoid: undefined
}

const same = <A>(a: ReadonlyArray<A>, b: ReadonlyArray<A>): boolean =>
  a.length === b.length && a.every((x, i) => x === b[i])
