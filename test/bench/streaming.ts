/**
 * B3: streams of a thousand messages of about 100 bytes, read one by one with backpressure, at 1 and 16 at once. A "call" is
 * a message here.
 */
import { type StreamClientName, streamClients, titles } from "./clients/clients.ts"
import { contest, type ContestOptions, ratios } from "./contest.ts"
import { messagesPerWatch } from "./echo.ts"
import { cpuPerCall, deviation, median, type Sample } from "./pair.ts"
import { type Result, round as rounded, type Row } from "./result.ts"
import type { Built } from "./server/build.ts"

/** The bar is at the first. */
const levels = [1, 16] as const

export const streaming = async (built: Built, options: Omit<ContestOptions, "clients" | "levels">): Promise<Result> => {
  const contestants = await contest(built, { ...options, clients: streamClients, levels })
  const named = (name: StreamClientName) => contestants.find((contestant) => contestant.name === name)!
  const raw = named("rawStreams")
  const rows = levels.flatMap((concurrency, i) =>
    contestants.map((contestant): Row => {
      const samples = contestant.samples[i]!
      const of = (digits: number, f: (sample: Sample) => number): number => rounded(median(samples.map(f)), digits)
      return {
        measurement: "streaming",
        client: titles[contestant.name],
        concurrency,
        pairedCpu: rounded(median(ratios(contestant, raw, i)), 3),
        deviation: rounded(deviation(ratios(contestant, raw, i)), 3),
        cpuMicrosPerMessage: of(2, (s) => cpuPerCall(s) / messagesPerWatch),
        messagesPerSecond: of(0, (s) => ((s.calls * messagesPerWatch) / s.millis) * 1000),
        p50StreamMillis: of(2, (s) => s.p50)
      }
    })
  )
  return { values: { B3: median(ratios(named("hawserStreams"), raw, 0)) }, rows }
}
