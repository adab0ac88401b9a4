/**
 * B1 and B6: unary calls at 16 and 128 at once against a server without a stream limit; one process per client, cells
 * interleaved round by round.
 */
import type { BarId } from "./bars.ts"
import { type ClientName, titles } from "./clients/clients.ts"
import { cpuPerCall, deviation, mean, median, orderOf, paired, type Sample, shares } from "./pair.ts"
import { type Result, round as rounded, type Row } from "./result.ts"
import type { Built } from "./server/build.ts"
import { start } from "./server/start.ts"
import { startWorker, type Worker } from "./workers.ts"

const levels = [16, 128] as const

export interface UnaryOptions {
  readonly clients: ReadonlyArray<ClientName>
  /** Rounds that count, over all generations. */
  readonly rounds: number
  /** How often all processes are started anew: what the compiler made of one process is luck, ±0.05. */
  readonly generations: number
  readonly seconds: number
  readonly warmSeconds: number
}

interface Contestant {
  readonly name: ClientName
  /** One per level. */
  readonly samples: ReadonlyArray<Array<Sample>>
  /** The most that one process opened. */
  connections: number
}

export const unary = async (built: Built, options: UnaryOptions): Promise<Result> => {
  const contestants = options.clients.map((name): Contestant => ({
    name,
    samples: levels.map(() => []),
    connections: 0
  }))
  for (const rounds of shares(options.rounds, options.generations)) {
    await generation(built, contestants, { ...options, rounds })
  }
  return summary(contestants)
}

const generation = async (
  built: Built,
  contestants: ReadonlyArray<Contestant>,
  { rounds, seconds, warmSeconds }: UnaryOptions
): Promise<void> => {
  const server = await start(built, 0)
  // One client acts at a time, so every connection that is new since the last look is its own.
  let seen = 0
  const opened = contestants.map(() => 0)
  const workers: Array<Worker> = []
  const run = async (i: number, concurrency: number, millis: number): Promise<Sample> => {
    const sample = await workers[i]!.run({ concurrency, millis })
    const { accepted } = await server.stats()
    opened[i]! += accepted - seen
    seen = accepted
    return sample
  }
  for (const [i, { name }] of contestants.entries()) {
    workers.push(await startWorker(name, server.address))
    for (const level of levels) await run(i, level, (warmSeconds * 1000) / levels.length)
  }
  // Round 0 warms up what the rounds themselves change (heap sizes, the machine's clock) and does not count.
  for (let round = 0; round <= rounds; round++) {
    for (const [level, concurrency] of levels.entries()) {
      for (const i of orderOf([...contestants.keys()], round)) {
        const sample = await run(i, concurrency, seconds * 1000)
        if (round > 0) contestants[i]!.samples[level]!.push(sample)
      }
    }
  }
  for (const [i, contestant] of contestants.entries()) {
    contestant.connections = Math.max(contestant.connections, opened[i]!)
    workers[i]!.stop()
  }
  server.stop()
}

const summary = (contestants: ReadonlyArray<Contestant>): Result => {
  const raw = contestants.find(({ name }) => name === "raw")!
  const ratios = (contestant: Contestant, level: number): ReadonlyArray<number> =>
    paired(contestant.samples[level]!, raw.samples[level]!)
  const rows = levels.flatMap((concurrency, i) =>
    contestants.map((contestant): Row => {
      const samples = contestant.samples[i]!
      const of = (digits: number, f: (sample: Sample) => number): number => rounded(median(samples.map(f)), digits)
      return {
        measurement: "unary",
        client: titles[contestant.name],
        concurrency,
        pairedCpu: rounded(median(ratios(contestant, i)), 3),
        deviation: rounded(deviation(ratios(contestant, i)), 3),
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
    const medians = levels.map((_, i) => median(ratios(hawser, i)))
    values.B1 = mean(medians)
    values.B6 = hawser.connections
    values.B6x = values.B1
  }
  return { values, rows }
}
