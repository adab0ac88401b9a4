/**
 * Paired figures: a client's cost against the raw client's in the same round, then the median. A noisy machine moves
 * both, so the ratio holds where the figures do not.
 */
export interface Sample {
  readonly calls: number
  readonly cpuMicros: number
  readonly millis: number
  readonly p50: number
  readonly p99: number
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return Number.NaN
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const mean = (values: ReadonlyArray<number>): number =>
  values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0) / values.length

/** The median distance from the median. */
export const deviation = (values: ReadonlyArray<number>): number => {
  const middle = median(values)
  return median(values.map((value) => Math.abs(value - middle)))
}

export const cpuPerCall = (sample: Sample): number => sample.cpuMicros / sample.calls

/** One ratio per round that both have finished; a round without calls says nothing. */
export const paired = (subject: ReadonlyArray<Sample>, baseline: ReadonlyArray<Sample>): ReadonlyArray<number> =>
  subject.flatMap((sample, round) => {
    const against = baseline[round]
    return against === undefined || sample.calls === 0 || against.calls === 0
      ? []
      : [cpuPerCall(sample) / cpuPerCall(against)]
  })

/** Forwards in even rounds, backwards in odd ones, so that no client always runs in another's wake. */
export const orderOf = <A>(items: ReadonlyArray<A>, round: number): ReadonlyArray<A> =>
  round % 2 === 0 ? items : [...items].reverse()

/** A whole number in parts as equal as can be, none of them zero. */
export const shares = (total: number, parts: number): ReadonlyArray<number> => {
  const count = Math.min(total, parts)
  return Array.from(
    { length: count },
    (_, i) => Math.floor(((i + 1) * total) / count) - Math.floor((i * total) / count)
  )
}
