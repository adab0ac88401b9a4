/**
 * The arithmetic of outlier detection: counts of one interval go in, limits come out.
 *
 * Nothing here remembers, draws, or knows who may be ejected.
 */

/** What one member did in one interval. */
export interface Tally {
  readonly successes: number
  readonly failures: number
}

/** Parameters of the success rate rule. */
export interface SuccessRate {
  /** A member is an outlier below mean − standard deviation × this / 1000. */
  readonly stdevFactor: number
  /** How many of a hundred outliers are ejected. */
  readonly enforcement: number
  /** With fewer members of enough volume the rule says nothing. */
  readonly minimumHosts: number
  /** With fewer calls in the interval nothing is said of a member. */
  readonly requestVolume: number
  /** How far below the mean an outlier is at least, from 0 to 1; and more than chance can explain. 0: as A50. */
  readonly margin: number
}

/** Parameters of the failure percentage rule. */
export interface FailurePercentage {
  /** A member is an outlier above so many failures of a hundred calls. */
  readonly threshold: number
  readonly enforcement: number
  readonly minimumHosts: number
  readonly requestVolume: number
}

/** Parameters of the latency rule. */
export interface Latency {
  /** A member is an outlier when its median is more than so many times the median of the others'. */
  readonly factor: number
  /** In so many intervals in a row. */
  readonly intervals: number
  /** And above this. */
  readonly atLeastMillis: number
  readonly minimumHosts: number
  readonly requestVolume: number
}

/** Calls that count. */
export const volume = (tally: Tally): number => tally.successes + tally.failures

/** The share of calls that succeeded; 1 without any. */
export const rate = (tally: Tally): number => (volume(tally) === 0 ? 1 : tally.successes / volume(tally))

/** Chance explains so many standard errors. */
const chance = 3

/**
 * The success rate below which a member is an outlier, by its volume; `undefined` where too few members had enough calls.
 *
 * **Details**: mean and standard deviation (of the population) of the members with at least `requestVolume` calls, as gRFC
 * A50 has it. With a margin, the limit is also at least that far below the mean, and three standard errors of a member with
 * so many calls: where all members fail one call in a thousand, A50 alone ejects a healthy one in every other interval.
 */
export const successLimit = (
  tallies: ReadonlyArray<Tally>,
  { margin, minimumHosts, requestVolume, stdevFactor }: SuccessRate
): ((calls: number) => number) | undefined => {
  const rates = tallies.filter((t) => volume(t) >= requestVolume && volume(t) > 0).map(rate)
  if (rates.length < Math.max(1, minimumHosts)) return undefined
  const mean = rates.reduce((a, b) => a + b) / rates.length
  const variance = rates.reduce((a, r) => a + (r - mean) ** 2, 0) / rates.length
  const limit = mean - Math.sqrt(variance) * (stdevFactor / 1000)
  if (margin === 0) return () => limit
  return (calls) => Math.min(limit, mean - margin, mean - chance * Math.sqrt((mean * (1 - mean)) / calls))
}

/** Whether enough members had enough calls for their failures to be judged. */
export const percentageApplies = (tallies: ReadonlyArray<Tally>, rule: FailurePercentage): boolean =>
  tallies.filter((t) => volume(t) >= rule.requestVolume).length >= rule.minimumHosts

/** Failures of a hundred calls. */
export const failurePercentage = (tally: Tally): number =>
  volume(tally) === 0 ? 0 : (tally.failures * 100) / volume(tally)

/**
 * The median latency above which each member is too slow: `factor` times the median of the others' medians. `undefined`
 * for all where too few have a median.
 */
export const latencyLimits = (
  medians: ReadonlyArray<number | undefined>,
  { atLeastMillis, factor, minimumHosts }: Latency
): ReadonlyArray<number | undefined> => {
  const known = medians.filter((m) => m !== undefined)
  if (known.length < Math.max(2, minimumHosts)) return medians.map(() => undefined)
  return medians.map((own) => {
    if (own === undefined) return undefined
    const others = known.toSorted((a, b) => a - b)
    others.splice(others.indexOf(own), 1)
    // Of an even number the lower one: two slow members must not excuse one another.
    return Math.max(atLeastMillis, factor * others[Math.floor((others.length - 1) / 2)]!)
  })
}
