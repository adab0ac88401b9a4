import { assert, describe, it } from "@effect/vitest"
import type { OptionsError } from "@hawser/core/OptionsError"
import * as PeakEwma from "@hawser/core/PeakEwma"
import * as RoundRobin from "@hawser/core/RoundRobin"
import * as Zone from "@hawser/core/Zone"
import { picks, seeds } from "../../support/core/members.ts"
import { Dice } from "../../support/core/prng.ts"

const zones = ["a", "b", "c"]
/** Twelve endpoints, four in each of three zones: e0, e3, e6, e9 are in a. */
const setup = (options?: Zone.ZoneOptions, limit?: number) =>
  picks(Zone.prefer("a", RoundRobin.policy, options), 12, {
    of: (i) => ({ zone: zones[i % 3]! }),
    ...(limit === undefined ? {} : { limit })
  })
const zoneOf = (name: string) => zones[Number(name.slice(1)) % 3]!

describe("Zone", () => {
  it("stays in the zone iff enough of it can be used, for any set and any options", () => {
    for (const seed of seeds(200)) {
      const dice = new Dice(seed)
      const minimum = 1 + dice.below(4)
      const share = dice.oneOf([0, 0.25, 0.5, 1])
      const { all, pick, restrict } = setup({ minimum, share })
      const usable = all.filter(() => dice.chance(0.6))
      if (usable.length === 0) continue
      restrict(usable)
      const own = usable.filter(({ endpoint }) => endpoint.zone === "a")
      const mean = usable.length / new Set(usable.map(({ endpoint }) => endpoint.zone)).size
      const enough = own.length >= minimum && own.length >= share * mean
      const picked = new Set(Array.from({ length: 24 }, () => pick()))
      assert.sameMembers(
        [...picked],
        (enough ? own : usable).map(({ name }) => name),
        `seed ${seed}`
      )
    }
  })

  it("the policy chooses within the zone", () => {
    const { lent, pick } = setup()
    for (let i = 0; i < 400; i++) pick()
    assert.deepStrictEqual(lent(), [100, 0, 0, 100, 0, 0, 100, 0, 0, 100, 0, 0])
  })

  it("a call for which the zone has no room goes anywhere", () => {
    const { ask, lease } = setup({}, 1)
    const first = Array.from({ length: 4 }, () => zoneOf(lease().endpoint.addresses[0]))
    const rest = Array.from({ length: 8 }, () => zoneOf(lease().endpoint.addresses[0]))
    assert.deepStrictEqual(first, ["a", "a", "a", "a"])
    assert.isFalse(rest.includes("a"))
    assert.strictEqual(ask()._tag, "Full")
  })

  it("a call that has failed stays in the zone while it has others there, and then goes anywhere", () => {
    const { pick } = setup()
    assert.strictEqual(zoneOf(pick({ avoid: new Set(["e0"]) })), "a")
    assert.notStrictEqual(zoneOf(pick({ avoid: new Set(["e0", "e3", "e6", "e9"]) })), "a")
  })

  it("trials stay in the zone, too", () => {
    const { all, restrict } = setup()
    const policy = Zone.prefer("a", PeakEwma.policy)
    const names = (members: typeof all) => policy.trials!(members).map(({ name }) => name)
    assert.deepStrictEqual(names(all), ["e0", "e3", "e6", "e9"])
    assert.lengthOf(names(all.slice(1, 3)), 2)
    restrict(all)
    assert.deepStrictEqual(Zone.prefer("a", RoundRobin.policy).trials!(all), [])
  })

  it("keeps what the policy wants to know, and its name", () => {
    const policy = Zone.prefer("a", { ...RoundRobin.policy, reports: true })
    assert.isTrue(policy.reports)
    assert.strictEqual(policy.name, "zone(round_robin)")
  })

  it("says all that is wrong with its options", () => {
    try {
      Zone.prefer("", RoundRobin.policy, { minimum: 0, share: 2 })
      assert.fail("no error")
    } catch (error) {
      assert.deepStrictEqual(
        (error as OptionsError).issues.map(({ path }) => path),
        ["zone", "minimum", "share"]
      )
    }
  })
})
