/**
 * What a silent server, and a silent path, cost a client that neither retries nor pings; and what being patient with slow
 * ones costs. `HAWSER_SEEDS=20` plays so many seeds of each.
 */
import { assert, describe, it } from "@effect/vitest"
import { PeakEwma, RoundRobin } from "@hawser/core"
import { Retry } from "@hawser/grpc"
import * as Faults from "@hawser/testing/Faults"
import { type Figures, type Play, play } from "../support/testing/silent.ts"

const addresses = ["10.0.0.1:50051", "10.0.0.2:50051", "10.0.0.3:50051"] as const
const seeds = Array.from({ length: Number(process.env["HAWSER_SEEDS"] ?? 1) }, (_, i) => i + 1)
const off = { silence: false } as const

const usual = {
  addresses,
  policy: PeakEwma.policy,
  serviceMillis: () => 2,
  by: "deadline",
  from: 5_000,
  to: 35_000,
  length: 37_000
} as const

/** Plays it with each seed, and looks at what came of it. */
const each = (what: Omit<Play, "seed">, look: (figures: Figures, seed: string) => void) => async () => {
  for (const seed of seeds) look(await play({ ...what, seed }), `seed ${seed}`)
}

const share = ({ calls, failed }: Figures): number => failed / calls

describe("one of three servers frozen for 30 s at 500 calls per second", () => {
  const frozen = { ...usual, perSecond: 500, fault: Faults.freeze(addresses[0]) }
  const cases = [
    ["peak-EWMA at 2 ms", { policy: PeakEwma.policy, serviceMillis: () => 2 }],
    ["round robin at 2 ms", { policy: RoundRobin.policy, serviceMillis: () => 2 }],
    ["peak-EWMA at 100 ms", { policy: PeakEwma.policy, serviceMillis: () => 100 }]
  ] as const
  const enders = [
    ["a deadline of 1 s", "deadline"],
    ["Effect.timeout of 1 s and no deadline", "interrupt"]
  ] as const
  for (const [what, part] of cases) {
    for (const [ender, by] of enders) {
      it(
        `costs at most 0.6 % of the calls: ${what}, ${ender}`,
        each({ ...frozen, ...part, by }, (figures, seed) => {
          assert.isAtLeast(figures.calls, 14_900)
          assert.isAtMost(share(figures), 0.006, seed)
          assert.isAtLeast(figures.count("Quarantined"), 1, seed)
        })
      )
    }
  }

  it(
    "costs no more where calls are given up so early that none is ever overdue",
    each({ ...frozen, policy: RoundRobin.policy, by: "interrupt", withinMillis: 150 }, (figures, seed) => {
      assert.isAtMost(share(figures), 0.006, seed)
    })
  )

  it(
    "costs round robin more without detection",
    each({ ...frozen, policy: RoundRobin.policy, options: off }, (figures, seed) => {
      assert.isAbove(share(figures), 0.006, seed)
    })
  )
  it(
    "costs round robin a third of the calls without detection, where they are interrupted",
    each({ ...frozen, policy: RoundRobin.policy, by: "interrupt", length: 15_000, options: off }, (figures, seed) => {
      assert.isAbove(share(figures), 0.25, seed)
    })
  )
})

describe("an endpoint whose flow is dropped while new connections pass", () => {
  const dropped = { ...usual, addresses: [addresses[0]], perSecond: 100, fault: Faults.forget(addresses[0]) }
  const firstAfter = ({ succeededAt }: Figures): number => succeededAt.find((at) => at >= 5_000) ?? Infinity
  const lastFailed = ({ failedAt }: Figures): number => failedAt.at(-1) ?? -Infinity

  for (const by of ["deadline", "interrupt"] as const) {
    for (const withinMillis of [1_000, 150]) {
      it(
        `answers again within 2 s: calls end by ${by} after ${withinMillis} ms`,
        each({ ...dropped, by, withinMillis }, (figures, seed) => {
          assert.isAtMost(firstAfter(figures), 7_000, seed)
          assert.isAtMost(lastFailed(figures), 7_000, seed)
        })
      )
    }
  }

  it(
    "answers nothing without detection",
    each({ ...dropped, options: off }, (figures, seed) => {
      assert.isAbove(firstAfter(figures), 30_000, seed)
    })
  )
})

describe("the other way round, nothing is lost, and an endpoint gets one connection more at most", () => {
  const patient = { ...usual, withinMillis: 15_000, from: 0, to: Infinity, length: 120_000 }
  // `most`: dials to one endpoint in all; more than one connection beside the first is never open at once.
  const extra =
    (n: number, most = 2) =>
    (figures: Figures, seed: string) => {
      assert.strictEqual(figures.failed, 0, seed)
      const dials = new Map<string, number>()
      for (const { event } of figures.events) {
        // Connections are exchanged every half an hour, whatever happens on them.
        if (event._tag === "Connecting" && event.why !== "Rotate") {
          dials.set(event.endpoint, (dials.get(event.endpoint) ?? 0) + 1)
        }
      }
      assert.strictEqual(dials.size, n)
      for (const [endpoint, count] of dials) assert.isAtMost(count, most, `${endpoint}, ${seed}`)
      const open = new Map<string, number>()
      for (const { event } of figures.events) {
        if (event._tag === "Connected") open.set(event.endpoint, (open.get(event.endpoint) ?? 0) + 1)
        if (event._tag === "Closed" || event._tag === "Disconnected") {
          open.set(event.endpoint, open.get(event.endpoint)! - 1)
        }
        for (const [endpoint, count] of open) assert.isAtMost(count, 2, `${endpoint}, ${seed}`)
      }
    }
  for (const n of [1, 3]) {
    const servers = { ...patient, addresses: addresses.slice(0, n) }
    for (const perSecond of [0.1, 1, 20]) {
      it(
        `${n} of handlers that take 10 s, ${perSecond} calls per second`,
        each({ ...servers, perSecond, serviceMillis: () => 10_000 }, extra(n))
      )
      it(
        `${n} whose latency jumps from 5 ms to 3 s, ${perSecond} calls per second`,
        each({ ...servers, perSecond, serviceMillis: (at) => (at < 20_000 ? 5 : 3_000) }, extra(n))
      )
    }
    for (const perSecond of [1, 20]) {
      const retried = { ...servers, perSecond, options: { retry: Retry.make() } }
      it(
        `${n} of handlers that take 10 s, with retries, ${perSecond} calls per second`,
        each({ ...retried, serviceMillis: () => 10_000 }, extra(n))
      )
      it(
        `${n} whose latency jumps from 5 ms to 3 s, with retries, ${perSecond} calls per second`,
        // What was given up leaves nothing that could be heard: another replacement may be needed, ten seconds later.
        each({ ...retried, serviceMillis: (at) => (at < 20_000 ? 5 : 3_000) }, extra(n, 3))
      )
    }
    it(`${n} that get a single call an hour`, each({ ...servers, perSecond: 1 / 3_600, length: 86_400_000 }, extra(n)))
  }
})
