/**
 * gRFC A6, retries: one test for each rule, named after it. Real clients over the network in memory, whose servers count;
 * `test/integration/a6Retry.test.ts` shows what can be seen on a real wire. J numbers: where grpc-js 1.14.7 falls short.
 */
import { assert, describe, it } from "@effect/vitest"
import { OptionsError, RetryThrottle } from "@hawser/core"
import { type Call, Metadata, Retry, RpcError } from "@hawser/grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import * as Faults from "@hawser/testing/Faults"
import { sendHeaders, type Status } from "@hawser/testing/Handler"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Clock, Deferred, type Duration, Effect, Fiber, Latch, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, scripted, unavailable } from "../../support/channels.ts"
import { Echo, echo, one, two } from "../../support/testing/echo.ts"

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
/** No jitter: the middle of ±20 %. */
const middle = { nextDoubleUnsafe: () => 0.5, nextIntUnsafe: () => 0 }

const policy = (options: Partial<Retry.A6Options> = {}) =>
  Retry.a6({
    maxAttempts: 4,
    initialBackoff: "1 second",
    maxBackoff: "4 seconds",
    backoffMultiplier: 2,
    retryableStatusCodes: ["UNAVAILABLE"],
    ...options
  })

/** `begun`: the headers come before the status. */
type Step = "ok" | (Status & { readonly begun?: boolean })
const down: Step = { _tag: "Unavailable" }
const pushed = (millis: string, tag: Status["_tag"] = "Unavailable"): Step => ({
  _tag: tag,
  metadata: Metadata.received(() => [["grpc-retry-pushback-ms", millis]], undefined)
})

/** What a server saw of an attempt. */
interface Attempt {
  readonly at: number
  readonly attempt: number
  readonly left: number
}

interface Setting {
  readonly retry?: Retry.Retry
  readonly addresses?: ReadonlyArray<string>
  readonly options?: Partial<GrpcOptions>
  readonly call?: Call.CallOptions
  readonly patience?: Duration.Input
  readonly random?: typeof middle
  readonly calls?: number
}

/** Lets everything happen that can happen now: each frame takes a turn. */
const settle = Effect.repeat(TestClock.adjust(0), { times: 20 })

/** Makes calls one after another, to servers that follow one script; its last step repeats. */
const run = (steps: ReadonlyArray<Step>, setting: Setting = {}) => {
  const { addresses = [one], calls = 1, patience = "5 minutes", random = middle, retry = policy() } = setting
  const attempts: Array<Attempt> = []
  const say = (text: string, call: Call.Call<unknown, unknown>) =>
    Effect.gen(function* () {
      const { attempt, deadline = Infinity } = call
      const at = yield* now
      const step = steps[Math.min(attempts.length, steps.length - 1)]!
      attempts.push({ at, attempt, left: Math.round(deadline - at) })
      if (step !== "ok" && step.begun === true) yield* sendHeaders(call)
      return step === "ok" ? text : yield* Effect.fail(step)
    })
  return Effect.gen(function* () {
    const client = yield* Echo
    const errors: Array<RpcError.RpcError | undefined> = []
    for (let i = 0; i < calls; i++) {
      const fiber = yield* Effect.forkChild(Effect.result(client.say("ada", { timeout: "4 minutes", ...setting.call })))
      yield* settle
      yield* TestClock.adjust(patience)
      const result = yield* Fiber.join(fiber)
      errors.push(result._tag === "Failure" ? result.failure : undefined)
    }
    const { servers } = yield* TestNetwork.TestNetwork
    const seen = addresses.map((address) => servers.get(address)!.seen)
    return {
      attempts,
      times: attempts.map(({ at }) => Math.round(at - attempts[0]!.at)),
      error: errors.at(-1),
      errors,
      seen
    }
  }).pipe(
    Effect.provide(echo({ say }, { addresses }, { retry, target: `ipv4:${addresses}`, ...setting.options })),
    Effect.provideService(Random.Random, random)
  )
}

const issuesOf = (f: () => unknown): ReadonlyArray<string> => {
  try {
    f()
  } catch (error) {
    if (error instanceof OptionsError.OptionsError) return error.issues.map(({ path }) => path)
    throw error
  }
  return []
}

describe("A6: the policy", () => {
  it("has at least two attempts, times and a multiplier above 0, and codes", () => {
    assert.deepStrictEqual(
      issuesOf(() =>
        policy({ maxAttempts: 1, initialBackoff: 0, maxBackoff: -1, backoffMultiplier: 0, retryableStatusCodes: [] })
      ),
      ["maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes"]
    )
    for (const maxAttempts of [0, -3, 2.5, NaN, Infinity, "4" as never]) {
      assert.deepStrictEqual(
        issuesOf(() => policy({ maxAttempts })),
        ["maxAttempts"]
      )
    }
    for (const backoffMultiplier of [-1, NaN, Infinity, "2" as never]) {
      assert.deepStrictEqual(
        issuesOf(() => policy({ backoffMultiplier })),
        ["backoffMultiplier"]
      )
    }
  })

  it("may multiply by less than 1, and start above its maximum", () => {
    assert.isTrue(
      Retry.isRetry(policy({ backoffMultiplier: 0.1, initialBackoff: "5 seconds", maxBackoff: "1 second" }))
    )
  })

  it("refuses what grpc-js accepts: no backoff and unknown keys (J4)", () => {
    assert.deepStrictEqual(
      issuesOf(() => policy({ initialBackoff: "0 seconds" })),
      ["initialBackoff"]
    )
    assert.deepStrictEqual(
      issuesOf(() => policy({ maxAttemps: 3 } as never)),
      ["maxAttemps"]
    )
    assert.deepStrictEqual(
      issuesOf(() => policy({ retryableStatusCodes: "UNAVAILABLE" as never })),
      ["retryableStatusCodes"]
    )
  })

  it("refuses codes that do not exist, and OK", () => {
    for (const code of ["UNAVAILABLEX", "", "OK", 0, 17, -1, 14.5, NaN, null as never, "14"]) {
      const path = issuesOf(() => policy({ retryableStatusCodes: ["ABORTED", code] }))
      assert.deepStrictEqual(path, ["retryableStatusCodes[1]"], String(code))
    }
  })
})

describe("A6: attempts", () => {
  it.effect.each<readonly [number, number | undefined, number]>([
    [2, undefined, 2],
    [5, undefined, 5],
    [6, undefined, 5],
    [1_000_000, undefined, 5],
    [8, 10, 8],
    [12, 10, 10],
    [4, 3, 3]
  ])("maxAttempts %i, capped at %s: %i, the first one included", ([maxAttempts, maxAttemptsCap, expected]) =>
    Effect.gen(function* () {
      const { attempts, error } = yield* run([down], { retry: policy({ maxAttempts, maxAttemptsCap }) })
      assert.lengthOf(attempts, expected)
      assert.strictEqual(error?.attempts, expected)
      assert.strictEqual(error?.reason._tag, "Unavailable")
    })
  )

  it.effect("end with the first success", () =>
    Effect.gen(function* () {
      const { attempts, error } = yield* run([down, down, "ok"])
      assert.isUndefined(error)
      assert.lengthOf(attempts, 3)
    })
  )

  it.effect("carry their number from the second one on: none, 1, 2, 3", () =>
    Effect.gen(function* () {
      const { attempts } = yield* run([down])
      assert.deepStrictEqual(
        attempts.map(({ attempt }) => attempt - 1),
        [0, 1, 2, 3]
      )
    })
  )

  it.effect("go to another endpoint than the one that failed, where there is one", () =>
    Effect.gen(function* () {
      for (let seed = 0; seed < 10; seed++) {
        const random = { nextDoubleUnsafe: () => ((seed * 37) % 100) / 100, nextIntUnsafe: () => seed }
        const { seen } = yield* run([down, "ok"], { addresses: [one, two], random })
        assert.deepStrictEqual(
          seen.map(({ started }) => started),
          [1, 1]
        )
      }
      assert.lengthOf((yield* run([down, "ok"])).attempts, 2)
    })
  )
})

describe("A6: status codes", () => {
  it.effect.each<readonly [string, string | number, Status["_tag"], number]>([
    ["a name", "ABORTED", "Aborted", 4],
    ["a name in lower case", "aborted", "Aborted", 4],
    ["a name in mixed case", "ResOurce_ExHausted", "ResourceExhausted", 4],
    ["a number", 13, "Internal", 4],
    ["a code that is not listed", 13, "Unavailable", 1],
    ["another one", "UNAVAILABLE", "Aborted", 1]
  ])("%s: %s, and the answer %s", ([, code, tag, expected]) =>
    Effect.gen(function* () {
      const { attempts } = yield* run([{ _tag: tag }], { retry: policy({ retryableStatusCodes: [code] }) })
      assert.lengthOf(attempts, expected)
    })
  )

  it.effect("a listed code ends with the first code that is not", () =>
    Effect.gen(function* () {
      const { attempts, error } = yield* run([down, { _tag: "NotFound" }, "ok"])
      assert.lengthOf(attempts, 2)
      assert.strictEqual(error?.reason._tag, "NotFound")
    })
  )

  it.effect("what this client decides itself is no answer, whatever its code", () =>
    Effect.gen(function* () {
      const codes = ["RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL", "INVALID_ARGUMENT"]
      const retry = policy({ retryableStatusCodes: codes })
      const queue = { max: 0 }
      const full = yield* run(["ok"], { retry, options: { queue, connections: { min: 0 } } })
      assert.strictEqual(full.error?.reason._tag, "ResourceExhausted")
      assert.strictEqual(full.error?.attempts, 1)
      const limits: ReadonlyArray<readonly [RpcError.RpcReason, RpcError.Progress]> = [
        [{ _tag: "ResourceExhausted", details: "", by: "Us" }, "Answered"],
        [{ _tag: "DeadlineExceeded", details: "", phase: "Queued", by: "Us" }, "NotSent"],
        [{ _tag: "Internal", details: "The request serializer threw" }, "NotSent"],
        [{ _tag: "InvalidArgument", details: "" }, "NotSent"]
      ]
      for (const [reason, progress] of limits) {
        const { channel, seen } = scripted(RpcError.of("/demo.Greeter/SayHello", reason, progress), "ok")
        yield* Effect.flip(Retry.intercept(retry)(channel).unary(call()))
        assert.lengthOf(seen, 1)
      }
    })
  )
})

describe("A6: the wait", () => {
  it.effect("before retry n is min(initial × multiplier^(n−1), max)", () =>
    Effect.gen(function* () {
      const { times } = yield* run([down], { retry: policy({ maxAttempts: 5 }) })
      assert.deepStrictEqual(times, [0, 1_000, 3_000, 7_000, 11_000])
    })
  )

  it.effect("may shrink", () =>
    Effect.gen(function* () {
      const retry = policy({ backoffMultiplier: 0.5, initialBackoff: "8 seconds" })
      assert.deepStrictEqual((yield* run([down], { retry })).times, [0, 4_000, 8_000, 10_000])
    })
  )

  it.effect("is jittered by ±20 %, over the whole range", () =>
    Effect.gen(function* () {
      const waits: Array<number> = []
      for (const draw of [0, 0.25, 0.5, 0.75, 0.999999]) {
        const random = { nextDoubleUnsafe: () => draw, nextIntUnsafe: () => 0 }
        const { times } = yield* run([down], { random, retry: policy({ maxAttempts: 2 }) })
        waits.push(times[1]!)
      }
      assert.deepStrictEqual(waits, [800, 900, 1_000, 1_100, 1_200])
    })
  )

  it.effect("is not begun where it would pass the deadline: one deadline spans all", () =>
    Effect.gen(function* () {
      const { attempts, error, times } = yield* run([down], { call: { timeout: "6 seconds" } })
      assert.deepStrictEqual(times, [0, 1_000, 3_000])
      assert.deepStrictEqual(
        attempts.map(({ left }) => left),
        [6_000, 5_000, 3_000]
      )
      assert.strictEqual(error?.reason._tag, "Unavailable")
    })
  )
})

describe("A6: pushback", () => {
  it.effect("waits exactly as long, and the backoff starts again at initialBackoff", () =>
    Effect.gen(function* () {
      const steps = [down, down, pushed("123"), down, down]
      const { times } = yield* run(steps, { retry: policy({ maxAttempts: 5 }) })
      assert.deepStrictEqual(times, [0, 1_000, 3_000, 3_123, 4_123])
    })
  )

  it.effect("of 0 is at once", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* run([pushed("0"), "ok"])).times, [0, 0])
    })
  )

  it.effect("may be longer than maxBackoff", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* run([pushed("60000"), "ok"])).times, [0, 60_000])
    })
  )

  it.effect.each(["-1", "-9999", "soon", "", "1.5", "1e3", "0x10", "+5", "99999999999999999999"])(
    'of "%s" forbids the retry; grpc-js sends four attempts in 5 ms (J2)',
    (millis) =>
      Effect.gen(function* () {
        const { attempts, error } = yield* run([pushed(millis), "ok"])
        assert.lengthOf(attempts, 1)
        assert.strictEqual(error?.reason._tag, "Unavailable")
      })
  )

  it.effect("does not override maxAttempts, the deadline or the codes", () =>
    Effect.gen(function* () {
      assert.lengthOf((yield* run([pushed("0")])).attempts, 4)
      assert.lengthOf((yield* run([pushed("5000")], { call: { timeout: "5 seconds" } })).attempts, 1)
      assert.lengthOf((yield* run([pushed("0", "NotFound"), "ok"])).attempts, 1)
    })
  )
})

describe("A6: throttling", () => {
  const throttled = (maxTokens: number, tokenRatio: number, options: Partial<Retry.A6Options> = {}) => {
    const throttle = RetryThrottle.make({ maxTokens, tokenRatio })
    return { throttle, retry: policy({ throttle, ...options }) }
  }

  it.effect("each failure costs a token, the last attempt's too; at one half there is no retry", () =>
    Effect.gen(function* () {
      const { retry, throttle } = throttled(10, 0.1)
      const first = yield* run([down], { retry })
      assert.lengthOf(first.attempts, 4)
      assert.strictEqual(throttle.balance(), 6)
      const second = yield* run([down], { retry })
      assert.lengthOf(second.attempts, 1)
      assert.strictEqual(throttle.balance(), 5)
      assert.include(second.error?.reason.details, "retries are throttled")
    })
  )

  it.effect("stops the retries of a call that is under way", () =>
    Effect.gen(function* () {
      const { retry, throttle } = throttled(4, 0.1)
      const { attempts, error } = yield* run([down], { retry })
      assert.lengthOf(attempts, 2)
      assert.strictEqual(throttle.balance(), 2)
      assert.strictEqual(error?.attempts, 2)
    })
  )

  it.effect("a drained bucket never blocks: calls are sent once (J1)", () =>
    Effect.gen(function* () {
      const { retry } = throttled(2, 0.1)
      const { attempts, times } = yield* run([down], { retry, calls: 5, patience: 0 })
      assert.lengthOf(attempts, 5)
      assert.deepStrictEqual(times, [0, 0, 0, 0, 0])
    })
  )

  it.effect("each success gives tokenRatio back, and then there are retries again", () =>
    Effect.gen(function* () {
      const { retry, throttle } = throttled(4, 0.5)
      yield* run([down], { retry })
      assert.strictEqual(throttle.balance(), 2)
      yield* run(["ok"], { retry, calls: 2 })
      assert.strictEqual(throttle.balance(), 3)
      yield* run([{ _tag: "NotFound" }], { retry })
      assert.strictEqual(throttle.balance(), 3, "what is not retryable costs and gives nothing")
      yield* run(["ok"], { retry })
      const { error } = yield* run([down, "ok"], { retry })
      assert.isUndefined(error)
      assert.strictEqual(throttle.balance(), 3)
    })
  )

  it.effect("a server that forbids a retry costs a token, whatever the code; in grpc-js it does not (J3)", () =>
    Effect.gen(function* () {
      const { retry, throttle } = throttled(10, 0.1)
      yield* run([pushed("-1", "NotFound")], { retry })
      assert.strictEqual(throttle.balance(), 9)
      yield* run([pushed("-1")], { retry })
      assert.strictEqual(throttle.balance(), 8)
    })
  )

  it.effect("belongs to whoever made it: another client of the same target starts full (J15)", () =>
    Effect.gen(function* () {
      yield* run([down], { retry: throttled(2, 0.1).retry, calls: 3 })
      assert.lengthOf((yield* run([down], { retry: throttled(10, 0.1).retry })).attempts, 4)
    })
  )
})

describe("A6: transparent retries", () => {
  it.effect("a refused call is sent again once, at once, without a token and without counting", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 0.1 })
      const { channel, seen } = scripted(unavailable("Refused", { endpoint: "a:1" }), "ok")
      yield* Retry.intercept(policy({ throttle }))(channel).unary(call())
      assert.deepStrictEqual(
        seen.map(({ attempt }) => attempt),
        [1, 1]
      )
      assert.deepStrictEqual([...seen[1]!.avoid!], ["a:1"])
      assert.strictEqual(throttle.balance(), 10)
    })
  )

  it.effect("refused again, it is the policy's: one more stream than attempts", () =>
    Effect.gen(function* () {
      const retry = policy({ maxAttempts: 2 })
      const program = Effect.gen(function* () {
        yield* Faults.inject(Faults.refuseStreams(one))
        const client = yield* Echo
        const fiber = yield* Effect.forkChild(Effect.flip(client.say("ada")))
        yield* TestClock.adjust("10 seconds")
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.progress, "Refused")
        assert.strictEqual(error.attempts, 2)
        assert.strictEqual((yield* TestNetwork.server(one)).seen.refused, 3)
      })
      yield* Effect.provide(program, echo({}, {}, { retry }))
    })
  )

  it.effect("a call above the last id of a GOAWAY is sent again, without counting", () =>
    Effect.gen(function* () {
      const attempts: Array<number> = []
      const came = yield* Latch.make()
      const say = (text: string, { attempt }: Call.Call<unknown, unknown>) =>
        Effect.suspend(() => {
          attempts.push(attempt)
          return attempts.length === 1 ? Effect.andThen(came.open, Effect.never) : Effect.succeed(text)
        })
      const program = Effect.gen(function* () {
        const client = yield* Echo
        const fiber = yield* Effect.forkChild(client.say("ada"))
        yield* came.await
        yield* Faults.inject(Faults.goAway(one, { abrupt: true, lastStream: 0 }))
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* Fiber.join(fiber), "ada")
        assert.deepStrictEqual(attempts, [1, 1])
      })
      yield* Effect.provide(program, echo({ say }, {}, { retry: policy({ maxAttempts: 2 }) }))
    })
  )

  it.effect("a call that never left is sent again until its deadline, without a token, and does not spin", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 2, tokenRatio: 0.1 })
      const { channel, seen } = scripted(unavailable("NotSent"))
      const retried = Retry.intercept(policy({ throttle }))(channel)
      const fiber = yield* Effect.forkChild(Effect.flip(retried.unary(call({ deadline: 60_000 }))))
      yield* TestClock.adjust("2 minutes")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.attempts, 1)
      assert.strictEqual(error.progress, "NotSent")
      // 0, 10, 20, 40 … 640 ms, and a second from then on.
      assert.isAtLeast(seen.length, 58)
      assert.isAtMost(seen.length, 82)
      assert.isTrue(seen.every(({ attempt }) => attempt === 1))
      assert.strictEqual(throttle.balance(), 2)
    })
  )

  it.effect("a call without a deadline does not do so for ever", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unavailable("NotSent"))
      const fiber = yield* Effect.forkChild(Effect.flip(Retry.intercept(policy())(channel).unary(call())))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* Fiber.join(fiber)).attempts, 4)
      assert.isAtMost(seen.length, 70)
    })
  )

  it.effect("no connection at all is the policy's: attempts count, and cost tokens", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 0.1 })
      const program = Effect.gen(function* () {
        yield* Faults.inject(Faults.kill(one))
        yield* TestClock.adjust("1 second")
        const client = yield* Echo
        const fiber = yield* Effect.forkChild(Effect.flip(client.say("ada", { timeout: "1 minute" })))
        yield* TestClock.adjust("2 minutes")
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.progress, "NotSent")
        assert.strictEqual(error.attempts, 4)
        assert.strictEqual(throttle.balance(), 6)
      })
      yield* Effect.provide(program, echo({}, {}, { retry: policy({ throttle }) }))
    })
  )

  it.effect("a full queue fails at once, as a dropped call does", () =>
    Effect.gen(function* () {
      const retry = policy({ retryableStatusCodes: ["RESOURCE_EXHAUSTED", "UNAVAILABLE"] })
      const { error, times } = yield* run(["ok"], { retry, options: { queue: { max: 0 }, connections: { min: 0 } } })
      assert.strictEqual(error?.reason._tag, "ResourceExhausted")
      assert.strictEqual(error?.attempts, 1)
      assert.lengthOf(times, 0)
    })
  )
})

describe("A6: streams", () => {
  /** Watches once, from a server that follows the script of what each attempt does. */
  const watch = (
    script: ReadonlyArray<Stream.Stream<string, Status>>,
    retry: Retry.Retry,
    take = Infinity
  ): Effect.Effect<{
    readonly messages: ReadonlyArray<string>
    readonly tag: string | undefined
    readonly began: number
  }> => {
    let began = 0
    const handlers = { watch: () => Stream.suspend(() => script[Math.min(began++, script.length - 1)]!) }
    return Effect.gen(function* () {
      const messages: Array<string> = []
      const client = yield* Echo
      const read = Stream.runForEach(Stream.take(client.watch("ada"), take), (text) =>
        Effect.sync(() => messages.push(text))
      )
      const fiber = yield* Effect.forkChild(Effect.result(read))
      yield* TestClock.adjust("1 minute")
      const result = yield* Fiber.join(fiber)
      const tag = result._tag === "Failure" ? result.failure.reason._tag : undefined
      return { messages, tag, began }
    }).pipe(Effect.provide(echo(handlers, {}, { retry }))) as never
  }
  const failed = Stream.fail<Status>({ _tag: "Unavailable" })
  const partly = Stream.concat(Stream.make("one"), failed)

  it.effect("that fail before their headers are sent again: a status alone is no commitment", () =>
    Effect.gen(function* () {
      const { began, messages, tag } = yield* watch([failed, failed, Stream.make("a", "b")], policy())
      assert.deepStrictEqual([began, messages, tag], [3, ["a", "b"], undefined])
    })
  )

  it.effect("are committed by their headers: what fails later fails the reader", () =>
    Effect.gen(function* () {
      const { began, messages, tag } = yield* watch([failed, partly, Stream.make("never")], policy())
      assert.deepStrictEqual([began, messages, tag], [2, ["one"], "Unavailable"])
    })
  )

  it.effect("succeed for the throttle with their last message, and fail with their status", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 0.5 })
      const retry = policy({ throttle })
      yield* watch([failed, partly], retry)
      assert.strictEqual(throttle.balance(), 8)
      yield* watch([Stream.make("a")], retry)
      assert.strictEqual(throttle.balance(), 8.5)
      yield* watch([Stream.forever(Stream.make("a"))], retry, 1)
      assert.strictEqual(throttle.balance(), 8.5, "a reader who leaves tells nothing")
    })
  )
})

describe("A6: the commitment of a call with one answer", () => {
  const begun: Step = { _tag: "Unavailable", begun: true }

  it.effect("is its headers: what fails after them is not sent again", () =>
    Effect.gen(function* () {
      const { attempts, error } = yield* run([down, begun, "ok"])
      assert.lengthOf(attempts, 2)
      assert.deepInclude(error!, { attempts: 2, progress: "Answered", committed: true })
      assert.strictEqual(error!.reason._tag, "Unavailable")
    })
  )

  it.effect("is not a status alone, which is an answer all the same", () =>
    Effect.gen(function* () {
      const { attempts, error } = yield* run([down])
      assert.lengthOf(attempts, 4)
      assert.deepInclude(error!, { attempts: 4, progress: "Answered", committed: false })
    })
  )

  it.effect("does not hold beyond A6: nothing was handed on", () =>
    Effect.gen(function* () {
      const retry = Retry.make({ maxAttempts: 5, resendable: true, budget: false })
      assert.lengthOf((yield* run([begun], { retry })).attempts, 5)
      assert.lengthOf((yield* run([down], { retry })).attempts, 5)
    })
  )

  it.effect("holds against a pushback that allows a retry", () =>
    Effect.gen(function* () {
      const { attempts } = yield* run([{ ...(pushed("10") as Status), begun: true }, "ok"])
      assert.lengthOf(attempts, 1)
    })
  )

  it.effect("costs a token where the code is listed: the call has failed", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 0.1 })
      yield* run([begun], { retry: policy({ throttle }) })
      assert.strictEqual(throttle.balance(), 9)
      yield* run([{ _tag: "NotFound", begun: true }], { retry: policy({ throttle }) })
      assert.strictEqual(throttle.balance(), 9)
    })
  )

  /** A call whose headers have come and whose server then says nothing. */
  const halfway = (retry: Retry.Retry) => {
    let began = 0
    const say = (_: string, call: Call.Call<unknown, unknown>) =>
      Effect.suspend(() => {
        began++
        return Effect.andThen(sendHeaders(call), Effect.never)
      })
    return { say, began: () => began, options: { retry } }
  }

  it.effect("holds when the connection is lost after the headers", () => {
    const { began, options, say } = halfway(policy())
    return Effect.gen(function* () {
      const client = yield* Echo
      const fiber = yield* Effect.forkChild(Effect.flip(client.say("ada", { timeout: "1 minute" })))
      yield* settle
      yield* Faults.inject(Faults.cut(one))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { attempts: 1, committed: true })
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.strictEqual(began(), 1)
    }).pipe(Effect.provide(echo({ say }, {}, options)))
  })

  it.effect("nor when the attempt's own time is up, which A6 does not know", () => {
    const { began, options, say } = halfway(Retry.make({ perAttempt: "1 second", resendable: true }))
    return Effect.gen(function* () {
      const client = yield* Echo
      const fiber = yield* Effect.forkChild(Effect.flip(client.say("ada", { timeout: "1 minute" })))
      yield* settle
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: "Receiving", by: "Us" })
      assert.include(error.reason.details, "the attempt's own time of 1000 ms is up")
      assert.strictEqual(began(), 3)
    }).pipe(Effect.provide(echo({ say }, {}, options)))
  })

  it.effect("holds when its path is given up: it runs on", () => {
    const { began, options, say } = halfway(Retry.make({ resendable: true }))
    return Effect.gen(function* () {
      const client = yield* Echo
      const fiber = yield* Effect.forkChild(Effect.flip(client.say("ada", { timeout: "10 seconds" })))
      yield* settle
      yield* Faults.inject(Faults.silence(one))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: "Receiving" })
      assert.strictEqual(began(), 1)
    }).pipe(Effect.provide(echo({ say }, {}, { ...options, silence: { atLeast: "200 millis" } })))
  })

  it.effect("is that of a stream of requests, too", () => {
    let began = 0
    const upload = (_: Stream.Stream<string>, call: Call.Call<unknown, unknown>) =>
      Effect.suspend(() => {
        const failed = Effect.fail<Status>({ _tag: "Unavailable" })
        return began++ === 0 ? failed : Effect.andThen(sendHeaders(call), failed)
      })
    return Effect.gen(function* () {
      const client = yield* Echo
      const fiber = yield* Effect.forkChild(Effect.flip(client.upload(Stream.make("a", "b"))))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { attempts: 2, committed: true })
      assert.strictEqual(began, 2)
    }).pipe(Effect.provide(echo({ upload }, {}, { retry: policy() })))
  })
})

describe("A6: what is interrupted", () => {
  it.effect("in a wait or in a later attempt leaves no stream open (J5)", () =>
    Effect.gen(function* () {
      const second = yield* Deferred.make<void>()
      let began = 0
      const say = () =>
        Effect.suspend((): Effect.Effect<string, Status> => {
          began++
          return began === 1
            ? Effect.fail({ _tag: "Unavailable" })
            : Effect.andThen(Deferred.succeed(second, undefined), Effect.never)
        })
      const program = Effect.gen(function* () {
        const client = yield* Echo
        const waiting = yield* Effect.forkChild(client.say("ada"))
        yield* TestClock.adjust("500 millis")
        yield* Fiber.interrupt(waiting)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(began, 1)
        began = 0
        const attempting = yield* Effect.forkChild(client.say("ada"))
        yield* TestClock.adjust("2 seconds")
        yield* Deferred.await(second)
        yield* Fiber.interrupt(attempting)
        yield* TestClock.adjust("1 second")
        const { seen } = yield* TestNetwork.server(one)
        assert.strictEqual(seen.inFlight, 0)
        assert.strictEqual(seen.cancelled, 1)
      })
      yield* Effect.provide(program, echo({ say }, {}, { retry: policy() }))
    }).pipe(Effect.provideService(Random.Random, middle))
  )

  it.effect("by its deadline in a later attempt leaves no stream open (J5)", () =>
    Effect.gen(function* () {
      let began = 0
      const say = () =>
        Effect.suspend((): Effect.Effect<string, Status> =>
          began++ === 0 ? Effect.fail({ _tag: "Unavailable" }) : Effect.never
        )
      const program = Effect.gen(function* () {
        const client = yield* Echo
        const fiber = yield* Effect.forkChild(Effect.flip(client.say("ada", { timeout: "3 seconds" })))
        yield* TestClock.adjust("1 minute")
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.reason._tag, "DeadlineExceeded")
        assert.strictEqual(error.attempts, 2)
        assert.strictEqual(began, 2)
        assert.strictEqual((yield* TestNetwork.server(one)).seen.inFlight, 0)
      })
      yield* Effect.provide(program, echo({ say }, {}, { retry: policy() }))
    }).pipe(Effect.provideService(Random.Random, middle))
  )
})

describe("Retry.a6 as middleware", () => {
  it.effect("sends methods again that are not declared idempotent: naming them declares it", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unavailable("MaybeProcessed"), "ok")
      const fiber = yield* Effect.forkChild(Retry.intercept(policy())(channel).unary(call({ idempotency: "Unknown" })))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      assert.lengthOf(seen, 2)
    })
  )
})
