/**
 * B11: one of ten backends takes 10 times as long as the others. How long the slowest 1 % of the calls take, against the
 * same client's when all are healthy, round by round.
 */
import { connectAll, type Offer, type Outcome, startAll } from "./backends.ts"
import { median, orderOf } from "./pair.ts"
import { type Result, round as rounded, type Row } from "./result.ts"
import type { Built } from "./server/build.ts"

const millis = 20
const slowMillis = 10 * millis
/** Low enough for two processors, on which ten servers run, too. */
const perSecond = 400
/** From one state of the backends to the other: what is measured is how the client lives with it. */
const leadMillis = 1_000

export interface SlowOptions {
  readonly rounds: number
  readonly seconds: number
}

const states = ["all healthy", "one is slow"] as const

export const slow = async (built: Built, { rounds, seconds }: SlowOptions): Promise<Result> => {
  const servers = await startAll(built)
  await Promise.all(servers.map((server) => server.delay(millis)))
  const client = await connectAll(servers)
  const offer: Offer = { perSecond, millis: seconds * 1000, leadMillis }
  // What a compiler makes of the client comes with the calls.
  await client.offer({ ...offer, leadMillis: 0, millis: 3_000 })
  const outcomes: ReadonlyArray<Array<Outcome>> = [[], []]
  const shares: ReadonlyArray<Array<number>> = [[], []]
  for (let round = 0; round < rounds; round++) {
    for (const state of orderOf([0, 1], round)) {
      const before = await servers[0]!.delay(state === 0 ? millis : slowMillis)
      const outcome = await client.offer(offer)
      const after = await servers[0]!.stats()
      outcomes[state]!.push(outcome)
      shares[state]!.push((after.calls - before.calls) / (perSecond * (seconds + leadMillis / 1000)))
    }
  }
  client.stop()
  for (const server of servers) server.stop()
  const [healthy, sick] = outcomes as [Array<Outcome>, Array<Outcome>]
  const rows = states.map((backends, i): Row => {
    const all = outcomes[i]!
    return {
      measurement: "slow",
      backends,
      callsPerSecond: perSecond,
      p50Millis: rounded(median(all.map(({ p50 }) => p50)), 1),
      p99Millis: rounded(median(all.map(({ p99 }) => p99)), 1),
      "firstBackend%": rounded(100 * median(shares[i]!), 2),
      failed: all.reduce((sum, { answered, calls }) => sum + calls - answered, 0)
    }
  })
  return { values: { B11: median(sick.map(({ p99 }, i) => p99 / healthy[i]!.p99)) }, rows }
}
