/**
 * B1 and B6: unary calls at 16 and 128 at once against a server without a stream limit; one process per client, cells
 * interleaved round by round.
 */
import type { BarId } from "./bars.ts"
import { type ClientName, titles } from "./clients/clients.ts"
import { cpuPerCall, deviation, mean, median, orderOf, paired, type Sample } from "./pair.ts"
import { type Result, round as rounded, type Row } from "./result.ts"
import type { Built } from "./server/build.ts"
import { start } from "./server/start.ts"
import { startWorker, type Worker } from "./workers.ts"

const levels = [16, 128] as const

export interface UnaryOptions {
  readonly clients: ReadonlyArray<ClientName>
  readonly rounds: number
  readonly seconds: number
  readonly warmSeconds: number
}

interface Contestant {
  readonly worker: Worker
  readonly cells: ReadonlyArray<{ readonly concurrency: number; readonly samples: Array<Sample> }>
  connections: number
}

export const unary = async (built: Built, options: UnaryOptions): Promise<Result> => {
  const server = await start(built, { delayMillis: 0, streams: 0 })
  // One client acts at a time, so every connection that is new since the last look is its own.
  let seen = 0
  const run = async (contestant: Contestant, concurrency: number, seconds: number): Promise<Sample> => {
    const sample = await contestant.worker.run({ concurrency, millis: seconds * 1000 })
    const { accepted } = await server.stats()
    contestant.connections += accepted - seen
    seen = accepted
    return sample
  }
  const contestants: Array<Contestant> = []
  for (const name of options.clients) {
    const contestant: Contestant = {
      worker: await startWorker(name, server.address),
      cells: levels.map((concurrency) => ({ concurrency, samples: [] })),
      connections: 0
    }
    for (const level of levels) await run(contestant, level, options.warmSeconds / levels.length)
    contestants.push(contestant)
  }
  // Round 0 warms up what the rounds themselves change (heap sizes, the machine's clock) and does not count.
  for (let round = 0; round <= options.rounds; round++) {
    for (let level = 0; level < levels.length; level++) {
      for (const contestant of orderOf(contestants, round)) {
        const cell = contestant.cells[level]!
        const sample = await run(contestant, cell.concurrency, options.seconds)
        if (round > 0) cell.samples.push(sample)
      }
    }
  }
  for (const { worker } of contestants) worker.stop()
  server.stop()
  return summary(contestants)
}

const summary = (contestants: ReadonlyArray<Contestant>): Result => {
  const raw = contestants.find(({ worker }) => worker.name === "raw")!
  const ratios = (contestant: Contestant, cell: number): ReadonlyArray<number> =>
    paired(contestant.cells[cell]!.samples, raw.cells[cell]!.samples)
  const rows = levels.flatMap((concurrency, i) =>
    contestants.map((contestant): Row => {
      const { samples } = contestant.cells[i]!
      const of = (digits: number, f: (sample: Sample) => number): number => rounded(median(samples.map(f)), digits)
      return {
        measurement: "unary",
        client: titles[contestant.worker.name],
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
  const hawser = contestants.find(({ worker }) => worker.name === "hawser")
  const values: Partial<Record<BarId, number>> = {}
  if (hawser !== undefined) {
    const medians = levels.map((_, i) => median(ratios(hawser, i)))
    values.B1 = mean(medians)
    values.B6 = hawser.connections
    values.B6x = Math.max(...medians)
  }
  return { values, rows }
}
