/**
 * B12: one of ten backends fails whatever it gets, at once, and so looks idle. How many calls fail with it, without
 * retries, from the first one on: at half of what the others can do, and at 1.3 times, where the rest has to be refused.
 */
import { connectAll, count, type Outcome, startAll } from "./backends.ts"
import { median } from "./pair.ts"
import { type Result, round as rounded, type Row } from "./result.ts"
import type { Built } from "./server/build.ts"

const unavailable = 14
const millis = 50
const streams = 8
/** Calls per second of those that work. */
const capacity = ((count - 1) * streams * 1000) / millis
const loads = [0.5, 1.3] as const

export interface FailingOptions {
  readonly rounds: number
  readonly seconds: number
}

export const failing = async (built: Built, { rounds, seconds }: FailingOptions): Promise<Result> => {
  const servers = await startAll(built)
  await Promise.all(servers.map((server, i) => server.delay(i === 0 ? 1 : millis)))
  await servers[0]!.fail(unavailable)
  const all: ReadonlyArray<Array<Outcome>> = loads.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (const [i, load] of loads.entries()) {
      const client = await connectAll(servers, {
        retry: false,
        connections: { max: 1, streamsPerConnection: streams }
      })
      all[i]!.push(await client.offer({ perSecond: load * capacity, millis: seconds * 1000, leadMillis: 0 }))
      client.stop()
    }
  }
  for (const server of servers) server.stop()
  const rows = loads.map((load, i): Row => {
    const sum = sumOf(all[i]!)
    return {
      measurement: "failing",
      "load/capacity": load,
      callsPerSecond: load * capacity,
      calls: sum.calls,
      "failed%": rounded(100 * failedShare(sum), 3),
      "refused%": rounded((100 * sum.refused) / sum.calls, 1),
      "answered/capacity": rounded(answeredShare(all[i]!), 3)
    }
  })
  const B12 = 100 * Math.max(...all.map((one) => failedShare(sumOf(one))))
  return { values: { B12 }, rows }
}

interface Sum {
  readonly calls: number
  readonly refused: number
  readonly failed: number
}

const sumOf = (outcomes: ReadonlyArray<Outcome>): Sum => {
  const sum = (f: (outcome: Outcome) => number): number => outcomes.reduce((all, one) => all + f(one), 0)
  return {
    calls: sum(({ calls }) => calls),
    refused: sum(({ refused }) => refused),
    failed: sum(({ failed }) => Object.values(failed).reduce((a, b) => a + b, 0))
  }
}

const failedShare = ({ calls, failed }: Sum): number => failed / calls

const answeredShare = (outcomes: ReadonlyArray<Outcome>): number =>
  median(outcomes.map(({ answersPerSecond }) => answersPerSecond / capacity))
