import { assert, describe, it } from "@effect/vitest"
import * as LeastRequest from "@hawser/core/LeastRequest"
import { OptionsError } from "@hawser/core/OptionsError"
import { picks, seeds } from "../../support/core/members.ts"
import { Dice, mulberry } from "../../support/core/prng.ts"

describe("LeastRequest", () => {
  it("the split is even to 0.0001 of the picks while leases are held (I-13)", () => {
    const { all, lease } = picks(LeastRequest.make(), 100, { seed: 12_345 })
    const total = 100_000
    for (let i = 0; i < total; i++) lease()
    for (const { outstanding } of all) assert.closeTo(outstanding, total / 100, 0.0001 * total)
  })

  it("and to a percentage point when they are returned at once", () => {
    const { lent, pick } = picks(LeastRequest.make(), 10, { seed: 12_345 })
    const total = 100_000
    for (let i = 0; i < total; i++) pick()
    for (const times of lent()) assert.closeTo(times / total, 0.1, 0.01)
  })

  it("never picks one that has more in flight than each of those it drew, from any seed", () => {
    for (const seed of seeds(100)) {
      const dice = new Dice(seed)
      const n = 2 + dice.below(8)
      const choiceCount = 2 + dice.below(9)
      const { all, lease, restrict } = picks(LeastRequest.make({ choiceCount }), n, { seed })
      const held = [lease()]
      // What it will draw, from the same seed.
      const random = mulberry(seed)
      for (let k = 0; k < choiceCount; k++) random()
      restrict(all)
      for (let i = 0; i < 200; i++) {
        const drawn = Array.from({ length: choiceCount }, () => all[Math.floor(random() * n)]!)
        const least = Math.min(...drawn.map(({ outstanding }) => outstanding))
        const first = drawn.find(({ outstanding }) => outstanding === least)!
        const one = lease()
        assert.strictEqual(one.endpoint.addresses[0], first.name, `seed ${seed}, pick ${i}`)
        held.push(one)
        while (held.length > 0 && dice.chance(0.45)) held.splice(dice.below(held.length), 1)[0]!.release("Success")
      }
    }
  })

  it("a stream counts until it ends, not until it is answered", () => {
    const { all, lease, pick } = picks(LeastRequest.make({ choiceCount: 10 }), 2)
    const stream = lease()
    stream.responded()
    const busy = all.find(({ outstanding }) => outstanding === 1)!
    const names = Array.from({ length: 100 }, () => pick())
    // Ten draws of two miss the other one once in a thousand times.
    assert.isAtMost(names.filter((name) => name === busy.name).length, 1)
    stream.release("Success")
    assert.strictEqual(busy.outstanding, 0)
  })

  it("what is in flight counts in proportion to the weight", () => {
    const { all, lease } = picks(LeastRequest.make(), 4, { of: (i) => ({ weight: i === 0 ? 3 : 1 }) })
    for (let i = 0; i < 6_000; i++) lease()
    assert.closeTo(all[0]!.outstanding, 3_000, 60)
    for (const { outstanding } of all.slice(1)) assert.closeTo(outstanding, 1_000, 60)
  })

  it("shares go by weight when leases are returned at once", () => {
    const { lent, pick } = picks(LeastRequest.make(), 4, { of: (i) => ({ weight: i === 0 ? 3 : 1 }) })
    for (let i = 0; i < 60_000; i++) pick()
    assert.closeTo(lent()[0]! / 60_000, 0.5, 0.01)
  })

  it("choiceCount: 2 by default, below it an error, above 10 it is 10 (A48)", () => {
    for (const choiceCount of [1, 0, -1, 2.5, NaN]) {
      assert.throws(() => LeastRequest.make({ choiceCount }), OptionsError)
    }
    const draws = (choiceCount?: number) => {
      let asked = 0
      const picker = LeastRequest.make({ choiceCount }).picker(picks(LeastRequest.make(), 3).all, () => {
        asked++
        return 0
      })
      picker({ ...demandless }, 0)
      return asked
    }
    assert.deepStrictEqual([draws(), draws(5), draws(10), draws(11), draws(1_000)], [2, 5, 10, 10, 10])
  })

  it("skips who has no room, avoids who has failed this call, and is Full when nobody has room", () => {
    const { all, ask, lease } = picks(LeastRequest.make(), 3, { limit: 2 })
    assert.strictEqual(lease({ avoid: new Set(["e0", "e2"]) }).endpoint.addresses[0], "e1")
    for (let i = 0; i < 5; i++) lease()
    assert.deepStrictEqual(
      all.map(({ outstanding }) => outstanding),
      [2, 2, 2]
    )
    assert.strictEqual(ask()._tag, "Full")
  })
})

const demandless = {
  priority: 1,
  deadline: Infinity,
  waitForReady: false,
  affinity: undefined,
  method: undefined,
  avoid: undefined
} as const
