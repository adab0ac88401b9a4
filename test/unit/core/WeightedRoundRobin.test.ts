import { assert, describe, it } from "@effect/vitest"
import type { LoadReport } from "@hawser/core/Lease"
import { OptionsError } from "@hawser/core/OptionsError"
import * as WeightedRoundRobin from "@hawser/core/WeightedRoundRobin"
import { picks, seeds, type MembersOptions } from "../../support/core/members.ts"
import { Dice } from "../../support/core/prng.ts"

type Options = WeightedRoundRobin.WeightedRoundRobinOptions

const report = (requestsPerSecond: number, utilization: number, errorsPerSecond?: number): LoadReport => ({
  requestsPerSecond,
  utilization,
  errorsPerSecond
})

/** Members whose backends say these at each answer; `undefined`: nothing. */
const setup = (reports: ReadonlyArray<LoadReport | undefined>, options?: Options, parts?: MembersOptions) => {
  const said = [...reports]
  const all = picks(WeightedRoundRobin.make(options), said.length, parts)
  for (const member of all.all) member.ready(0)
  const call = () => {
    const lease = all.lease()
    lease.release("Success", said[Number(lease.endpoint.addresses[0].slice(1))])
  }
  /** Calls for so long, one each 10 ms; each member's share of them. */
  const shares = (millis: number) => {
    const before = all.lent()
    const calls = millis / 10
    for (let i = 0; i < calls; i++) {
      all.time.now += 10
      call()
    }
    return all.lent().map((times, i) => (times - before[i]!) / calls)
  }
  const near = (actual: ReadonlyArray<number>, expected: ReadonlyArray<number>, why = "") =>
    actual.forEach((share, i) => assert.closeTo(share, expected[i]!, 0.011, `e${i} ${why}`))
  return { ...all, near, said, shares }
}

describe("WeightedRoundRobin, by reports (A58)", () => {
  it("a weight is qps / (utilization + eps / qps × penalty), for any reports", () => {
    for (const seed of seeds(30)) {
      const dice = new Dice(seed)
      const penalty = dice.oneOf([0, 0.5, 1, 3])
      const said = Array.from({ length: 2 + dice.below(5) }, () =>
        report(10 + dice.below(500), 0.1 + dice.next(), dice.chance(0.5) ? dice.below(20) : 0)
      )
      const { near, shares } = setup(said, { errorUtilizationPenalty: penalty }, { seed })
      shares(15_000)
      const weights = said.map(
        ({ errorsPerSecond, requestsPerSecond, utilization }) =>
          requestsPerSecond / (utilization + (errorsPerSecond! / requestsPerSecond) * penalty)
      )
      const total = weights.reduce((a, b) => a + b)
      near(
        shares(20_000),
        weights.map((weight) => weight / total),
        `seed ${seed}`
      )
    }
  })

  it("nothing counts before the blackout of 10 s is over: until then plain round robin", () => {
    const { near, shares } = setup([report(100, 0.2), report(100, 0.8)])
    near(shares(9_000), [0.5, 0.5])
    shares(3_000)
    near(shares(10_000), [0.8, 0.2])
  })

  it("a backend that says nothing, or zero, counts as the mean of the others", () => {
    const { near, shares } = setup([report(100, 0.5), report(300, 0.5), undefined, report(0, 0.5), report(100, 0)])
    shares(12_000)
    near(shares(20_000), [0.1, 0.3, 0.2, 0.2, 0.2])
  })

  it("fewer than two that are known: plain round robin", () => {
    const { near, shares } = setup([report(100, 0.1), undefined, report(0, 0)])
    shares(15_000)
    near(shares(9_000), [1 / 3, 1 / 3, 1 / 3])
  })

  it("a report that says no weight leaves the last one standing", () => {
    const { near, said, shares } = setup([report(100, 0.2), report(100, 0.8)])
    shares(12_000)
    said[0] = report(0, 0.2)
    near(shares(10_000), [0.8, 0.2])
  })

  it("reports expire after 3 min, and the blackout begins anew", () => {
    const { near, said, shares } = setup([report(100, 0.2), report(100, 0.8)])
    shares(12_000)
    said[0] = undefined
    said[1] = undefined
    near(shares(150_000), [0.8, 0.2])
    shares(40_000)
    near(shares(10_000), [0.5, 0.5])
    said[0] = report(100, 0.2)
    said[1] = report(100, 0.8)
    near(shares(9_000), [0.5, 0.5])
    shares(4_000)
    near(shares(10_000), [0.8, 0.2])
  })

  it("a backend that could not be reached begins its blackout anew", () => {
    const { all, near, shares, time } = setup([report(100, 0.2), report(100, 0.8), report(100, 0.8)])
    shares(12_000)
    near(shares(9_000), [2 / 3, 1 / 6, 1 / 6])
    all[0]!.unreachable()
    all[0]!.ready(time.now)
    // The mean of the two others.
    shares(1_000)
    near(shares(9_000), [1 / 3, 1 / 3, 1 / 3])
    shares(3_000)
    near(shares(9_000), [2 / 3, 1 / 6, 1 / 6])
  })

  it("takes weights anew every second, or as often as it is told, at most every 100 ms", () => {
    const after = (options: Options, millis: number) => {
      const { said, shares } = setup([report(100, 0.5), report(100, 0.5)], { blackoutPeriod: 0, ...options })
      shares(10_050)
      said[0] = report(900, 0.5)
      shares(50)
      return shares(millis)[0]! > 0.8
    }
    assert.deepStrictEqual(
      [
        after({}, 800),
        after({}, 6_000),
        after({ weightUpdatePeriod: 1 }, 500),
        after({ weightUpdatePeriod: 5_000 }, 3_000)
      ],
      [false, true, true, false]
    )
  })

  it("what is known outlives a change of the set", () => {
    const { all, near, restrict, shares } = setup([report(100, 0.2), report(100, 0.8), undefined])
    shares(12_000)
    restrict(all.slice(0, 2))
    near(shares(10_000), [0.8, 0.2, 0])
  })

  it("reports of nonsense give no weight", () => {
    const { near, shares } = setup([
      report(NaN, 0.5),
      report(100, NaN),
      report(Infinity, 0.5),
      report(-1, 0.5),
      report(100, -1),
      report(1e308, 1e-308)
    ])
    shares(12_000)
    near(shares(12_000), [1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6])
  })
})

describe("WeightedRoundRobin, without reports", () => {
  it("goes by the weights of the endpoints", () => {
    const { near, shares } = setup([undefined, undefined, undefined], {}, { of: (i) => ({ weight: i + 1 }) })
    near(shares(12_000), [1 / 6, 2 / 6, 3 / 6])
  })

  it("reports take their place", () => {
    const { near, shares } = setup([report(100, 0.5), report(100, 0.5)], {}, { of: (i) => ({ weight: 1 + 8 * i }) })
    near(shares(9_000), [0.1, 0.9])
    shares(3_000)
    near(shares(10_000), [0.5, 0.5])
  })
})

describe("WeightedRoundRobin", () => {
  it("says all that is wrong with its options", () => {
    const wrong = {
      blackoutPeriod: -1,
      weightExpirationPeriod: 0,
      weightUpdatePeriod: NaN,
      errorUtilizationPenalty: -1
    }
    try {
      WeightedRoundRobin.make(wrong)
      assert.fail("no error")
    } catch (error) {
      assert.isTrue(error instanceof OptionsError)
      assert.sameMembers(
        (error as OptionsError).issues.map(({ path }) => path),
        Object.keys(wrong)
      )
    }
  })

  it("one that starts slowly has less of what its reports give it", () => {
    const slowStart = { windowMillis: 60_000, aggression: 1, minimum: 0.1 }
    const said = [report(100, 0.5), report(100, 0.5)]
    const { all, near, shares } = setup(said, { blackoutPeriod: 0, weightUpdatePeriod: 100 }, { slowStart })
    all[0]!.unreachable()
    all[1]!.warmAt = 0
    shares(1_000)
    all[0]!.ready(1_000)
    near(shares(1_000), [0.09, 0.91])
    near(shares(60_000).slice(0, 0), [])
    near(shares(5_000), [0.5, 0.5])
  })
})
