/**
 * Clients against each other on one server without a stream limit: one process per client, cells interleaved round by round.
 */
import type { ClientName } from "./clients/clients.ts"
import { orderOf, paired, type Sample, shares } from "./pair.ts"
import type { Built } from "./server/build.ts"
import { start } from "./server/start.ts"
import { startWorker, type Worker } from "./workers.ts"

/** Who runs, how often and for how long. */
export interface ContestOptions {
  /** So many calls at once, one after the other. */
  readonly levels: ReadonlyArray<number>
  readonly clients: ReadonlyArray<ClientName>
  /** Rounds that count, over all generations. */
  readonly rounds: number
  /** How often all processes are started anew: what the compiler made of one process is luck, ±0.05. */
  readonly generations: number
  readonly seconds: number
  readonly warmSeconds: number
}

/** One client and all that it did. */
export interface Contestant {
  readonly name: ClientName
  /** One per level. */
  readonly samples: ReadonlyArray<Array<Sample>>
  /** The most that one process opened. */
  connections: number
}

/** Runs all of it. */
export const contest = async (built: Built, options: ContestOptions): Promise<ReadonlyArray<Contestant>> => {
  const contestants = options.clients.map((name): Contestant => ({
    name,
    samples: options.levels.map(() => []),
    connections: 0
  }))
  for (const rounds of shares(options.rounds, options.generations)) {
    await generation(built, contestants, { ...options, rounds })
  }
  return contestants
}

const generation = async (
  built: Built,
  contestants: ReadonlyArray<Contestant>,
  { levels, rounds, seconds, warmSeconds }: ContestOptions
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

/** Paired CPU of one contestant at one level. */
export const ratios = (contestant: Contestant, against: Contestant, level: number): ReadonlyArray<number> =>
  paired(contestant.samples[level]!, against.samples[level]!)
