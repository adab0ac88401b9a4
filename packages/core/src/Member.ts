/**
 * What a balancer remembers of one upstream: its latency, its borrows, and whether it keeps failing.
 *
 * It outlives the pickers, which are made anew with each change. A failure counts as a slow call, so an endpoint that
 * fails fast looks slow and not idle.
 */
import type { Demand } from "./Demand.ts"
import type { Endpoint } from "./Endpoint.ts"
import { Estimate } from "./Estimate.ts"
import type { Lease, LeaseObserver, Refusal } from "./Lease.ts"
import type { Outcome } from "./Outcome.ts"
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
  private trialMillis = firstTrialMillis
  private judgedSince = -Infinity
  private readonly onFailing: () => void

  /** `onFailing` is called when `failing` changes. */
  constructor(upstream: Upstream<C, E>, endpoint: Endpoint, onFailing: () => void) {
    this.upstream = upstream
    this.endpoint = endpoint
    this.name = upstream.snapshot().name
    this.onFailing = onFailing
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

  /** Peak-EWMA × (in flight + 1). The age of the oldest borrow counts when it is above the estimate. */
  cost(now: number): number {
    if (!this.estimate.known) return this.outstanding === 0 ? 0 : unknownCost * this.outstanding
    if (this.outstanding === 0) return this.estimate.value + 0.05
    const age = now - this.upstream.oldestSince()
    const latency = age > this.estimate.value ? age : this.estimate.value
    return (latency + 0.05) * (this.outstanding + 1)
  }

  released(lease: Lease<unknown>, outcome: Outcome, millis: number): void {
    this.outstanding--
    const now = lease.startedAt + millis
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
