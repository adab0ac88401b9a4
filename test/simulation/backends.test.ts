/**
 * Ten backends on a network in memory, one of them sick: what the default policy makes of it, without retries.
 *
 * `HAWSER_SEEDS=20` plays so many seeds of each, `HAWSER_FIGURES=1` prints the figures.
 */
import { assert, describe, it } from "@effect/vitest"
import { LeastRequest, PeakEwma, PickFirst, RingHash, RoundRobin, WeightedRoundRobin } from "@hawser/core"
import { type Figures, percentile, play, shareOfFirst } from "../support/testing/backends.ts"

const seeds = Array.from({ length: Number(process.env["HAWSER_SEEDS"] ?? 1) }, (_, i) => i + 1)
const tell = (line: string) => {
  if (process.env["HAWSER_FIGURES"] !== undefined) console.log(line)
}
const percent = (share: number) => `${(share * 100).toFixed(2)} %`
const policy = PeakEwma.policy

describe("one of ten backends is ten times slower", () => {
  for (const perSecond of [1_200, 3_000]) {
    it(`it gets less than 1 % of ${perSecond} calls per second, and p99 stays within 1.3 × all-healthy`, async () => {
      for (const seed of seeds) {
        const usual = { seed, policy, perSecond, seconds: 15_000 / perSecond, meanMillis: 5 }
        const healthy = await play(usual)
        const sick = await play({ ...usual, slowness: 10 })
        const share = shareOfFirst(sick.calls)
        const [before, after] = [percentile(healthy.calls, 99), percentile(sick.calls, 99)]
        tell(
          `slow, ${perSecond}/s, seed ${seed}: share ${percent(share)}, p99 ${after.toFixed(1)} / ${before.toFixed(1)} ms = ${(after / before).toFixed(2)}`
        )
        assert.isBelow(share, 0.01, `seed ${seed}`)
        assert.isAtMost(after / before, 1.3, `seed ${seed}`)
        assert.isTrue(
          sick.calls.every(({ error }) => error === undefined),
          `seed ${seed}`
        )
      }
    })
  }
})

describe("one of ten backends fails each call at once", () => {
  // 80 slots of 50 ms.
  const capacity = 1_600
  for (const load of [0.5, 1.3]) {
    it(`at ${load} × capacity at most 0.5 % of the calls fail, and what is too much is refused by us`, async () => {
      for (const seed of seeds) {
        const perSecond = capacity * load
        const { calls } = await play({ seed, policy, perSecond, seconds: 10, meanMillis: 50, failing: true, slots: 8 })
        const refused = calls.filter(
          ({ error }) => error !== undefined && "by" in error.reason && error.reason.by === "Us"
        )
        const failed = calls.filter((call) => call.error !== undefined && !refused.includes(call))
        tell(
          `failing, ${load} × capacity, seed ${seed}: failed ${percent(failed.length / calls.length)}, refused ${percent(refused.length / calls.length)} of ${calls.length}`
        )
        assert.isAtMost(failed.length / calls.length, 0.005, `seed ${seed}`)
        for (const { error } of refused) {
          assert.strictEqual(error!.progress, "NotSent")
          assert.include(["ResourceExhausted", "DeadlineExceeded"], error!.reason._tag)
        }
        if (load < 1) assert.lengthOf(refused, 0, `seed ${seed}`)
        // Nine tenths of the capacity are left, and all of it is used.
        else assert.isAtMost(refused.length / calls.length, 1 - (0.9 / load) * 0.97, `seed ${seed}`)
      }
    })
  }
})

describe("one of ten backends was frozen for ten seconds", () => {
  it("it has 75 % of an even share again within 5 s of its readmission", async () => {
    for (const seed of seeds) {
      const { calls, events } = await play({
        seed,
        policy,
        perSecond: 500,
        seconds: 28,
        meanMillis: 5,
        frozen: [3, 13]
      })
      const back = readmitted(events)
      const share = (from: number, to: number) =>
        shareOfFirst(calls.filter(({ at }) => at >= back + from * 1_000 && at < back + to * 1_000))
      tell(
        `thawed, seed ${seed}: back at ${(back / 1_000).toFixed(2)} s, shares ${[0, 1, 2, 3, 4, 5].map((s) => percent(share(s, s + 1))).join(", ")}, then ${percent(share(5, 15))}`
      )
      assert.isAtLeast(back, 12_900, `seed ${seed}`)
      assert.isBelow(back, 17_000, `seed ${seed}`)
      // One second alone says little, of 500 calls.
      assert.isAtLeast(Math.max(...[0, 1, 2, 3, 4].map((s) => share(s, s + 1))), 0.075, `seed ${seed}`)
      assert.isAtLeast(share(5, 15), 0.075, `seed ${seed}`)
    }
  })
})

describe("ten backends that are equal", () => {
  it("each gets a tenth of 100,000 calls, to a percentage point", async () => {
    for (const seed of seeds) {
      const { calls } = await play({ seed, policy, perSecond: 4_000, seconds: 25, meanMillis: 5 })
      const shares = Array.from({ length: 10 }, (_, i) => calls.filter((c) => c.backend === i).length / calls.length)
      tell(
        `equal, seed ${seed}: shares from ${percent(Math.min(...shares))} to ${percent(Math.max(...shares))} of ${calls.length}`
      )
      assert.lengthOf(calls, 100_000)
      for (const share of shares) assert.closeTo(share, 0.1, 0.01, `seed ${seed}`)
    }
  })
})

describe("what other policies make of a backend that is slow, and of one that fails", () => {
  // At most so much of the calls to the slow one, and so many failed. These are for docs/balancing.md, not promises.
  const cases = [
    [PeakEwma.policy, 0.01, 0.005],
    [RoundRobin.policy, 0.11, 0.01],
    [LeastRequest.make(), 0.05, 0.02],
    [LeastRequest.make({ choiceCount: 10 }), 0.05, 0.02],
    [WeightedRoundRobin.make(), 0.11, 0.01],
    [RingHash.make(), 0.14, 0.01],
    [PickFirst.make(), 1, 0.01]
  ] as const
  for (const [other, slow, failed] of cases) {
    it(other.name, async () => {
      const usual = { seed: 1, policy: other, perSecond: 1_200, seconds: 4, meanMillis: 5 }
      const one = await play({ ...usual, slowness: 10 })
      const two = await play({ ...usual, failing: true })
      const failures = two.calls.filter(({ error }) => error !== undefined).length / two.calls.length
      tell(
        `${other.name}: slow share ${percent(shareOfFirst(one.calls))}, p99 ${percentile(one.calls, 99).toFixed(0)} ms; ` +
          `failed ${percent(failures)}`
      )
      assert.isAtMost(shareOfFirst(one.calls), slow)
      assert.isAtMost(failures, failed)
    })
  }
})

/** When the last connection that was put aside spoke again. */
const readmitted = (events: Figures["events"]): number =>
  Math.max(
    ...events.flatMap(({ event, monotonicMillis }) =>
      event._tag === "Recovered" || event._tag === "Readmitted" ? [monotonicMillis] : []
    )
  )
