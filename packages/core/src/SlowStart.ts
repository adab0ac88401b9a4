/**
 * How much less an endpoint gets while it warms up: caches are cold, code is not compiled yet, pools are empty.
 *
 * It changes weights only. An endpoint begins slowly when it is Ready for the first time, and when it is Ready again after
 * a dial to it had failed; a connection that ends and comes back at once does not begin anew.
 */
import * as Duration from "effect/Duration"
import type { Issues } from "./OptionsError.ts"

/** What `slowStart` takes. */
export interface SlowStartOptions {
  /** How long it takes to the full share; 1 s to 24 days. */
  readonly window: Duration.Input
  /** Above 1 it rises faster at first, below 1 slower. Above 0, at most 100. Default 1, a straight line (Envoy). */
  readonly aggression?: number | undefined
  /** The share that it begins with. Above 0, at most 1. Default 0.1 (Envoy). */
  readonly minimum?: number | undefined
}

/** A slow start, checked. */
export interface SlowStart {
  readonly windowMillis: number
  readonly aggression: number
  readonly minimum: number
}

/** Envoy takes whatever is younger for so old. */
const youngestMillis = 1_000

/**
 * Checks the options; what is wrong goes to `issues`, under `path`.
 *
 * ```ts import.meta.vitest
 * import { OptionsError, SlowStart } from "@hawser/core"
 *
 * const issues = new OptionsError.Issues()
 * SlowStart.check({ window: "30 seconds" }, issues, "slowStart")
 * // => { windowMillis: 30_000, aggression: 1, minimum: 0.1 }
 *
 * SlowStart.check({ window: "soon" as "1 second", minimum: 2 }, issues, "slowStart")
 * issues.list.map(({ path }) => path) // => ["slowStart.window", "slowStart.minimum"]
 * ```
 */
export const check = (options: SlowStartOptions, issues: Issues, path: string): SlowStart => {
  const { aggression = 1, minimum = 0.1, window } = options
  let windowMillis = NaN
  try {
    windowMillis = Duration.toMillis(Duration.fromInputUnsafe(window))
  } catch {
    // reported below
  }
  const rule = "a duration from 1 s to 24 days"
  issues.check(windowMillis >= youngestMillis && windowMillis <= 2_147_483_647, `${path}.window`, rule, window)
  issues.check(aggression > 0 && aggression <= 100, `${path}.aggression`, "a number above 0, at most 100", aggression)
  issues.check(minimum > 0 && minimum <= 1, `${path}.minimum`, "a number above 0, at most 1", minimum)
  return { windowMillis, aggression, minimum }
}

/**
 * The share of its weight that an endpoint gets so many milliseconds after it became Ready: from `minimum` up to 1.
 *
 * **Details**: `max(minimum, (max(age, 1 s) / window) ^ (1 / aggression))`, Envoy's formula
 * (`common_lb_config`'s `slow_start_config`).
 *
 * ```ts import.meta.vitest
 * import { SlowStart } from "@hawser/core"
 *
 * const linear = { windowMillis: 30_000, aggression: 1, minimum: 0.1 }
 * SlowStart.factor(linear, 0) // => 0.1
 * SlowStart.factor(linear, 15_000) // => 0.5
 * SlowStart.factor(linear, 30_000) // => 1
 * // It takes more at first.
 * SlowStart.factor({ ...linear, aggression: 2 }, 7_500) // => 0.5
 * ```
 */
export const factor = (self: SlowStart, ageMillis: number): number => {
  const { aggression, minimum, windowMillis } = self
  if (ageMillis >= windowMillis) return 1
  const passed = Math.max(ageMillis, youngestMillis) / windowMillis
  return Math.min(1, Math.max(minimum, aggression === 1 ? passed : passed ** (1 / aggression)))
}
