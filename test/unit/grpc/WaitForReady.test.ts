import { assert, describe, it } from "@effect/vitest"
import { WaitForReady } from "@hawser/grpc"
import * as Faults from "@hawser/testing/Faults"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { type Duration, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, scripted } from "../../support/channels.ts"
import { clientOf, definition, Echo, one } from "../../support/testing/echo.ts"

const path = call().method.path

describe("a policy", () => {
  const legal: ReadonlyArray<readonly [string, WaitForReady.WaitForReadyOptions["methods"], boolean]> = [
    ["every method by default", undefined, true],
    ["a method by its path", [path], true],
    ["the methods of a service", ["/demo.Greeter/"], true],
    ["not a method of another name", ["/demo.Greeter/SayHello2", "/demo.Greeter/Say"], false],
    ["not those of a service whose name begins alike", ["/demo.Gree/"], false],
    ["what a function says", (p) => p.endsWith("Hello"), true],
    ["not what a function denies", () => false, false]
  ]
  it.effect.each(legal)("is for %s", ([, methods, waits]) =>
    Effect.gen(function* () {
      const { channel, seen } = scripted()
      yield* channel.pipe(WaitForReady.intercept(WaitForReady.make({ methods }))).unary(call())
      assert.strictEqual(seen[0]?.waitForReady, waits ? true : undefined)
    })
  )

  it.effect("leaves the last word to the call: one that says false does not wait", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted()
      const waiting = channel.pipe(WaitForReady.intercept(WaitForReady.make({ atMost: "1 second" })))
      const impatient = call({ waitForReady: false })
      yield* waiting.unary(impatient)
      assert.strictEqual(seen[0], impatient as never)
    })
  )

  it.effect("leaves a call alone that waits anyway, and one that is none of its methods", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted()
      const waiting = call({ waitForReady: true })
      const other = call()
      const limited = channel.pipe(WaitForReady.intercept(WaitForReady.make({ methods: () => false })))
      yield* limited.unary(waiting)
      yield* limited.unary(other)
      assert.strictEqual(seen[0], waiting as never)
      assert.strictEqual(seen[1], other as never)
    })
  )

  it.each<readonly [unknown, RegExp]>([
    [{ methods: [] }, /methods: expected at least one method/],
    [{ methods: "every" }, /methods: expected a list of paths/],
    [
      { methods: ["SayHello", "/a.B", "/a.B/C/D", "//C", "/a b/C", 5] },
      /\[0\][^]*\[1\][^]*\[2\][^]*\[3\][^]*\[4\][^]*\[5\]/
    ],
    [{ method: [path], methods: null }, /methods: [^]*method: expected one of methods/],
    [{ atMost: 0 }, /atMost: expected a duration above 0/],
    [{ atMost: "25 days" }, /atMost/]
  ])("can't be made of %o", (options, message) => {
    assert.throws(() => WaitForReady.make(options as never), message)
  })

  it.effect("whose function throws is a defect of that call", () =>
    Effect.gen(function* () {
      const methods = () => {
        throw new Error("broken")
      }
      const { channel, seen } = scripted()
      const exit = yield* Effect.exit(
        channel.pipe(WaitForReady.intercept(WaitForReady.make({ methods }))).unary(call())
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.lengthOf(seen, 0)
    })
  )
})

describe("over a network where every dial fails", () => {
  const program = Effect.fnUntraced(function* (atMost?: Duration.Input) {
    const scope = yield* Effect.scope
    const network = yield* TestNetwork.TestNetwork
    const said = {
      say: (text: string) => Effect.succeed(text),
      watch: (text: string) => Stream.fromEffect(Effect.delay(Effect.succeed(text), text === "slow" ? 5_000 : 0))
    }
    yield* TestNetwork.serve(definition, said, { address: one })
    const trouble = yield* Effect.forkIn(Faults.during(Faults.refuse(one), "5 seconds"), scope, {
      startImmediately: true
    })
    const policy = WaitForReady.make({ methods: ["/test.Echo/Say", "/test.Echo/Watch"], atMost })
    const layer = clientOf({ perAttempt: WaitForReady.intercept(policy) }).pipe(
      Layer.provide(TestNetwork.layerOf(network))
    )
    const client = yield* Effect.provide(Echo, yield* Layer.buildWithScope(layer, scope))
    yield* TestClock.adjust("100 millis")
    return { client, trouble }
  })

  it.effect("calls of its methods wait until one succeeds, and others fail at once", () =>
    Effect.gen(function* () {
      const { client } = yield* program()
      const say = yield* Effect.forkChild(client.say("ada"))
      const watch = yield* Effect.forkChild(Stream.runCollect(client.watch("ada")))
      const error = yield* Effect.flip(client.upload(Stream.empty))
      assert.strictEqual(error.reason._tag, "Unavailable")
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(say.pollUnsafe(), undefined)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(say), "ada")
      assert.deepStrictEqual(yield* Fiber.join(watch), ["ada"])
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("a wait ends with the deadline, in the phase Connecting", () =>
    Effect.gen(function* () {
      const { client } = yield* program()
      const say = yield* Effect.forkChild(Effect.flip(client.say("ada", { timeout: "2 seconds" })))
      yield* TestClock.adjust("2 seconds")
      const error = yield* Fiber.join(say)
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: "Connecting", by: "Us" })
      assert.strictEqual(error.progress, "NotSent")
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("a wait ends after atMost, and a call that got through has all of its time", () =>
    Effect.gen(function* () {
      const { client } = yield* program("2 seconds")
      const short = yield* Effect.forkChild(Effect.flip(client.say("ada", { waitForReady: true })))
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(short.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 millis")
      const error = yield* Fiber.join(short)
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: "Connecting", by: "Us" })
      assert.deepInclude(error, { progress: "NotSent", waitedMillis: 2_000 })
      yield* TestClock.adjust("10 seconds")
      const slow = yield* Effect.forkChild(Stream.runCollect(client.watch("slow")))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Fiber.join(slow), ["slow"])
    }).pipe(Effect.provide(TestNetwork.layer))
  )
})
