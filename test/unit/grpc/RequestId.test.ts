import { assert, describe, it } from "@effect/vitest"
import { OptionsError } from "@hawser/core"
import { Channel, Metadata, RequestId, Retry } from "@hawser/grpc"
import { Effect, Layer, Random, Schedule } from "effect"
import { call, scripted, unavailable } from "../../support/channels.ts"

const idsOf = (seen: ReadonlyArray<{ readonly metadata: Metadata.Metadata | undefined }>, key = "x-request-id") =>
  seen.map(({ metadata }) => metadata?.get(key))

describe("RequestId", () => {
  it.effect("passes the id of the incoming request on", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const identified = RequestId.intercept(RequestId.make())(channel)
      const both = Effect.andThen(identified.unary(call()), identified.unary(call()))
      yield* RequestId.within(both, "7f3a")
      assert.deepStrictEqual(idsOf(seen), ["7f3a", "7f3a"])
    })
  )

  it.effect("gives each call outside of a request an id of its own", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const identified = RequestId.intercept(RequestId.make())(channel)
      yield* identified.unary(call())
      yield* identified.unary(call())
      const [first, second] = idsOf(seen)
      assert.match(String(first), /^[0-9a-f]{32}$/)
      assert.match(String(second), /^[0-9a-f]{32}$/)
      assert.notStrictEqual(first, second)
    })
  )

  it.effect("takes chance from Random", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const identified = RequestId.intercept(RequestId.make())(channel)
      yield* Random.withSeed(identified.unary(call()), "seed")
      yield* Random.withSeed(identified.unary(call()), "seed")
      const [first, second] = idsOf(seen)
      assert.strictEqual(first, second)
    })
  )

  it.effect("is the same in all attempts of a call", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unavailable("NotSent"), unavailable("NotSent"), "ok")
      const policy = Retry.make({ schedule: Schedule.recurs(5) })
      yield* channel.pipe(Retry.intercept(policy), RequestId.intercept(RequestId.make())).unary(call())
      assert.lengthOf(seen, 3)
      assert.lengthOf(new Set(idsOf(seen)), 1)
    })
  )

  it.effect("leaves the id that a call has already, and its other metadata", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const identified = RequestId.intercept(RequestId.make())(channel)
      const own = call({ metadata: Metadata.fromRecord({ "x-request-id": "mine" }) })
      yield* RequestId.within(identified.unary(own), "7f3a")
      yield* RequestId.within(identified.unary(call({ metadata: Metadata.fromRecord({ a: "1" }) })), "7f3a")
      assert.deepStrictEqual(idsOf(seen), ["mine", "7f3a"])
      assert.strictEqual(seen[1]?.metadata?.get("a"), "1")
    })
  )

  it.effect("does not take over an id that can't be sent", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const identified = RequestId.intercept(RequestId.make())(channel)
      const hostile = ["", " padded ", "line\nfeed", "umläut", "a".repeat(129), "\u0000"]
      for (const id of hostile) yield* RequestId.within(identified.unary(call()), id)
      assert.lengthOf(seen, hostile.length)
      for (const { metadata } of seen) {
        assert.match(String(metadata?.get("x-request-id")), /^[0-9a-f]{32}$/)
        assert.deepStrictEqual(metadata?.issues, [])
      }
    })
  )

  it.effect("has its own key and generator, and a spare one where that gives nonsense", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      let next = "one"
      const policy = RequestId.make({ key: "x-correlation-id", generate: () => next })
      const identified = RequestId.intercept(policy)(channel)
      yield* identified.unary(call())
      yield* RequestId.within(identified.unary(call()), "line\nfeed")
      next = "\n"
      yield* identified.unary(call())
      const [first, instead, second] = idsOf(seen, "x-correlation-id")
      assert.deepStrictEqual([first, instead], ["one", "one"])
      assert.match(String(second), /^[0-9a-f]{32}$/)
    })
  )

  it.effect("is a layer over any channel", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const layer = Layer.provide(RequestId.layer(), Layer.succeed(Channel.Channel, channel))
      yield* Channel.Channel.use((c) => c.unary(call())).pipe(Effect.provide(layer), RequestId.within("7f3a"))
      assert.deepStrictEqual(idsOf(seen), ["7f3a"])
    })
  )

  it("lists everything that is wrong with its options", () => {
    try {
      RequestId.make({ key: "grpc-id", generate: "x", prefix: "a" } as never)
      assert.fail("accepted")
    } catch (error) {
      assert.instanceOf(error, OptionsError.OptionsError)
      assert.deepStrictEqual(
        error.issues.map(({ path }) => path),
        ["key", "generate", "prefix"]
      )
    }
  })
})
