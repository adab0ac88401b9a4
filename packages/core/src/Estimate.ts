/**
 * A latency estimate that believes bad news at once and good news soon: the peak-EWMA of Finagle.
 */

/** After this long without news a sample counts for 63 %. Finagle's default. */
const decayMillis = 10_000

/**
 * A peak-EWMA of latencies, in milliseconds: up at once, down by 63 % of the distance after 10 s without news.
 *
 * ```ts import.meta.vitest
 * import { Estimate } from "@hawser/core"
 *
 * const estimate = new Estimate.Estimate(false)
 * estimate.add(10, 0)
 * estimate.add(100, 1)
 * estimate.value // => 100
 * estimate.add(10, 10_001)
 * Math.round(estimate.value) // => 43
 *
 * // The estimates of a balancer restart: a server that was slow once is soon tried again.
 * const restarting = new Estimate.Estimate(true)
 * restarting.add(100, 0)
 * restarting.add(10, 1)
 * restarting.value // => 10
 * ```
 */
export class Estimate {
  /** 0 until the first sample. */
  value = 0
  /** Whether anything was learned yet. */
  known = false
  private stampedAt = 0
  private readonly restarts: boolean

  /** `restarts`: a sample below half the estimate restarts it there, so that what was slow once is soon tried again. */
  constructor(restarts: boolean) {
    this.restarts = restarts
  }

  /** Takes a sample at a monotonic time. */
  add(millis: number, now: number): void {
    if (!this.known || millis >= this.value || (this.restarts && millis * 2 < this.value)) {
      this.value = millis
    } else {
      // A stream that answered early and ended late brings an old sample: it must not make time run backwards.
      const age = Math.max(0, now - this.stampedAt) / decayMillis
      // Of a short time, 1 - exp(-age) is the age, within 0.05 %.
      this.value += (millis - this.value) * (age < 0.001 ? age : 1 - Math.exp(-age))
    }
    this.known = true
    this.stampedAt = Math.max(this.stampedAt, now)
  }

  /** Forgets everything. */
  reset(): void {
    this.value = 0
    this.known = false
  }
}

/** Buckets of a quarter of an octave from 1 ms on: 19 % of precision up to more than a minute. */
const bucketsPerOctave = 4
const bucketCount = 68
/** A window is over after so many samples and so long, or after the longest time. */
const windowSamples = 100
const windowMillis = 1_000
const maxWindowMillis = 60_000
/** With fewer samples than this the slowest one counts. */
const fewSamples = 20
const quantile = 0.95

/**
 * What a method usually takes at most: the 95th percentile of its latest answers.
 *
 * **Details**: a percentile, because a single slow answer (a stall of this process, a pause of the server) must not make
 * us patient for long; and the slowest answer while there are few, because that is all there is to know.
 */
class Usual {
  private current = new Uint32Array(bucketCount)
  private previous = new Uint32Array(bucketCount)
  private samples = 0
  private samplesBefore = 0
  private startedAt: number

  constructor(now: number) {
    this.startedAt = now
  }

  add(millis: number, now: number): void {
    const age = now - this.startedAt
    if ((this.samples >= windowSamples && age >= windowMillis) || age >= maxWindowMillis) this.turn(now)
    const bucket = millis <= 1 ? 0 : Math.min(bucketCount - 1, Math.ceil(Math.log2(millis) * bucketsPerOctave))
    this.current[bucket]!++
    this.samples++
  }

  /** The upper bound of the bucket that holds the percentile. */
  millis(): number {
    const total = this.samples + this.samplesBefore
    const rank = total < fewSamples ? total : Math.ceil(total * quantile)
    let seen = 0
    for (let i = 0; i < bucketCount; i++) {
      seen += this.current[i]! + this.previous[i]!
      if (seen >= rank) return 2 ** (i / bucketsPerOctave)
    }
    return Infinity
  }

  private turn(now: number): void {
    if (this.samples > 0) {
      const reused = this.previous
      this.previous = this.current
      this.samplesBefore = this.samples
      this.current = reused.fill(0)
      this.samples = 0
    }
    this.startedAt = now
  }
}

/** The most methods that are told apart; later ones have no estimate. */
const maxMethods = 1_000

/**
 * How long the calls of each method usually take at most, over all endpoints: what "overdue" is measured by.
 *
 * **Details**: the 95th percentile of the last two windows of at least 100 answers and 1 s, or 60 s; with fewer than 20
 * answers the slowest of them. It is rounded up by at most 19 %, and never below 1 ms. 1,000 methods are told apart;
 * later ones have no estimate.
 *
 * ```ts import.meta.vitest
 * import { Estimate } from "@hawser/core"
 *
 * const methods = new Estimate.MethodEstimates()
 * methods.get("/shop.Orders/Get") // => undefined
 *
 * methods.add("/shop.Orders/Get", 4_000, 0)
 * methods.get("/shop.Orders/Get") // => 4096
 *
 * // One slow answer among twenty is no longer what is usual.
 * for (let i = 1; i < 20; i++) methods.add("/shop.Orders/Get", 16, i)
 * methods.get("/shop.Orders/Get") // => 16
 * ```
 */
export class MethodEstimates {
  private readonly byMethod = new Map<string, Usual>()
  /** The one that was found last: most clients call one method most of the time. */
  private lastMethod: string | undefined = undefined
  private lastUsual: Usual | undefined = undefined

  /** Takes the latency of an answered call. */
  add(method: string, millis: number, now: number): void {
    let usual = method === this.lastMethod ? this.lastUsual : this.byMethod.get(method)
    if (usual === undefined) {
      if (this.byMethod.size >= maxMethods) return
      usual = new Usual(now)
      this.byMethod.set(method, usual)
    }
    this.lastMethod = method
    this.lastUsual = usual
    usual.add(millis, now)
  }

  /** Milliseconds, or `undefined` while nothing is known. */
  get(method: string): number | undefined {
    return this.byMethod.get(method)?.millis()
  }
}
