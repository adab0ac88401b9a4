import { assert, describe, it } from "@effect/vitest"
import { OptionsError, RetryBudget, RetryThrottle } from "@hawser/core"
import {
  type Call,
  Channel,
  Client,
  Credentials,
  Grpc,
  Metadata,
  type Method,
  Retry,
  RpcError,
  Status
} from "@hawser/grpc"
import * as Faults from "@hawser/testing/Faults"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Clock, type Duration, Effect, Exit, Fiber, Layer, Metric, Random, Schedule, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, method, scripted, type Step, unavailable } from "../../support/channels.ts"
import { definition, Echo, type EchoHandlers, one } from "../../support/testing/echo.ts"

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
    const retried = Retry.intercept(
      Retry.make({ budget: generous, schedule: everySecond, maxAttempts: 3, ...options })
    )(timed)
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

  it.effect.each<readonly [string, ReadonlyArray<RpcError.RpcError>, RpcError.Progress]>([
    ["lost, then not sent", [sent, unsent], "MaybeProcessed"],
    ["lost, then refused", [sent, unavailable("Refused")], "MaybeProcessed"],
    ["lost, not sent, not sent", [sent, unsent, unsent], "MaybeProcessed"],
    ["answered, then not sent", [unavailable("Answered"), unsent], "MaybeProcessed"],
    ["lost, then answered", [sent, unavailable("Answered")], "Answered"],
    ["never sent", [unsent, unsent, unavailable("Refused")], "Refused"]
  ])("says in its error how far any of its attempts got: %s", ([, steps, expected]) =>
    Effect.gen(function* () {
      const { error, seen } = yield* run([...steps, steps.at(-1)!])
      assert.lengthOf(seen, 3)
      assert.strictEqual(error?.progress, expected)
      assert.strictEqual(error?.isUnsent, expected === "Refused")
      assert.strictEqual(error?.attempts, 3)
    })
  )

  it.effect.each<readonly [string, Retry.RetryPolicy, Method.Idempotency, number]>([
    ["goes on, as nothing was handed on", Retry.make({ budget: false }), "Idempotent", 2],
    ["ends what must not be sent twice", Retry.make({ budget: false }), "Unknown", 1],
    [
      "ends what keeps to gRFC A6",
      Retry.a6({
        maxAttempts: 2,
        initialBackoff: 1,
        maxBackoff: 1,
        backoffMultiplier: 1,
        retryableStatusCodes: ["UNAVAILABLE"]
      }),
      "Idempotent",
      1
    ]
  ])("after the headers of a call with one answer %s", ([, policy, idempotency, attempts]) =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unavailable("Answered", { committed: true }), "ok")
      const fiber = yield* Effect.forkChild(Effect.exit(Retry.intercept(policy)(channel).unary(call({ idempotency }))))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, attempts === 2 ? "Success" : "Failure")
      assert.lengthOf(seen, attempts)
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
      const { times } = yield* run([error, error, error, "ok"], { maxAttempts: 4 })
      assert.deepStrictEqual(times, [0, 0, 1000, 2000])
    })
  )

  it.effect("is 100 ms × 2 up to 1 s, ±20 %, by default", () =>
    Effect.gen(function* () {
      const waits = [100, 200, 400, 800, 1000, 1000]
      for (let seed = 0; seed < 20; seed++) {
        const { times } = yield* Random.withSeed(run([sent], { maxAttempts: 7, schedule: Retry.make().schedule }), seed)
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
      const policy = Retry.make({ schedule: Schedule.exponential("1 second"), maxAttempts: 3, budget: false })
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
      const { error, seen } = yield* run([sent], { maxAttempts: attempts })
      assert.lengthOf(seen, attempts)
      assert.strictEqual(error?.attempts, attempts)
    })
  )

  it.effect("end with the schedule, where that has fewer", () =>
    Effect.gen(function* () {
      const schedule = everySecond.pipe(Schedule.upTo({ times: 5 }))
      const { error, seen } = yield* run([sent], { schedule, maxAttempts: 100 })
      assert.strictEqual(error?.attempts, 6)
      assert.lengthOf(seen, 6)
    })
  )

  it.effect("are 5 above any given schedule, where no number is given", () =>
    Effect.gen(function* () {
      const { seen } = yield* run([sent], { maxAttempts: undefined })
      assert.lengthOf(seen, 5)
    })
  )

  it.effect("without a limit go on to the deadline", () =>
    Effect.gen(function* () {
      const one = { ...idempotent, deadline: 200_500 }
      const { error, seen, times } = yield* run([sent], { maxAttempts: "unlimited" }, one)
      assert.lengthOf(seen, 201)
      assert.strictEqual(times.at(-1), 200_000)
      assert.strictEqual(error?.attempts, 201)
    })
  )

  it.effect.each([undefined, Infinity])("without a limit are 5 for a call without a deadline: %s", (deadline) =>
    Effect.gen(function* () {
      const { seen } = yield* run([sent], { maxAttempts: "unlimited" }, { ...idempotent, deadline })
      assert.lengthOf(seen, 5)
    })
  )

  it.effect("may repeat what was processed, where that is declared", () =>
    Effect.gen(function* () {
      assert.lengthOf((yield* run([sent, "ok"], { resendable: true }, {})).seen, 2)
      assert.lengthOf((yield* run([of("NotFound", "Answered"), "ok"], { resendable: true }, {})).seen, 1)
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
      const { times } = yield* run([sent, sent, pushed("50"), sent, "ok"], { schedule, maxAttempts: 5 })
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
  it.effect("is not asked for the first resend of what a goodbye refused", () =>
    Effect.gen(function* () {
      const goodbye = RpcError.of(
        "/m",
        { _tag: "Unavailable", details: Status.refusedByGoaway, connect: undefined },
        "Refused",
        { endpoint: "a:1" }
      )
      const budget = RetryBudget.make({ ratio: 0, minPerSecond: 0.01 })
      const { seen } = yield* run([goodbye, "ok"], { budget })
      assert.lengthOf(seen, 2)
      const again = yield* run([goodbye, goodbye, "ok"], { budget })
      assert.lengthOf(again.seen, 2)
      assert.match(again.error?.reason.details ?? "", /retry budget is empty$/)
    })
  )

  it.effect("ends retries when it is empty, and the error says so", () =>
    Effect.gen(function* () {
      const { error, seen } = yield* run([sent], { budget: RetryBudget.make({ ratio: 0, minPerSecond: 0.01 }) })
      assert.lengthOf(seen, 1)
      assert.strictEqual(error?.reason.details, "lost; retry budget is empty")
      assert.strictEqual(error?.attempts, 1)
      assert.strictEqual(error?.endpoint, "a:1")
    })
  )

  it.effect("is asked before the wait: a call that can't afford another attempt fails at once", () =>
    Effect.gen(function* () {
      const budget = RetryBudget.make({ ratio: 0, minPerSecond: 0.01 })
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
      const retried = Retry.intercept(Retry.make({ budget: false, schedule: Schedule.spaced(0), maxAttempts: 3 }))(
        channel
      )
      for (let i = 0; i < 200; i++) yield* Effect.ignore(retried.unary(call()))
      assert.strictEqual(seen.length, 600)
    })
  )

  it.effect("has its defaults where none is named: 10 per second over 10 s, and a fifth of the calls", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unsent)
      const retried = Retry.intercept(Retry.make({ schedule: Schedule.spaced(0), maxAttempts: 2 }))(channel)
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
    ["a call without budget", { budget: RetryBudget.make({ ratio: 0, minPerSecond: 0.01 }) }, idempotent, 0, false],
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

describe("the time of one attempt", () => {
  const slow = Retry.make({ perAttempt: "1 second", budget: generous, schedule: everySecond, maxAttempts: 3 })
  const first = { timeout: "30 seconds" } as const

  /** A server that never answers its first `silent` attempts. */
  const served = (silent: number) => {
    const ends: Array<number> = []
    const began: Array<number> = []
    const handle = (call: Call.Call<unknown, unknown>) =>
      Effect.gen(function* () {
        const at = yield* now
        ends.push(Math.round((call.deadline ?? Infinity) - at))
        return began.push(at) <= silent
      })
    const handlers: EchoHandlers = {
      say: (text, call) => Effect.flatMap(handle(call), (never) => (never ? Effect.never : Effect.succeed(text))),
      watch: (text, call) =>
        Stream.unwrap(
          Effect.map(handle(call), (never) =>
            never
              ? Stream.never
              : Stream.concat(Stream.make(text), Stream.fromEffect(Effect.as(Effect.sleep("1 minute"), "late")))
          )
        )
    }
    return { ends, began, handlers }
  }
  class Idempotent extends Client.Service<Idempotent>()("test/Idempotent", definition, {
    idempotent: ["say", "watch"]
  }) {}
  const network = (handlers: EchoHandlers, retry: Retry.Retry) =>
    Layer.provideMerge(
      Idempotent.layer,
      Layer.provideMerge(channelOf(retry), TestNetwork.layerService(definition, handlers, { addresses: [one] }))
    )
  const channelOf = (retry: Retry.Retry) =>
    Grpc.layer({ target: `ipv4:${one}`, credentials: Credentials.insecure, silence: false, retry })

  const settle = Effect.repeat(TestClock.adjust(0), { times: 20 })
  const ending = <A, R>(effect: Effect.Effect<A, RpcError.RpcError, R>, patience: Duration.Input = "1 minute") =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.result(effect))
      yield* settle
      yield* TestClock.adjust(patience)
      const result = yield* Fiber.join(fiber)
      return { at: yield* now, error: result._tag === "Failure" ? result.failure : undefined }
    })

  it.effect("ends it, and it is sent again; the server is told", () => {
    const { began, ends, handlers } = served(1)
    return Effect.gen(function* () {
      const { error } = yield* ending(Idempotent.use((echo) => echo.say("ada", first)))
      assert.isUndefined(error)
      assert.deepStrictEqual(ends, [1_000, 1_000])
      assert.strictEqual(began[1]! - began[0]!, 2_000)
      const { seen } = yield* TestNetwork.server(one)
      assert.deepInclude(seen, { completed: 1, cancelled: 1, inFlight: 0 })
    }).pipe(Effect.provide(network(handlers, slow)))
  })

  it.effect("is what the error names when it was the last", () => {
    const { handlers } = served(Infinity)
    return Effect.gen(function* () {
      const { error } = yield* ending(Idempotent.use((echo) => echo.say("ada", first)))
      assert.deepInclude(error?.reason, { _tag: "DeadlineExceeded", phase: "Sent", by: "Us" })
      assert.include(error?.reason.details, "the attempt's own time of 1000 ms is up")
      assert.strictEqual(error?.attempts, 3)
    }).pipe(Effect.provide(network(handlers, slow)))
  })

  it.effect("is not there where the call's own deadline comes first: nothing is sent again", () => {
    const { ends, handlers } = served(Infinity)
    return Effect.gen(function* () {
      const { error } = yield* ending(Idempotent.use((echo) => echo.say("ada", { timeout: "700 millis" })))
      assert.deepStrictEqual(ends, [700])
      assert.strictEqual(error?.reason._tag, "DeadlineExceeded")
      assert.notInclude(error?.reason.details, "own time")
    }).pipe(Effect.provide(network(handlers, slow)))
  })

  it.effect("is no reason to send again what may have been processed", () => {
    const { began, handlers } = served(Infinity)
    return Effect.gen(function* () {
      const { error } = yield* ending(Echo.use((echo) => echo.say("ada", first)))
      assert.lengthOf(began, 1)
      assert.include(error?.reason.details, "own time")
    }).pipe(Effect.provide(Layer.provideMerge(Echo.layer, network(handlers, slow))))
  })

  it.effect("is not that of an answer that says the same sooner", () =>
    Effect.gen(function* () {
      const nested = RpcError.of(
        method().path,
        { _tag: "DeadlineExceeded", details: "", phase: "Sent", by: "Server" },
        "Answered"
      )
      const { seen } = yield* run([nested, "ok"], { perAttempt: "1 second" })
      assert.lengthOf(seen, 1)
      assert.strictEqual(seen[0]!.deadline, 1_000)
      assert.lengthOf((yield* run([sent, nested, "ok"], { perAttempt: "500 millis" })).seen, 2)
    })
  )

  it.effect("includes the wait for a connection, and says so", () => {
    const { handlers } = served(0)
    return Effect.gen(function* () {
      yield* Faults.inject(Faults.freeze(one))
      const { error } = yield* ending(Echo.use((echo) => echo.say("ada", { ...first, waitForReady: true })))
      assert.strictEqual(error?.attempts, 3, "not sent: safe for any method")
      assert.deepInclude(error?.reason, { _tag: "DeadlineExceeded", phase: "Connecting" })
      assert.strictEqual(error?.progress, "NotSent")
    }).pipe(Effect.provide(Layer.provideMerge(Echo.layer, network(handlers, slow))))
  })

  it.effect("of a stream ends with its headers: the messages may take longer", () => {
    const { began, ends, handlers } = served(1)
    return Effect.gen(function* () {
      const messages: Array<string> = []
      const watching = Idempotent.use((echo) =>
        Stream.runForEach(echo.watch("ada"), (text) => Effect.sync(() => messages.push(text)))
      )
      const { error } = yield* ending(watching, "2 minutes")
      assert.isUndefined(error)
      assert.deepStrictEqual(messages, ["ada", "late"])
      assert.deepStrictEqual(ends, [Infinity, Infinity])
      assert.strictEqual(began[1]! - began[0]!, 2_000)
      const { seen } = yield* TestNetwork.server(one)
      assert.deepInclude(seen, { cancelled: 1, completed: 1, inFlight: 0 })
    }).pipe(Effect.provide(network(handlers, slow)))
  })

  it.effect("of a stream says how far it got", () => {
    const { handlers } = served(Infinity)
    return Effect.gen(function* () {
      const watching = Idempotent.use((echo) => Stream.runDrain(echo.watch("ada")))
      const { error } = yield* ending(watching)
      assert.deepInclude(error?.reason, { _tag: "DeadlineExceeded", phase: "Sent", by: "Us" })
      assert.strictEqual(error?.progress, "MaybeProcessed")
      assert.strictEqual(error?.endpoint, one)
      assert.strictEqual(error?.attempts, 3)
      assert.strictEqual((yield* TestNetwork.server(one)).seen.inFlight, 0)
    }).pipe(Effect.provide(network(handlers, slow)))
  })

  it.effect("of a stream without a connection is one of a call that was not sent", () => {
    const { handlers } = served(0)
    return Effect.gen(function* () {
      yield* Faults.inject(Faults.freeze(one))
      const echo = yield* Echo
      const { error } = yield* ending(Stream.runDrain(echo.watch("ada", { waitForReady: true })))
      assert.strictEqual(error?.progress, "NotSent")
      assert.strictEqual(error?.attempts, 3)
      assert.deepInclude(error?.reason, { _tag: "DeadlineExceeded", phase: "Connecting" })
    }).pipe(Effect.provide(Layer.provideMerge(Echo.layer, network(handlers, slow))))
  })

  it.effect("is over for a stream before the next one begins: what it had acquired is released", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const channel = Channel.make<RpcError.RpcError>({
        stream: ({ attempt }) =>
          Effect.andThen(
            Effect.acquireRelease(
              Effect.sync(() => log.push(`open ${attempt}`)),
              () => Effect.sync(() => log.push(`close ${attempt}`))
            ),
            attempt === 2 ? Effect.never : Effect.fail(sent)
          )
      })
      const retried = Retry.intercept(slow)(channel)
      const watching = { ...call(idempotent), method: { ...method("Idempotent"), kind: "serverStreaming" as const } }
      yield* ending(Effect.scoped(retried.stream(watching)))
      assert.deepStrictEqual(log, ["open 1", "close 1", "open 2", "close 2", "open 3", "close 3"])
    })
  )

  it.effect("of a stream that is interrupted in a later attempt leaves nothing", () => {
    const { began, handlers } = served(Infinity)
    return Effect.gen(function* () {
      const echo = yield* Idempotent
      const fiber = yield* Effect.forkChild(Stream.runDrain(echo.watch("ada")))
      yield* settle
      yield* TestClock.adjust("2500 millis")
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(began, 2)
      assert.deepInclude((yield* TestNetwork.server(one)).seen, { cancelled: 2, inFlight: 0 })
    }).pipe(Effect.provide(network(handlers, slow)))
  })
})

describe("the throttle", () => {
  it.effect("counts what passes and what does not, and stops retries at one half", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 4, tokenRatio: 1 })
      yield* run(["ok", "ok"], { throttle })
      assert.strictEqual(throttle.balance(), 4)
      const { error, seen } = yield* run([sent, sent, "ok"], { throttle })
      assert.lengthOf(seen, 2)
      assert.strictEqual(error?.reason.details, "lost; retries are throttled")
      assert.strictEqual(throttle.balance(), 2)
      yield* run(["ok"], { throttle })
      assert.isUndefined((yield* run([of("NotFound", "Answered")], { throttle })).error?.endpoint)
      assert.strictEqual(throttle.balance(), 3)
    })
  )

  it.effect("is spent by a failure that may not be sent again, too", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 4, tokenRatio: 1 })
      const { error } = yield* run([sent], { throttle }, {})
      assert.strictEqual(throttle.balance(), 3)
      assert.strictEqual(error?.reason.details, "lost")
    })
  )

  it.effect("forbids that a running call is sent again", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 1, tokenRatio: 1 })
      const { channel, seen } = scripted(Effect.never)
      const retried = Retry.intercept(Retry.make({ throttle }))(channel)
      yield* Effect.forkChild(retried.unary(call(idempotent)), { startImmediately: true })
      assert.isTrue(seen[0]!.resend!(seen[0]!))
      throttle.failed()
      assert.isFalse(seen[0]!.resend!(seen[0]!))
    })
  )
})

describe("Retry.byMethod", () => {
  const path = method().path
  const attemptsOf = (retry: Retry.Retry) =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(sent)
      const fiber = yield* Effect.forkChild(Effect.flip(Retry.intercept(retry)(channel).unary(call(idempotent))))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* Fiber.join(fiber)).attempts, seen.length)
      return seen.length
    })
  const times = (maxAttempts: number) => Retry.make({ maxAttempts, budget: generous, schedule: everySecond })

  it.effect("takes the policy of the method, none, or the other one", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const seven = (said: string) => {
        asked.push(said)
        return times(7)
      }
      assert.strictEqual(yield* attemptsOf(Retry.byMethod(seven, times(2))), 7)
      assert.deepStrictEqual(asked, [path])
      assert.strictEqual(yield* attemptsOf(Retry.byMethod(() => false, times(2))), 1)
      assert.strictEqual(yield* attemptsOf(Retry.byMethod(() => undefined, times(2))), 2)
      assert.strictEqual(yield* attemptsOf(Retry.byMethod(() => undefined, false)), 1)
      const nested = Retry.byMethod(() => Retry.byMethod(() => undefined, times(4)), false)
      assert.strictEqual(yield* attemptsOf(nested), 4)
    })
  )

  it.effect("says by method, too, whether a running call may be sent again", () =>
    Effect.gen(function* () {
      for (const [chosen, expected] of [[times(2), true] as const, [false, undefined] as const]) {
        const { channel, seen } = scripted(Effect.never)
        const retry = Retry.byMethod(() => chosen, false)
        yield* Effect.forkChild(Retry.intercept(retry)(channel).unary(call(idempotent)), { startImmediately: true })
        assert.strictEqual(seen[0]!.resend?.(seen[0]!), expected)
      }
    })
  )

  it.effect("shares one budget among the policies that name none", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unsent)
      const policies = [1, 2].map(() => Retry.make({ schedule: Schedule.spaced(0), maxAttempts: 2 }))
      let n = 0
      const retried = Retry.intercept(Retry.byMethod(() => policies[n++ % 2], false))(channel)
      for (let i = 0; i < 1000; i++) yield* Effect.ignore(retried.unary(call()))
      assert.strictEqual(seen.length, 1300)
    })
  )

  it("refuses what is no policy", () => {
    assert.throws(() => Retry.byMethod("/a/B" as never, {} as never), /select: .*\notherwise: /)
  })

  it("has no limit where the other policy has none", () => {
    const unlimited = Retry.make({ maxAttempts: "unlimited" })
    assert.isTrue(Retry.isUnlimited(unlimited))
    assert.isTrue(Retry.isUnlimited(Retry.byMethod(() => false, unlimited)))
    assert.isFalse(Retry.isUnlimited(Retry.byMethod(() => unlimited, false)))
    assert.isFalse(Retry.isUnlimited(Retry.byMethod(() => unlimited, Retry.make())))
  })
})

describe("the gauge", () => {
  const read = Effect.map(Metric.snapshot, (all) =>
    all.flatMap((m) => (m.type === "Gauge" ? [[m.id, m.attributes?.["target"], m.state.value]] : []))
  )
  const gauge = "hawser.retry.budget.balance"

  it.effect("shows the budget that is used, as it is when it is read, until its scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const retry = yield* Scope.provide(Retry.gauged(Retry.make({ schedule: everySecond }), "greeter"), scope)
      assert.deepStrictEqual(yield* read, [[gauge, "greeter", 100]])
      const { channel } = scripted(unsent, "ok")
      yield* Retry.intercept(retry)(channel).unary(call())
      assert.deepStrictEqual(yield* read, [[gauge, "greeter", 99.2]])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* read, [[gauge, "greeter", 100]])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* read, [])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )

  it.effect("shows what the policies of methods share, and is not there without a budget", () =>
    Effect.gen(function* () {
      yield* Retry.gauged(Retry.make({ budget: false }), "none")
      assert.deepStrictEqual(yield* read, [])
      const retry = yield* Retry.gauged(
        Retry.byMethod(() => Retry.make({ schedule: everySecond }), false),
        "shop"
      )
      yield* Retry.intercept(retry)(scripted(unsent, "ok").channel).unary(call())
      assert.deepStrictEqual(yield* read, [[gauge, "shop", 99.2]])
    }).pipe(Effect.scoped, Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})

describe("Retry.make", () => {
  it("has the defaults of gRFC A6", () => {
    const policy = Retry.make()
    assert.strictEqual(policy.maxAttempts, 3)
    assert.strictEqual(policy.budget, undefined)
    assert.strictEqual(policy.retryable, Retry.isUnavailable)
    assert.isTrue(Retry.isRetry(policy))
    assert.isFalse(Retry.isRetry({ maxAttempts: 3 }))
  })

  it.each([
    ["maxAttempts", 1],
    ["maxAttempts", 0],
    ["maxAttempts", 101],
    ["maxAttempts", 2.5],
    ["maxAttempts", NaN],
    ["maxAttempts", "3"],
    ["schedule", "1 second"],
    ["retryable", true],
    ["budget", true],
    ["budget", { ratio: 0.2 }],
    ["maxAttempts", "Unlimited"],
    ["maxAttempts", Infinity],
    ["perAttempt", 0],
    ["perAttempt", "25 days"],
    ["perAttempt", "soon"],
    ["throttle", { maxTokens: 10 }],
    ["throttle", false],
    ["resendable", 1],
    ["attempts", 3]
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
