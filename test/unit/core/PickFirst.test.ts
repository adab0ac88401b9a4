import { assert, describe, it } from "@effect/vitest"
import { ConnectError } from "@hawser/core/ConnectError"
import * as PickFirst from "@hawser/core/PickFirst"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Clusters from "../../support/core/clusters.ts"
import { picks, seeds } from "../../support/core/members.ts"
import { Dice } from "../../support/core/prng.ts"

describe("PickFirst", () => {
  it("stays with the first that was Ready until it is lost, whoever comes back, from any seed", () => {
    for (const seed of seeds(100)) {
      const dice = new Dice(seed)
      const { all, pick, restrict } = picks(PickFirst.make(), 6, { seed })
      let ready = all
      let current = pick()
      assert.strictEqual(current, "e0")
      for (let i = 0; i < 100; i++) {
        ready = all.filter((member) => (ready.includes(member) ? dice.chance(0.8) : dice.chance(0.5)))
        if (ready.length === 0) continue
        restrict(ready)
        const next = pick()
        const stays = ready.some(({ name }) => name === current)
        // A switch has its reason, and takes the one that it had last or the first in order.
        if (stays) assert.strictEqual(next, current, `seed ${seed}, step ${i}`)
        else assert.isTrue(ready.some(({ name }) => name === next))
        current = next
      }
    }
  })

  it("one after another, in order, while each is lost", () => {
    const { all, pick, restrict } = picks(PickFirst.make(), 4)
    const seen = [pick()]
    for (let i = 1; i < 4; i++) {
      restrict(all.slice(i))
      seen.push(pick())
    }
    assert.deepStrictEqual(seen, ["e0", "e1", "e2", "e3"])
  })

  it("the first call decides, not who was Ready first while there were none", () => {
    const { all, pick, restrict } = picks(PickFirst.make(), 3)
    restrict(all.slice(2))
    restrict(all)
    assert.strictEqual(pick(), "e0")
  })

  it("shuffled, clients are spread over all, and each stays where it is", () => {
    const firsts = seeds(300).map((seed) => {
      const { pick } = picks(PickFirst.make({ shuffle: true }), 3, { seed })
      const first = pick()
      for (let i = 0; i < 5; i++) assert.strictEqual(pick(), first)
      return first
    })
    for (const name of ["e0", "e1", "e2"]) assert.closeTo(firsts.filter((first) => first === name).length, 100, 30)
  })

  it("clusters that share the policy do not meet", () => {
    const policy = PickFirst.make()
    const a = picks(policy, 3)
    a.restrict(a.all.slice(2))
    a.pick()
    a.restrict(a.all)
    const b = picks(policy, 3)
    assert.deepStrictEqual([a.pick(), b.pick()], ["e2", "e0"])
  })

  it("a call without room waits for its endpoint, and one that has failed goes there again", () => {
    const { ask, lease } = picks(PickFirst.make(), 2, { limit: 1 })
    const first = lease({ avoid: new Set(["e0"]) })
    assert.strictEqual(first.endpoint.addresses[0], "e0")
    assert.strictEqual(ask()._tag, "Full")
  })

  it.effect("no call goes elsewhere, not even as a trial", () =>
    Effect.gen(function* () {
      const { cluster } = yield* Clusters.make({ addresses: ["a", "b"], policy: PickFirst.make() })
      yield* cluster.awaitReady(2)
      const names = new Set<string>()
      for (let i = 0; i < 200; i++) {
        yield* cluster.use((lease) => Effect.as(TestClock.adjust(25), names.add(lease.endpoint.addresses[0])))
      }
      assert.deepStrictEqual([...names], ["a"])
    })
  )

  it.effect(
    "an endpoint that can't be reached stays TransientFailure until it is Ready, however often it is dialled (A62)",
    () =>
      Effect.gen(function* () {
        const { cluster, connector, recorder } = yield* Clusters.make({
          addresses: ["a"],
          policy: PickFirst.make(),
          script: () => ({ _tag: "Hang" })
        })
        // The first dial is waited for.
        const waiting = yield* Effect.forkChild(Effect.exit(cluster.get()))
        ;(yield* connector.dialled(1)).fail()
        const refused = yield* Fiber.join(waiting)
        assert.strictEqual(refused._tag, "Failure")
        yield* TestClock.adjust("2 seconds")
        const second = yield* connector.dialled(2)
        assert.isTrue(second.pending)
        const { root } = yield* cluster.snapshot
        assert.strictEqual(root.connectivity, "TransientFailure")
        const error = yield* Effect.flip(cluster.get())
        assert.isTrue(error instanceof ConnectError)
        second.open()
        yield* recorder.nth("Connected")
        const lease = yield* cluster.get()
        assert.strictEqual(lease.endpoint.addresses[0], "a")
      })
  )
})
