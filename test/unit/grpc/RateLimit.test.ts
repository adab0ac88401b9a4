import { assert, describe, it } from "@effect/vitest"
import type { OptionsError } from "@hawser/core"
import { Call, Channel, Metadata, RateLimit, RpcError } from "@hawser/grpc"
import * as Simulation from "@hawser/testing/Simulation"
import { Clock, Deferred, Effect, Exit, Fiber, Layer, Option, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, reply } from "../../support/channels.ts"

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Math.round(Number(nanos) / 1e6))

/** A channel that answers after so long and notes when each call began, and how many run. */
const serving = (millis: number) => {
  const began: Array<number> = []
  const seen = { running: 0, most: 0 }
  const channel = Channel.make<RpcError.RpcError>({
    unary: (one) =>
      Effect.acquireUseRelease(
        Effect.map(now, (at) => {
          began.push(at)
          seen.most = Math.max(seen.most, ++seen.running)
        }),
        () => Effect.as(millis === 0 ? Effect.void : Effect.sleep(millis), reply(one)),
        () => Effect.sync(() => void seen.running--)
      )
  })
  return { channel, began, seen }
}

/** Makes so many calls at once and says how each ended. */
const many = (channel: Channel.Channel, n: number, options?: Parameters<typeof call>[0]) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(
      Effect.all(
        Array.from({ length: n }, () => Effect.result(channel.unary(call(options)))),
        { concurrency: "unbounded" }
      )
    )
    yield* TestClock.adjust("1 hour")
    const results = yield* Fiber.join(fiber)
    return results.map((result) => (result._tag === "Failure" ? result.failure : undefined))
  })

describe("calls per second", () => {
  it.effect("begin as a burst, and then one by one in even steps", () =>
    Effect.gen(function* () {
      const { began, channel } = serving(0)
      const limit = RateLimit.make({ perSecond: 10, burst: 3 })
      const errors = yield* many(RateLimit.intercept(limit)(channel), 6)
      assert.deepStrictEqual(began, [0, 0, 0, 100, 200, 300])
      assert.isTrue(errors.every((error) => error === undefined))
    })
  )

  it.effect("never begin in greater number than burst + rate × time, in any window", () =>
    Effect.gen(function* () {
      const { began, channel } = serving(7)
      const limited = RateLimit.intercept(RateLimit.make({ perSecond: 100, burst: 5, maxWait: "10 seconds" }))(channel)
      const fiber = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: 300 }, (_, i) => i),
          (i) => Effect.andThen(Effect.sleep((i * 37) % 1_500), Effect.result(limited.unary(call()))),
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      assert.lengthOf(began, 300)
      for (let i = 0; i < began.length; i++) {
        for (let j = i; j < began.length; j++) {
          assert.isAtMost(j - i + 1, 5 + ((began[j]! - began[i]! + 1) * 100) / 1000)
        }
      }
    })
  )

  it.effect("that were not used are not saved beyond the burst", () =>
    Effect.gen(function* () {
      const { began, channel } = serving(0)
      yield* TestClock.adjust("1 day")
      const start = yield* now
      yield* many(RateLimit.intercept(RateLimit.make({ perSecond: 2, burst: 2 }))(channel), 3)
      assert.deepStrictEqual(
        began.map((at) => at - start),
        [0, 0, 500]
      )
    })
  )

  it.effect("below one are possible", () =>
    Effect.gen(function* () {
      const { began, channel } = serving(0)
      const limit = RateLimit.make({ perSecond: 0.1, maxWait: "1 minute" })
      yield* many(RateLimit.intercept(limit)(channel), 3)
      assert.deepStrictEqual(began, [0, 10_000, 20_000])
    })
  )
})

describe("calls at once", () => {
  it.effect("are never more, and the next begins when one ends", () =>
    Effect.gen(function* () {
      const { began, channel, seen } = serving(100)
      const errors = yield* many(RateLimit.intercept(RateLimit.make({ atOnce: 2 }))(channel), 5)
      assert.deepStrictEqual(began, [0, 0, 100, 100, 200])
      assert.strictEqual(seen.most, 2)
      assert.isTrue(errors.every((error) => error === undefined))
    })
  )

  it.effect("give their place back however they end", () =>
    Effect.gen(function* () {
      const ends = [
        Effect.fail(RpcError.of("/a/b", { _tag: "Internal", details: "" }, "Answered")),
        Effect.die("bug"),
        Effect.interrupt
      ]
      for (const end of ends) {
        const channel = RateLimit.intercept(RateLimit.make({ atOnce: 1, maxWait: 0 }))(
          Channel.make<RpcError.RpcError>({ unary: () => end })
        )
        for (let i = 0; i < 3; i++) {
          const exit = yield* Effect.exit(channel.unary(call()))
          assert.deepStrictEqual(exit, yield* Effect.exit(end))
        }
      }
    })
  )

  it.effect("count a stream until it is read, or its scope closes, or it fails to open", () =>
    Effect.gen(function* () {
      const stream = Channel.make<RpcError.RpcError>({
        stream: ({ input, method }) =>
          (input as unknown) === "bad"
            ? Effect.fail(RpcError.of(method.path, { _tag: "Internal", details: "" }, "Answered"))
            : Effect.succeed({
                messages: Stream.make(method.decode(Buffer.from("hi"))),
                headers: Metadata.empty,
                trailers: Effect.succeed(Metadata.empty),
                connection: "a#1"
              })
      })
      const limited = RateLimit.intercept(RateLimit.make({ atOnce: 1, maxWait: 0 }))(stream)
      const watch = (input: string) => limited.stream(Call.make({ ...call().method, kind: "serverStreaming" }, input))
      const full = Effect.map(Effect.flip(Effect.scoped(watch("x"))), ({ reason }) => reason._tag)
      const scope = yield* Scope.make()
      yield* Scope.provide(watch("ada"), scope)
      assert.strictEqual(yield* full, "ResourceExhausted")
      yield* Scope.close(scope, Exit.void)
      const { messages } = yield* watch("ada")
      assert.strictEqual(yield* full, "ResourceExhausted")
      yield* Stream.runDrain(messages)
      yield* Effect.flip(watch("bad"))
      yield* watch("ada")
    })
  )

  it.effect("and per second hold together", () =>
    Effect.gen(function* () {
      const { began, channel, seen } = serving(150)
      const limit = RateLimit.make({ perSecond: 10, burst: 1, atOnce: 1 })
      yield* many(RateLimit.intercept(limit)(channel), 4)
      assert.deepStrictEqual(began, [0, 150, 300, 450])
      assert.strictEqual(seen.most, 1)
    })
  )
})

describe("the wait", () => {
  it.effect("is in the order in which calls came", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const channel = Channel.make<RpcError.RpcError>({
        unary: (one) =>
          Effect.suspend(() => {
            order.push(String(one.input))
            return Effect.as(Effect.sleep(10), reply(one))
          })
      })
      const limited = RateLimit.intercept(RateLimit.make({ atOnce: 1 }))(channel)
      const names = Array.from({ length: 20 }, (_, i) => String(i))
      const fiber = yield* Effect.forkChild(
        Effect.forEach(names, (name) => limited.unary(Call.make(call().method, name)), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(order, names)
    })
  )

  it.effect("is not overtaken by a call that comes when the next token does", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const channel = Channel.make<RpcError.RpcError>({
        unary: (one) =>
          Effect.sync(() => {
            order.push(String(one.input))
            return reply(one)
          })
      })
      const limited = RateLimit.intercept(RateLimit.make({ perSecond: 10, burst: 1 }))(channel)
      const one = (name: string) => limited.unary(Call.make(call().method, name))
      // Its sleep began first, so it wakes before the one that waits.
      const late = yield* Effect.forkChild(Effect.delay(one("late"), 100), { startImmediately: true })
      yield* one("first")
      const waiting = yield* Effect.forkChild(one("waiting"), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.joinAll([late, waiting])
      assert.deepStrictEqual(order, ["first", "waiting", "late"])
    })
  )

  it.effect("is refused at once where the turn would come too late, and does not push back who follows", () =>
    Effect.gen(function* () {
      const { began, channel } = serving(0)
      const limited = RateLimit.intercept(RateLimit.make({ perSecond: 1, burst: 1, maxWait: 1_500 }))(channel)
      const start = yield* now
      const errors = yield* many(limited, 4)
      assert.deepStrictEqual(
        began.map((at) => at - start),
        [0, 1_000]
      )
      const refused = errors.filter((error) => error !== undefined)
      assert.lengthOf(refused, 2)
      for (const error of refused) {
        assert.strictEqual(error.reason._tag, "ResourceExhausted")
        assert.strictEqual(error.progress, "NotSent")
        assert.strictEqual(error.attempts, 0)
        assert.strictEqual(error.waitedMillis, 0)
      }
      assert.strictEqual(
        refused[0]?.reason.details,
        "Rate limit: Its turn would come after 2000 ms at least, and it may wait 1500"
      )
    })
  )

  it.effect("ends after maxWait, as a refusal by us", () =>
    Effect.gen(function* () {
      const { channel } = serving(5_000)
      const limited = RateLimit.intercept(RateLimit.make({ atOnce: 1, maxWait: 200 }))(channel)
      const [, error] = yield* many(limited, 2)
      assert.deepInclude(error?.reason, { _tag: "ResourceExhausted", by: "Us" })
      assert.strictEqual(error?.progress, "NotSent")
      assert.strictEqual(error?.waitedMillis, 200)
    })
  )

  it.effect("ends with the deadline where that is sooner, as DeadlineExceeded while queued", () =>
    Effect.gen(function* () {
      const { began, channel } = serving(5_000)
      const limited = RateLimit.intercept(RateLimit.make({ atOnce: 1, maxWait: "10 seconds" }))(channel)
      const [, error] = yield* many(limited, 2, { deadline: 300 })
      assert.deepInclude(error?.reason, { _tag: "DeadlineExceeded", by: "Us", phase: "Queued" })
      assert.strictEqual(error?.progress, "NotSent")
      assert.lengthOf(began, 1)
    })
  )

  it.effect("is refused where maxWaiters wait already", () =>
    Effect.gen(function* () {
      const { channel } = serving(100)
      const limited = RateLimit.intercept(RateLimit.make({ atOnce: 1, maxWaiters: 2 }))(channel)
      const errors = yield* many(limited, 4)
      assert.deepStrictEqual(
        errors.map((error) => error?.reason.details),
        [undefined, undefined, undefined, "Rate limit: 2 calls wait for their turn already"]
      )
    })
  )

  it.effect("that is interrupted leaves the line to those behind", () =>
    Effect.gen(function* () {
      const { began, channel } = serving(100)
      const limited = RateLimit.intercept(RateLimit.make({ atOnce: 1 }))(channel)
      const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(limited.unary(call())))
      yield* TestClock.adjust(50)
      yield* Fiber.interrupt(fibers[1]!)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fibers[2]!)
      assert.deepStrictEqual(began, [0, 100])
    })
  )

  it("loses no place, in whatever order calls, interrupts and ends come (500 seeds)", async () => {
    for (let seed = 1; seed <= 500; seed++) {
      const program = Effect.gen(function* () {
        let running = 0
        let most = 0
        const gate = yield* Deferred.make<void>()
        const channel = Channel.make<RpcError.RpcError>({
          unary: (one) =>
            Effect.acquireUseRelease(
              Effect.sync(() => void (most = Math.max(most, ++running))),
              () => Effect.as(Effect.andThen(Deferred.await(gate), Effect.yieldNow), reply(one)),
              () => Effect.sync(() => void running--)
            )
        })
        const limited = RateLimit.intercept(RateLimit.make({ atOnce: 2, maxWait: "1 hour" }))(channel)
        const fibers = yield* Effect.forEach(Array.from({ length: 8 }), () =>
          Effect.forkChild(Effect.andThen(Effect.yieldNow, limited.unary(call())))
        )
        const cut = fibers.filter((_, i) => (seed >> i) % 2 === 1)
        const cutting = yield* Effect.forkChild(Effect.andThen(Effect.yieldNow, Fiber.interruptAll(cut)))
        yield* Effect.yieldNow
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(cutting)
        yield* Effect.forEach(fibers, Fiber.await)
        // Both places are there again.
        yield* Effect.all([limited.unary(call()), limited.unary(call())], { concurrency: "unbounded" })
        return { running, most }
      })
      const { exit } = await Simulation.run({ seed }, () => program)
      const { most, running } = Exit.getSuccess(exit).pipe(Option.getOrThrow)
      assert.isAtMost(most, 2, `seed ${seed}`)
      assert.strictEqual(running, 0, `seed ${seed}`)
    }
  })
})

describe("options", () => {
  const problems = (options: object): ReadonlyArray<string> => {
    try {
      RateLimit.make(options)
      return []
    } catch (error) {
      return (error as OptionsError.OptionsError).issues.map(({ path }) => path)
    }
  }

  it("are all checked at once", () => {
    const wrong = { perSecond: 0, burst: 0.5, atOnce: Infinity, maxWait: "soon", maxWaiters: -1, rate: 1 }
    assert.deepStrictEqual(problems(wrong), ["perSecond", "burst", "atOnce", "maxWait", "maxWaiters", "rate"])
    assert.deepStrictEqual(problems({ atOnce: 1, burst: 3 }), ["burst"])
    assert.deepStrictEqual(problems({ perSecond: NaN }), ["perSecond"])
    assert.deepStrictEqual(problems({ maxWait: 1 }), ["perSecond"])
  })
})

describe("the layer", () => {
  it.effect("limits the channel below it", () =>
    Effect.gen(function* () {
      const { channel } = serving(0)
      const layer = RateLimit.layer(RateLimit.make({ perSecond: 1, maxWait: 0 })).pipe(
        Layer.provide(Layer.succeed(Channel.Channel, channel))
      )
      const program = Channel.Channel.use(({ unary }) => Effect.andThen(unary(call()), Effect.flip(unary(call()))))
      const { reason } = yield* Effect.provide(program, layer)
      assert.strictEqual(reason._tag, "ResourceExhausted")
    })
  )
})
