import { assert, describe, it } from "@effect/vitest"
import { make as demand } from "@hawser/core/Demand"
import type { Lease } from "@hawser/core/Lease"
import { Member } from "@hawser/core/Member"
import { policy } from "@hawser/core/PeakEwma"
import { endpoint, leased } from "../../support/core/parts.ts"
import { picks, seeds } from "../../support/core/members.ts"
import { Dice, mulberry } from "../../support/core/prng.ts"
import { StubUpstream } from "../../support/core/StubUpstream.ts"

const setup = (n: number, limit = Infinity, seed = 12_345) => {
  const time = { now: 0 }
  const stubs = Array.from({ length: n }, (_, i) => new StubUpstream(`e${i}`, time, limit))
  const members = stubs.map((stub) => new Member(stub, endpoint(stub.name)))
  const picker = policy.picker(members, mulberry(seed))
  return { members, pick: (d = demand()) => picker(d, time.now), stubs, time }
}

describe("PeakEwma", () => {
  it("splits evenly while leases are held", () => {
    const { pick, stubs } = setup(100)
    const picks = 100_000
    for (let i = 0; i < picks; i++) leased(pick())
    for (const stub of stubs) assert.closeTo(stub.load(), picks / 100, 0.0001 * picks, stub.name)
  })

  it("splits within a percentage point when leases are returned at once", () => {
    const { pick, stubs, time } = setup(10)
    const picks = 100_000
    for (let i = 0; i < picks; i++) {
      time.now += 0.1
      leased(pick()).release("Success")
    }
    for (const stub of stubs) assert.closeTo(stub.lent / picks, 0.1, 0.01, stub.name)
  })

  it("a slow member gets little", () => {
    const { pick, stubs, time } = setup(10)
    const dice = new Dice(1)
    const running: Array<{ readonly lease: Lease<unknown>; readonly until: number }> = []
    for (let i = 0; i < 20_000; i++) {
      time.now += 1
      for (const call of running.filter((c) => c.until <= time.now)) {
        running.splice(running.indexOf(call), 1)
        call.lease.release("Success")
      }
      const lease = leased(pick())
      const millis = 5 + dice.below(10)
      running.push({ lease, until: time.now + (lease.id === "e0#1" ? millis * 10 : millis) })
    }
    assert.isBelow(stubs[0]!.lent / 20_000, 0.03)
    assert.isAbove(stubs[0]!.lent, 0)
  })

  it("an unknown member is tried, and not flooded before it has answered", () => {
    const { members, pick, stubs } = setup(4)
    for (const member of members.slice(1)) member.estimate.add(10, 0)
    for (let i = 0; i < 200; i++) leased(pick())
    assert.strictEqual(stubs[0]!.load(), 1)
  })

  it("the age of the oldest borrow counts when it is above the estimate", () => {
    const { members, pick, stubs, time } = setup(2)
    for (const member of members) member.estimate.add(10, 0)
    members[0]!.lease(demand({ method: "m" }))
    time.now = 5_000
    for (let i = 0; i < 100; i++) leased(pick())
    assert.strictEqual(stubs[0]!.lent, 1)
  })

  it("skips who has no room, and is Full when nobody has", () => {
    const { pick, stubs } = setup(5, 3)
    for (let i = 0; i < 15; i++) leased(pick())
    assert.strictEqual(pick()._tag, "Full")
    assert.deepStrictEqual(
      stubs.map((s) => s.load()),
      [3, 3, 3, 3, 3]
    )
  })

  it("avoids who has failed this call, unless nobody else has room", () => {
    const { pick, stubs } = setup(3, 1)
    const avoid = new Set(["e0", "e2"])
    assert.strictEqual(leased(pick(demand({ avoid }))).id, "e1#1")
    leased(pick(demand({ avoid })))
    leased(pick(demand({ avoid })))
    assert.deepStrictEqual(
      stubs.map((s) => s.load()),
      [1, 1, 1]
    )
  })

  it("one member needs no dice", () => {
    const { pick, stubs } = setup(1, 1)
    leased(pick(demand({ avoid: new Set(["e0"]) })))
    assert.strictEqual(pick()._tag, "Full")
    assert.strictEqual(stubs[0]!.lent, 1)
  })

  it("a failure counts as a slow call: who fails fast is not cheap", () => {
    const { pick, stubs, time } = setup(5)
    for (let i = 0; i < 2_000; i++) {
      time.now += 1
      const lease = leased(pick())
      if (lease.id === "e0#1") lease.release("Overloaded")
      else {
        time.now += 5
        lease.release("Success")
      }
    }
    assert.isBelow(stubs[0]!.lent, 100)
  })

  it("weights are shares, whether leases are held or returned, from any seed", () => {
    for (const seed of seeds(10)) {
      const weighted = { seed, of: (i: number) => ({ weight: i === 0 ? 300 : 100 }) }
      const held = picks(policy, 6, weighted)
      for (let i = 0; i < 16_000; i++) held.lease()
      assert.closeTo(held.all[0]!.outstanding / 16_000, 3 / 8, 0.01, `seed ${seed}, held`)
      // And with four calls at once, of any length.
      const { lease, lent, time } = picks(policy, 6, weighted)
      const dice = new Dice(seed)
      const running: Array<{ readonly one: Lease<unknown>; readonly until: number }> = []
      for (let i = 0; i < 8_000; i++) {
        running.push({ one: lease(), until: time.now - Math.log(1 - dice.next()) * 5 })
        if (running.length < 4) continue
        running.sort((a, b) => b.until - a.until)
        const { one, until } = running.pop()!
        time.now = Math.max(time.now, until)
        one.release("Success")
      }
      assert.closeTo(lent()[0]! / 8_000, 3 / 8, 0.04, `seed ${seed}, returned`)
    }
  })
})
