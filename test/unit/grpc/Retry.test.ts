import { assert, describe, it } from "@effect/vitest"
import { OptionsError, RetryBudget } from "@hawser/core"
import { Channel, Metadata, type Method, Retry, RpcError, Status } from "@hawser/grpc"
import { Clock, Effect, Fiber, Layer, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { call, method, scripted, type Step, unavailable } from "../../support/channels.ts"

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
const generous = RetryBudget.make({ ratio: 1000, minPerSecond: 1000 })
/** Every second, without jitter. */
const everySecond = Schedule.spaced("1 second")
const idempotent = { idempotency: "Idempotent" as Method.Idempotency }

/** Runs a call against a script and says at what millisecond each attempt began, and how it ended. */
const run = (
  steps: ReadonlyArray<Step>,
  options?: Retry.RetryOptions,
  one: Parameters<typeof call>[0] = idempotent,
  patience = "1 hour" as const
) =>
  Effect.gen(function* () {
    const { channel, seen } = scripted(...steps)
    const times: Array<number> = []
    const timed = Channel.intercept(channel, (c, next) =>
      Effect.andThen(
        Effect.map(now, (at) => times.push(at)),
        next(c)
      )
    )
    const retried = Retry.intercept(Retry.make({ budget: generous, schedule: everySecond, attempts: 3, ...options }))(
      timed
    )
    const fiber = yield* Effect.forkChild(Effect.result(retried.unary(call(one))))
    yield* TestClock.adjust(patience)
    const result = yield* Fiber.join(fiber)
    const error = result._tag === "Failure" ? result.failure : undefined
    return { seen, times, error, message: result._tag === "Success" ? result.success.message : undefined }
  })

const sent = unavailable("MaybeProcessed", { endpoint: "a:1" })
const unsent = unavailable("NotSent", { endpoint: "a:1" })
const of = (tag: "NotFound" | "Internal" | "ResourceExhausted", progress: RpcError.Progress) =>
  RpcError.of(
    method().path,
    tag === "ResourceExhausted" ? { _tag: tag, details: "", by: "Server" } : { _tag: tag, details: "" },
    progress
  )

describe("a retry", () => {
  it.effect("is not needed where the first attempt succeeds, and costs one deposit", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const budget: RetryBudget.RetryBudget = {
        deposit: (at) => log.push(`deposit ${at}`),
        withdraw: () => log.push("withdraw") > 0,
        balance: () => 1
      }
      const { message, times } = yield* run(["ok"], { budget })
      assert.strictEqual(message, "ada")
      assert.lengthOf(times, 1)
      assert.deepStrictEqual(log, ["deposit 0"])
    })
  )

  // What failed, how far it got, and whether an idempotent and another method are sent again.
  it.effect.each<readonly [string, RpcError.RpcError, boolean, boolean]>([
    ["not sent", unsent, true, true],
    ["refused", unavailable("Refused"), true, true],
    ["maybe processed", sent, true, false],
    ["answered Unavailable", unavailable("Answered"), true, false],
    ["not found", of("NotFound", "Answered"), false, false],
    ["an internal error", of("Internal", "Answered"), false, false],
    ["overload of the server", of("ResourceExhausted", "Answered"), false, false],
    ["our queue is full", of("ResourceExhausted", "NotSent"), false, false]
  ])("after %s", ([, error, whenIdempotent, otherwise]) =>
    Effect.gen(function* () {
      for (const idempotency of ["Idempotent", "NoSideEffects", "Unknown"] as const) {
        const { seen } = yield* run([error, "ok"], {}, { idempotency })
        const expected = idempotency === "Unknown" ? otherwise : whenIdempotent
        assert.lengthOf(seen, expected ? 2 : 1)
      }
    })
  )

  it.effect("is told its number, who failed, and how to be sent again", () =>
    Effect.gen(function* () {
      const steps = [sent, unavailable("MaybeProcessed", { endpoint: "b:1" }), "ok"] as const
      const { seen } = yield* run(steps, {}, { ...idempotent, avoid: new Set(["z:1"]) })
      assert.deepStrictEqual(
        seen.map((c) => c.attempt),
        [1, 2, 3]
      )
      assert.deepStrictEqual(
        seen.map((c) => [...(c.avoid ?? [])]),
        [["z:1"], ["z:1", "a:1"], ["z:1", "a:1", "b:1"]]
      )
      for (const c of seen) assert.isFunction(c.resend)
      assert.strictEqual(seen[2]?.input, "ada")
    })
  )

  it.effect("still avoids who failed after an attempt that reached nobody", () =>
    Effect.gen(function* () {
      const { seen } = yield* run([sent, unavailable("NotSent"), "ok"])
      assert.deepStrictEqual([...seen[2]!.avoid!], ["a:1"])
    })
  )

  it.effect("ends with the last error and the number of attempts", () =>
    Effect.gen(function* () {
      const { error, seen } = yield* run([sent, sent, unavailable("MaybeProcessed", { endpoint: "c:1" }, "the last")])
      assert.lengthOf(seen, 3)
      assert.strictEqual(error?.attempts, 3)
      assert.strictEqual(error?.endpoint, "c:1")
      assert.strictEqual(error?.reason.details, "the last")
    })
  )

  it.effect("ends with an error of another kind as soon as there is one", () =>
    Effect.gen(function* () {
      const { error, seen } = yield* run([sent, of("NotFound", "Answered"), "ok"])
      assert.lengthOf(seen, 2)
      assert.strictEqual(error?.reason._tag, "NotFound")
      assert.strictEqual(error?.attempts, 2)
    })
  )

  it.effect("leaves the error of a first attempt as it is", () =>
    Effect.gen(function* () {
      const only = of("NotFound", "Answered")
      const { error } = yield* run([only])
      assert.strictEqual(error, only)
    })
  )

  it.effect("lets defects and interrupts pass", () =>
    Effect.gen(function* () {
      const died = scripted(Effect.die("bug"))
      const interrupted = scripted(Effect.interrupt)
      for (const { channel, seen } of [died, interrupted]) {
        const exit = yield* Effect.exit(Retry.intercept(Retry.make())(channel).unary(call(idempotent)))
        assert.strictEqual(exit._tag, "Failure")
        assert.lengthOf(seen, 1)
      }
    })
  )
})

describe("the wait", () => {
  it.effect("follows the schedule", () =>
    Effect.gen(function* () {
      const { times } = yield* run([sent, sent, "ok"])
      assert.deepStrictEqual(times, [0, 1000, 2000])
    })
  )

  it.effect.each([
    ["a call that was not sent", unsent],
    ["a refused call", unavailable("Refused")],
    ["a call whose path was given up", unavailable("MaybeProcessed", {}, Status.pathGivenUp)]
  ] as const)("is left out before the first retry of %s, and of the first only", ([, error]) =>
    Effect.gen(function* () {
      const { times } = yield* run([error, error, error, "ok"], { attempts: 4 })
      assert.deepStrictEqual(times, [0, 0, 1000, 2000])
    })
  )

  it.effect("is 100 ms × 2 up to 1 s, ±20 %, by default", () =>
    Effect.gen(function* () {
      const waits = [100, 200, 400, 800, 1000, 1000]
      for (let seed = 0; seed < 20; seed++) {
        const { times } = yield* Random.withSeed(run([sent], { attempts: 7, schedule: Retry.make().schedule }), seed)
        waits.forEach((expected, i) => {
          const wait = times[i + 1]! - times[i]!
          assert.isAtLeast(wait, 0.8 * expected)
          assert.isAtMost(wait, 1.2 * expected)
        })
      }
    })
  )

  it.effect("starts anew for each call", () =>
    Effect.gen(function* () {
      const policy = Retry.make({ schedule: Schedule.exponential("1 second"), attempts: 3, budget: false })
      const { channel } = scripted(sent, sent, "ok", sent, sent, "ok")
      const retried = Retry.intercept(policy)(channel)
      for (const _ of [1, 2]) {
        const start = yield* now
        const fiber = yield* Effect.forkChild(Effect.andThen(retried.unary(call(idempotent)), now))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Fiber.join(fiber)) - start, 3000)
      }
    })
  )

  it.effect("can be interrupted, and nothing is sent after that", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(sent, "ok")
      const fiber = yield* Effect.forkChild(
        Retry.intercept(Retry.make({ schedule: everySecond }))(channel).unary(call(idempotent))
      )
      yield* TestClock.adjust("500 millis")
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(seen, 1)
    })
  )

  it.effect.each<readonly [number, number]>([
    [999, 1],
    [1000, 1],
    [1001, 2],
    [2000, 2],
    [2001, 3]
  ])("is not begun where it would pass a deadline of %i ms: %i attempts", ([deadline, attempts]) =>
    Effect.gen(function* () {
      const { error, seen, times } = yield* run([sent], {}, { ...idempotent, deadline })
      assert.lengthOf(seen, attempts)
      assert.isBelow(times.at(-1)!, deadline)
      assert.strictEqual(error?.reason._tag, "Unavailable")
    })
  )

  it.effect("does not keep a call that has no deadline", () =>
    Effect.gen(function* () {
      const { seen } = yield* run([sent, "ok"], {}, { ...idempotent, deadline: Infinity })
      assert.lengthOf(seen, 2)
    })
  )
})

describe("attempts", () => {
  it.effect.each([2, 3, 5, 100])("are at most %i", (attempts) =>
    Effect.gen(function* () {
      const { error, seen } = yield* run([sent], { attempts })
      assert.lengthOf(seen, attempts)
      assert.strictEqual(error?.attempts, attempts)
    })
  )

  it.effect("are as many as the schedule has, where no number is given", () =>
    Effect.gen(function* () {
      const schedule = everySecond.pipe(Schedule.upTo({ times: 5 }))
      const { channel, seen } = scripted(sent)
      const fiber = yield* Effect.forkChild(
        Effect.flip(Retry.intercept(Retry.make({ schedule, budget: generous }))(channel).unary(call(idempotent)))
      )
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(fiber)).attempts, 6)
      assert.lengthOf(seen, 6)
    })
  )

  it.effect("are 100 at most, with a schedule that never ends", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(sent)
      const policy = Retry.make({ schedule: Schedule.spaced("1 second"), budget: generous })
      const fiber = yield* Effect.forkChild(Effect.flip(Retry.intercept(policy)(channel).unary(call(idempotent))))
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(fiber)
      assert.lengthOf(seen, 100)
    })
  )

  it.effect("may be ended by a schedule that looks at the error", () =>
    Effect.gen(function* () {
      const schedule = everySecond.pipe(
        Schedule.setInputType<RpcError.RpcError>(),
        Schedule.while(({ input }) => Effect.succeed(input.endpoint !== "stop:1"))
      )
      const { seen } = yield* run([sent, unavailable("MaybeProcessed", { endpoint: "stop:1" }), "ok"], { schedule })
      assert.lengthOf(seen, 2)
    })
  )

  it.effect("follow a predicate of one's own, where sending again is safe", () =>
    Effect.gen(function* () {
      const retryable = (error: RpcError.RpcError) => error.reason._tag === "Internal"
      assert.lengthOf((yield* run([of("Internal", "Answered"), "ok"], { retryable })).seen, 2)
      assert.lengthOf((yield* run([sent, "ok"], { retryable })).seen, 1)
      assert.lengthOf((yield* run([of("Internal", "Answered"), "ok"], { retryable }, {})).seen, 1)
    })
  )
})

describe("pushback", () => {
  const pushed = (millis: string) =>
    unavailable("Answered", { metadata: Metadata.received(() => [["grpc-retry-pushback-ms", millis]], undefined) })

  it.effect("replaces the wait, and the schedule starts afresh", () =>
    Effect.gen(function* () {
      const schedule = Schedule.exponential("1 second")
      const { times } = yield* run([sent, sent, pushed("50"), sent, "ok"], { schedule, attempts: 5 })
      assert.deepStrictEqual(times, [0, 1000, 3000, 3050, 4050])
    })
  )

  it.effect("of zero is at once", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* run([pushed("0"), "ok"])).times, [0, 0])
    })
  )

  it.effect.each(["-1", "soon", "", "1.5", "99999999999", "0x10"])('of "%s" forbids the retry', (millis) =>
    Effect.gen(function* () {
      const { error, seen } = yield* run([pushed(millis), "ok"])
      assert.lengthOf(seen, 1)
      assert.strictEqual(error?.reason._tag, "Unavailable")
    })
  )

  it.effect("does not add attempts, nor pass a deadline", () =>
    Effect.gen(function* () {
      assert.lengthOf((yield* run([pushed("0")])).seen, 3)
      assert.lengthOf((yield* run([pushed("5000")], {}, { ...idempotent, deadline: 5000 })).seen, 1)
    })
  )
})

describe("the budget", () => {
  it.effect("ends retries when it is empty, and the error says so", () =>
    Effect.gen(function* () {
      const { error, seen } = yield* run([sent], { budget: RetryBudget.make({ ratio: 0, minPerSecond: 0 }) })
      assert.lengthOf(seen, 1)
      assert.strictEqual(error?.reason.details, "lost; retry budget is empty")
      assert.strictEqual(error?.attempts, 1)
      assert.strictEqual(error?.endpoint, "a:1")
    })
  )

  it.effect("is asked before the wait: a call that can't afford another attempt fails at once", () =>
    Effect.gen(function* () {
      const budget = RetryBudget.make({ ratio: 0, minPerSecond: 0 })
      const retried = Retry.intercept(Retry.make({ budget, schedule: everySecond }))(scripted(sent).channel)
      const fiber = yield* Effect.forkChild(Effect.exit(retried.unary(call(idempotent))))
      yield* TestClock.adjust(0)
      assert.isDefined(fiber.pollUnsafe())
    })
  )

  it.effect("is shared by calls: a dead service is not asked three times as often", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unsent)
      const budget = RetryBudget.make({ ratio: 0.2, minPerSecond: 0 })
      const retried = Retry.intercept(Retry.make({ budget, schedule: Schedule.spaced(0) }))(channel)
      for (let i = 0; i < 100; i++) yield* Effect.ignore(retried.unary(call()))
      assert.strictEqual(seen.length, 120)
    })
  )

  it.effect("has one deposit for each call, not for each attempt", () =>
    Effect.gen(function* () {
      let deposits = 0
      const budget: RetryBudget.RetryBudget = { deposit: () => void deposits++, withdraw: () => true, balance: () => 9 }
      yield* run([sent, sent, "ok"], { budget })
      assert.strictEqual(deposits, 1)
    })
  )

  it.effect("is not touched by calls that are not sent again", () =>
    Effect.gen(function* () {
      let withdrawals = 0
      const budget: RetryBudget.RetryBudget = {
        deposit: () => {},
        withdraw: () => withdrawals++ >= 0,
        balance: () => 9
      }
      yield* run([of("NotFound", "Answered")], { budget })
      yield* run([sent], { budget }, {})
      yield* run([sent], { budget }, { ...idempotent, deadline: 10 })
      assert.strictEqual(withdrawals, 0)
    })
  )

  it.effect("is not there with false", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unsent)
      const retried = Retry.intercept(Retry.make({ budget: false, schedule: Schedule.spaced(0), attempts: 3 }))(channel)
      for (let i = 0; i < 200; i++) yield* Effect.ignore(retried.unary(call()))
      assert.strictEqual(seen.length, 600)
    })
  )

  it.effect("has its defaults where none is named: 10 per second over 10 s, and a fifth of the calls", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unsent)
      const retried = Retry.intercept(Retry.make({ schedule: Schedule.spaced(0), attempts: 2 }))(channel)
      for (let i = 0; i < 1000; i++) yield* Effect.ignore(retried.unary(call()))
      assert.strictEqual(seen.length, 1300)
    })
  )
})

describe("resend", () => {
  const ask = (options: Retry.RetryOptions, one: Parameters<typeof call>[0], later: number = 0) =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(Effect.never)
      yield* Effect.forkChild(Retry.intercept(Retry.make({ budget: generous, ...options }))(channel).unary(call(one)), {
        startImmediately: true
      })
      yield* TestClock.adjust(later)
      const [running] = seen
      return running!.resend!(running!)
    })

  it.effect.each<readonly [string, Retry.RetryOptions, Parameters<typeof call>[0], number, boolean]>([
    ["an idempotent call", {}, idempotent, 0, true],
    ["a call that may not be sent twice", {}, {}, 0, false],
    ["a last attempt", {}, { ...idempotent, attempt: 3 }, 0, false],
    ["a call before its deadline", {}, { ...idempotent, deadline: 1000 }, 999, true],
    ["a call at its deadline", {}, { ...idempotent, deadline: 1000 }, 1000, false],
    ["a call without budget", { budget: RetryBudget.make({ ratio: 0, minPerSecond: 0 }) }, idempotent, 0, false],
    ["a call that needs no budget", { budget: false }, idempotent, 0, true],
    ["a call that the predicate would not send again", { retryable: () => false }, idempotent, 0, false]
  ])("of %s", ([, options, one, later, expected]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ask(options, one, later), expected)
    })
  )

  it.effect("agrees with the retry that follows", () =>
    Effect.gen(function* () {
      const { seen, times } = yield* run([unavailable("MaybeProcessed", { endpoint: "a:1" }, Status.pathGivenUp), "ok"])
      assert.isTrue(seen[0]!.resend!(seen[0]!))
      assert.deepStrictEqual(times, [0, 0])
      assert.deepStrictEqual([...seen[1]!.avoid!], ["a:1"])
    })
  )
})

describe("Retry.make", () => {
  it("has the defaults of gRFC A6", () => {
    const policy = Retry.make()
    assert.strictEqual(policy.attempts, 3)
    assert.strictEqual(policy.budget, undefined)
    assert.strictEqual(policy.retryable, Retry.isUnavailable)
    assert.isTrue(Retry.isRetry(policy))
    assert.isFalse(Retry.isRetry({ attempts: 3 }))
  })

  it.each([
    ["attempts", 1],
    ["attempts", 0],
    ["attempts", 101],
    ["attempts", 2.5],
    ["attempts", NaN],
    ["attempts", "3"],
    ["schedule", "1 second"],
    ["retryable", true],
    ["budget", true],
    ["budget", { ratio: 0.2 }],
    ["times", 3]
  ])("refuses %s: %s", (option, value) => {
    try {
      Retry.make({ [option]: value })
      assert.fail("no error")
    } catch (error) {
      assert.instanceOf(error, OptionsError.OptionsError)
      assert.strictEqual((error as OptionsError.OptionsError).issues[0]?.path, option)
    }
  })
})

describe("Retry.layer", () => {
  it.effect("retries over another layer's channel", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unsent, "ok")
      const layer = Retry.layer().pipe(Layer.provide(Layer.succeed(Channel.Channel, channel)))
      const { message } = yield* Channel.Channel.use((c) => c.unary(call())).pipe(Effect.provide(layer))
      assert.strictEqual(message, "ada")
      assert.lengthOf(seen, 2)
    })
  )
})
