import { assert, describe, it } from "@effect/vitest"
import * as LeastRequest from "@hawser/core/LeastRequest"
import { Issues } from "@hawser/core/OptionsError"
import * as PeakEwma from "@hawser/core/PeakEwma"
import * as RoundRobin from "@hawser/core/RoundRobin"
import * as SlowStart from "@hawser/core/SlowStart"
import * as WeightedRoundRobin from "@hawser/core/WeightedRoundRobin"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Clusters from "../../support/core/clusters.ts"
import { members, seeds } from "../../support/core/members.ts"
import { Dice } from "../../support/core/prng.ts"

describe("SlowStart", () => {
  it("rises from the minimum to 1 and never falls, for any options", () => {
    for (const seed of seeds(200)) {
      const dice = new Dice(seed)
      const windowMillis = 1_000 + dice.below(600_000)
      const self = { windowMillis, aggression: 0.1 + dice.next() * 10, minimum: 0.01 + dice.next() * 0.99 }
      let last = 0
      for (let age = 0; age <= windowMillis; age += windowMillis / 50) {
        const factor = SlowStart.factor(self, age)
        assert.isAtLeast(factor, Math.max(last, self.minimum), `seed ${seed} at ${age}`)
        assert.isAtMost(factor, 1, `seed ${seed} at ${age}`)
        last = factor
      }
      assert.strictEqual(SlowStart.factor(self, windowMillis), 1)
      assert.strictEqual(SlowStart.factor(self, Infinity), 1)
    }
  })

  it("is Envoy's formula", () => {
    const self = { windowMillis: 60_000, aggression: 1, minimum: 0.1 }
    // The first second counts as one.
    assert.closeTo(SlowStart.factor({ ...self, minimum: 0.001 }, 0), 1 / 60, 1e-9)
    assert.closeTo(SlowStart.factor(self, 15_000), 0.25, 1e-9)
    assert.closeTo(SlowStart.factor({ ...self, aggression: 2 }, 15_000), 0.5, 1e-9)
    assert.closeTo(SlowStart.factor({ ...self, aggression: 0.5, minimum: 0.01 }, 15_000), 0.0625, 1e-9)
  })

  it("says everything that is wrong", () => {
    const issues = new Issues()
    SlowStart.check({ window: "10 millis", aggression: 0, minimum: 0 }, issues, "s")
    SlowStart.check({ window: NaN, aggression: NaN, minimum: 1.1 }, issues, "t")
    SlowStart.check({ window: 1_000, aggression: 100, minimum: 1 }, issues, "u")
    assert.deepStrictEqual(
      issues.list.map(({ path }) => path),
      ["s.window", "s.aggression", "s.minimum", "t.window", "t.aggression", "t.minimum"]
    )
  })

  it("a member begins slowly at its first Ready and after a failed dial, not after a connection that came back", () => {
    const { all } = members(1, { slowStart: { windowMillis: 10_000, aggression: 1, minimum: 0.1 } })
    const member = all[0]!
    member.ready(1_000)
    assert.closeTo(member.weight(1_000), 0.1, 1e-9)
    assert.closeTo(member.weight(6_000), 0.5, 1e-9)
    member.ready(6_000)
    assert.closeTo(member.weight(6_000), 0.5, 1e-9)
    assert.strictEqual(member.weight(11_000), 1)
    member.unreachable()
    member.ready(20_000)
    assert.closeTo(member.weight(20_000), 0.1, 1e-9)
  })
})

describe("a cluster with a slow start", () => {
  const policies = {
    p2c_peak_ewma: PeakEwma.policy,
    round_robin: RoundRobin.policy,
    least_request: LeastRequest.make(),
    weighted_round_robin: WeightedRoundRobin.make()
  }
  for (const [name, policy] of Object.entries(policies)) {
    it.effect(`${name}: one that joins has its share grow from a tenth to the whole, as Envoy's would`, () =>
      Effect.gen(function* () {
        let closed = true
        const { cluster, recorder } = yield* Clusters.make({
          addresses: ["a", "b", "c", "d"],
          policy,
          slowStart: { window: "100 seconds" },
          script: (dial) => (dial.address === "a" && closed ? { _tag: "Refuse" } : { _tag: "Open" })
        })
        yield* cluster.awaitReady(3)
        const calls = 1_500
        const share = Effect.gen(function* () {
          let mine = 0
          for (let i = 0; i < calls; i++) {
            const lease = yield* Effect.scoped(cluster.get())
            if (lease.endpoint.addresses[0] === "a") mine++
          }
          return mine / calls
        })
        // The others are warm by then.
        yield* TestClock.adjust("200 seconds")
        assert.strictEqual(yield* share, 0)
        closed = false
        const ready = yield* Effect.forkChild(recorder.nth("Connected", 4))
        while (ready.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
        const young = yield* share
        yield* TestClock.adjust("50 seconds")
        const half = yield* share
        yield* TestClock.adjust("50 seconds")
        const whole = yield* share
        assert.closeTo(young, 0.1 / 3.1, 0.03)
        assert.closeTo(half, 0.5 / 3.5, 0.05)
        assert.closeTo(whole, 0.25, 0.05)
      })
    )
  }

  it.effect("says what is wrong with it before anything is dialled", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Clusters.make({ slowStart: { window: 1, minimum: -1 } }))
      assert.deepStrictEqual(
        error.issues.map(({ path }) => path),
        ["slowStart.window", "slowStart.minimum"]
      )
    })
  )
})
