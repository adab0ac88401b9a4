/**
 * An upstream that does what the test says, in the place of a pool: for tests of policies, balancers and of all that
 * takes leases.
 *
 * Its controls are plain methods, as those of an upstream are, so that a test can change it in the middle of a lease.
 * Every change tells the listeners at once.
 */
import type { Connectivity } from "@hawser/core/Connectivity"
import type { Demand } from "@hawser/core/Demand"
import { type Endpoint, makeUnsafe } from "@hawser/core/Endpoint"
import { MethodEstimates } from "@hawser/core/Estimate"
import { Full, type Lease, type LoadReport, Pending, type Refusal } from "@hawser/core/Lease"
import { LiveConnection } from "@hawser/core/LiveConnection"
import { Issues } from "@hawser/core/OptionsError"
import type { Outcome } from "@hawser/core/Outcome"
import { monotonicMillis } from "@hawser/core/Time"
import { type Snapshot, UpstreamBase } from "@hawser/core/Upstream"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"

/** What a test upstream needs. */
export interface TestUpstreamOptions<C> {
  /** What it lends. */
  readonly connection: C
  /** Its name in snapshots, and its endpoint's address. Default `"test"`. */
  readonly name?: string | undefined
  /** Leases at once. Default: no limit. */
  readonly limit?: number | undefined
  /** Default `Ready`. */
  readonly connectivity?: "Idle" | "Connecting" | "Ready" | undefined
}

/** One lease that was given, and what became of it. */
export interface Loan {
  readonly demand: Demand
  /** Identity of the lease's connection: `test#1`. */
  readonly id: string
  /** Monotonic milliseconds. */
  readonly lentAt: number
  /** What the borrower said of it; `undefined` while it is out. */
  readonly outcome: Outcome | undefined
  /** How long it was out, or to its first response. */
  readonly latencyMillis: number | undefined
  readonly report: LoadReport | undefined
}

const maxLoans = 10_000

const checkLimit = (limit: number): void => {
  const issues = new Issues()
  const ok = limit === Infinity || (Number.isInteger(limit) && limit >= 0)
  issues.check(ok, "limit", "an integer of at least 0, or Infinity", limit)
  issues.throwIfAny()
}

type Open<T> = { -readonly [K in keyof T]: T[K] }

/**
 * An upstream that does what the test says.
 *
 * **Example** (A borrower that gives nothing back)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Demand } from "@hawser/core"
 * import { TestUpstream } from "@hawser/testing"
 *
 * const leaks = (upstream: TestUpstream.TestUpstream<string>) => upstream.outstanding.map(({ demand }) => demand.method)
 *
 * const program = Effect.gen(function*() {
 *   const upstream = yield* TestUpstream.make({ connection: "socket" })
 *   const honest = upstream.lease(Demand.make({ method: "/app.Shop/Buy" }))
 *   upstream.lease(Demand.make({ method: "/app.Shop/Browse" }))
 *   if (honest._tag === "Lease") honest.release("Success")
 *   return leaks(upstream)
 * })
 * await Effect.runPromise(program) // => ["/app.Shop/Browse"]
 * ```
 */
export class TestUpstream<C, E = never> extends UpstreamBase<C, E> {
  readonly name: string
  readonly endpoint: Endpoint
  /** The leases that it has given, in order; the last 10,000. */
  readonly loans: ReadonlyArray<Loan> = []
  /** How often it was asked for a lease, whatever it said. */
  asked = 0
  /** How many leases it has ever given. */
  lent = 0
  private state: Connectivity
  private aside = false
  private most: number
  private error: E | undefined = undefined
  private readonly live: LiveConnection<C>
  private readonly out = new Map<Lease<unknown>, Open<Loan>>()
  private readonly waiting = new Set<() => void>()

  constructor(options: TestUpstreamOptions<C>, now: () => number) {
    super()
    const { connection, connectivity = "Ready", limit = Infinity, name = "test" } = options
    checkLimit(limit)
    this.name = name
    this.endpoint = makeUnsafe({ addresses: [name] })
    this.most = limit
    this.state = connectivity
    this.live = new LiveConnection<C>({
      endpoint: this.endpoint,
      id: `${name}#1`,
      session: {
        connection,
        limit: () => this.most,
        heardAt: now,
        ended: () => undefined,
        listen: () => {}
      },
      scope: Scope.makeUnsafe(),
      owner: {
        returned: (live) => {
          // Whether a connection that was called broken lends again is for the test to say.
          live.lending = true
          this.changed()
        },
        changedAt: () => this.changed()
      },
      methods: new MethodEstimates(),
      maxStreams: Infinity,
      now
    })
  }

  lease(demand: Demand, now?: number): Lease<C> | Refusal<E> {
    this.asked++
    if (this.state === "Shutdown") return { _tag: "Closed", error: this.error as E }
    if (this.state === "TransientFailure") return { _tag: "Failing", error: this.error as E }
    if (this.state !== "Ready") return Pending
    const lease = this.live.lease(demand, now)
    if (lease._tag !== "Lease") return Full
    this.record(lease, demand)
    return lease
  }
  connectivity(): Connectivity {
    return this.state
  }
  override penalised(): boolean {
    return this.aside
  }
  load(): number {
    return this.live.inFlight
  }
  override oldestSince(): number {
    return this.live.oldest?.startedAt ?? Infinity
  }
  snapshot(): Snapshot {
    return {
      kind: "test",
      name: this.name,
      connectivity: this.state,
      inFlight: this.load(),
      details: { limit: this.most, penalised: this.aside },
      children: []
    }
  }

  /**
   * Changes the connectivity. Where there can be no lease, `error` is what the refusal says: `Failing` in
   * `TransientFailure`, `Closed` in `Shutdown`. Leases that are out stay so. Throws after `Shutdown`, which is for ever.
   */
  become(connectivity: "Idle" | "Connecting" | "Ready"): void
  become(connectivity: "TransientFailure" | "Shutdown", error: E): void
  become(connectivity: Connectivity, error?: E): void {
    if (this.state === "Shutdown") throw new Error(`${this.name} is Shutdown, which is for ever`)
    this.state = connectivity
    this.error = error
    this.changed()
  }
  /** Allows so many leases at once from now on. Those that are out stay so. */
  setLimit(limit: number): void {
    checkLimit(limit)
    this.most = limit
    this.changed()
  }
  /** Puts it aside, to be picked only in panic, or takes it back. */
  penalise(aside = true): void {
    this.aside = aside
    this.changed()
  }
  /** Gives up the path under the leases that are out: tells each borrower with a method, once, by `lost`. */
  giveUp(): void {
    this.live.giveUp()
  }

  /** The loans that are out, oldest first. */
  get outstanding(): ReadonlyArray<Loan> {
    return [...this.out.values()]
  }
  /** Waits until it has ever lent so often, and answers with the last of these loans. */
  awaitLent(count: number): Effect.Effect<Loan> {
    return Effect.callback((resume) => {
      const look = () => {
        if (this.lent < count) return
        this.waiting.delete(look)
        resume(Effect.sync(() => this.loans[this.loans.length - 1 - (this.lent - count)]!))
      }
      this.waiting.add(look)
      look()
      return Effect.sync(() => this.waiting.delete(look))
    })
  }

  private record(lease: Lease<C>, demand: Demand): void {
    const loan: Open<Loan> = {
      demand,
      id: lease.id,
      lentAt: lease.startedAt,
      outcome: undefined,
      latencyMillis: undefined,
      report: undefined
    }
    const loans = this.loans as Array<Loan>
    if (loans.length === maxLoans) loans.shift()
    loans.push(loan)
    this.out.set(lease, loan)
    this.lent++
    lease.observe(this)
    for (const look of this.waiting) look()
  }
  /** Notes what the borrower says at the end. */
  released(lease: Lease<unknown>, outcome: Outcome, latencyMillis: number, report: LoadReport | undefined): void {
    const loan = this.out.get(lease)
    if (loan === undefined) return
    this.out.delete(lease)
    loan.outcome = outcome
    loan.latencyMillis = latencyMillis
    loan.report = report
  }
}

/**
 * Makes an upstream that does what the test says.
 *
 * **Details**: a lease is as a real one: the first release wins, observers hear of it before anybody is woken, and latency
 * runs to the first response. A release with `Broken` is written down and changes nothing else. A name that is no
 * address, or a limit that is no number of leases, is a defect with an `OptionsError`.
 *
 * **Example** (Room for one)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Demand } from "@hawser/core"
 * import { TestUpstream } from "@hawser/testing"
 *
 * const program = Effect.gen(function*() {
 *   const upstream = yield* TestUpstream.make<string, string>({ connection: "socket", limit: 1 })
 *   const said: Array<string> = []
 *   upstream.subscribe(() => said.push("changed"))
 *   const lease = upstream.lease(Demand.make())
 *   said.push(upstream.lease(Demand.make())._tag)
 *   if (lease._tag === "Lease") lease.release("Success")
 *   upstream.become("TransientFailure", "connection refused")
 *   return [...said, upstream.lease(Demand.make())._tag, upstream.loans[0]?.outcome]
 * })
 * await Effect.runPromise(program) // => ["Full", "changed", "changed", "Failing", "Success"]
 * ```
 */
export const make = <C, E = never>(options: TestUpstreamOptions<C>): Effect.Effect<TestUpstream<C, E>> =>
  Effect.map(Clock.Clock, (clock) => new TestUpstream<C, E>(options, () => monotonicMillis(clock)))
