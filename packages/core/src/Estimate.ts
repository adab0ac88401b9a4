/**
 * A latency estimate that believes bad news at once and good news soon: the peak-EWMA of Finagle.
 */

/** After this long without news a sample counts for 63 %. Finagle's default. */
const decayMillis = 10_000

/** A peak-EWMA of latencies, in milliseconds. */
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
      const weight = Math.exp((this.stampedAt - now) / decayMillis)
      this.value = this.value * weight + millis * (1 - weight)
    }
    this.known = true
    this.stampedAt = now
  }

  /** Forgets everything. */
  reset(): void {
    this.value = 0
    this.known = false
  }
}

/** The most methods that are told apart; later ones have no estimate. */
const maxMethods = 1_000

/** How long the calls of each method take, over all endpoints: what "overdue" is measured by. */
export class MethodEstimates {
  private readonly byMethod = new Map<string, Estimate>()

  /** Takes the latency of an answered call. */
  add(method: string, millis: number, now: number): void {
    let estimate = this.byMethod.get(method)
    if (estimate === undefined) {
      if (this.byMethod.size >= maxMethods) return
      estimate = new Estimate(false)
      this.byMethod.set(method, estimate)
    }
    estimate.add(millis, now)
  }

  /** Milliseconds, or `undefined` while nothing is known. */
  get(method: string): number | undefined {
    return this.byMethod.get(method)?.value
  }
}
