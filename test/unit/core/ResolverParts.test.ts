import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ConnectError } from "@hawser/core/ConnectError"
import { type Endpoint, type EndpointOptions, makeUnsafe, name } from "@hawser/core/Endpoint"
import { OptionsError } from "@hawser/core/OptionsError"
import * as Resolver from "@hawser/core/Resolver"
import { settle } from "../../support/core/parts.ts"
import { watching } from "../../support/core/watching.ts"

type Entry = string | EndpointOptions

const endpoints = (entries: ReadonlyArray<Entry>): ReadonlyArray<Endpoint> =>
  entries.map((one) => makeUnsafe(typeof one === "string" ? { addresses: [one] } : one))

/** A resolver that says what the test says. */
const pushed = Effect.fnUntraced(function* (name: string) {
  const updates = yield* Queue.unbounded<Resolver.Update>()
  let refreshes = 0
  const resolver: Resolver.Resolver = {
    name,
    open: Effect.succeed({ updates: Stream.fromQueue(updates), refresh: () => void refreshes++ })
  }
  const say = (update: Resolver.Update) => Effect.andThen(Queue.offer(updates, update), settle)
  return {
    resolver,
    set: (...entries: ReadonlyArray<Entry>) => say({ _tag: "Endpoints", endpoints: endpoints(entries) }),
    fail: (keptForMillis: number) =>
      say({
        _tag: "Failed",
        error: new ConnectError({ reason: { _tag: "Resolution", target: name } }),
        keptForMillis
      }),
    refreshes: () => refreshes
  }
})

const refused = (make: () => unknown): ReadonlyArray<string> => {
  try {
    make()
  } catch (e) {
    if (e instanceof OptionsError) return e.issues.map(({ path }) => path)
    throw e
  }
  return []
}

describe("merge", () => {
  const setup = Effect.gen(function* () {
    const [a, b] = [yield* pushed("a"), yield* pushed("b")]
    const watch = yield* watching(Resolver.merge([a.resolver, b.resolver]))
    const last = () => {
      const update = watch.updates.at(-1)
      return update?._tag === "Endpoints" ? update.endpoints.map((one) => `${name(one)}/${one.priority}`).join(" ") : ""
    }
    return { a, b, last, ...watch }
  })

  it.effect("gives the endpoints of the first priority 0, those of the second 1", () =>
    Effect.gen(function* () {
      const { a, b, last } = yield* setup
      yield* a.set("a:1", { addresses: ["a:2"], priority: 7 })
      yield* b.set("b:1")
      assert.strictEqual(last(), "a:1/0 a:2/0 b:1/1")
    })
  )

  it.effect("or what it is told", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* pushed("a"), yield* pushed("b")]
      const { updates } = yield* watching(
        Resolver.merge([
          { resolver: a.resolver, priority: 5 },
          { resolver: b.resolver, priority: "Own" }
        ])
      )
      yield* a.set("a:1")
      yield* b.set("b:1", { addresses: ["b:2"], priority: 3 })
      const last = updates.at(-1)
      assert.deepStrictEqual(
        last?._tag === "Endpoints" ? last.endpoints.map(({ priority }) => priority) : [],
        [5, 0, 3]
      )
    })
  )

  it.effect("an endpoint of both has the lower priority, and loses it with the first", () =>
    Effect.gen(function* () {
      const { a, b, last } = yield* setup
      yield* a.set("x:1", "a:1")
      yield* b.set("x:1", "b:1")
      assert.strictEqual(last(), "x:1/0 a:1/0 b:1/1")
      yield* a.set("a:1")
      assert.strictEqual(last(), "a:1/0 x:1/1 b:1/1")
    })
  )

  it.effect("one that fails takes nothing away from the other", () =>
    Effect.gen(function* () {
      const { a, b, said } = yield* setup
      yield* a.set("a:1")
      yield* b.set("b:1")
      yield* a.fail(1_000)
      assert.deepStrictEqual(said(), ["a:1", "a:1 b:1"])
      yield* a.fail(0)
      assert.deepStrictEqual(said().slice(2), ["b:1"])
      yield* a.set("a:2")
      assert.deepStrictEqual(said().slice(3), ["a:2 b:1"])
    })
  )

  it.effect("it is a failure when all of them fail, and the end when none has a set", () =>
    Effect.gen(function* () {
      const { a, b, said } = yield* setup
      yield* a.set("a:1")
      yield* b.set("b:1")
      yield* a.fail(1_000)
      yield* b.fail(5_000)
      assert.deepStrictEqual(said().slice(2), ["kept 5000"])
      yield* b.fail(0)
      assert.deepStrictEqual(said().slice(3), ["a:1", "kept 1000"])
      yield* a.fail(0)
      assert.deepStrictEqual(said().slice(5), ["gone"])
      yield* b.set("b:1")
      assert.deepStrictEqual(said().slice(6), ["b:1"])
    })
  )

  it.effect("a backup that is known first waits a second for what stands before it", () =>
    Effect.gen(function* () {
      const { a, b, said } = yield* setup
      yield* b.set("b:1")
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(said(), [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(said(), ["b:1"])
      yield* a.set("a:1")
      assert.deepStrictEqual(said(), ["b:1", "a:1 b:1"])
    })
  )

  it.effect("and not at all, once that has failed", () =>
    Effect.gen(function* () {
      const { a, b, said } = yield* setup
      yield* b.set("b:1")
      yield* a.fail(0)
      assert.deepStrictEqual(said(), ["b:1"])
    })
  )

  it.effect("asks all of them again", () =>
    Effect.gen(function* () {
      const { a, b, refresh } = yield* setup
      refresh()
      assert.deepStrictEqual([a.refreshes(), b.refreshes()], [1, 1])
    })
  )

  it("refuses none, and priorities that there are not", () => {
    const resolver = Resolver.fixed([])
    assert.deepStrictEqual(
      refused(() => Resolver.merge([])),
      ["resolvers"]
    )
    assert.deepStrictEqual(
      refused(() => Resolver.merge([resolver, { resolver, priority: 128 }, { resolver, priority: -1 }])),
      ["resolvers[1].priority", "resolvers[2].priority"]
    )
  })
})

describe("hysteresis", () => {
  const setup = Effect.fnUntraced(function* (options?: Resolver.HysteresisOptions) {
    const source = yield* pushed("registry")
    return { ...source, ...(yield* watching(Resolver.hysteresis(source.resolver, "10 seconds", options))) }
  })

  it.effect("uses who comes at once, and keeps who goes for the grace period", () =>
    Effect.gen(function* () {
      const { said, set } = yield* setup()
      yield* set("a:1", "b:1")
      yield* set("a:1", "c:1")
      assert.deepStrictEqual(said(), ["a:1 b:1", "a:1 c:1 b:1"])
      yield* TestClock.adjust("9999 millis")
      assert.strictEqual(said().length, 2)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(said().slice(2), ["a:1 c:1"])
    })
  )

  it.effect("who comes back has never been away", () =>
    Effect.gen(function* () {
      const { said, set } = yield* setup()
      yield* set("a:1", "b:1")
      for (let i = 0; i < 20; i++) {
        yield* set("a:1")
        yield* TestClock.adjust("6 seconds")
        yield* set("a:1", "b:1")
        yield* TestClock.adjust("6 seconds")
      }
      assert.deepStrictEqual(said(), ["a:1 b:1"])
    })
  )

  it.effect("each goes in its own time", () =>
    Effect.gen(function* () {
      const { said, set } = yield* setup()
      yield* set("a:1", "b:1", "c:1")
      yield* set("a:1", "b:1")
      yield* TestClock.adjust("4 seconds")
      yield* set("a:1")
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(said(), ["a:1 b:1 c:1", "a:1 b:1"])
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(said().slice(2), ["a:1"])
    })
  )

  it.effect("a change in place is passed on", () =>
    Effect.gen(function* () {
      const { set, updates } = yield* setup()
      yield* set("a:1")
      yield* set({ addresses: ["a:1"], weight: 3 })
      const last = updates.at(-1)
      assert.strictEqual(last?._tag === "Endpoints" ? last.endpoints[0]?.weight : 0, 3)
    })
  )

  it.effect("nobody is removed while the source fails", () =>
    Effect.gen(function* () {
      const { fail, said, set } = yield* setup()
      yield* set("a:1", "b:1")
      yield* set("a:1")
      yield* fail(60_000)
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(said(), ["a:1 b:1", "kept 60000"])
      yield* set("a:1")
      assert.deepStrictEqual(said().slice(2), ["a:1"])
    })
  )

  it.effect("everybody is, when the source has nothing any more", () =>
    Effect.gen(function* () {
      const { fail, said, set } = yield* setup()
      yield* set("a:1", "b:1")
      yield* set("a:1")
      yield* fail(0)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(said(), ["a:1 b:1", "gone"])
      yield* set("c:1")
      assert.deepStrictEqual(said().slice(2), ["c:1"])
    })
  )

  it.effect("an empty set is a mistake that is believed after the grace period", () =>
    Effect.gen(function* () {
      const { said, set } = yield* setup()
      yield* set("a:1")
      yield* set()
      assert.deepStrictEqual(said(), ["a:1"])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(said(), ["a:1", ""])
    })
  )

  it.effect("or at once, where somebody means it", () =>
    Effect.gen(function* () {
      const { said, set } = yield* setup({ empty: "AtOnce" })
      yield* set("a:1", "b:1")
      yield* set("a:1")
      yield* set()
      assert.deepStrictEqual(said(), ["a:1 b:1", ""])
    })
  )

  it.effect("a source that says something new all the time is bounded", () =>
    Effect.gen(function* () {
      const { set, updates } = yield* setup()
      for (let i = 0; i < 30; i++) {
        yield* set(...Array.from({ length: 100 }, (_, j) => `h${i}-${j}:1`))
      }
      const last = updates.at(-1)
      const names = last?._tag === "Endpoints" ? last.endpoints.map((one) => name(one)) : []
      assert.strictEqual(names.length, 1_100)
      assert.isTrue(names.includes("h29-0:1") && names.includes("h28-0:1") && !names.includes("h0-0:1"))
    })
  )

  it("refuses what is no grace period", () => {
    const resolver = Resolver.fixed([])
    assert.deepStrictEqual(
      refused(() => Resolver.hysteresis(resolver, 0)),
      ["grace"]
    )
    assert.deepStrictEqual(
      refused(() => Resolver.hysteresis(resolver, "25 days", { empty: "Never" as "Grace" })),
      ["grace", "empty"]
    )
  })
})

describe("subset", () => {
  const many = (n: number) => Array.from({ length: n }, (_, i) => `10.0.${i >> 8}.${i & 255}:1`)
  const pick = (entries: ReadonlyArray<Entry>, options: Resolver.SubsetOptions) =>
    Effect.scoped(
      Effect.map(watching(Resolver.subset(Resolver.fixed(endpoints(entries)), options)), ({ updates }) => {
        const [update] = updates
        return update?._tag === "Endpoints" ? update.endpoints.map((one) => name(one)) : []
      })
    )

  it.effect("leaves so many, always the same for a seed, whatever the order", () =>
    Effect.gen(function* () {
      const first = yield* pick(many(100), { size: 20, seed: 7 })
      assert.strictEqual(first.length, 20)
      const again = yield* pick(many(100).toReversed(), { size: 20, seed: 7 })
      assert.deepStrictEqual(again.toSorted(), first.toSorted())
      assert.notDeepEqual(yield* pick(many(100), { size: 20, seed: 8 }), first)
    })
  )

  it.effect("leaves all where there are no more", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* pick(many(20), { size: 20, seed: 7 }), many(20))
    })
  )

  it.effect("without a seed each watch has its own", () =>
    Effect.gen(function* () {
      const two = Effect.all([pick(many(100), { size: 5 }), pick(many(100), { size: 5 })])
      const [a, b] = yield* Random.withSeed(two, 5)
      assert.notDeepEqual(a, b)
    })
  )

  it.effect("an endpoint that comes or goes changes at most one place (200 seeds)", () =>
    Effect.gen(function* () {
      const all = many(60)
      let changed = 0
      for (let seed = 0; seed < 200; seed++) {
        const before = yield* pick(all, { size: 10, seed })
        const gone = all[seed % all.length]!
        const after = yield* pick(
          all.filter((one) => one !== gone),
          { size: 10, seed }
        )
        const lost = before.filter((one) => !after.includes(one))
        assert.deepStrictEqual(lost, before.includes(gone) ? [gone] : [], `seed ${seed}`)
        assert.strictEqual(after.length, 10)
        changed += lost.length
      }
      // One of six is chosen, and only the chosen ones matter.
      assert.isTrue(changed > 15 && changed < 60, String(changed))
    })
  )

  it.effect("over a thousand clients every endpoint is chosen about as often as any other", () =>
    Effect.gen(function* () {
      const counts = new Map<string, number>()
      for (let seed = 0; seed < 1_000; seed++) {
        for (const one of yield* pick(many(100), { size: 20, seed })) counts.set(one, (counts.get(one) ?? 0) + 1)
      }
      const deviation = Math.sqrt(1_000 * 0.2 * 0.8)
      const off = many(100).map((one) => ((counts.get(one) ?? 0) - 200) / deviation)
      assert.isBelow(Math.max(...off.map(Math.abs)), 4.5)
      const chiSquare = off.reduce((sum, one) => sum + one * one, 0)
      // 99 degrees of freedom; 149 is the 99.9th percentile.
      assert.isBelow(chiSquare, 149)
    })
  )

  it.effect("each priority has its own", () =>
    Effect.gen(function* () {
      const entries = [...many(50), ...many(50).map((one) => ({ addresses: [`b${one}`], priority: 1 }))]
      const chosen = yield* pick(entries, { size: 10, seed: 1 })
      assert.strictEqual(chosen.filter((one) => one.startsWith("b")).length, 10)
      assert.strictEqual(chosen.length, 20)
    })
  )

  it.effect("passes failures on", () =>
    Effect.gen(function* () {
      const source = yield* pushed("registry")
      const { said } = yield* watching(Resolver.subset(source.resolver, { size: 1, seed: 1 }))
      yield* source.set("a:1")
      yield* source.fail(5)
      yield* source.fail(0)
      assert.deepStrictEqual(said(), ["a:1", "kept 5", "gone"])
    })
  )

  it("refuses sizes and seeds that are none", () => {
    assert.deepStrictEqual(
      refused(() => Resolver.subset(Resolver.fixed([]), { size: 0, seed: 0.5 })),
      ["size", "seed"]
    )
  })
})
