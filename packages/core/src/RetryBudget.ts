/**
 * How many second tries a client may afford.
 *
 * Why a budget and not only a number of attempts: three attempts each are harmless for one unlucky call and three times
 * the load for a service that is already down. A budget allows the first and stops the second. It never delays and never
 * queues: it says no.
 */
import { Issues } from "./OptionsError.ts"

/** The parameters of a budget. Defaults are Finagle's. */
export interface RetryBudgetOptions {
  /** Retries per call, from 0 to 1000. Default 0.2. */
  readonly ratio?: number | undefined
  /** Retries per second that are always allowed, so that a client with little traffic may retry at all. From 0
   * to 1,000,000. Default 10. */
  readonly minPerSecond?: number | undefined
  /** How long a call counts, in seconds, from 1 to 600. Default 10. */
  readonly windowSeconds?: number | undefined
}

/** Shared by everything that sends again: retries, hedges, resumed streams. Times are monotonic milliseconds. */
export interface RetryBudget {
  /** A call began. Once per call, not per attempt. */
  deposit(now: number): void
  /** Takes one retry, if there is one. */
  withdraw(now: number): boolean
  /** How many retries could be taken now. */
  balance(now: number): number
}

const slices = 10

class Windowed implements RetryBudget {
  private readonly ratio: number
  private readonly reserve: number
  private readonly perMilli: number
  private readonly width: number
  private readonly deposits = new Float64Array(slices)
  /** One slice longer than deposits, so that the promise holds for any window and not only for whole slices. */
  private readonly withdrawals = new Float64Array(slices + 1)
  private deposited = 0
  private withdrawn = 0
  private slice = -Infinity
  /**
   * What has been earned and not spent since the budget was empty last. Without it, the retries of the first moment of an
   * outage would all come back together when the window lets go of them, and again after each window.
   */
  private earned: number
  private at = -Infinity

  constructor(ratio: number, minPerSecond: number, windowSeconds: number) {
    this.ratio = ratio
    this.reserve = minPerSecond * windowSeconds
    this.perMilli = minPerSecond / 1000
    this.earned = this.reserve
    this.width = (windowSeconds * 1000) / slices
  }

  deposit(now: number): void {
    this.turn(now)
    this.deposits[this.slice % slices]! += 1
    this.deposited += 1
    this.earned += this.ratio
  }

  withdraw(now: number): boolean {
    this.turn(now)
    const { left } = this
    if (left < 1) this.earned = Math.min(this.earned, Math.max(0, left))
    // Sums of fractions fall a little short.
    if (left < 1 || this.earned < 1 - 1e-9) return false
    this.earned -= 1
    this.withdrawals[this.slice % (slices + 1)]! += 1
    this.withdrawn += 1
    return true
  }

  balance(now: number): number {
    this.turn(now)
    return Math.min(this.left, this.earned)
  }

  /** What the window has left. */
  private get left(): number {
    return this.reserve + this.deposited * this.ratio - this.withdrawn
  }

  private turn(now: number): void {
    if (now > this.at) {
      if (this.at >= 0) this.earned += this.perMilli * (now - this.at)
      this.at = now
    }
    this.forget(now)
    this.earned = Math.min(this.earned, this.reserve + this.deposited * this.ratio)
  }

  /** Forgets the slices that have left the window. */
  private forget(now: number): void {
    const slice = Math.max(0, Math.floor(now / this.width))
    if (slice <= this.slice) return
    for (let s = Math.max(this.slice + 1, slice - slices, 0), n = 0; n <= slices && s <= slice; s++, n++) {
      const deposit = s % slices
      const withdrawal = s % (slices + 1)
      this.deposited -= this.deposits[deposit]!
      this.withdrawn -= this.withdrawals[withdrawal]!
      this.deposits[deposit] = 0
      this.withdrawals[withdrawal] = 0
    }
    this.slice = slice
  }
}

/**
 * Makes a budget: in any window, at most `ratio` × calls + `minPerSecond` × window retries. Throws an `OptionsError` for
 * values out of bounds.
 *
 * **Details**: a budget that was not used may be spent at once; one that was empty comes back as it is earned, call by
 * call and second by second.
 *
 * ```ts import.meta.vitest
 * import { RetryBudget } from "@hawser/core"
 *
 * const budget = RetryBudget.make({ ratio: 0.5, minPerSecond: 0 })
 * budget.withdraw(0) // => false
 * budget.deposit(0)
 * budget.deposit(0)
 * budget.withdraw(1) // => true
 * budget.withdraw(2) // => false
 * ```
 */
export const make = (options: RetryBudgetOptions = {}): RetryBudget => {
  const { ratio = 0.2, minPerSecond = 10, windowSeconds = 10 } = options
  const issues = new Issues()
  issues.check(ratio >= 0 && ratio <= 1000, "ratio", "a number from 0 to 1000", ratio)
  const nothing = ratio === 0 && minPerSecond === 0
  issues.check(
    !nothing,
    "ratio",
    "above 0, or minPerSecond above 0: without a budget of anything, have no retries",
    ratio
  )
  issues.check(minPerSecond >= 0 && minPerSecond <= 1e6, "minPerSecond", "a number from 0 to 1,000,000", minPerSecond)
  issues.check(windowSeconds >= 1 && windowSeconds <= 600, "windowSeconds", "a number from 1 to 600", windowSeconds)
  issues.throwIfAny()
  return new Windowed(ratio, minPerSecond, windowSeconds)
}
