/**
 * How many endpoints can serve, as one line.
 *
 * It is counted from what endpoints are, not from what a check says alone: an endpoint that can't be reached is no better
 * than one that says that it can't serve, and one that has not been asked is neither.
 */
import type { Connectivity } from "./Connectivity.ts"

/** How many endpoints can serve. The three add up to `total`. */
export interface HealthStats {
  readonly total: number
  /** Ready: connected and, where there is a health check, said to be healthy. */
  readonly healthy: number
  /** Can't be reached, or says that it can't serve. */
  readonly unhealthy: number
  /** Not connected yet, or not asked yet; idle ones, too, for nobody knows. */
  readonly unknown: number
}

/**
 * Counts.
 *
 * ```ts import.meta.vitest
 * import { HealthStats } from "@hawser/core"
 *
 * HealthStats.count(["Ready", "Idle", "TransientFailure", "Ready"])
 * // => { total: 4, healthy: 2, unhealthy: 1, unknown: 1 }
 * ```
 */
export const count = (states: Iterable<Connectivity>): HealthStats => {
  const stats = { total: 0, healthy: 0, unhealthy: 0, unknown: 0 }
  for (const state of states) {
    stats.total++
    if (state === "Ready") stats.healthy++
    else if (state === "Connecting" || state === "Idle") stats.unknown++
    else stats.unhealthy++
  }
  return stats
}
