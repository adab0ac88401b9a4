import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Queue, Schedule, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ConnectError } from "@hawser/core/ConnectError"
import type { EndpointOptions } from "@hawser/core/Endpoint"
import { OptionsError } from "@hawser/core/OptionsError"
import * as Resolver from "@hawser/core/Resolver"
import { settle } from "../../support/core/parts.ts"
import { watching } from "../../support/core/watching.ts"

const of = (...addresses: ReadonlyArray<string>): ReadonlyArray<EndpointOptions> =>
  addresses.map((address) => ({ addresses: [address] }))

/** A resolver whose sets the test pushes, and whose failures it chooses. */
const setup = Effect.fnUntraced(function* (options: Resolver.FromStreamOptions = {}) {
  let runs = 0
  let queue = yield* Queue.unbounded<ReadonlyArray<EndpointOptions>, unknown>()
  const stream = Stream.unwrap(
    Effect.gen(function* () {
      if (runs++ > 0) queue = yield* Queue.unbounded<ReadonlyArray<EndpointOptions>, unknown>()
      return Stream.fromQueue(queue)
    })
  )
  const watch = yield* watching(Resolver.fromStream("registry", stream, { minInterval: 0, ...options }))
  return {
    ...watch,
    push: (...addresses: ReadonlyArray<string>) => Effect.andThen(Queue.offer(queue, of(...addresses)), settle),
    give: (set: ReadonlyArray<EndpointOptions>) => Effect.andThen(Queue.offer(queue, set), settle),
    fail: Effect.andThen(
      Effect.suspend(() => Queue.fail(queue, "gone away")),
      settle
    ),
    end: Effect.andThen(
      Effect.suspend(() => Queue.failCause(queue, Cause.fail(Cause.Done()))),
      settle
    ),
    runs: () => runs
  }
})

describe("a fixed set", () => {
  it.effect("says its endpoints once", () =>
    Effect.gen(function* () {
      const { said, updates, refresh } = yield* watching(Resolver.fixed(of("a:1", "b:1")))
      refresh()
      yield* settle
      assert.deepStrictEqual(said(), ["a:1 b:1"])
      assert.strictEqual(updates.length, 1)
    })
  )

  it("refuses what is no endpoint", () => {
    assert.throws(() => Resolver.fixed([{ addresses: [] }]), OptionsError)
  })
})

describe("pushed sets", () => {
  it.effect("are passed on, and an equal set is no update", () =>
    Effect.gen(function* () {
      const { push, said } = yield* setup()
      assert.deepStrictEqual(said(), [])
      yield* push("a:1", "b:1")
      yield* push("a:1", "b:1")
      yield* push("b:1", "a:1")
      assert.deepStrictEqual(said(), ["a:1 b:1"])
      yield* push("b:1")
      assert.deepStrictEqual(said(), ["a:1 b:1", "b:1"])
    })
  )

  it.effect("a change of weight, priority, zone or attributes is an update", () =>
    Effect.gen(function* () {
      const { give, updates } = yield* setup()
      const variants: ReadonlyArray<Partial<EndpointOptions>> = [
        {},
        { weight: 2 },
        { priority: 1 },
        { zone: "eu-1a" },
        { attributes: { version: "2" } },
        { attributes: { version: "3" } },
        { authority: "other" }
      ]
      for (const variant of variants) {
        yield* give([{ addresses: ["a:1"], ...variant }])
        yield* give([{ addresses: ["a:1"], ...variant, attributes: { ...variant.attributes } }])
      }
      assert.strictEqual(updates.length, variants.length)
    })
  )

  it.effect("an empty set is taken at its word", () =>
    Effect.gen(function* () {
      const { push, said } = yield* setup()
      yield* push("a:1")
      yield* push()
      assert.deepStrictEqual(said(), ["a:1", ""])
    })
  )

  it.effect("a hundred sets a second cost one update in each interval, and the newest counts", () =>
    Effect.gen(function* () {
      const { push, said } = yield* setup({ minInterval: "100 millis" })
      for (let i = 0; i < 100; i++) {
        yield* push(`a:${i + 1}`)
        yield* TestClock.adjust("10 millis")
      }
      yield* TestClock.adjust("100 millis")
      assert.isAtMost(said().length, 11)
      assert.strictEqual(said()[0], "a:1")
      assert.strictEqual(said().at(-1), "a:100")
    })
  )

  it.effect("a set that flaps within the interval is no update", () =>
    Effect.gen(function* () {
      const { push, said } = yield* setup({ minInterval: "1 second" })
      yield* push("a:1")
      yield* push("a:1", "b:1")
      yield* push("a:1")
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(said(), ["a:1"])
      yield* push("c:1")
      assert.deepStrictEqual(said(), ["a:1", "c:1"])
    })
  )
})

describe("hostile sets", () => {
  const hostile: ReadonlyArray<unknown> = [
    "",
    "a:0",
    "a:65536",
    "a:-1",
    "a:1e3",
    "a:",
    "a b:1",
    "a\n:1",
    "a\u0000:1",
    "a:1:2",
    "x".repeat(400),
    7,
    null,
    { toString: () => "a:1" }
  ]

  for (const address of hostile) {
    it.effect(`an entry with the address ${JSON.stringify(address)?.slice(0, 30)} is left out`, () =>
      Effect.gen(function* () {
        const { give, updates } = yield* setup()
        yield* give([{ addresses: [address as string] }, { addresses: ["good:1"] }])
        const [update] = updates
        assert.strictEqual(update?._tag, "Endpoints")
        if (update?._tag !== "Endpoints") return
        assert.deepStrictEqual(
          update.endpoints.map((endpoint) => endpoint.addresses),
          [["good:1"]]
        )
        assert.strictEqual(update.dropped?.count, 1)
      })
    )
  }

  it.effect("so are entries that are none, and bad weights and priorities", () =>
    Effect.gen(function* () {
      const { give, updates } = yield* setup()
      const bad = [
        null,
        {},
        { addresses: "a:1" },
        { addresses: ["a:1"], weight: NaN },
        { addresses: ["a:1"], priority: 128 }
      ]
      yield* give([...(bad as ReadonlyArray<EndpointOptions>), { addresses: ["unix:/run/a b"] }, ...of("good:1")])
      const [update] = updates
      assert.deepStrictEqual(update?._tag === "Endpoints" ? update.dropped?.count : undefined, 6)
    })
  )

  it.effect("a set of which nothing can be used is a failure, and the last one stays", () =>
    Effect.gen(function* () {
      const { push, said } = yield* setup()
      yield* push("a:1")
      yield* push("b:0", "c:0")
      assert.deepStrictEqual(said(), ["a:1", "kept 600000"])
    })
  )

  it.effect("ten thousand endpoints are cut to a thousand, the same ones in any order", () =>
    Effect.gen(function* () {
      const { push, updates } = yield* setup()
      const many = Array.from({ length: 10_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}:1`)
      yield* push(...many)
      yield* push(...many.toReversed())
      assert.strictEqual(updates.length, 1)
      const [update] = updates
      assert.strictEqual(update?._tag, "Endpoints")
      if (update?._tag !== "Endpoints") return
      assert.strictEqual(update.endpoints.length, 1_000)
      assert.deepStrictEqual(update.dropped, { count: 9_000, why: "more than 1000 endpoints" })
    })
  )

  it.effect("of duplicates the lowest priority stays", () =>
    Effect.gen(function* () {
      const { give, updates } = yield* setup()
      yield* give([
        { addresses: ["a:1", "a:2"], priority: 3 },
        { addresses: ["b:1"] },
        { addresses: ["a:2", "a:1"], priority: 1 }
      ])
      const [update] = updates
      const priorities = update?._tag === "Endpoints" ? update.endpoints.map(({ priority }) => priority) : []
      assert.deepStrictEqual(priorities, [1, 0])
    })
  )
})

describe("a push that fails", () => {
  it.effect("is run again with backoff, and its last set stays", () =>
    Effect.gen(function* () {
      const { fail, push, runs, said } = yield* setup({ retry: Schedule.exponential("1 second") })
      yield* push("a:1")
      yield* fail
      assert.deepStrictEqual(said(), ["a:1", "kept 600000"])
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(runs(), 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(runs(), 2)
      yield* fail
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(runs(), 2)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(runs(), 3)
      // It said something: the backoff starts anew.
      yield* push("b:1")
      yield* fail
      yield* TestClock.adjust("1 second")
      assert.strictEqual(runs(), 4)
      assert.deepStrictEqual(said(), ["a:1", "kept 600000", "kept 599000", "b:1", "kept 600000"])
    })
  )

  it.effect("is over when its time has run out, with the last error", () =>
    Effect.gen(function* () {
      const { fail, push, said, updates } = yield* setup({ keep: "5 seconds", retry: Schedule.spaced("1 minute") })
      yield* push("a:1")
      yield* fail
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(said(), ["a:1", "kept 5000"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(said(), ["a:1", "kept 5000", "gone"])
      const last = updates.at(-1)
      const error = last?._tag === "Failed" ? last.error : undefined
      assert.instanceOf(error, ConnectError)
      assert.deepStrictEqual(error?.reason, { _tag: "Resolution", target: "registry" })
      assert.strictEqual(error?.cause, "gone away")
      yield* TestClock.adjust("1 minute")
      yield* push("a:1")
      assert.strictEqual(said().at(-1), "a:1")
    })
  )

  it.effect("says so at once where there was no set yet", () =>
    Effect.gen(function* () {
      const { fail, said } = yield* setup()
      yield* fail
      assert.deepStrictEqual(said(), ["gone"])
    })
  )

  it.effect("an equal set after a failure is an update: it is well again", () =>
    Effect.gen(function* () {
      const { fail, push, said } = yield* setup({ retry: Schedule.spaced("1 second") })
      yield* push("a:1")
      yield* fail
      yield* TestClock.adjust("1 second")
      yield* push("a:1")
      yield* TestClock.adjust("20 minutes")
      assert.deepStrictEqual(said(), ["a:1", "kept 600000", "a:1"])
    })
  )

  it.effect("a set and the failure after it are both seen by a slow reader", () =>
    Effect.gen(function* () {
      const { fail, push, said } = yield* setup({ minInterval: "1 minute" })
      yield* push("a:1")
      yield* push("b:1")
      yield* fail
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(said().slice(0, 3), ["a:1", "b:1", "kept 600000"])
    })
  )

  it.effect("a defect is a failure like any other", () =>
    Effect.gen(function* () {
      const { said, updates } = yield* watching(Resolver.fromStream("registry", Stream.die(new Error("broken"))))
      assert.deepStrictEqual(said(), ["gone"])
      const [update] = updates
      assert.strictEqual(update?._tag === "Failed" ? update.error.message : "", "Resolution registry: broken")
    })
  )

  it.effect("an end is no failure: the last word stays", () =>
    Effect.gen(function* () {
      const { end, push, runs, said } = yield* setup()
      yield* push("a:1")
      yield* end
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(runs(), 1)
      assert.deepStrictEqual(said(), ["a:1"])
    })
  )
})

describe("a watch", () => {
  it.effect("ends with its scope: its source is released", () =>
    Effect.gen(function* () {
      let open = 0
      const source = Stream.unwrap(
        Effect.acquireRelease(
          Effect.sync(() => {
            open++
            return Stream.concat(Stream.make(of("a:1")), Stream.never)
          }),
          () => Effect.sync(() => open--)
        )
      )
      const resolver = Resolver.fromStream("registry", source)
      const scope = yield* Scope.make()
      const { said } = yield* Scope.provide(watching(resolver), scope)
      yield* Scope.provide(watching(resolver), scope)
      assert.deepStrictEqual(said(), ["a:1"])
      assert.strictEqual(open, 2)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(open, 0)
    })
  )

  it.effect("hands refreshes to whoever pushes", () =>
    Effect.gen(function* () {
      let asked = 0
      const { refresh } = yield* setup({ refresh: () => void asked++ })
      refresh()
      refresh()
      assert.strictEqual(asked, 2)
    })
  )

  it("refuses options out of bounds, all at once", () => {
    let error: unknown
    try {
      Resolver.fromStream("registry", Stream.never, { max: 0, minInterval: "2 hours", keep: NaN })
    } catch (e) {
      error = e
    }
    assert.instanceOf(error, OptionsError)
    assert.deepStrictEqual(
      (error as OptionsError).issues.map(({ path }) => path),
      ["max", "minInterval", "keep"]
    )
  })
})
