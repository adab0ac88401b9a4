/**
 * B1, B2 and B6: unary calls at 16 and 128 at once against a server without a stream limit.
 */
import type { BarId } from "./bars.ts"
import { titles } from "./clients/clients.ts"
import { contest, type Contestant, type ContestOptions, ratios } from "./contest.ts"
import { cpuPerCall, deviation, mean, median, type Sample } from "./pair.ts"
import { type Result, round as rounded, type Row } from "./result.ts"
import type { Built } from "./server/build.ts"

const levels = [16, 128] as const

export const unary = async (built: Built, options: Omit<ContestOptions, "levels">): Promise<Result> =>
  summary(await contest(built, { ...options, levels }))

const atAllLevels = (contestant: Contestant, raw: Contestant): number =>
  mean(levels.map((_, i) => median(ratios(contestant, raw, i))))

const summary = (contestants: ReadonlyArray<Contestant>): Result => {
  const raw = contestants.find(({ name }) => name === "raw")!
  const rows = levels.flatMap((concurrency, i) =>
    contestants.map((contestant): Row => {
      const samples = contestant.samples[i]!
      const of = (digits: number, f: (sample: Sample) => number): number => rounded(median(samples.map(f)), digits)
      return {
        measurement: "unary",
        client: titles[contestant.name],
        concurrency,
        pairedCpu: rounded(median(ratios(contestant, raw, i)), 3),
        deviation: rounded(deviation(ratios(contestant, raw, i)), 3),
        cpuMicrosPerCall: of(1, cpuPerCall),
        callsPerSecond: of(0, (s) => (s.calls / s.millis) * 1000),
        p50Millis: of(2, (s) => s.p50),
        p99Millis: of(1, (s) => s.p99),
        connections: contestant.connections
      }
    })
  )
  const hawser = contestants.find(({ name }) => name === "hawser")
  const values: Partial<Record<BarId, number>> = {}
  if (hawser !== undefined) {
    values.B1 = atAllLevels(hawser, raw)
    values.B6 = hawser.connections
    values.B6x = values.B1
  }
  const traced = contestants.find(({ name }) => name === "hawserTraced")
  if (traced !== undefined) values.B2 = atAllLevels(traced, raw)
  return { values, rows }
}
