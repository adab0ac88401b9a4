/**
 * What is remembered of one member for the sake of outlier detection.
 *
 * It is made at the first call that ends, so that idle members cost nothing; counting a call is a few increments. It never
 * decides: the detector does.
 */
import type { EjectionRule } from "./Event.ts"
import type { Tally } from "./OutlierRules.ts"

/** No calls. */
export const nothing: Tally = { successes: 0, failures: 0 }

/** Buckets of a quarter of an octave from 1 ms on. */
const bucketsPerOctave = 4
const bucketCount = 68

/** The latencies of one interval. */
class Latencies {
  private readonly buckets = new Uint32Array(bucketCount)
  private samples = 0

  add(millis: number): void {
    const bucket = millis <= 1 ? 0 : Math.min(bucketCount - 1, Math.ceil(Math.log2(millis) * bucketsPerOctave))
    this.buckets[bucket]!++
    this.samples++
  }

  /** The upper bound of the bucket that holds the median; `undefined` with fewer than `least` samples. */
  median(least: number): number | undefined {
    if (this.samples < Math.max(1, least)) return undefined
    let seen = 0
    let i = 0
    while (seen + this.buckets[i]! < this.samples / 2) seen += this.buckets[i++]!
    return 2 ** (i / bucketsPerOctave)
  }

  clear(): void {
    this.buckets.fill(0)
    this.samples = 0
  }
}

/** A rule's verdict on a member. */
export interface Verdict {
  readonly rule: EjectionRule
  /** What was found, and what is the limit. */
  readonly value: number
  readonly limit: number
  readonly since: number
  /** Until then it is not tried again. */
  readonly until: number
  /** For the n-th time. */
  readonly times: number
  /** False where the rule is met but no more may be ejected: it goes on being used, and counts towards panic. */
  readonly ejected: boolean
}

/** What is remembered of one member. */
export class OutlierRecord {
  // First what each call that ends looks at, as in a LiveConnection.
  verdict: Verdict | undefined = undefined
  /** The bucket that is counted in. */
  successes = 0
  failures = 0
  /** Failures in a row. */
  inARow = 0
  /** What a call that succeeds takes, about. */
  usualMillis = 0
  /** The bucket of the last interval. */
  last: Tally = nothing
  /** How often it was ejected of late: lengthens the next ejection. */
  multiplier = 0
  /** While its trial runs: until then there is no second one. */
  triedUntil = -Infinity
  readmittedAt = -Infinity
  /** Intervals in a row in which it was too slow. */
  slow = 0
  private latencies: Latencies | undefined = undefined

  /** Puts the counts of this interval aside, and starts with empty ones. */
  swap(): void {
    if (this.successes === 0 && this.failures === 0) {
      this.last = nothing
      return
    }
    this.last = { successes: this.successes, failures: this.failures }
    this.successes = this.failures = 0
  }

  /** Notes a latency for the latency rule. */
  took(millis: number): void {
    this.latencies ??= new Latencies()
    this.latencies.add(millis)
  }

  /** The median since it was asked last. */
  takeMedian(least: number): number | undefined {
    const median = this.latencies?.median(least)
    this.latencies?.clear()
    return median
  }

  /** Forgets what a connection did that is gone. What was ejected may be tried at once. */
  reset(now: number): void {
    this.inARow = 0
    this.successes = this.failures = this.slow = 0
    this.triedUntil = -Infinity
    if (this.verdict !== undefined) this.verdict = { ...this.verdict, until: Math.min(this.verdict.until, now) }
  }
}

/** A deadline that passed no sooner than so long before the call ended is what ended it. */
const slackMillis = 2

/**
 * Whether a call ran into its deadline because too little was left of it when it was sent, after a wait in the queue: then it
 * says that there is too much to do, and nothing of the member. Else an overload of all would look like the death of all.
 */
export const hopeless = (record: OutlierRecord, startedAt: number, millis: number, deadline: number): boolean =>
  startedAt + millis >= deadline - slackMillis && deadline - startedAt < record.usualMillis

/** What a snapshot shows of it: who is out, why, since when, and when it is tried. */
export const details = (
  record: OutlierRecord | undefined,
  now: number
): Readonly<Record<string, string | number | boolean>> => {
  if (record === undefined) return { ejected: false }
  const { inARow, last, multiplier, verdict } = record
  const calls = last.successes + last.failures
  return {
    ejected: verdict?.ejected === true,
    failuresInARow: inARow,
    multiplier,
    ...(calls > 0 ? { calls, successRate: Math.round((last.successes / calls) * 1e4) / 1e4 } : {}),
    ...(verdict === undefined
      ? {}
      : {
          // Met, though nobody else may be ejected.
          ...(verdict.ejected ? {} : { spared: true }),
          rule: verdict.rule,
          value: verdict.value,
          limit: verdict.limit,
          sinceMillis: Math.round(now - verdict.since),
          triedInMillis: Math.max(0, Math.round(verdict.until - now))
        })
  }
}
