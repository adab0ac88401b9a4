/**
 * What makes a member an outlier, and for how long it is ejected: a value for the slot `outlier`.
 *
 * Four rules, each of which can be switched off: calls that fail in a row, a success rate far below that of the others (gRFC
 * A50), a percentage of failures (A50), a latency far above that of the others. It says nothing of connections that are
 * silent, or of servers that say themselves that they do not serve. `docs/outliers.md` tells how to read what comes of it.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import { Issues } from "./OptionsError.ts"
import type { FailurePercentage, Latency, SuccessRate } from "./OutlierRules.ts"

const TypeId = "~hawser/Outlier"

/** When failures in a row eject, and how soon there is a trial. */
export interface ConsecutiveFailures {
  readonly failures: number
  readonly firstTrialMillis: number
}

/** A policy, checked. `undefined` is a rule that is off. */
export interface Outlier {
  readonly [TypeId]: typeof TypeId
  readonly intervalMillis: number
  readonly baseMillis: number
  readonly maxMillis: number
  /** A share, from 0 to 1. */
  readonly maximumEjected: number
  readonly successRate: SuccessRate | undefined
  readonly failurePercentage: FailurePercentage | undefined
  readonly consecutiveFailures: ConsecutiveFailures | undefined
  readonly latency: Latency | undefined
  /** Whether gRFC A50 is followed to the letter: no trials, no order but that of the addresses. */
  readonly a50: boolean
}

/** The success rate rule of `make`. */
export interface SuccessRateOptions {
  /** Standard deviations below the mean, in thousandths; an integer from 0 to 1,000,000. Default 1900 (A50). */
  readonly stdevFactor?: number | undefined
  /** Percentage points below the mean that an outlier has at least; 0 to 100. Default 5 (simulated). */
  readonly margin?: number | undefined
  /** How many of a hundred outliers are ejected; an integer from 1 to 100. Default 100 (A50). */
  readonly enforcement?: number | undefined
  /** Endpoints of enough volume, or nothing is said; an integer from 1 to 10,000. Default 5 (A50). */
  readonly minimumHosts?: number | undefined
  /** Calls in the interval, or nothing is said of an endpoint; an integer from 1 to 1,000,000. Default 100 (A50). */
  readonly requestVolume?: number | undefined
}

/** The failure percentage rule of `make`. */
export interface FailurePercentageOptions {
  /** Above so many failures of a hundred calls; an integer from 0 to 99. Default 85 (A50). */
  readonly threshold?: number | undefined
  /** As in `SuccessRateOptions`. */
  readonly enforcement?: number | undefined
  /** As in `SuccessRateOptions`. */
  readonly minimumHosts?: number | undefined
  /** As in `SuccessRateOptions`; default 50 (A50). */
  readonly requestVolume?: number | undefined
}

/** The rule of failures in a row of `make`. */
export interface ConsecutiveFailuresOptions {
  /** So many; an integer from 1 to 1,000. Default 5 (Finagle). */
  readonly failures?: number | undefined
  /** Until the first trial; it doubles with each ejection, up to `ejectionTime`. 10 ms to 24 days. Default 1 s. */
  readonly firstTrial?: Duration.Input | undefined
}

/** The latency rule of `make`. */
export interface LatencyOptions {
  /** Times the median of the others; 1.5 to 1,000. Default 5. */
  readonly factor?: number | undefined
  /** Intervals in a row; an integer from 1 to 100. Default 3. */
  readonly intervals?: number | undefined
  /** Faster endpoints are never outliers; 0 to 24 days. Default 100 ms. */
  readonly atLeast?: Duration.Input | undefined
  /** As in `SuccessRateOptions`; at least 2, default 5. */
  readonly minimumHosts?: number | undefined
  /** As in `SuccessRateOptions`; default 50. */
  readonly requestVolume?: number | undefined
}

/** What `make` takes. */
export interface OutlierOptions {
  /** How often rates, percentages and latencies are judged; 100 ms to 24 days. Default 10 s (A50). */
  readonly interval?: Duration.Input | undefined
  /** The n-th ejection lasts min(`base` × n, max(`base`, `max`)); 0 to 24 days each. Default 30 s and 300 s (A50). */
  readonly ejectionTime?:
    | { readonly base?: Duration.Input | undefined; readonly max?: Duration.Input | undefined }
    | undefined
  /** The share of endpoints that may be ejected; above 0, at most 1. Default 0.5. */
  readonly maximumEjected?: number | undefined
  /** Default: on, as gRFC A50 with a margin. */
  readonly successRate?: SuccessRateOptions | false | undefined
  /** Default `false`. */
  readonly failurePercentage?: FailurePercentageOptions | false | undefined
  /** Default: on, 5 in a row. */
  readonly consecutiveFailures?: ConsecutiveFailuresOptions | false | undefined
  /** Default `false`: a balancer that minds latency sends a slow endpoint next to nothing anyway. */
  readonly latency?: LatencyOptions | false | undefined
}

/** The config of gRPC's `outlier_detection` policy (gRFC A50), by its own names. */
export interface A50Options {
  /** Default 10 s. This and the next two: 0 to 24 days. */
  readonly interval?: Duration.Input | undefined
  /** Default 30 s. */
  readonly baseEjectionTime?: Duration.Input | undefined
  /** Default 300 s. */
  readonly maxEjectionTime?: Duration.Input | undefined
  /** 0 to 100. Default 10. */
  readonly maxEjectionPercent?: number | undefined
  /** Off unless it is there. */
  readonly successRateEjection?:
    | {
        /** Default 1900. */
        readonly stdevFactor?: number | undefined
        /** 0 to 100. Default 100. */
        readonly enforcementPercentage?: number | undefined
        /** Default 5. */
        readonly minimumHosts?: number | undefined
        /** Default 100. */
        readonly requestVolume?: number | undefined
      }
    | undefined
  /** Off unless it is there. */
  readonly failurePercentageEjection?:
    | {
        /** 0 to 100. Default 85. */
        readonly threshold?: number | undefined
        /** 0 to 100. Default 100. */
        readonly enforcementPercentage?: number | undefined
        /** Default 5. */
        readonly minimumHosts?: number | undefined
        /** Default 50. */
        readonly requestVolume?: number | undefined
      }
    | undefined
}

const maxMillis = 2_147_483_647

/** Reads options one by one, and notes whatever is wrong with them. */
class Reader {
  private readonly issues: Issues
  private readonly path: string
  private readonly input: Readonly<Record<string, unknown>>

  constructor(issues: Issues, path: string, input: unknown, keys: ReadonlyArray<string>) {
    this.issues = issues
    this.path = path
    const isObject = typeof input === "object" && input !== null && !Array.isArray(input)
    issues.check(isObject, path === "" ? "options" : path, `{ ${keys.join(", ")} }`, input)
    this.input = isObject ? (input as Readonly<Record<string, unknown>>) : {}
    for (const key of Object.keys(this.input)) {
      issues.check(keys.includes(key), this.at(key), `one of ${keys.join(", ")}`, key)
    }
  }
  /** The options below a key, `undefined` where they are `false` or, by default, off. */
  group(key: string, on: boolean, keys: ReadonlyArray<string>): Reader | undefined {
    const input = this.input[key] ?? (on ? {} : false)
    return input === false ? undefined : new Reader(this.issues, this.at(key), input, keys)
  }
  integer(key: string, otherwise: number, min: number, max: number): number {
    const value = this.input[key] ?? otherwise
    const [from, to] = [min.toLocaleString("en"), max.toLocaleString("en")]
    const ok = Number.isInteger(value) && (value as number) >= min && (value as number) <= max
    this.issues.check(ok, this.at(key), `an integer from ${from} to ${to}`, value)
    return value as number
  }
  number(key: string, otherwise: number, rule: string, is: (n: number) => boolean): number {
    const value = this.input[key] ?? otherwise
    this.issues.check(typeof value === "number" && is(value), this.at(key), rule, value)
    return value as number
  }
  millis(key: string, otherwise: Duration.Input, min: number): number {
    const value = this.input[key] ?? otherwise
    let millis = NaN
    try {
      // Not a number is no time to a Duration.
      if (!Number.isNaN(value)) millis = Duration.toMillis(Duration.fromInputUnsafe(value as Duration.Input))
    } catch {
      // reported below
    }
    this.issues.check(millis >= min && millis <= maxMillis, this.at(key), `a duration from ${min} ms to 24 days`, value)
    return millis
  }

  private at(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`
  }
}

/**
 * Makes a policy; throws an `OptionsError` that lists all that is wrong with the options.
 *
 * **Details**: by default an endpoint is ejected after 5 failures in a row (tried again after 1 s, 2 s, 4 s …), and when its
 * success rate is an outlier by gRFC A50 (30 s × n); at most half of the endpoints are. Which calls are failures the
 * protocol says: `Failure` and `Broken` are, `Overloaded` and `Neutral` count as nothing.
 *
 * ```ts import.meta.vitest
 * import { Outlier } from "@hawser/core"
 *
 * const policy = Outlier.make({ consecutiveFailures: { failures: 3 }, successRate: false })
 * policy.consecutiveFailures // => { failures: 3, firstTrialMillis: 1_000 }
 * const { baseMillis, intervalMillis, maxMillis, maximumEjected } = policy
 * const times = [intervalMillis, baseMillis, maxMillis]
 * times // => [10_000, 30_000, 300_000]
 * maximumEjected // => 0.5
 * ```
 */
export const make = (options: OutlierOptions = {}): Outlier => {
  const issues = new Issues()
  const top = new Reader(issues, "", options, [
    "interval",
    "ejectionTime",
    "maximumEjected",
    "successRate",
    "failurePercentage",
    "consecutiveFailures",
    "latency"
  ])
  const time = top.group("ejectionTime", true, ["base", "max"])
  const rate = top.group("successRate", true, ["stdevFactor", "margin", "enforcement", "minimumHosts", "requestVolume"])
  const percentage = top.group("failurePercentage", false, [
    "threshold",
    "enforcement",
    "minimumHosts",
    "requestVolume"
  ])
  const row = top.group("consecutiveFailures", true, ["failures", "firstTrial"])
  const slow = top.group("latency", false, ["factor", "intervals", "atLeast", "minimumHosts", "requestVolume"])
  const population = (reader: Reader, hosts: number, calls: number) => ({
    minimumHosts: reader.integer("minimumHosts", 5, hosts, 10_000),
    requestVolume: reader.integer("requestVolume", calls, 1, 1_000_000)
  })
  const policy: Outlier = {
    [TypeId]: TypeId,
    intervalMillis: top.millis("interval", "10 seconds", 100),
    baseMillis: time?.millis("base", "30 seconds", 0) ?? NaN,
    maxMillis: time?.millis("max", "300 seconds", 0) ?? NaN,
    maximumEjected: top.number("maximumEjected", 0.5, "a number above 0, at most 1", (n) => n > 0 && n <= 1),
    successRate: rate && {
      stdevFactor: rate.integer("stdevFactor", 1_900, 0, 1_000_000),
      margin: rate.number("margin", 5, "a number from 0 to 100", (n) => n >= 0 && n <= 100) / 100,
      enforcement: rate.integer("enforcement", 100, 1, 100),
      ...population(rate, 1, 100)
    },
    failurePercentage: percentage && {
      threshold: percentage.integer("threshold", 85, 0, 99),
      enforcement: percentage.integer("enforcement", 100, 1, 100),
      ...population(percentage, 1, 50)
    },
    consecutiveFailures: row && {
      failures: row.integer("failures", 5, 1, 1_000),
      firstTrialMillis: row.millis("firstTrial", "1 second", 10)
    },
    latency: slow && {
      factor: slow.number("factor", 5, "a number from 1.5 to 1,000", (n) => n >= 1.5 && n <= 1_000),
      intervals: slow.integer("intervals", 3, 1, 100),
      atLeastMillis: slow.millis("atLeast", "100 millis", 0),
      ...population(slow, 2, 50)
    },
    a50: false
  }
  issues.check(time !== undefined, "ejectionTime", "{ base, max }", false)
  const any = rate ?? percentage ?? row ?? slow
  issues.check(any !== undefined, "options", "at least one rule, or `outlier: false`", "no rule")
  issues.throwIfAny()
  return policy
}

/**
 * The policy that gRPC clients have: gRFC A50 to the letter, by the names of its config; throws an `OptionsError`.
 *
 * **When to use**: to behave as another gRPC client does, for instance by the same service config.
 *
 * **Details**: two buckets are swapped at each interval, the enforcement percentages are drawn from `Random`, an endpoint
 * is readmitted at the end of an interval without a trial, and ejecting stops at `maxEjectionPercent`, which is looked at
 * before each ejection: one endpoint is ejected however small it is, unless it is 0. What gRPC counts by the status
 * (anything but `OK` is a failure) is counted by the outcome of the endpoint: `NOT_FOUND` is a success, and overload is
 * neither. The only endpoint is never ejected.
 *
 * ```ts import.meta.vitest
 * import { Outlier } from "@hawser/core"
 *
 * const policy = Outlier.a50({ successRateEjection: {}, maxEjectionPercent: 20 })
 * policy.successRate
 * // => { stdevFactor: 1900, enforcement: 100, minimumHosts: 5, requestVolume: 100, margin: 0 }
 * policy.failurePercentage // => undefined
 * policy.consecutiveFailures // => undefined
 * ```
 */
export const a50 = (options: A50Options): Outlier => {
  const issues = new Issues()
  const top = new Reader(issues, "", options, [
    "interval",
    "baseEjectionTime",
    "maxEjectionTime",
    "maxEjectionPercent",
    "successRateEjection",
    "failurePercentageEjection"
  ])
  const shared = ["enforcementPercentage", "minimumHosts", "requestVolume"]
  const rate = top.group("successRateEjection", false, ["stdevFactor", ...shared])
  const percentage = top.group("failurePercentageEjection", false, ["threshold", ...shared])
  const most = 4_294_967_295
  const population = (reader: Reader, calls: number) => ({
    enforcement: reader.integer("enforcementPercentage", 100, 0, 100),
    minimumHosts: reader.integer("minimumHosts", 5, 0, most),
    requestVolume: reader.integer("requestVolume", calls, 0, most)
  })
  const policy: Outlier = {
    [TypeId]: TypeId,
    intervalMillis: top.millis("interval", "10 seconds", 0),
    baseMillis: top.millis("baseEjectionTime", "30 seconds", 0),
    maxMillis: top.millis("maxEjectionTime", "300 seconds", 0),
    maximumEjected: top.integer("maxEjectionPercent", 10, 0, 100) / 100,
    successRate: rate && {
      stdevFactor: rate.integer("stdevFactor", 1_900, 0, most),
      ...population(rate, 100),
      margin: 0
    },
    failurePercentage: percentage && {
      threshold: percentage.integer("threshold", 85, 0, 100),
      ...population(percentage, 50)
    },
    consecutiveFailures: undefined,
    latency: undefined,
    a50: true
  }
  issues.check(
    (rate ?? percentage) !== undefined,
    "options",
    "successRateEjection, failurePercentageEjection, or `outlier: false`",
    "neither"
  )
  issues.throwIfAny()
  return policy
}

/**
 * Whether a value is such a policy. What only looks like one is none: nothing has checked its bounds.
 *
 * ```ts import.meta.vitest
 * import { Outlier } from "@hawser/core"
 *
 * Outlier.isOutlier(Outlier.make()) // => true
 * Outlier.isOutlier({ maximumEjected: 0.5 }) // => false
 * ```
 */
export const isOutlier = (u: unknown): u is Outlier => hasProperty(u, TypeId)

/**
 * The policy of clusters whose slot `outlier` is empty; `undefined` is `make()`. Read when a cluster is made.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Outlier } from "@hawser/core"
 *
 * Effect.runSync(Outlier.Default) // => undefined
 * ```
 */
export const Default: Context.Reference<Outlier | false | undefined> = Context.Reference<Outlier | false | undefined>(
  "hawser/Outlier",
  { defaultValue: () => undefined }
)

/**
 * The policy for all clusters that are made with this layer, unless they have one of their own.
 *
 * **Gotchas**: provide it to the layer that makes the cluster (`Grpc.layer`), not to what uses it.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Outlier } from "@hawser/core"
 *
 * const read = Effect.map(Outlier.Default, (policy) => policy && policy.maximumEjected)
 * Effect.runSync(Effect.provide(read, Outlier.layer(Outlier.make({ maximumEjected: 0.3 })))) // => 0.3
 * Effect.runSync(Effect.provide(read, Outlier.layer(false))) // => false
 * ```
 */
export const layer = (policy: Outlier | false): Layer.Layer<never> => Layer.succeed(Default, policy)
