/**
 * gRFC A6, hedging: one test for each rule, named after it. Real clients over the network in memory, whose servers count;
 * `test/integration/a6Hedging.test.ts` shows what can be seen on a real wire. J numbers: where grpc-js 1.14.7 falls short.
 */
import { assert, describe, it } from "@effect/vitest"
import { RetryThrottle } from "@hawser/core"
import { type Call, Hedge, Metadata, Retry, RpcError } from "@hawser/grpc"
import * as Faults from "@hawser/testing/Faults"
import { sendHeaders, type Status } from "@hawser/testing/Handler"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Clock, Effect, Exit, Fiber, type Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call } from "../../support/channels.ts"
import { failure, play } from "../../support/grpc/hedges.ts"
import { Echo, echo, one, two } from "../../support/testing/echo.ts"

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Math.round(Number(nanos) / 1e6))
const policy = (options: Partial<Hedge.A6Options> = {}) =>
  Hedge.a6({ maxAttempts: 4, hedgingDelay: "100 millis", nonFatalStatusCodes: ["UNAVAILABLE"], ...options })

/** What a server does with an attempt: after so many ms (`Infinity`: never) it answers or fails; it may send headers before. */
type Step = readonly [millis: number, end: "ok" | Status, begunAt?: number]
const ok: Step["1"] = "ok"
const down: Status = { _tag: "Unavailable" }
const never: Step = [Infinity, ok]
const pushed = (millis: string, tag: Status["_tag"] = "Unavailable"): Status => ({
  _tag: tag,
  metadata: Metadata.received(() => [["grpc-retry-pushback-ms", millis]], undefined)
})

/** An attempt as its server saw it. */
interface Attempt {
  readonly at: number
  readonly attempt: number
  readonly deadline: number
  readonly address: string | undefined
  cancelledAt: number | undefined
}

interface Setting {
  readonly policy?: Hedge.Hedge
  readonly retry?: Retry.Retry
  readonly addresses?: ReadonlyArray<string>
  readonly call?: Call.CallOptions
  readonly calls?: number
  readonly before?: Effect.Effect<void, unknown, TestNetwork.TestNetwork | Scope.Scope>
}

/** Every frame takes a turn, so time passes in small steps. */
const settle = Effect.repeat(TestClock.adjust(0), { times: 20 })
const pass = (millis: number) => Effect.repeat(Effect.andThen(TestClock.adjust(10), settle), { times: millis / 10 - 1 })

/** Makes calls one after another, to servers that follow one script; its last step repeats. */
const run = (steps: ReadonlyArray<Step>, setting: Setting = {}) => {
  const { addresses = [one, two], calls = 1, policy: hedge = policy(), retry = false } = setting
  const attempts: Array<Attempt> = []
  const say = (text: string, call: Call.Call<unknown, unknown>) =>
    Effect.gen(function* () {
      const { attempt, deadline = Infinity } = call
      const at = yield* now
      const [millis, end, begunAt] = steps[Math.min(attempts.length, steps.length - 1)]!
      const seen: Attempt = { at, attempt, deadline, address: undefined, cancelledAt: undefined }
      attempts.push(seen)
      const rest = millis - (begunAt ?? 0)
      const pause = rest === Infinity ? Effect.never : Effect.sleep(rest)
      const wait =
        begunAt === undefined
          ? pause
          : Effect.sleep(begunAt).pipe(Effect.andThen(sendHeaders(call)), Effect.andThen(pause))
      yield* Effect.onInterrupt(wait, () =>
        Effect.map(now, (cancelledAt) => {
          seen.cancelledAt = cancelledAt
        })
      )
      return end === "ok" ? `${text} ${attempt}` : yield* Effect.fail(end)
    })
  return Effect.gen(function* () {
    const client = yield* Echo
    if (setting.before !== undefined) yield* Effect.orDie(setting.before)
    const results: Array<Exit.Exit<string, RpcError.RpcError>> = []
    let start = 0
    let endedAt = 0
    for (let i = 0; i < calls; i++) {
      // The first connections are there: what is timed is the call.
      yield* pass(100)
      start = yield* now
      const fiber = yield* Effect.forkChild(
        Effect.ensuring(
          client.say("ada", { timeout: "1 minute", ...setting.call }),
          Effect.map(now, (at) => {
            endedAt = at - start
          })
        )
      )
      yield* settle
      yield* pass(1_000)
      yield* TestClock.adjust("1 minute")
      yield* settle
      results.push(yield* Fiber.await(fiber))
    }
    const { servers } = yield* TestNetwork.TestNetwork
    const last = results.at(-1)!
    const error =
      last._tag === "Failure" ? last.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined
    return {
      attempts,
      times: attempts.map(({ at }) => at - start),
      cancelled: attempts.map(({ cancelledAt }) => (cancelledAt === undefined ? undefined : cancelledAt - start)),
      started: addresses.map((address) => servers.get(address)!.seen),
      message: last._tag === "Success" ? last.value : undefined,
      error,
      results,
      endedAt
    }
  }).pipe(
    Effect.provide(
      echo(
        { say },
        { addresses },
        { retry, target: `ipv4:${addresses}`, perAttempt: Hedge.intercept(hedge), connections: { min: 1 } }
      )
    )
  )
}

describe("maxAttempts", () => {
  it.effect("counts the first attempt", () =>
    Effect.gen(function* () {
      const { attempts } = yield* run([never], { policy: policy({ maxAttempts: 3 }) })
      assert.lengthOf(attempts, 3)
    })
  )

  it.effect("above 5 is 5", () =>
    Effect.gen(function* () {
      const { times } = yield* run([never], { policy: policy({ maxAttempts: 50 }) })
      assert.deepStrictEqual(times, [0, 100, 200, 300, 400])
    })
  )

  it.each([1, 0, -1, 2.5, NaN, "3"])("of %s is an error", (maxAttempts) => {
    assert.throws(() => policy({ maxAttempts: maxAttempts as number }), "maxAttempts")
  })
})

describe("hedgingDelay", () => {
  it.effect("the first attempt is sent at once, and each next one after the delay", () =>
    Effect.gen(function* () {
      const { times } = yield* run([never])
      assert.deepStrictEqual(times, [0, 100, 200, 300])
    })
  )

  it.effect.each([0, undefined])("of %s sends all attempts at once", (hedgingDelay) =>
    Effect.gen(function* () {
      const { times } = yield* run([never], { policy: policy({ hedgingDelay }) })
      assert.deepStrictEqual(times, [0, 0, 0, 0])
    })
  )

  it.effect("an answer before it means that nothing else is sent", () =>
    Effect.gen(function* () {
      const { message, times } = yield* run([[90, ok]])
      assert.deepStrictEqual(times, [0])
      assert.strictEqual(message, "ada 1")
    })
  )
})

describe("an answer", () => {
  it.effect("of any attempt is the call's, and cancels all others at their servers", () =>
    Effect.gen(function* () {
      const { cancelled, endedAt, message, times } = yield* run([never, never, [50, ok]])
      assert.deepStrictEqual(times, [0, 100, 200])
      assert.strictEqual(message, "ada 3")
      assert.strictEqual(endedAt, 250)
      assert.deepStrictEqual(cancelled, [250, 250, undefined])
    })
  )

  it.effect("of a loser that has failed before is not waited for", () =>
    Effect.gen(function* () {
      const { message } = yield* run([
        [10, down],
        [20, ok]
      ])
      assert.strictEqual(message, "ada 2")
    })
  )
})

describe("nonFatalStatusCodes", () => {
  it.effect("a non-fatal failure sends the next attempt at once; later ones resume at the delay", () =>
    Effect.gen(function* () {
      const { times } = yield* run([[30, down], never, never])
      assert.deepStrictEqual(times, [0, 30, 130, 230])
    })
  )

  it.effect("a non-fatal failure leaves the other attempts running", () =>
    Effect.gen(function* () {
      const { message, times } = yield* run([[250, ok], [10, down], never])
      assert.deepStrictEqual(times, [0, 100, 110, 210])
      assert.strictEqual(message, "ada 1")
    })
  )

  it.effect("a fatal failure ends the call with it, and cancels all others", () =>
    Effect.gen(function* () {
      const { cancelled, endedAt, error, times } = yield* run([never, [50, { _tag: "Internal" }]])
      assert.deepStrictEqual(times, [0, 100])
      assert.strictEqual(error?.reason._tag, "Internal")
      assert.strictEqual(error?.attempts, 2)
      assert.strictEqual(endedAt, 150)
      assert.deepStrictEqual(cancelled, [150, undefined])
    })
  )

  it.effect("is empty by default: every failure is fatal", () =>
    Effect.gen(function* () {
      const { error, times } = yield* run([[10, down]], { policy: policy({ nonFatalStatusCodes: undefined }) })
      assert.deepStrictEqual(times, [0])
      assert.strictEqual(error?.reason._tag, "Unavailable")
    })
  )

  it.effect.each(["aborted", "ABORTED", "Aborted", 10])("may be written as %s", (code) =>
    Effect.gen(function* () {
      const nonFatalStatusCodes = [code]
      const { message } = yield* run(
        [
          [10, { _tag: "Aborted" }],
          [10, ok]
        ],
        { policy: policy({ nonFatalStatusCodes }) }
      )
      assert.strictEqual(message, "ada 2")
    })
  )

  it.each(["OK", 0, 17, "NOPE", {}])("of %s is an error", (code) => {
    assert.throws(() => policy({ nonFatalStatusCodes: [code as string] }), "nonFatalStatusCodes[0]")
  })

  it.effect("when all attempts have failed, the call fails with the last failure, and is not tried again", () =>
    Effect.gen(function* () {
      const { endedAt, error, times } = yield* run([
        [30, down],
        [30, down],
        [30, down],
        [30, { _tag: "Unavailable", details: "last" }]
      ])
      assert.deepStrictEqual(times, [0, 30, 60, 90])
      assert.strictEqual(endedAt, 120)
      assert.strictEqual(error?.reason.details, "last")
      assert.strictEqual(error?.attempts, 4)
    })
  )
})

describe("server pushback", () => {
  it.effect("of n ms sends the next attempt after n ms, and the delay resumes from there", () =>
    Effect.gen(function* () {
      const { times } = yield* run([[20, pushed("300")], never, never])
      assert.deepStrictEqual(times, [0, 320, 420, 520])
    })
  )

  it.effect("of 0 sends it at once", () =>
    Effect.gen(function* () {
      const { times } = yield* run([[20, pushed("0")], never], { policy: policy({ maxAttempts: 2 }) })
      assert.deepStrictEqual(times, [0, 20])
    })
  )

  it.effect("moves an attempt that is due already", () =>
    Effect.gen(function* () {
      const { times } = yield* run([never, [50, pushed("500")], never, never])
      assert.deepStrictEqual(times, [0, 100, 650, 750])
    })
  )

  // J2: grpc-js takes what it can't read for 0.
  it.effect.each(["-1", "-100", "soon", "", "1.5", "1e3", "0x10", " 5", "99999999999"])(
    "%o means that no more attempts are sent",
    (millis) =>
      Effect.gen(function* () {
        const { endedAt, error, times } = yield* run([
          [20, pushed(millis)],
          [10, ok]
        ])
        assert.deepStrictEqual(times, [0])
        assert.strictEqual(endedAt, 20)
        assert.strictEqual(error?.reason._tag, "Unavailable")
      })
  )

  it.effect("that forbids more attempts leaves those that run to answer", () =>
    Effect.gen(function* () {
      const { message, times } = yield* run([
        [300, ok],
        [20, pushed("-1")],
        [10, ok]
      ])
      assert.deepStrictEqual(times, [0, 100])
      assert.strictEqual(message, "ada 1")
    })
  )

  it.effect("that forbids more attempts holds for failures that come after it", () =>
    Effect.gen(function* () {
      const { endedAt, times } = yield* run([
        [300, down],
        [20, pushed("-1")],
        [10, ok]
      ])
      assert.deepStrictEqual(times, [0, 100])
      assert.strictEqual(endedAt, 300)
    })
  )

  it.effect("never gives more than maxAttempts", () =>
    Effect.gen(function* () {
      const { times } = yield* run([[20, pushed("10")]], { policy: policy({ maxAttempts: 2 }) })
      assert.deepStrictEqual(times, [0, 30])
    })
  )

  it.effect("beyond the deadline sends nothing", () =>
    Effect.gen(function* () {
      const { endedAt, times } = yield* run([[20, pushed("1000")]], { call: { timeout: 900 } })
      assert.deepStrictEqual(times, [0])
      assert.strictEqual(endedAt, 20)
    })
  )

  it.effect("does not make a fatal failure another one", () =>
    Effect.gen(function* () {
      const { error, times } = yield* run([
        [20, pushed("10", "Internal")],
        [10, ok]
      ])
      assert.deepStrictEqual(times, [0])
      assert.strictEqual(error?.reason._tag, "Internal")
    })
  )
})

describe("throttling", () => {
  const bucket = (maxTokens = 4, tokenRatio = 0.5) => RetryThrottle.make({ maxTokens, tokenRatio })

  it.effect("each non-fatal failure costs a token, of every attempt", () =>
    Effect.gen(function* () {
      const throttle = bucket(100)
      yield* run([[10, down]], { policy: policy({ throttle }) })
      assert.strictEqual(throttle.balance(), 96)
    })
  )

  it.effect("a success gives tokenRatio back, once per call", () =>
    Effect.gen(function* () {
      const throttle = bucket(100)
      for (let i = 0; i < 10; i++) throttle.failed()
      yield* run([never, [10, ok]], { policy: policy({ throttle }) })
      assert.strictEqual(throttle.balance(), 90.5)
    })
  )

  it.effect("a fatal failure costs none, and neither does a cancelled attempt", () =>
    Effect.gen(function* () {
      const throttle = bucket(100)
      yield* run([never, [10, { _tag: "Internal" }]], { policy: policy({ throttle }) })
      assert.strictEqual(throttle.balance(), 100)
    })
  )

  // J3: in grpc-js it does so only with a status that is listed.
  it.effect("a pushback that forbids more attempts costs a token, whatever the status", () =>
    Effect.gen(function* () {
      const throttle = bucket(100)
      yield* run([[10, pushed("-1", "Internal")]], { policy: policy({ throttle }) })
      assert.strictEqual(throttle.balance(), 99)
      yield* run([[10, pushed("-1")]], { policy: policy({ throttle }) })
      assert.strictEqual(throttle.balance(), 98)
    })
  )

  // J1: grpc-js hedges on with an empty bucket.
  it.effect("with half of the tokens or fewer only the first attempt is sent, by time as well as after a failure", () =>
    Effect.gen(function* () {
      const throttle = bucket()
      throttle.failed()
      throttle.failed()
      const slow = yield* run([[900, ok]], { policy: policy({ throttle }) })
      assert.deepStrictEqual(slow.times, [0])
      assert.strictEqual(slow.message, "ada 1")
      while (throttle.balance() > 2) throttle.failed()
      const failing = yield* run([[10, down]], { policy: policy({ throttle }) })
      assert.deepStrictEqual(failing.times, [0])
    })
  )

  it.effect("the first attempt is never throttled, and the call fails with its failure, not later", () =>
    Effect.gen(function* () {
      const throttle = bucket()
      for (let i = 0; i < 4; i++) throttle.failed()
      const { endedAt, error } = yield* run([[10, down]], { policy: policy({ throttle }) })
      assert.strictEqual(endedAt, 10)
      assert.strictEqual(error?.reason._tag, "Unavailable")
      assert.include(error?.reason.details, "hedges are throttled")
    })
  )

  it.effect("a failure that empties half of the bucket stops the attempts to come, not those that run", () =>
    Effect.gen(function* () {
      const throttle = bucket(2)
      const { message, times } = yield* run(
        [
          [300, ok],
          [20, down],
          [10, ok]
        ],
        { policy: policy({ throttle }) }
      )
      assert.deepStrictEqual(times, [0, 100])
      assert.strictEqual(message, "ada 1")
    })
  )

  it.effect("successes let attempts go out again", () =>
    Effect.gen(function* () {
      const throttle = bucket(4, 1)
      throttle.failed()
      throttle.failed()
      const { times } = yield* run([[10, ok], never], { policy: policy({ throttle }), calls: 2 })
      assert.lengthOf(times, 1 + 4)
    })
  )

  it.effect("is shared by all calls that have the bucket, retried ones too", () =>
    Effect.gen(function* () {
      const throttle = bucket(4)
      yield* run([[10, down]], { policy: policy({ throttle }) })
      const { attempts } = yield* run([[10, down]], {
        policy: Hedge.make({ delay: "1 hour", attempts: 2, budget: false }),
        retry: Retry.a6({
          maxAttempts: 5,
          initialBackoff: "10 millis",
          maxBackoff: "10 millis",
          backoffMultiplier: 1,
          retryableStatusCodes: [14],
          throttle
        })
      })
      assert.lengthOf(attempts, 1)
    })
  )
})

describe("grpc-previous-rpc-attempts", () => {
  it.effect("is absent on the first attempt, then 1, 2, …", () =>
    Effect.gen(function* () {
      const { attempts } = yield* run([never, [10, down], never])
      // The server adds one.
      assert.deepStrictEqual(
        attempts.map(({ attempt }) => attempt),
        [1, 2, 3, 4]
      )
    })
  )
})

describe("the deadline", () => {
  it.effect("is one for all attempts", () =>
    Effect.gen(function* () {
      const { attempts, endedAt, error } = yield* run([never], { call: { timeout: 350 } })
      assert.strictEqual(new Set(attempts.map(({ deadline }) => Math.round(deadline))).size, 1)
      assert.strictEqual(error?.reason._tag, "DeadlineExceeded")
      assert.strictEqual(endedAt, 350)
      assert.lengthOf(attempts, 4)
    })
  )

  it.effect("that ends before the delay means that no hedge is sent", () =>
    Effect.gen(function* () {
      const { attempts, error } = yield* run([never], { call: { timeout: 90 } })
      assert.lengthOf(attempts, 1)
      assert.strictEqual(error?.reason._tag, "DeadlineExceeded")
    })
  )
})

describe("where attempts go", () => {
  it.effect("to another endpoint than the one that is slow", () =>
    Effect.gen(function* () {
      const { started } = yield* run([never], { policy: policy({ maxAttempts: 2 }) })
      assert.deepStrictEqual(
        started.map(({ started: n }) => n),
        [1, 1]
      )
    })
  )

  it.effect("to the same one where there is no other", () =>
    Effect.gen(function* () {
      const { attempts } = yield* run([never], { addresses: [one] })
      assert.lengthOf(attempts, 4)
    })
  )
})

describe("response headers", () => {
  it.effect("commit the call: the other attempts are cancelled, and no more are sent", () =>
    Effect.gen(function* () {
      const { cancelled, message, times } = yield* run([never, [400, ok, 50], never])
      assert.strictEqual(message, "ada 2")
      assert.deepStrictEqual(times, [0, 100])
      assert.deepStrictEqual(cancelled, [150, undefined])
    })
  )

  it.effect("commit the call to an attempt that then fails: no hedge, no retry", () =>
    Effect.gen(function* () {
      const { error, cancelled, times } = yield* run([never, [200, down, 50], [10, ok]])
      assert.strictEqual(error?.reason._tag, "Unavailable")
      assert.deepInclude(error!, { committed: true, attempts: 2 })
      assert.deepStrictEqual(times, [0, 100])
      assert.deepStrictEqual(cancelled, [150, undefined])
    })
  )

  it.effect("of the first attempt before the delay mean that no hedge is sent", () =>
    Effect.gen(function* () {
      const { endedAt, message, times } = yield* run([[900, ok, 50]])
      assert.strictEqual(message, "ada 1")
      assert.deepStrictEqual(times, [0])
      assert.strictEqual(endedAt, 900)
    })
  )

  it.effect("do not come with a status alone: the other attempts run on", () =>
    Effect.gen(function* () {
      const { error, message, times } = yield* run([never, [50, down], [30, ok]])
      assert.strictEqual(error, undefined)
      assert.strictEqual(message, "ada 3")
      assert.deepStrictEqual(times, [0, 100, 150])
    })
  )

  it.effect("of a second attempt that come after those of the first change nothing", () =>
    Effect.gen(function* () {
      const { message, cancelled } = yield* run([
        [500, ok, 120],
        [150, ok, 50]
      ])
      assert.strictEqual(message, "ada 1")
      assert.deepStrictEqual(cancelled, [undefined, 120])
    })
  )

  it.effect("are no success: a committed failure costs a token, and its pushback is not asked", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 1 })
      const { times } = yield* run([[60, pushed("5"), 50]], { policy: policy({ throttle }) })
      assert.deepStrictEqual(times, [0])
      assert.strictEqual(throttle.balance(), 9)
    })
  )

  it.effect("hold for a caller who leaves: the one attempt is cancelled", () =>
    Effect.gen(function* () {
      const { cancelled, error } = yield* run([[Infinity, ok, 50]], { call: { timeout: "200 millis" } })
      assert.deepInclude(error!.reason, { _tag: "DeadlineExceeded", phase: "Receiving" })
      assert.lengthOf(cancelled, 1)
    })
  )
})

describe("transparent retries", () => {
  it.effect("a refused attempt is sent again once, and counts neither as an attempt nor as a failure", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 1 })
      const nonFatalStatusCodes: ReadonlyArray<string> = []
      const { error } = yield* run([[10, ok]], {
        addresses: [one],
        policy: policy({ throttle, nonFatalStatusCodes }),
        before: Faults.inject(Faults.refuseStreams(one))
      })
      assert.strictEqual(error?.progress, "Refused")
      assert.strictEqual(error?.attempts, 1)
      assert.strictEqual(throttle.balance(), 10)
    })
  )

  it.effect("once for one that was refused; then the policy decides", () =>
    Effect.gen(function* () {
      const refused = failure("Unavailable", undefined, "Refused")
      const fatal = yield* play(policy({ nonFatalStatusCodes: [] }), [[10, refused]], { idempotency: "Unknown" })
      assert.deepStrictEqual(
        fatal.seen.map((attempt) => attempt.call.attempt),
        [1, 1]
      )
      const nonFatal = yield* play(policy({ maxAttempts: 2 }), [[10, refused]], { idempotency: "Unknown" })
      assert.deepStrictEqual(
        nonFatal.seen.map((attempt) => attempt.call.attempt),
        [1, 1, 2]
      )
    })
  )

  it.effect("once for the whole call, whichever of its attempts was refused", () =>
    Effect.gen(function* () {
      const refused = failure("Unavailable", undefined, "Refused")
      const { seen } = yield* play(policy({ maxAttempts: 3 }), [
        [10, refused],
        [Infinity, "ok"],
        [10, refused],
        [10, "ok"]
      ])
      assert.deepStrictEqual(
        seen.map((attempt) => attempt.call.attempt),
        [1, 1, 2, 3]
      )
    })
  )

  it.effect("until the deadline for one that never left, without a token or an attempt, and without spinning", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 2, tokenRatio: 0.1 })
      const unsent = failure("Unavailable", undefined, "NotSent")
      const { error, seen } = yield* play(policy({ throttle, maxAttempts: 2, hedgingDelay: "1 hour" }), [[0, unsent]], {
        idempotency: "Unknown",
        deadline: 60_000
      })
      assert.deepInclude(error!, { attempts: 1, progress: "NotSent" })
      // 0, 10, 20, 40 … 640 ms, and a second from then on.
      assert.isAtLeast(seen.length, 58)
      assert.isAtMost(seen.length, 82)
      assert.isTrue(seen.every(({ call }) => call.attempt === 1))
      assert.strictEqual(throttle.balance(), 2)
    })
  )

  it.effect("do not do so for ever where there is no deadline", () =>
    Effect.gen(function* () {
      const unsent = failure("Unavailable", undefined, "NotSent")
      const { error, seen } = yield* play(policy({ maxAttempts: 2, hedgingDelay: "1 hour" }), [[0, unsent]])
      assert.strictEqual(error?.attempts, 2)
      assert.isAtMost(seen.length, 70)
    })
  )

  it.effect("do not move the next attempt, which is due when it was", () =>
    Effect.gen(function* () {
      const unsent = failure("Unavailable", undefined, "NotSent")
      const { seen, times } = yield* play(policy({ maxAttempts: 2 }), [
        [60, unsent],
        [Infinity, "ok"],
        [10, "ok"]
      ])
      assert.deepStrictEqual(times, [0, 60, 100])
      assert.deepStrictEqual(
        seen.map(({ call }) => call.attempt),
        [1, 1, 2]
      )
    })
  )

  it.effect("that wait are cancelled with the call, and by the answer of another attempt", () =>
    Effect.gen(function* () {
      const unsent = failure("Unavailable", undefined, "NotSent")
      const { by, endedAt, seen } = yield* play(policy({ maxAttempts: 2, hedgingDelay: "1 milli" }), [
        [0, unsent],
        [2, "ok"],
        [0, unsent],
        [0, unsent],
        [0, unsent]
      ])
      assert.isDefined(by)
      assert.isAtMost(endedAt, 25)
      assert.isAtMost(seen.length, 6)
    })
  )
})

describe("what this client decides itself", () => {
  it.effect("is fatal whatever its code: its queue, its limits, its deadline", () =>
    Effect.gen(function* () {
      const codes = Array.from({ length: 16 }, (_, i) => i + 1)
      const full = RpcError.of(call().method.path, { _tag: "ResourceExhausted", details: "", by: "Us" }, "NotSent")
      const { error, seen } = yield* play(policy({ nonFatalStatusCodes: codes }), [[10, full]])
      assert.lengthOf(seen, 1)
      assert.strictEqual(error, full)
    })
  )
})

describe("a stream of answers", () => {
  /** Opens streams of which the nth does the nth. */
  const open = (...streams: ReadonlyArray<Stream.Stream<string, Status>>) => {
    const log: Array<string> = []
    let n = 0
    const watch = () =>
      Stream.suspend(() => {
        const nth = ++n
        log.push(`began ${nth}`)
        return Stream.onExit(streams[Math.min(nth, streams.length) - 1]!, (exit) =>
          Effect.sync(() => {
            if (Exit.hasInterrupts(exit)) log.push(`cancelled ${nth}`)
          })
        )
      })
    const options = { perAttempt: Hedge.intercept(policy()), target: `ipv4:${one},${two}` }
    return { log, layer: echo({ watch }, { addresses: [one, two] }, options) }
  }

  it.effect("is committed by its headers: the others are cancelled, and no more are sent", () => {
    const { layer, log } = open(Stream.never, Stream.concat(Stream.make("b1"), Stream.never), Stream.make("c"))
    return Effect.gen(function* () {
      const client = yield* Echo
      yield* pass(100)
      const seen: Array<string> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(client.watch("ada"), (s) => Effect.sync(() => seen.push(s)))
      )
      yield* pass(1_000)
      assert.deepStrictEqual(seen, ["b1"])
      assert.deepStrictEqual(log, ["began 1", "began 2", "cancelled 1"])
      yield* Fiber.interrupt(fiber)
      yield* settle
      assert.deepStrictEqual(log, ["began 1", "began 2", "cancelled 1", "cancelled 2"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("that fails after its headers is not sent again", () => {
    const { layer, log } = open(Stream.concat(Stream.make("a1"), Stream.fail(down)), Stream.make("b"))
    return Effect.gen(function* () {
      const client = yield* Echo
      const fiber = yield* Effect.forkChild(Effect.flip(Stream.runDrain(client.watch("ada"))))
      yield* pass(1_000)
      assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Unavailable")
      assert.deepStrictEqual(log, ["began 1"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("that fails without headers sends the next attempt at once", () => {
    const { layer, log } = open(Stream.fail(down), Stream.make("b"))
    return Effect.gen(function* () {
      const client = yield* Echo
      const fiber = yield* Effect.forkChild(Stream.runCollect(client.watch("ada")))
      yield* pass(50)
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["b"])
      assert.deepStrictEqual(log, ["began 1", "began 2"])
    }).pipe(Effect.provide(layer))
  })
})
