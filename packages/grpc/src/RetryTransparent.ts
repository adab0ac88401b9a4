/**
 * Attempts that do not count, because no server has looked at the call: gRFC A6's transparent retries, kept for one call.
 *
 * What never left this process is sent again until the deadline, what a server's transport refused once; after that it
 * is for the policy to judge. Retry and hedge keep the same books.
 */
import type { Random } from "effect/Random"
import { neverLeft } from "./RetryPolicy.ts"
import type { RpcError } from "./RpcError.ts"

/** Where no deadline ends them; about a minute. */
const mostUnsent = 64

/** The books of one call, all its attempts together. */
export class Transparent {
  private refused = false
  private unsent = 0
  private readonly most: number

  /** `deadline`: that of the call; infinite where it has none. */
  constructor(deadline: number) {
    this.most = deadline < Infinity ? Infinity : mostUnsent
  }

  /** How long to wait until it is sent again, in milliseconds; `undefined`: the policy has to say. */
  next(error: RpcError, random: Random): number | undefined {
    if (error.progress === "Refused") {
      if (this.refused) return undefined
      this.refused = true
      return 0
    }
    if (!neverLeft(error) || this.unsent >= this.most) return undefined
    const n = this.unsent++
    if (n === 0) return 0
    // Whoever keeps losing connections must not spin.
    return Math.min(10 * 2 ** (n - 1), 1_000) * (0.8 + 0.4 * random.nextDoubleUnsafe())
  }
}
