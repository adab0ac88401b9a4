import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Bindings from "@hawser/core/Bindings"
import { name } from "@hawser/core/Endpoint"
import { fnv1a, mix } from "@hawser/core/Hash"
import * as RoundRobin from "@hawser/core/RoundRobin"
import * as Clusters from "../../support/core/clusters.ts"
import { settle } from "../../support/core/parts.ts"

const keys = Array.from({ length: 1_000 }, (_, i) => `user-${i}`)
const places = ["a", "b", "c", "d"]

const setup = (options: Clusters.TestClusterOptions = {}) =>
  Effect.gen(function* () {
    const test = yield* Clusters.make({ addresses: places, policy: RoundRobin.policy, ...options })
    yield* test.cluster.awaitReady(options.addresses?.length ?? places.length)
    const at = (key: string, hard = false) =>
      test.cluster.use((lease) => Effect.succeed(name(lease.endpoint)), { affinity: { key, hard } })
    const on = (key: string) => test.cluster.use((lease) => Effect.succeed(lease.id), { affinity: { key, hard: true } })
    return { ...test, at, on }
  })

describe("the hash", () => {
  it("moves half of the bits when one bit of the input moves", () => {
    let moved = 0
    for (const key of keys) {
      const h = mix(fnv1a(key))
      for (let bit = 0; bit < 32; bit++) {
        let diff = (h ^ mix(fnv1a(key) ^ (1 << bit))) >>> 0
        for (; diff !== 0; diff &= diff - 1) moved++
      }
    }
    assert.approximately(moved / (keys.length * 32), 16, 0.2)
  })
})

describe("a soft affinity", () => {
  it.effect("sends equal keys to one endpoint, and the keys evenly", () =>
    Effect.gen(function* () {
      const { at } = yield* setup()
      const count: Record<string, number> = {}
      for (const key of keys) {
        const first = yield* at(key)
        assert.strictEqual(yield* at(key), first)
        count[first] = (count[first] ?? 0) + 1
      }
      for (const place of places) assert.approximately(count[place]!, 250, 50)
    })
  )

  it.effect("moves only the keys of an endpoint that is gone", () =>
    Effect.gen(function* () {
      const before = yield* setup()
      const after = yield* setup({ addresses: ["a", "b", "c"] })
      let moved = 0
      for (const key of keys) {
        const [one, two] = [yield* before.at(key), yield* after.at(key)]
        if (one === "d") moved++
        else assert.strictEqual(two, one)
      }
      assert.isAbove(moved, 150)
    })
  )

  it.effect("goes elsewhere when the endpoint has no room, always to the same one", () =>
    Effect.gen(function* () {
      const { at, cluster } = yield* setup({ limit: 1, max: 1 })
      const first = yield* at("ada")
      const held = yield* cluster.get({ affinity: { key: "ada", hard: false } })
      assert.strictEqual(name(held.endpoint), first)
      const second = yield* at("ada")
      assert.notStrictEqual(second, first)
      assert.strictEqual(yield* at("ada"), second)
      held.release("Success")
      assert.strictEqual(yield* at("ada"), first)
    })
  )

  it.effect("gives way to what already failed this call", () =>
    Effect.gen(function* () {
      const { at, cluster } = yield* setup()
      const first = yield* at("ada")
      const second = yield* cluster.use((lease) => Effect.succeed(name(lease.endpoint)), {
        affinity: { key: "ada", hard: false },
        avoid: new Set([first])
      })
      assert.notStrictEqual(second, first)
    })
  )
})

describe("a hard affinity", () => {
  it.effect("binds a key to one connection, until that ends", () =>
    Effect.gen(function* () {
      const { connector, on } = yield* setup({ min: 3 })
      const first = yield* on("ada")
      for (let i = 0; i < 20; i++) assert.strictEqual(yield* on("ada"), first)
      const others = new Set<string>()
      for (let i = 0; i < 12; i++) others.add(yield* on(`other-${i}`))
      assert.isAbove(others.size, 3)
      const index = connector.dials.findIndex((dial) => dial.address === first[0])
      connector.dials.filter((dial) => dial.address === first[0]).forEach((dial) => dial.session!.lose())
      assert.isAtLeast(index, 0)
      yield* settle
      const next = yield* on("ada")
      assert.notStrictEqual(next, first)
      assert.strictEqual(yield* on("ada"), next)
    })
  )

  it.effect("waits for its connection while others have room, and keeps nobody else waiting", () =>
    Effect.gen(function* () {
      const { cluster, on } = yield* setup({ limit: 1, max: 1 })
      const first = yield* on("ada")
      const held = yield* cluster.get({ affinity: { key: "ada", hard: true } })
      const waiting = yield* Effect.forkChild(on("ada"))
      yield* settle
      assert.isUndefined(waiting.pollUnsafe())
      const other = yield* cluster.use((lease) => Effect.succeed(lease.id))
      assert.notStrictEqual(other, first)
      held.release("Success")
      assert.strictEqual(yield* Fiber.join(waiting), first)
    })
  )

  it.effect("is bound anew after it was unbound", () =>
    Effect.gen(function* () {
      const { cluster, on } = yield* setup({ limit: 1, max: 1 })
      const first = yield* on("ada")
      const held = yield* cluster.get({ affinity: { key: "ada", hard: true } })
      assert.isTrue(yield* cluster.unbind("ada"))
      assert.isFalse(yield* cluster.unbind("ada"))
      assert.notStrictEqual(yield* on("ada"), first)
      held.release("Success")
    })
  )

  it("is forgotten in the order in which nobody asked for it", () => {
    const bindings = new Bindings.Bindings<number>()
    for (let i = 0; i < Bindings.maxBindings; i++) bindings.set(`k${i}`, i)
    assert.strictEqual(bindings.get("k0"), 0)
    bindings.set("new", -1)
    assert.strictEqual(bindings.get("k0"), 0)
    assert.isUndefined(bindings.get("k1"))
  })
})
