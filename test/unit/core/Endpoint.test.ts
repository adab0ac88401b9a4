import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { make, makeUnsafe, name, sameConnection } from "@hawser/core/Endpoint"
import { OptionsError } from "@hawser/core/OptionsError"

describe("Endpoint", () => {
  it("needs no more than addresses", () => {
    assert.deepStrictEqual(makeUnsafe({ addresses: ["h:1"] }), {
      addresses: ["h:1"],
      authority: undefined,
      weight: 1,
      priority: 0,
      zone: undefined,
      attributes: {}
    })
  })

  it("is named after its first address", () => {
    assert.strictEqual(name(makeUnsafe({ addresses: ["h:2", "h:1"] })), "h:2")
  })

  it("keeps its own copy of the addresses", () => {
    const addresses = ["h:1"]
    const endpoint = makeUnsafe({ addresses })
    addresses.push("h:2")
    assert.deepStrictEqual([...endpoint.addresses], ["h:1"])
  })

  it("reports every broken rule at once", () => {
    try {
      makeUnsafe({ addresses: ["h:1", "", "h:1"], weight: 0, priority: 1.5 })
      assert.fail("nothing was thrown")
    } catch (error) {
      assert.instanceOf(error, OptionsError)
      assert.deepStrictEqual(
        (error as OptionsError).issues.map((issue) => issue.path),
        ["addresses[1]", "addresses[2]", "weight", "priority"]
      )
    }
  })

  for (const weight of [0, -1, Number.NaN, 1_000_001, Infinity]) {
    it(`refuses a weight of ${weight}`, () => {
      assert.throws(() => makeUnsafe({ addresses: ["h:1"], weight }), /weight/)
    })
  }

  it.effect("make fails where makeUnsafe throws", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(make({ addresses: [] }))
      assert.strictEqual(error._tag, "OptionsError")
    })
  )

  it("keeps its connections when anything but addresses and authority changes", () => {
    const a = makeUnsafe({ addresses: ["h:1", "h:2"], authority: "x" })
    const b = makeUnsafe({
      addresses: ["h:2", "h:1"],
      authority: "x",
      weight: 7,
      priority: 3,
      zone: "z",
      attributes: { a: "b" }
    })
    assert.isTrue(sameConnection(a, b))
    assert.isFalse(sameConnection(a, makeUnsafe({ addresses: ["h:1", "h:2"] })))
    assert.isFalse(sameConnection(a, makeUnsafe({ addresses: ["h:1"], authority: "x" })))
    assert.isFalse(sameConnection(a, makeUnsafe({ addresses: ["h:1", "h:3"], authority: "x" })))
  })
})
