import { assert, describe, it } from "@effect/vitest"
import * as RoundRobin from "@hawser/core/RoundRobin"
import { picks, seeds } from "../../support/core/members.ts"
import { Dice } from "../../support/core/prng.ts"

/** The greatest lead of one over another that has as much weight, over any window of picks. */
const unevenness = (names: ReadonlyArray<string>, all: ReadonlyArray<string>): number => {
  let worst = 0
  for (const a of all) {
    for (const b of all) {
      if (a === b) continue
      // The greatest difference of the running lead of a over b.
      let lead = 0
      let low = 0
      for (const name of names) {
        if (name === a) lead++
        else if (name === b) lead--
        low = Math.min(low, lead)
        worst = Math.max(worst, lead - low)
      }
    }
  }
  return worst
}

describe("turns", () => {
  it("are even to one pick over any window, whoever has no room, from any seed", () => {
    for (const seed of seeds(100)) {
      const dice = new Dice(seed)
      const n = 1 + dice.below(12)
      const { all, pick } = picks(RoundRobin.policy, n, { seed })
      const full = all.filter(() => n > 1 && dice.chance(0.3)).slice(0, n - 1)
      for (const { stub } of full) stub.session.setLimit(0)
      const names = Array.from({ length: 200 }, () => pick())
      const open = all.filter((member) => !full.includes(member)).map(({ name }) => name)
      assert.isAtMost(unevenness(names, open), 1, `seed ${seed}`)
      assert.deepStrictEqual(
        full.map(({ stub }) => stub.lent),
        full.map(() => 0)
      )
    }
  })

  it("go by weight: no two are further apart than a turn of each, at any time and from any seed", () => {
    for (const seed of seeds(100)) {
      const dice = new Dice(seed)
      const n = 2 + dice.below(10)
      const weights = Array.from({ length: n }, () => dice.oneOf([0.1, 0.5, 1, 2, 3, 10, 100]))
      const { lent, pick } = picks(RoundRobin.policy, n, { seed, of: (i) => ({ weight: weights[i]! }) })
      for (let k = 1; k <= 1_000; k++) {
        pick()
        const turns = lent()
        for (let i = 1; i < n; i++) {
          const [a, b] = [weights[i]!, weights[0]!]
          const apart = Math.abs(turns[i]! / a - turns[0]! / b)
          assert.isAtMost(apart, 1 / a + 1 / b + 1e-9, `seed ${seed}: e${i} and e0 after ${k}`)
        }
      }
    }
  })

  it("never come in a burst: who has half of the weight is picked every other time", () => {
    const { pick } = picks(RoundRobin.policy, 5, { of: (i) => ({ weight: i === 0 ? 4 : 1 }) })
    const names = Array.from({ length: 400 }, () => pick())
    let longest = 0
    let run = 0
    for (const name of names) {
      run = name === "e0" ? run + 1 : 0
      longest = Math.max(longest, run)
    }
    assert.isAtMost(longest, 2)
  })

  it("one that starts slowly is passed over in proportion, and caught up with when it is warm", () => {
    const slowStart = { windowMillis: 100_000, aggression: 1, minimum: 0.1 }
    const { all, pick, time } = picks(RoundRobin.policy, 4, { slowStart })
    for (const member of all.slice(1)) member.ready(-1e6)
    const share = (at: number) => {
      time.now = at
      const before = all[0]!.stub.lent
      for (let i = 0; i < 3_500; i++) pick()
      return (all[0]!.stub.lent - before) / 3_500
    }
    all[0]!.ready(0)
    assert.closeTo(share(0), 0.1 / 3.1, 0.002)
    assert.closeTo(share(50_000), 0.5 / 3.5, 0.002)
    assert.closeTo(share(100_000), 0.25, 0.002)
    assert.closeTo(share(200_000), 0.25, 0.002)
  })

  it("who has failed this call is passed over, unless nobody else has room", () => {
    const { all, lease, pick } = picks(RoundRobin.policy, 3, { limit: 5 })
    for (let i = 0; i < 9; i++) assert.strictEqual(pick({ avoid: new Set(["e0", "e2"]) }), "e1")
    all[1]!.stub.session.setLimit(0)
    const leases = Array.from({ length: 10 }, () => lease({ avoid: new Set(["e0", "e2"]) }))
    assert.lengthOf(leases, 10)
  })
})
