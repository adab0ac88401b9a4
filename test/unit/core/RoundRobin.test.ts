import { assert, describe, it } from "@effect/vitest"
import { make as demand } from "@hawser/core/Demand"
import { Member } from "@hawser/core/Member"
import { policy } from "@hawser/core/RoundRobin"
import { endpoint, leased } from "../../support/core/parts.ts"
import { mulberry } from "../../support/core/prng.ts"
import { StubUpstream } from "../../support/core/StubUpstream.ts"

const setup = (n: number, limit = Infinity, seed = 1) => {
  const time = { now: 0 }
  const stubs = Array.from({ length: n }, (_, i) => new StubUpstream(`e${i}`, time, limit))
  const members = stubs.map((stub) => new Member(stub, endpoint(stub.name)))
  return { pick: policy.picker(members, mulberry(seed)), stubs }
}

describe("RoundRobin", () => {
  it("splits evenly", () => {
    const { pick, stubs } = setup(7)
    for (let i = 0; i < 7_000; i++) leased(pick(demand(), 0)).release("Success")
    assert.deepStrictEqual(
      stubs.map((s) => s.lent),
      Array.from({ length: 7 }, () => 1_000)
    )
  })

  it("starts anywhere", () => {
    const starts = new Set(Array.from({ length: 50 }, (_, seed) => leased(setup(5, 9, seed).pick(demand(), 0)).id))
    assert.strictEqual(starts.size, 5)
  })

  it("skips who has no room, and is Full when nobody has", () => {
    const { pick, stubs } = setup(3, 2)
    leased(stubs[1]!.lease(demand()))
    leased(stubs[1]!.lease(demand()))
    for (let i = 0; i < 4; i++) assert.notStrictEqual(leased(pick(demand(), 0)).id, "e1#1")
    assert.strictEqual(pick(demand(), 0)._tag, "Full")
    assert.deepStrictEqual(
      stubs.map((s) => s.load()),
      [2, 2, 2]
    )
  })

  it("avoids who has failed this call, unless nobody else has room", () => {
    const { pick, stubs } = setup(3, 1)
    const avoid = new Set(["e0", "e2"])
    assert.strictEqual(leased(pick(demand({ avoid }), 0)).id, "e1#1")
    leased(pick(demand({ avoid }), 0))
    leased(pick(demand({ avoid }), 0))
    assert.deepStrictEqual(
      stubs.map((s) => s.load()),
      [1, 1, 1]
    )
  })
})
