/**
 * B5: a peer limit of 100 streams, a handler of 50 ms and 1,000 calls at once. One connection can keep 100 handlers busy,
 * whatever it does; a pool that grows by itself to 4 can keep 400.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type ClientName, titles } from "./clients/clients.ts"
import { cpuPerCall, median, orderOf, type Sample } from "./pair.ts"
import { type Result, round as rounded, type Row } from "./result.ts"
import type { Built } from "./server/build.ts"
import { type Server, start, type Stats } from "./server/start.ts"
import { startWorker, type Worker } from "./workers.ts"

const streams = 100
const delayMillis = 50
const concurrency = 1000
/** From an idle client to its steady state, and from there to the end: outside of what is measured. */
const leadMillis = 500
const tailMillis = 50
/** Short windows and their median: a pause of the machine costs a window, not the round. */
const windowMillis = 250

export interface LimitOptions {
  readonly rounds: number
  readonly seconds: number
  readonly warmSeconds: number
}

interface Window {
  /** Running for at least half of the time. */
  readonly handlers: number
  readonly meanHandlers: number
  readonly callsPerSecond: number
}

interface Round extends Window {
  readonly sample: Sample
}

interface Contestant {
  readonly worker: Worker
  readonly server: Server
  readonly rounds: Array<Round>
}

const names: ReadonlyArray<ClientName> = ["raw", "hawser"]

export const limit = async (built: Built, options: LimitOptions): Promise<Result> => {
  // A server for each, so that its counts are of one client alone.
  const contestants: Array<Contestant> = []
  for (const name of names) {
    const server = await start(built, streams)
    const worker = await startWorker(name, server.address)
    // Without the delay: compilers want many calls.
    await worker.run({ concurrency, millis: options.warmSeconds * 1000 })
    await server.delay(delayMillis)
    contestants.push({ worker, server, rounds: [] })
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const contestant of orderOf(contestants, round)) {
      contestant.rounds.push(await measure(contestant, options.seconds * 1000))
    }
  }
  const [raw, hawser] = contestants as [Contestant, Contestant]
  const rows = await Promise.all(contestants.map((contestant) => row(contestant, raw)))
  const { accepted } = await hawser.server.stats()
  for (const { server, worker } of contestants) {
    worker.stop()
    server.stop()
  }
  return { values: { B5: handlers(hawser), B5x: multiple(hawser, raw), B5c: accepted }, rows }
}

const measure = async ({ server, worker }: Contestant, millis: number): Promise<Round> => {
  const count = Math.max(1, Math.round(millis / windowMillis))
  const running = worker.run({ concurrency, millis: leadMillis + count * windowMillis + tailMillis })
  const observe = async (): Promise<ReadonlyArray<Window>> => {
    const windows: Array<Window> = []
    await sleep(leadMillis)
    let from = await server.stats()
    while (windows.length < count) {
      await sleep(windowMillis)
      const to = await server.stats()
      windows.push(between(from, to))
      from = to
    }
    return windows
  }
  const [sample, windows] = await Promise.all([running, observe()])
  return {
    sample,
    handlers: median(windows.map((window) => window.handlers)),
    meanHandlers: median(windows.map((window) => window.meanHandlers)),
    callsPerSecond: median(windows.map((window) => window.callsPerSecond))
  }
}

const between = (from: Stats, to: Stats): Window => {
  const elapsed = to.atMillis - from.atMillis
  return {
    handlers: to.medianRunning,
    meanHandlers: (to.runningMillis - from.runningMillis) / elapsed,
    callsPerSecond: ((to.calls - from.calls) / elapsed) * 1000
  }
}

const handlers = (contestant: Contestant): number => median(contestant.rounds.map((round) => round.handlers))

const multiple = (contestant: Contestant, raw: Contestant): number =>
  median(contestant.rounds.map((round, i) => round.callsPerSecond / raw.rounds[i]!.callsPerSecond))

const row = async (contestant: Contestant, raw: Contestant): Promise<Row> => {
  const { accepted, maxRunning } = await contestant.server.stats()
  const of = (digits: number, f: (round: Round) => number): number => rounded(median(contestant.rounds.map(f)), digits)
  return {
    measurement: "limit",
    client: titles[contestant.worker.name],
    concurrency,
    handlers: rounded(handlers(contestant), 1),
    meanHandlers: of(1, (round) => round.meanHandlers),
    mostHandlers: maxRunning,
    callsPerSecond: of(0, (round) => round.callsPerSecond),
    timesRaw: rounded(multiple(contestant, raw), 2),
    cpuMicrosPerCall: of(1, (round) => cpuPerCall(round.sample)),
    p50Millis: of(0, (round) => round.sample.p50),
    p99Millis: of(0, (round) => round.sample.p99),
    connections: accepted
  }
}
