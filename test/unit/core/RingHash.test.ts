import { assert, describe, it } from "@effect/vitest"
import { OptionsError } from "@hawser/core/OptionsError"
import * as Ring from "@hawser/core/Ring"
import * as RingHash from "@hawser/core/RingHash"
import { count, members, type MembersOptions, type Part, picks, seeds } from "../../support/core/members.ts"
import { Dice } from "../../support/core/prng.ts"

const keys = Array.from({ length: 2_000 }, (_, i) => `user-${i}`)
const owners = (pick: (asked: { affinity: { key: string; hard: boolean } }) => string) =>
  new Map(keys.map((key) => [key, pick({ affinity: { key, hard: false } })]))
const ring = (n: number, options?: MembersOptions) => picks(RingHash.make(), n, options)
const without = (all: ReadonlyArray<Part>, index: number) => all.filter((_, i) => i !== index)

describe("RingHash", () => {
  it("one that goes moves its keys and no others; back again, it has the same ones, from any seed", () => {
    for (const seed of seeds(20)) {
      const dice = new Dice(seed)
      // From 17 to 16, places per weight change.
      const n = dice.oneOf([2, 3, 4, 5, 8, 13, 16, 18, 30, 64, 66, 100])
      const { all, pick, restrict } = ring(n, { seed })
      const before = owners(pick)
      const gone = dice.below(n)
      restrict(without(all, gone))
      const after = owners(pick)
      for (const key of keys) {
        if (before.get(key) === all[gone]!.name) assert.notStrictEqual(after.get(key), all[gone]!.name)
        else assert.strictEqual(after.get(key), before.get(key), `seed ${seed}: ${key} of ${n}`)
      }
      restrict(all)
      assert.deepStrictEqual(owners(pick), before, `seed ${seed}`)
    }
  })

  it("who has no room gives each key to the next on the ring, always the same one, and no other key moves", () => {
    for (const seed of seeds(10)) {
      const { all, pick, restrict } = ring(8, { seed })
      const before = owners(pick)
      all[2]!.stub.session.setLimit(0)
      const full = owners(pick)
      assert.deepStrictEqual(owners(pick), full)
      restrict(without(all, 2))
      // As if it were not there.
      assert.deepStrictEqual(owners(pick), full)
      for (const key of keys) if (before.get(key) !== "e2") assert.strictEqual(full.get(key), before.get(key))
    }
  })

  it("two clients agree on every key, whatever the order of their endpoints", () => {
    const a = ring(9, { seed: 1 })
    const b = ring(9, { seed: 2 })
    b.restrict(b.all.toReversed())
    assert.deepStrictEqual(owners(a.pick), owners(b.pick))
  })

  it("keys are spread within the bound that is documented", () => {
    const many = Array.from({ length: 100_000 }, (_, i) => `session:${i}`)
    for (const [n, places, bound] of [
      [10, 256, 4 * 0.0625],
      [50, 64, 4 * 0.125],
      [200, 16, 4 * 0.25],
      [1_000, 4, 6 * 0.5]
    ] as const) {
      const { all, pick } = ring(n)
      const sizes = count([...Ring.make(all, 4_096).owners].map(String))
      for (const size of sizes.values()) assert.strictEqual(size, places)
      const shares = count(many.map((key) => pick({ affinity: { key, hard: false } })))
      const mean = many.length / n
      let squares = 0
      for (const { name } of all) {
        const off = (shares.get(name) ?? 0) / mean - 1
        assert.isAtMost(Math.abs(off), bound, `${name} of ${n}`)
        squares += off * off
      }
      assert.isAtMost(Math.sqrt(squares / n), 1.3 / Math.sqrt(places), `of ${n}`)
    }
  })

  it("the ring has 1,024 to 4,096 places where members are enough, for any weights (A42)", () => {
    for (const seed of seeds(50)) {
      const dice = new Dice(seed)
      const n = 64 + dice.below(900)
      const scale = dice.oneOf([0.001, 1, 3, 1_000])
      const { all } = members(n, { of: () => ({ weight: scale * (1 + 2 * dice.next()) }) })
      const size = Ring.make(all, 4_096).hashes.length
      assert.isAtLeast(size, 0.8 * 1_024, `seed ${seed}: ${n}`)
      assert.isAtMost(size, 4_096 + n, `seed ${seed}: ${n}`)
    }
  })

  it("places and keys go by weight", () => {
    const { pick } = ring(4, { of: (i) => ({ weight: i === 0 ? 3 : 1 }) })
    const share = [...owners(pick).values()].filter((name) => name === "e0").length / keys.length
    assert.closeTo(share, 0.5, 0.08)
  })

  it("a call without a key goes anywhere", () => {
    const { lent, pick } = ring(4)
    for (let i = 0; i < 20_000; i++) pick()
    for (const times of lent()) assert.closeTo(times / 20_000, 0.25, 0.06)
  })

  it("one that starts slowly is given its keys little by little, and each of them once", () => {
    const { all, pick, time } = ring(5, { slowStart: { windowMillis: 10_000, aggression: 1, minimum: 0.1 } })
    for (const member of all.slice(1)) member.ready(-1e6)
    all[0]!.ready(0)
    const mine = (at: number) => {
      time.now = at
      return new Set([...owners(pick)].flatMap(([key, name]) => (name === "e0" ? [key] : [])))
    }
    const [first, half, whole] = [mine(0), mine(5_000), mine(10_000)]
    assert.closeTo(first.size / whole.size, 0.1, 0.05)
    assert.closeTo(half.size / whole.size, 0.5, 0.08)
    assert.isTrue([...first].every((key) => half.has(key)) && [...half].every((key) => whole.has(key)))
  })

  it("a call that has failed goes to the next on the ring, and back when nobody else has room", () => {
    const { all, pick } = ring(3)
    const affinity = { key: "ada", hard: false }
    const first = pick({ affinity })
    const second = pick({ affinity, avoid: new Set([first]) })
    assert.notStrictEqual(second, first)
    assert.strictEqual(pick({ affinity, avoid: new Set([first]) }), second)
    for (const { name, stub } of all) if (name !== first) stub.session.setLimit(0)
    assert.strictEqual(pick({ affinity, avoid: new Set([first]) }), first)
  })

  it("asks everybody once, and is Full when nobody has room", () => {
    const { all, ask } = ring(7, { limit: 0 })
    assert.strictEqual(ask({ affinity: { key: "ada", hard: false } })._tag, "Full")
    assert.deepStrictEqual(
      all.map(({ stub }) => stub.asked),
      all.map(() => 1)
    )
  })

  it("refuses sizes out of bounds", () => {
    for (const maxRingSize of [15, 65_537, 100.5, NaN]) {
      assert.throws(() => RingHash.make({ maxRingSize }), OptionsError)
    }
  })
})
