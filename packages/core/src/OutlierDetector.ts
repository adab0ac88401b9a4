/**
 * Finds members that do worse than they must, and keeps them out for a while.
 *
 * Outcomes are counted as calls end; failures in a row are judged at once, everything else at the end of each interval. An
 * ejected member is left alone for its time, then gets one call as a trial: success readmits it, failure ejects it for
 * longer. It never decides who is picked: the balancer reads its verdicts. Load is no death: `Overloaded` never ejects, and
 * neither does what we cancelled, or what failed because this process itself stood still.
 */
import type { Ejection } from "./Ejection.ts"
import type { EjectionRule, Event } from "./Event.ts"
import type { Outcome } from "./Outcome.ts"
import type { Outlier } from "./Outlier.ts"
import { hopeless, nothing, OutlierRecord, type Verdict } from "./OutlierRecord.ts"
import * as Rules from "./OutlierRules.ts"

/** After a trial that said nothing the next one waits for so long. */
const inconclusiveMillis = 1_000
/** After a stall of our own, calls that it may have made late are excused for so long at least. */
const excusedMillis = 250

/** What a call usually takes is averaged over about so many. */
const usualCalls = 16

/** A member, as the detector sees it. */
export interface Subject {
  readonly name: string
  /** What `Ejection` knows it by. */
  readonly upstream: object
  /** Made by the detector at the first call that ends. */
  record: OutlierRecord | undefined
}

/** What the detector needs. */
export interface DetectorOptions {
  readonly policy: Outlier
  readonly ejection: Ejection
  /** By priority; each in the order of its endpoints. */
  readonly tiers: () => Iterable<ReadonlyArray<Subject>>
  /** Whether everybody is used, whatever was found. */
  readonly panic: () => boolean
  readonly random: () => number
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly publish: (event: Event) => void
  /** A verdict has changed. */
  readonly changed: () => void
}

/** What a rule has found. */
interface Finding {
  readonly rule: EjectionRule
  readonly value: number
  readonly limit: number
}

/** Judges the members of one balancer. */
export class OutlierDetector {
  private readonly options: DetectorOptions
  private sweepAt: number
  private sweptAt: number
  /** Whether anything was counted since the last sweep. */
  private counted = false
  /** Calls that began before and failed until then are excused. */
  private stall = { before: -Infinity, until: -Infinity }

  constructor(options: DetectorOptions) {
    this.options = options
    this.sweptAt = options.now()
    this.sweepAt = this.sweptAt + options.policy.intervalMillis
  }

  /** A call has ended. `millis` is its latency; `deadline` is its own, as a monotonic time. */
  completed(subject: Subject, outcome: Outcome, startedAt: number, millis: number, deadline = Infinity): void {
    const record = (subject.record ??= new OutlierRecord())
    this.counted = true
    const { verdict } = record
    switch (outcome) {
      case "Success":
        record.successes++
        record.inARow = 0
        record.usualMillis += record.usualMillis === 0 ? millis : (millis - record.usualMillis) / usualCalls
        if (this.options.policy.latency !== undefined) record.took(millis)
        if (verdict !== undefined && startedAt >= verdict.until) this.redeem(subject, record, verdict)
        return
      case "Failure":
        if (this.excused(startedAt) || hopeless(record, startedAt, millis, deadline)) return
        record.failures++
        record.inARow++
        this.failed(subject, record, startedAt)
        return
      // That the connection is gone everybody sees, and what comes of it is a matter of dialling.
      case "Broken":
        record.failures++
        return
      default:
        // Speaks neither for it nor against it.
        if (verdict !== undefined && startedAt >= verdict.until) {
          record.triedUntil = this.options.now() + inconclusiveMillis
        }
    }
  }

  /** Whether a member against which something was found may be tried now. */
  due(subject: Subject, now: number): boolean {
    const { record } = subject
    if (this.options.policy.a50 || record?.verdict === undefined) return false
    return now >= record.verdict.until && now >= record.triedUntil
  }

  /** A call to a member that is ejected has begun. */
  tried(record: OutlierRecord, now: number): void {
    if (record.verdict === undefined || this.options.panic()) return
    record.triedUntil = now + Math.max(inconclusiveMillis, this.time(record.multiplier, record.verdict.rule))
  }

  /** Judges the interval when it is over. Called every so often while there is traffic, or `pending`. */
  tick(now: number, deafMillis: number): void {
    if (deafMillis > 0) this.stall = { before: now, until: now + Math.max(excusedMillis, deafMillis) }
    if (now < this.sweepAt) return
    const { intervalMillis } = this.options.policy
    // Nobody ticks without traffic: the intervals that were missed were empty, and healthy.
    const missed = intervalMillis === 0 ? 0 : Math.floor((now - this.sweepAt) / intervalMillis)
    for (const tier of this.options.tiers()) this.sweep(tier, now, missed)
    this.counted = false
    this.sweptAt = now
    this.sweepAt = intervalMillis === 0 ? now : this.sweepAt + (missed + 1) * intervalMillis
  }

  /** Whether there is something to be judged at the end of this interval. */
  pending(): boolean {
    return this.counted
  }

  /** A member has a new connection, after it had none. */
  reconnected(subject: Subject): void {
    // gRFC A50 knows addresses only.
    if (!this.options.policy.a50) subject.record?.reset(this.options.now())
  }

  /** A member leads elsewhere than before. */
  forgiven(subject: Subject): void {
    const { record } = subject
    if (record === undefined) return
    const { verdict } = record
    record.reset(this.options.now())
    if (verdict?.ejected === true) this.readmit(subject, record)
    else if (verdict !== undefined) {
      record.verdict = undefined
      this.options.changed()
    }
  }

  /** A member is gone. */
  removed(subject: Subject): void {
    this.options.ejection.forget(subject.upstream)
    subject.record = undefined
  }

  /** There are other members than before: nobody stays ejected beyond the cap. */
  updated(): void {
    const { ejection, policy, tiers } = this.options
    for (const tier of tiers()) {
      const out = tier.filter((m) => m.record?.verdict?.ejected === true)
      out.sort((a, b) => a.record!.verdict!.since - b.record!.verdict!.since)
      for (const subject of out) {
        const over = policy.a50 ? ejection.share(subject.upstream).only : ejection.excess(subject.upstream)
        if (over) this.readmit(subject, subject.record!)
      }
    }
  }

  private excused(startedAt: number): boolean {
    return startedAt < this.stall.before && this.options.now() <= this.stall.until
  }

  private failed(subject: Subject, record: OutlierRecord, startedAt: number): void {
    const { panic, policy } = this.options
    const { inARow, verdict } = record
    if (verdict?.ejected === true) {
      // In panic nobody is on trial: that all fail says nothing of one.
      if (startedAt < verdict.until || policy.a50 || panic()) return
      this.eject(subject, record, { rule: "trial", value: inARow, limit: 1 }, this.options.now())
      return
    }
    const limit = policy.consecutiveFailures?.failures ?? Infinity
    if (inARow < limit) return
    const now = this.options.now()
    if (verdict === undefined || now >= verdict.until) {
      this.judge(subject, record, { rule: "consecutive-failures", value: inARow, limit }, now)
    }
  }

  /** A call that began after its time was over has succeeded. */
  private redeem(subject: Subject, record: OutlierRecord, verdict: Verdict): void {
    if (this.options.policy.a50) return
    if (verdict.ejected) return this.readmit(subject, record)
    record.verdict = undefined
    this.options.changed()
  }

  private sweep(tier: ReadonlyArray<Subject>, now: number, missed: number): void {
    const { policy } = this.options
    for (const { record } of tier) record?.swap()
    if (policy.successRate !== undefined) this.successRate(policy.successRate, tier, now)
    if (policy.failurePercentage !== undefined) this.failurePercentage(policy.failurePercentage, tier, now)
    if (policy.latency !== undefined) this.latency(policy.latency, tier, now)
    for (const subject of tier) {
      const { record } = subject
      if (record === undefined) continue
      if (record.verdict?.ejected !== true) this.decay(record, missed)
      else if (policy.a50 && now > record.verdict.until) this.readmit(subject, record)
    }
  }

  private decay(record: OutlierRecord, missed: number): void {
    // The whole interval has to be healthy; to gRFC A50 its end is enough.
    const healthy = this.options.policy.a50 || record.readmittedAt <= this.sweptAt
    record.multiplier = Math.max(0, record.multiplier - missed - (healthy ? 1 : 0))
  }

  private successRate(rule: Rules.SuccessRate, tier: ReadonlyArray<Subject>, now: number): void {
    const limits = Rules.successLimit(tier.map(tally), rule)
    if (limits === undefined) return
    for (const subject of this.worstFirst(tier, (m) => Rules.rate(tally(m)))) {
      if (this.enough(subject)) return
      const calls = Rules.volume(tally(subject))
      if (calls < rule.requestVolume || calls === 0) continue
      const value = Rules.rate(tally(subject))
      const limit = limits(calls)
      if (value < limit && this.drawn(rule.enforcement)) {
        this.judge(subject, subject.record!, { rule: "success-rate", value, limit }, now)
      }
    }
  }

  private failurePercentage(rule: Rules.FailurePercentage, tier: ReadonlyArray<Subject>, now: number): void {
    if (!Rules.percentageApplies(tier.map(tally), rule)) return
    for (const subject of this.worstFirst(tier, (m) => -Rules.failurePercentage(tally(m)))) {
      if (this.enough(subject)) return
      if (Rules.volume(tally(subject)) < rule.requestVolume) continue
      const value = Rules.failurePercentage(tally(subject))
      if (value > rule.threshold && this.drawn(rule.enforcement)) {
        this.judge(subject, subject.record!, { rule: "failure-percentage", value, limit: rule.threshold }, now)
      }
    }
  }

  private latency(rule: Rules.Latency, tier: ReadonlyArray<Subject>, now: number): void {
    const medians = tier.map((m) => m.record?.takeMedian(rule.requestVolume))
    const limits = Rules.latencyLimits(medians, rule)
    tier.forEach((subject, i) => {
      const { record } = subject
      if (record === undefined) return
      const value = medians[i] ?? 0
      const limit = limits[i] ?? Infinity
      record.slow = value > limit ? record.slow + 1 : 0
      if (record.slow >= rule.intervals) this.judge(subject, record, { rule: "latency", value, limit }, now)
    })
  }

  /** Where not all may be ejected, the worst are. gRFC A50 goes by the order of the addresses. */
  private worstFirst(tier: ReadonlyArray<Subject>, by: (subject: Subject) => number): ReadonlyArray<Subject> {
    return this.options.policy.a50 ? tier : tier.toSorted((a, b) => by(a) - by(b))
  }

  /** To gRFC A50. It looks before each ejection, so that one is ejected however few there are. */
  private enough(subject: Subject): boolean {
    const { ejection, policy } = this.options
    return policy.a50 && ejection.share(subject.upstream).share >= policy.maximumEjected
  }

  private drawn(enforcement: number): boolean {
    return enforcement >= 100 || Math.floor(this.options.random() * 100) < enforcement
  }

  private judge(subject: Subject, record: OutlierRecord, finding: Finding, now: number): void {
    const { changed, ejection, panic, policy } = this.options
    const { verdict } = record
    if (policy.a50) {
      // What is ejected already is ejected again; but the only one never is.
      if (!ejection.share(subject.upstream).only) this.eject(subject, record, finding, now)
      return
    }
    if (verdict?.ejected === true) return
    if (ejection.may(subject.upstream)) return this.eject(subject, record, finding, now)
    // It fails again: while another tier is used, it is tried ever more seldom.
    const times = verdict === undefined || panic() ? 1 : verdict.times + 1
    const hold = finding.rule === "consecutive-failures" ? this.time(times, finding.rule) : policy.intervalMillis
    record.verdict = { ...finding, since: verdict?.since ?? now, until: now + hold, times, ejected: false }
    if (verdict === undefined) changed()
  }

  private eject(subject: Subject, record: OutlierRecord, finding: Finding, now: number): void {
    const { changed, ejection, publish } = this.options
    record.multiplier++
    const rule = finding.rule === "trial" ? record.verdict!.rule : finding.rule
    const millis = this.time(record.multiplier, rule)
    record.verdict = { ...finding, rule, since: now, until: now + millis, times: record.multiplier, ejected: true }
    record.triedUntil = -Infinity
    record.slow = 0
    ejection.add(subject.upstream, "outlier")
    publish({ _tag: "Ejected", endpoint: subject.name, ...finding, millis })
    changed()
  }

  private readmit(subject: Subject, record: OutlierRecord): void {
    const now = this.options.now()
    const { rule, since } = record.verdict!
    record.verdict = undefined
    record.readmittedAt = now
    record.inARow = 0
    this.options.ejection.remove(subject.upstream, "outlier")
    this.options.publish({ _tag: "Readmitted", endpoint: subject.name, rule, millis: now - since })
    this.options.changed()
  }

  /** How long the n-th ejection lasts. Who failed every call is tried sooner: one success refutes that, as no other rule. */
  private time(n: number, rule: EjectionRule): number {
    const { baseMillis, consecutiveFailures, maxMillis } = this.options.policy
    const longest = Math.min(baseMillis * n, Math.max(baseMillis, maxMillis))
    if (rule !== "consecutive-failures" || consecutiveFailures === undefined) return longest
    return Math.min(consecutiveFailures.firstTrialMillis * 2 ** (n - 1), longest)
  }
}

const tally = (subject: Subject): Rules.Tally => subject.record?.last ?? nothing
