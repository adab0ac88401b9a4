/**
 * The retry throttle of gRFC A6: a bucket of tokens that failures empty and successes fill.
 *
 * A `RetryBudget` counts what is sent; this counts what comes back, so it stops retries to a server that fails most
 * calls, however few there are. It never delays: it says no. One belongs to one server name.
 */
import { Issues } from "./OptionsError.ts"

/** The parameters of a throttle, named as in a service config. */
export interface RetryThrottleOptions {
  /** The size of the bucket, full at first; an integer from 1 to 1000. */
  readonly maxTokens: number
  /** What a success gives back, from 0.001 to 1000; of its decimals three count, as gRFC A6 says. */
  readonly tokenRatio: number
}

/** Shared by everything that sends again to one server: retries and hedges. */
export interface RetryThrottle {
  /** A call succeeded. */
  succeeded(): void
  /** An attempt failed in a way that asks for another one, or the server forbade to try again. */
  failed(): void
  /** Whether a call may be sent again: more than half of the tokens are there. */
  allows(): boolean
  /** How many tokens there are. */
  balance(): number
}

/** Counts in thousandths: sums of three decimals would drift. */
class Bucket implements RetryThrottle {
  private readonly max: number
  private readonly ratio: number
  private tokens: number

  constructor(maxTokens: number, tokenRatio: number) {
    this.max = maxTokens * 1000
    this.ratio = thousandths(tokenRatio)
    this.tokens = this.max
  }

  succeeded(): void {
    this.tokens = Math.min(this.max, this.tokens + this.ratio)
  }

  failed(): void {
    this.tokens = Math.max(0, this.tokens - 1000)
  }

  allows(): boolean {
    return this.tokens > this.max / 2
  }

  balance(): number {
    return this.tokens / 1000
  }
}

// The product alone makes 1000 of 1.001.
const thousandths = (ratio: number): number => Math.floor(ratio * 1000 + 1e-6)

/**
 * Makes a throttle; throws an `OptionsError` for values out of bounds.
 *
 * ```ts import.meta.vitest
 * import { RetryThrottle } from "@hawser/core"
 *
 * const throttle = RetryThrottle.make({ maxTokens: 4, tokenRatio: 0.5 })
 * throttle.failed()
 * throttle.allows() // => true
 * throttle.failed()
 * throttle.balance() // => 2
 * throttle.allows() // => false
 * throttle.succeeded()
 * throttle.allows() // => true
 * ```
 */
export const make = ({ maxTokens, tokenRatio }: RetryThrottleOptions): RetryThrottle => {
  const issues = new Issues()
  const whole = Number.isInteger(maxTokens) && maxTokens >= 1 && maxTokens <= 1000
  issues.check(whole, "maxTokens", "an integer from 1 to 1000", maxTokens)
  const ratio = typeof tokenRatio === "number" && tokenRatio >= 0.001 && tokenRatio <= 1000
  issues.check(ratio, "tokenRatio", "a number from 0.001 to 1000", tokenRatio)
  issues.throwIfAny()
  return new Bucket(maxTokens, tokenRatio)
}
