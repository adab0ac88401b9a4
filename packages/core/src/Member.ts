/**
 * What a balancer remembers of one upstream: its latency, its borrows, and whether it keeps failing.
 *
 * It outlives the pickers, which are made anew with each change. A failure counts as a slow call, so an endpoint that
 * fails fast looks slow and not idle.
 */
import type { Demand } from "./Demand.ts"
import type { Endpoint } from "./Endpoint.ts"
import { Estimate } from "./Estimate.ts"
import { fnv1a } from "./Hash.ts"
import type { Lease, LeaseObserver, LoadReport, Refusal } from "./Lease.ts"
import type { Outcome } from "./Outcome.ts"
import { factor, type SlowStart } from "./SlowStart.ts"
import type { Upstream } from "./Upstream.ts"

/** So many failures in a row put a member aside (Finagle's failure accrual). */
const failuresToPenalise = 5
/** A member put aside gets a trial after this long, doubling with each trial that fails. */
const firstTrialMillis = 1_000
const maxTrialMillis = 30_000
/** No single failure makes a member look slower than this. */
const maxSampleMillis = 60_000
/** The cost of what has borrows in flight and has never answered: worse than any latency. */
const unknownCost = 1e9

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
export class Member<C, E> implements LeaseObserver {
  readonly upstream: Upstream<C, E>
  readonly name: string
  /** Of the name: for policies that spread by keys. */
  readonly hash: number
  /** As the resolver said last. */
  endpoint: Endpoint
  /** Neither Ready nor failed so far: a later tier waits for it. */
  fresh = true
  /** Ends the balancer's subscription. */
  unfollow: (() => void) | undefined = undefined
  readonly estimate = new Estimate(true)
  outstanding = 0
  /** Failures in a row. */
  failures = 0
  /** Whether it is put aside for failing. */
  failing = false
  /** When the last borrow was granted. */
  pickedAt = -Infinity
  /** When a failing member may be tried again. */
  trialAt = Infinity
  /** When it was last Ready for the first time, or after a dial had failed. */
  readyAt = -Infinity
  /** When its slow start is over. */
  warmAt = -Infinity
  /** What the backend said last of its load, where the policy wants to know; and when it did. */
  report: LoadReport | undefined = undefined
  reportedAt = -Infinity
  /** Not Ready yet, or not since a dial failed. */
  private cold = true
  private readonly slowStart: SlowStart | undefined
  private trialMillis = firstTrialMillis
  private judgedSince = -Infinity
  private readonly onFailing: () => void

  /** `onFailing` is called when `failing` changes. */
  constructor(upstream: Upstream<C, E>, endpoint: Endpoint, onFailing: () => void, slowStart?: SlowStart) {
    this.upstream = upstream
    this.endpoint = endpoint
    this.name = upstream.snapshot().name
    this.hash = fnv1a(this.name)
    this.onFailing = onFailing
    this.slowStart = slowStart
  }

  /** How much of its weight it gets now, above 0: less than 1 while it starts slowly. */
  warmth(now: number): number {
    return this.slowStart === undefined || now >= this.warmAt ? 1 : factor(this.slowStart, now - this.readyAt)
  }

  /** Its weight now: that of its endpoint, less while it starts slowly. */
  weight(now: number): number {
    return this.endpoint.weight * this.warmth(now)
  }

  /** Ready, and neither silent nor failing. */
  get usable(): boolean {
    return !this.failing && this.upstream.connectivity() === "Ready" && !this.upstream.penalised()
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
      this.pickedAt = out.startedAt
      // One trial at a time.
      if (this.failing) this.trialAt = out.startedAt + this.trialMillis
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
    const now = lease.startedAt + millis
    if (report !== undefined) {
      this.report = report
      this.reportedAt = now
    }
    switch (outcome) {
      case "Success":
        this.estimate.add(millis, now)
        this.failures = 0
        if (this.failing && lease.startedAt >= this.judgedSince) this.pardon()
        return
      case "Neutral":
        // Cancelled while slow: else a frozen server, whose calls are all given up, would look idle and cheap.
        if (this.estimate.known && millis > this.estimate.value) this.estimate.add(millis, now)
        return
      case "Overloaded":
        this.slow(millis, now)
        return
      default:
        this.slow(millis, now)
        this.fail(lease.startedAt, now)
    }
  }

  /** It became Ready. */
  ready(now: number): void {
    this.reset()
    if (!this.cold) return
    this.cold = false
    this.readyAt = now
    this.warmAt = this.slowStart === undefined ? -Infinity : now + this.slowStart.windowMillis
  }

  /** A dial failed: whoever answers next may have started anew. */
  unreachable(): void {
    this.cold = true
  }

  /** A new connection starts with a clean sheet. */
  reset(): void {
    this.estimate.reset()
    this.failures = 0
    if (this.failing) this.pardon()
  }

  private slow(millis: number, now: number): void {
    this.estimate.add(Math.min(Math.max(millis, this.estimate.value, 1) * 2, maxSampleMillis), now)
  }

  private fail(startedAt: number, now: number): void {
    this.failures++
    if (this.failing) {
      // Borrows from before the verdict say nothing new.
      if (startedAt < this.judgedSince) return
      this.trialMillis = Math.min(this.trialMillis * 2, maxTrialMillis)
    } else {
      if (this.failures < failuresToPenalise) return
      this.trialMillis = firstTrialMillis
    }
    this.judgedSince = now
    this.trialAt = now + this.trialMillis
    if (!this.failing) {
      this.failing = true
      this.onFailing()
    }
  }

  private pardon(): void {
    this.failing = false
    this.trialAt = Infinity
    this.onFailing()
  }
}
