/**
 * One connection from Ready to closed: its permits, the borrows in flight, and what was heard from the peer.
 *
 * It is used once. It never dials, and it never decides: its subchannel and the silence detector do.
 */
import type * as Scope from "effect/Scope"
import type { Demand } from "./Demand.ts"
import type { Endpoint } from "./Endpoint.ts"
import type { MethodEstimates } from "./Estimate.ts"
import type { Verdict } from "./Health.ts"
import { Full, type Lease, type LeaseObserver, type LoadReport, type Refusal } from "./Lease.ts"
import type { Outcome } from "./Outcome.ts"
import type { Session } from "./Session.ts"
import { longAgo } from "./Time.ts"

/** So many cancelled borrows, within so long, and the connection is exchanged. */
const maxCancels = 500
const cancelsWithinMillis = 10_000

/** Who is told what happens on a connection. */
export interface LiveOwner<C> {
  /** A permit came back, maybe with the news that the connection is broken, and every observer knows. */
  returned(live: LiveConnection<C>): void
  /** Its limit has changed, or its session has ended. */
  changedAt(live: LiveConnection<C>): void
}

/** What stands before a connection whose health is checked. */
export interface Gate {
  readonly verdict: Verdict
  /** A permit is free, or the limit has changed. */
  heed(): void
  /** Nothing is to be checked any more. */
  stop(): void
}

/** What a connection needs besides its session. */
export interface LiveOptions<C> {
  readonly endpoint: Endpoint
  readonly id: string
  readonly session: Session<C>
  readonly scope: Scope.Closeable
  readonly owner: LiveOwner<C>
  readonly methods: MethodEstimates
  /** The configured limit of borrows, if any. */
  readonly maxStreams: number
  /** For how many milliseconds it is to be used; default: until it ends. */
  readonly lifetime?: () => number
  readonly now: () => number
}

/** When a connection was asked for signs of life. */
export interface Asked {
  /** When this process was last found to have been frozen. */
  thawedAt: number
  /** When it was last asked, and how many borrows had been answered when it last had to show one. */
  pingedAt: number
  answeredAtPing: number
}

/** Borrows in a row that were given up although they should have been answered, while nothing at all was heard. */
export interface Unanswered {
  /** When the first one began. */
  readonly since: number
  /** When the last one was given up. */
  readonly until: number
  readonly count: number
  /** How long those usually take. */
  readonly usualMillis: number
}

/** One connection from Ready to closed. */
export class LiveConnection<C> {
  // First what each borrow looks at: of one among thousands, every line of memory costs a look beyond the cache.
  readonly session: Session<C>
  /** False from the moment at which no borrow may start: ended, broken, surplus or replaced. */
  lending = true
  /** False while its health check does not say that it may lend. */
  healthy = true
  /** Not lent until it has shown that it is still there: this process was frozen. */
  doubted = false
  /** When it was put aside for silence. */
  quarantinedAt: number | undefined = undefined
  inFlight = 0
  answered = 0
  /** Permits that are set aside for probes. */
  reserved = 0
  private readonly maxStreams: number
  /** The borrows that can be overdue, oldest first. */
  oldest: LiveLease<C> | undefined = undefined
  private newest: LiveLease<C> | undefined = undefined
  private repliedAt: number
  gate: Gate | undefined = undefined
  readonly owner: LiveOwner<C>
  readonly now: () => number
  private readonly methods: MethodEstimates
  /** What it was asked for a sign of life; most never are. */
  asked: Asked | undefined = undefined
  readonly connection: C
  readonly endpoint: Endpoint
  readonly id: string
  readonly scope: Scope.Closeable
  readonly openedAt: number
  /** Its peer allows no borrow at all, as it said last. */
  barred = false
  /** When it is to be exchanged for another one. */
  expiresAt: number
  /** Although it is put aside, its endpoint is known to be alive: what is slow there is the handler. */
  alive = false
  failed = 0
  /** After its loss, a redial waits for so long and for no backoff. */
  redialMillis: number | undefined = undefined
  /** What was given up since anything was heard: whoever is impatient leaves no borrow that is ever overdue. */
  unanswered: Unanswered | undefined = undefined
  private cancels: { since: number; count: number } | undefined = undefined

  constructor(options: LiveOptions<C>) {
    this.connection = options.session.connection
    this.session = options.session
    this.endpoint = options.endpoint
    this.id = options.id
    this.scope = options.scope
    this.owner = options.owner
    this.methods = options.methods
    this.maxStreams = options.maxStreams
    this.now = options.now
    // Whole milliseconds take no memory of their own.
    this.openedAt = Math.floor(options.now())
    this.expiresAt = Math.ceil(this.openedAt + (options.lifetime?.() ?? Infinity))
    this.repliedAt = this.openedAt
  }

  /** Hears of changes from now on. */
  follow(): void {
    this.barred = this.session.limit() === 0
    this.session.listen(() => {
      this.barred = this.session.limit() === 0
      this.gate?.heed()
      this.owner.changedAt(this)
    })
  }

  /** Hears no more. */
  unfollow(): void {
    this.session.listen(undefined)
  }

  /** So many borrows were cancelled on it in a short time that its peer may take offence. */
  get cancelledMany(): boolean {
    return this.cancels !== undefined && this.cancels.count >= maxCancels
  }

  /** When it was asked for signs of life, to be written down. */
  wasAsked(): Asked {
    return (this.asked ??= { thawedAt: longAgo, pingedAt: longAgo, answeredAtPing: -1 })
  }

  /** How many borrows at once, now. */
  limit(): number {
    const most = this.session.limit()
    if (this.reserved === 0) return Math.min(most, this.maxStreams)
    // Nothing is left for borrows: the probe must hear of it.
    if (most <= this.reserved) this.gate?.heed()
    return Math.max(0, Math.min(most - this.reserved, this.maxStreams))
  }

  /** For snapshots. */
  details(): Record<string, string | number | boolean> {
    const { answered, doubted, failed, quarantinedAt } = this
    return { limit: this.limit(), answered, failed, quarantined: quarantinedAt !== undefined, doubted }
  }

  /** Whether it may lend, if there is room. */
  get lends(): boolean {
    return this.lending && this.healthy && !this.doubted
  }

  /** Whether a borrow could start now. */
  hasRoom(): boolean {
    return this.lends && this.inFlight < this.limit()
  }

  /** When the peer was last heard. */
  heardAt(): number {
    return Math.max(this.session.heardAt(), this.repliedAt)
  }

  /** Asks for a sign of life. False: it can't be asked. */
  ask(now: number, answered: () => void): boolean {
    if (this.session.ping?.(answered) !== true) return false
    this.wasAsked().pingedAt = now
    return true
  }

  lease(demand: Demand, now?: number): Lease<C> | Refusal<never> {
    return this.hasRoom() ? this.grant(demand, now) : Full
  }

  /** Lends to whoever has seen that there is room. */
  grant(demand: Demand, now?: number): Lease<C> {
    const lease = new LiveLease(this, demand, now ?? this.now())
    this.inFlight++
    if (demand.method !== undefined) this.link(lease)
    return lease
  }

  /** Books a release: counts first, so that whoever is woken sees them lowered. */
  book(lease: LiveLease<C>, outcome: Outcome, millis: number, now: number): void {
    this.inFlight--
    const method = lease.demand.method
    if (method !== undefined) this.unlink(lease)
    if (outcome === "Success" || outcome === "Overloaded") {
      this.answered++
      // Whole milliseconds take no memory of their own.
      this.repliedAt = Math.ceil(now)
      if (method !== undefined && this.teaches(method)) this.methods.add(method, millis, now)
      return
    }
    if (method !== undefined && outcome !== "Broken") this.givenUp(method, lease, now)
    if (outcome === "Neutral") return this.countCancel(now)
    this.failed++
    if (outcome === "Broken") this.lending = false
  }

  /** Servers cut connections on which calls are cancelled in quick succession (CVE-2023-44487): Node at a thousand. */
  private countCancel(now: number): void {
    if (this.cancels === undefined || now - this.cancels.since > cancelsWithinMillis) {
      this.cancels = { since: now, count: 0 }
    }
    if (++this.cancels.count < maxCancels) return
    this.expiresAt = now
  }

  private givenUp(method: string, { demand, startedAt }: LiveLease<C>, now: number): void {
    const before = this.unanswered
    const heard = this.heardAt()
    if (heard > startedAt) {
      this.unanswered = undefined
      return
    }
    const usualMillis = this.methods.get(method) ?? (demand.deadline - startedAt) / 2
    if (now - startedAt < usualMillis) return
    const first = before === undefined || heard > before.since
    const since = first ? startedAt : Math.min(before.since, startedAt)
    this.unanswered = { since, until: now, count: first ? 1 : before.count + 1, usualMillis }
  }

  /**
   * Whether an answer says how long the method takes. One that a silent path held up does not, unless it is all that is
   * known, or the server is known to be alive: else a handler that is slow would always be taken for silent.
   */
  private teaches(method: string): boolean {
    return this.quarantinedAt === undefined || this.alive || this.methods.get(method) === undefined
  }

  /** Last step of a release. */
  settle(): void {
    this.gate?.heed()
    this.owner.returned(this)
  }

  /** Tells every borrower that can be overdue, or those that `which` names, once, that this path is given up. */
  giveUp(which?: (lease: LiveLease<C>) => boolean): void {
    const demands: Array<Demand> = []
    for (let l = this.oldest; l !== undefined; l = l.next) {
      if (l.givenUp || which?.(l) === false) continue
      demands.push(l.demand)
      l.givenUp = true
    }
    for (const demand of demands) demand.lost?.()
  }

  private link(lease: LiveLease<C>): void {
    lease.prev = this.newest
    if (this.newest === undefined) this.oldest = lease
    else this.newest.next = lease
    this.newest = lease
  }

  private unlink(lease: LiveLease<C>): void {
    if (lease.prev === undefined) this.oldest = lease.next
    else lease.prev.next = lease.next
    if (lease.next === undefined) this.newest = lease.prev
    else lease.next.prev = lease.prev
    lease.prev = lease.next = undefined
  }
}

const unreleased = -1

/** The lease of a live connection. */
export class LiveLease<C> implements Lease<C> {
  declare readonly _tag: "Lease"
  readonly startedAt: number
  /** Negative until then. */
  releasedAt = unreleased
  readonly demand: Demand
  prev: LiveLease<C> | undefined = undefined
  next: LiveLease<C> | undefined = undefined
  /** Whether the borrower was told that its path is given up. */
  givenUp = false
  private readonly live: LiveConnection<C>
  private respondedAt = -1
  private first: LeaseObserver | undefined = undefined
  private rest: Array<LeaseObserver> | undefined = undefined

  constructor(live: LiveConnection<C>, demand: Demand, startedAt: number) {
    this.live = live
    this.demand = demand
    this.startedAt = startedAt
  }

  get connection(): C {
    return this.live.connection
  }
  get endpoint(): Endpoint {
    return this.live.endpoint
  }
  get id(): string {
    return this.live.id
  }

  observe(observer: LeaseObserver): void {
    if (this.first === undefined) this.first = observer
    else if (this.rest === undefined) this.rest = [observer]
    else this.rest.push(observer)
  }

  responded(): void {
    if (this.respondedAt < 0) this.respondedAt = this.live.now()
  }

  release(outcome: Outcome, report?: LoadReport): void {
    if (this.releasedAt !== unreleased) return
    const { live } = this
    const now = (this.releasedAt = live.now())
    const millis = (this.respondedAt < 0 ? now : this.respondedAt) - this.startedAt
    // What ended badly over a freeze of ours is nobody's fault.
    const judged = outcome === "Failure" && this.startedAt < (live.asked?.thawedAt ?? longAgo) ? "Neutral" : outcome
    live.book(this, judged, millis, now)
    if (this.first !== undefined) this.first.released(this, judged, millis, report)
    if (this.rest !== undefined) for (const o of this.rest) o.released(this, judged, millis, report)
    live.settle()
  }
}
Object.defineProperty(LiveLease.prototype, "_tag", { value: "Lease", enumerable: true })
