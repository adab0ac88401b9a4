/**
 * What a balancer remembers of one upstream: its latency, its borrows, and what was found against it.
 *
 * It outlives the pickers, which are made anew with each change. A failure counts as a slow call, so an endpoint that
 * fails fast looks slow and not idle.
 */
import type { Parent } from "./Child.ts"
import type { Connectivity } from "./Connectivity.ts"
import type { Demand } from "./Demand.ts"
import type { Endpoint } from "./Endpoint.ts"
import { Estimate } from "./Estimate.ts"
import { fnv1a } from "./Hash.ts"
import type { Lease, LeaseObserver, LoadReport, Refusal } from "./Lease.ts"
import type { Outcome } from "./Outcome.ts"
import type { OutlierDetector } from "./OutlierDetector.ts"
import { details, type OutlierRecord } from "./OutlierRecord.ts"
import { factor, type SlowStart } from "./SlowStart.ts"
import { longAgo } from "./Time.ts"
import type { Snapshot, Upstream } from "./Upstream.ts"

/** No single failure makes a member look slower than this. */
const maxSampleMillis = 60_000
/** The cost of what has borrows in flight and has never answered: worse than any latency. */
const unknownCost = 1e9

/** Whoever has members. */
export interface MemberOwner<C, E> {
  /** Its upstream has changed. `different`: its state, which was `before`, or whether it is put aside. */
  memberChanged(member: Member<C, E>, different: boolean, before: Connectivity): void
  /** Its upstream has a permit more. */
  memberFreed(): void
}

/**
 * One upstream of a balancer: what a policy chooses from.
 *
 * **Example** (A policy of one's own)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, Endpoint, type Member, Policy } from "@hawser/core"
 *
 * const byLoad = <C, E>(a: Member.Member<C, E>, b: Member.Member<C, E>) => a.outstanding - b.outstanding
 * const leastRequest: Policy.Policy = {
 *   name: "least_request",
 *   picker: (members) => (demand, now) => Policy.firstWithRoom(members.toSorted(byLoad), 0, demand, now)
 * }
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: ["a:1", "b:1"].map((address) => Endpoint.makeUnsafe({ addresses: [address] })),
 *     policy: leastRequest,
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady(2)
 *   const leases = yield* Effect.all([cluster.get(), cluster.get(), cluster.get(), cluster.get()])
 *   return leases.map((lease) => Endpoint.name(lease.endpoint))
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["a:1", "b:1", "a:1", "b:1"]
 * ```
 */
export class Member<C, E> implements LeaseObserver, Parent {
  // First what each borrow looks at, as in a LiveConnection.
  readonly upstream: Upstream<C, E>
  readonly estimate = new Estimate(true)
  outstanding = 0
  /** Its outcomes and the verdict on them, from the first call that ended on. */
  record: OutlierRecord | undefined = undefined
  /** When the last borrow was granted. */
  pickedAt = longAgo
  /** Whoever is told of it; nobody once it is not of the balancer any more. */
  owner: MemberOwner<C, E> | undefined = undefined
  private readonly detector: OutlierDetector | undefined
  readonly name: string
  /** Of the name: for policies that spread by keys. */
  readonly hash: number
  /** As the resolver said last. */
  endpoint: Endpoint
  /** Neither Ready nor failed so far: a later tier waits for it. */
  fresh = true
  /** When it was last Ready for the first time, or after a dial had failed. */
  readyAt = longAgo
  /** When its slow start is over. */
  warmAt = longAgo
  /** What the backend said last of its load, where the policy wants to know; and when it did. */
  report: LoadReport | undefined = undefined
  reportedAt = longAgo
  /** Not Ready yet, or not since a dial failed. */
  private cold = true
  private readonly slowStart: SlowStart | undefined

  /** Without a detector nothing is held against it. */
  constructor(upstream: Upstream<C, E>, endpoint: Endpoint, detector?: OutlierDetector, slowStart?: SlowStart) {
    this.upstream = upstream
    this.endpoint = endpoint
    this.name = upstream.snapshot().name
    this.hash = fnv1a(this.name)
    this.detector = detector
    this.slowStart = slowStart
  }

  childChanged(different: boolean, before: Connectivity): void {
    this.owner?.memberChanged(this, different, before)
  }

  freed(): void {
    this.owner?.memberFreed()
  }

  /** How much of its weight it gets now, above 0: less than 1 while it starts slowly. */
  warmth(now: number): number {
    return this.slowStart === undefined || now >= this.warmAt ? 1 : factor(this.slowStart, now - this.readyAt)
  }

  /** Its weight now: that of its endpoint, less while it starts slowly. */
  weight(now: number): number {
    return this.endpoint.weight * this.warmth(now)
  }

  /** Ready, and neither silent nor ejected. */
  get usable(): boolean {
    return !this.ejected && this.upstream.connectivity() === "Ready" && !this.upstream.penalised()
  }

  /** Whether it is ejected as an outlier. */
  get ejected(): boolean {
    return this.record?.verdict?.ejected === true
  }

  /** Whether something was found against it: it is ejected, or spared because no more may be ejected. */
  get convicted(): boolean {
    return this.record?.verdict !== undefined
  }

  /** Usable, and nothing was found against it. */
  get sound(): boolean {
    return !this.convicted && this.usable
  }

  /** Whether a set of names and connections that are better left alone holds this one. */
  isIn(avoid: ReadonlySet<string> | undefined): boolean {
    return avoid !== undefined && avoid.has(this.upstream.avoidName?.() ?? this.name)
  }

  /** Leases from the upstream and books the borrow. */
  lease(demand: Demand, now?: number): Lease<C> | Refusal<E> {
    const out = this.upstream.lease(demand, now)
    if (out._tag === "Lease") {
      this.outstanding++
      this.pickedAt = Math.floor(out.startedAt)
      // One trial at a time.
      if (this.record?.verdict !== undefined) this.detector?.tried(this.record, out.startedAt)
      out.observe(this)
    }
    return out
  }

  /**
   * Peak-EWMA × (in flight / share + 1). The age of the oldest borrow counts when it is above the estimate. `share`: its weight
   * in proportion to the mean.
   */
  cost(now: number, share = 1): number {
    if (!this.estimate.known) return this.outstanding === 0 ? 0 : (unknownCost * this.outstanding) / share
    if (this.outstanding === 0) return this.estimate.value + 0.05
    const age = now - this.upstream.oldestSince()
    const latency = age > this.estimate.value ? age : this.estimate.value
    return (latency + 0.05) * (this.outstanding / share + 1)
  }

  released(lease: Lease<unknown>, outcome: Outcome, millis: number, report?: LoadReport): void {
    this.outstanding--
    if (report !== undefined) {
      this.report = report
      this.reportedAt = lease.startedAt + millis
    }
    this.learn(outcome, lease.startedAt, millis)
    this.detector?.completed(this, outcome, lease.startedAt, millis, lease.demand?.deadline)
  }

  /** A new connection is not as slow as the old one was, and what is ejected may show at once that it works. */
  reset(): void {
    this.estimate.reset()
    this.detector?.reconnected(this)
  }

  /** What it is connected to has been exchanged: nothing that was found against the old one holds. */
  forgive(): void {
    this.estimate.reset()
    this.detector?.forgiven(this)
  }

  /** As its upstream's, with what is known of it here. */
  snapshot(now: number, picked: boolean): Snapshot {
    const inner = this.upstream.snapshot()
    return {
      ...inner,
      details: {
        ...inner.details,
        latencyMillis: Math.round(this.estimate.value * 100) / 100,
        cost: Math.round(this.cost(now) * 100) / 100,
        penalised: this.upstream.penalised(),
        picked,
        ...details(this.record, now)
      }
    }
  }

  private learn(outcome: Outcome, startedAt: number, millis: number): void {
    const now = startedAt + millis
    switch (outcome) {
      case "Success":
        this.estimate.add(millis, now)
        return
      case "Neutral":
        // Cancelled while slow: else a frozen server, whose calls are all given up, would look idle and cheap.
        if (this.estimate.known && millis > this.estimate.value) this.estimate.add(millis, now)
        return
      default:
        this.estimate.add(Math.min(Math.max(millis, this.estimate.value, 1) * 2, maxSampleMillis), now)
    }
  }

  /** It became Ready. */
  ready(now: number): void {
    this.reset()
    if (!this.cold) return
    this.cold = false
    // Whole milliseconds take no memory of their own.
    this.readyAt = Math.floor(now)
    this.warmAt = this.slowStart === undefined ? longAgo : now + this.slowStart.windowMillis
  }

  /** A dial failed: whoever answers next may have started anew. */
  unreachable(): void {
    this.cold = true
  }
}
