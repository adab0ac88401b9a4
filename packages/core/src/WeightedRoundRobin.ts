/**
 * Turns by weight: what backends report of their load (gRFC A51, A58), or else the weights of their endpoints.
 *
 * **When to use**: backends of different size that say how loaded they are (ORCA), or whose sizes you know.
 */
import * as Duration from "effect/Duration"
import type { LoadReport } from "./Lease.ts"
import type { Member } from "./Member.ts"
import { Issues } from "./OptionsError.ts"
import { noTrials, type Policy } from "./Policy.ts"
import { Turns } from "./Turns.ts"
import { type Measure, ofMembers, Weights } from "./Weights.ts"

/** What `make` takes. The defaults are those of gRFC A58. */
export interface WeightedRoundRobinOptions {
  /** How long a backend must have reported before its reports count; 0 to 24 days. Default 10 s. */
  readonly blackoutPeriod?: Duration.Input | undefined
  /** How long a report counts; 1 ms to 24 days. Default 3 min. */
  readonly weightExpirationPeriod?: Duration.Input | undefined
  /** How often weights are taken from reports; up to 24 days, and below 100 ms it is 100 ms. Default 1 s. */
  readonly weightUpdatePeriod?: Duration.Input | undefined
  /** How much errors lower a weight; from 0 on. Default 1. */
  readonly errorUtilizationPenalty?: number | undefined
}

/** What is known of the load of one member. */
interface Known {
  /** Of which connection. */
  readyAt: number
  /** Of the last report that was looked at. */
  seenAt: number
  weight: number
  /** Of the last report that says a weight. */
  reportedAt: number
  /** Of the first one, of those without a gap. */
  since: number
}

/** gRFC A58. */
const shortestUpdateMillis = 100

/**
 * Weighted round robin.
 *
 * **Details**: a backend's weight is `requests per second / (utilization + errors per second / requests per second ×
 * penalty)`, from the report in the trailers of its answers. One that has said nothing, nothing yet for long enough, or
 * nothing for too long, counts as the mean of the others. Where fewer than two are known, the weights of the endpoints hold:
 * those are 1 unless you say otherwise, which is plain round robin. Turns are spread by deadline: twice the weight is
 * twice as often, and never in a burst. Throws an `OptionsError` for options that break a rule.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, Endpoint, WeightedRoundRobin } from "@hawser/core"
 *
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: [
 *       Endpoint.makeUnsafe({ addresses: ["small:1"] }),
 *       Endpoint.makeUnsafe({ addresses: ["large:1"], weight: 3 })
 *     ],
 *     policy: WeightedRoundRobin.make(),
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady(2)
 *   const call = cluster.use((lease) => Effect.succeed(Endpoint.name(lease.endpoint)))
 *   const names = yield* Effect.all(Array.from({ length: 400 }, () => call))
 *   return Math.abs(names.filter((name) => name === "large:1").length - 300) <= 1
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => true
 * ```
 */
export const make = (options: WeightedRoundRobinOptions = {}): Policy => {
  const issues = new Issues()
  const millis = (path: keyof WeightedRoundRobinOptions, fallback: number, least: number) => {
    const input = (options[path] as Duration.Input | undefined) ?? fallback
    let value = NaN
    try {
      value = Duration.toMillis(Duration.fromInputUnsafe(input))
    } catch {
      // reported below
    }
    // Effect takes NaN for no time at all.
    if (Number.isNaN(input)) value = NaN
    issues.check(value >= least && value <= 2_147_483_647, path, `a duration from ${least} ms to 24 days`, input)
    return value
  }
  const { errorUtilizationPenalty: penalty = 1 } = options
  issues.check(penalty >= 0 && penalty < Infinity, "errorUtilizationPenalty", "a number from 0 on", penalty)
  const blackout = millis("blackoutPeriod", 10_000, 0)
  const expiration = millis("weightExpirationPeriod", 180_000, 1)
  const update = Math.max(shortestUpdateMillis, millis("weightUpdatePeriod", 1_000, 0))
  issues.throwIfAny()
  // It outlives pickers. A member belongs to one cluster, so clusters that share this policy don't meet here.
  const all = new WeakMap<object, Known>()

  /** The weight that a member's reports give it; 0 for none. */
  const reported = (member: Member<unknown, unknown>, now: number): number => {
    const { readyAt, report, reportedAt } = member
    let known = all.get(member)
    if (known === undefined) {
      if (report === undefined) return 0
      known = { readyAt, seenAt: -Infinity, weight: 0, reportedAt: -Infinity, since: Infinity }
      all.set(member, known)
    }
    if (known.readyAt !== readyAt) {
      known.readyAt = readyAt
      known.since = Infinity
    }
    if (report !== undefined && reportedAt > known.seenAt) {
      known.seenAt = reportedAt
      const weight = weightOf(report, penalty)
      if (weight > 0) {
        known.weight = weight
        known.reportedAt = reportedAt
        if (known.since === Infinity) known.since = reportedAt
      }
    }
    if (now - known.reportedAt >= expiration) known.since = Infinity
    // Nothing yet, too old, or too young.
    return known.since === Infinity || now - known.since < blackout ? 0 : known.weight
  }

  const measureOf = (members: ReadonlyArray<Member<unknown, unknown>>): Measure => {
    const fixed = ofMembers(members)
    return (into, now) => {
      let known = 0
      let sum = 0
      for (let i = 0; i < members.length; i++) {
        const weight = reported(members[i]!, now)
        into[i] = weight
        if (weight > 0) known++
        sum += weight
      }
      if (known < 2) return Math.min(fixed(into, now), now + update)
      const mean = sum / known
      for (let i = 0; i < members.length; i++) {
        into[i] = (into[i] === 0 ? mean : into[i]!) * members[i]!.warmth(now)
      }
      return now + update
    }
  }

  return {
    name: "weighted_round_robin",
    trials: noTrials,
    reports: true,
    picker: (members, random) => {
      const turns = new Turns(members, new Weights(members.length, measureOf(members)), random)
      return (demand, now) => turns.lease(demand, now)
    }
  }
}

/** gRFC A58. 0: it says too little. */
const weightOf = (report: LoadReport, penalty: number): number => {
  const { errorsPerSecond: errors = 0, requestsPerSecond: requests, utilization } = report
  if (!(requests > 0 && utilization > 0)) return 0
  const weight = requests / (utilization + (errors > 0 ? (errors / requests) * penalty : 0))
  return weight > 0 && weight < Infinity ? weight : 0
}
