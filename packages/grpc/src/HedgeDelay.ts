/**
 * How long a hedge waits: a fixed time, or a percentile of the method's own latencies, learned while it runs.
 */

/** The wait in milliseconds before the next attempt of a method; infinite while it is not known. */
export interface HedgeDelay {
  of(method: string): number
  /** A first attempt ended after so long: with an answer (`whole`), or it was cut off and would have taken longer. */
  readonly learn?: ((method: string, millis: number, now: number, whole: boolean) => void) | undefined
}

/** A percentile as a policy has it, checked. */
export interface Percentile {
  readonly percentile: number
  readonly atLeastMillis: number
  readonly atMostMillis: number | undefined
}

/** One wait for all methods. */
const fixed = (millis: number): HedgeDelay => ({ of: () => millis })

// Buckets of an eighth of an octave from 1 ms on: 9 % of precision up to more than a minute.
const bucketsPerOctave = 8
const bucketCount = 136
/** With fewer samples nothing is known. */
const fewSamples = 20
/** A window is over after so many samples; or after so long, unless it has too few to know anything. */
const windowSamples = 1_000
const windowMillis = 60_000
/** The percentile is read anew after so many samples. */
const readEvery = 16
/** The most methods that are told apart; later ones are never known. */
const maxMethods = 1_000

/** The latencies of one method: two windows, so that there is always a full one. */
class Latencies {
  value = Infinity
  private readonly quantile: number
  private current = new Uint32Array(bucketCount)
  private previous = new Uint32Array(bucketCount)
  private samples = 0
  private samplesBefore = 0
  private sinceRead = 0
  private startedAt: number

  constructor(quantile: number, now: number) {
    this.quantile = quantile
    this.startedAt = now
  }

  add(millis: number, now: number): void {
    const old = this.samples >= fewSamples && now - this.startedAt >= windowMillis
    if (old || this.samples >= windowSamples) this.turn(now)
    const bucket = millis <= 1 ? 0 : Math.min(bucketCount - 1, Math.ceil(Math.log2(millis) * bucketsPerOctave))
    this.current[bucket]!++
    this.samples++
    if (this.samples + this.samplesBefore < fewSamples) return
    if (++this.sinceRead < readEvery && this.value < Infinity) return
    this.sinceRead = 0
    this.value = this.read()
  }

  /** The upper bound of the bucket that holds the percentile. */
  private read(): number {
    const rank = Math.ceil((this.samples + this.samplesBefore) * this.quantile)
    let seen = 0
    let i = -1
    while (seen < rank) {
      i++
      seen += this.current[i]! + this.previous[i]!
    }
    return 2 ** (i / bucketsPerOctave)
  }

  private turn(now: number): void {
    const reused = this.previous
    this.previous = this.current
    this.samplesBefore = this.samples
    this.current = reused.fill(0)
    this.samples = 0
    this.startedAt = now
  }
}

class Learned implements HedgeDelay {
  private readonly options: Percentile
  private readonly byMethod = new Map<string, Latencies>()

  constructor(options: Percentile) {
    this.options = options
  }

  of(method: string): number {
    const { atLeastMillis, atMostMillis = Infinity } = this.options
    return Math.min(atMostMillis, Math.max(atLeastMillis, this.byMethod.get(method)?.value ?? Infinity))
  }

  learn(method: string, millis: number, now: number, whole: boolean): void {
    let latencies = this.byMethod.get(method)
    // What was cut off early says nothing; what was cut off late must count, or slow answers would never be learned.
    if (!whole && (latencies === undefined || millis < latencies.value)) return
    if (latencies === undefined) {
      if (this.byMethod.size >= maxMethods) return
      latencies = new Latencies(this.options.percentile, now)
      this.byMethod.set(method, latencies)
    }
    latencies.add(millis, now)
  }
}

/** Makes what one hedged channel waits by. */
export const make = (delay: number | Percentile): HedgeDelay =>
  typeof delay === "number" ? fixed(delay) : new Learned(delay)
