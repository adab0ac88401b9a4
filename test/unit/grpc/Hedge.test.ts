import { assert, describe, it } from "@effect/vitest"
import { type OptionsError, RetryBudget, RetryThrottle } from "@hawser/core"
import { Call, Channel, Hedge, Metadata, type Method, RpcError, Status } from "@hawser/grpc"
import * as Simulation from "@hawser/testing/Simulation"
import { Effect, Exit, Fiber, Layer, Option, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, reply } from "../../support/channels.ts"
import { failure, idempotent, now, play, script, type Step } from "../../support/grpc/hedges.ts"

const free = { budget: false } as const
const hedge = (options: Partial<Hedge.HedgeOptions> = {}) => Hedge.make({ delay: 100, ...free, ...options })
const unavailable = failure("Unavailable")
const lost = failure("Unavailable", undefined, "MaybeProcessed")
const unsent = failure("Unavailable", undefined, "NotSent")
const never = [Infinity, "ok"] as const

describe("a hedged call", () => {
  it.effect("is sent once where it is answered before the delay", () =>
    Effect.gen(function* () {
      const { by, endedAt, times } = yield* play(hedge({ attempts: 5 }), [[99, "ok"]])
      assert.deepStrictEqual(times, [0])
      assert.strictEqual(endedAt, 99)
      assert.strictEqual(by, "e1:1#1")
    })
  )

  it.effect("takes the answer that comes first, and cancels the other attempts in the same turn", () =>
    Effect.gen(function* () {
      const { by, endedAt, how, seen, times } = yield* play(hedge({ attempts: 3 }), [never, [150, "ok"], never])
      assert.deepStrictEqual(times, [0, 100, 200])
      assert.strictEqual(endedAt, 250)
      assert.strictEqual(by, "e2:1#1")
      assert.deepStrictEqual(how, ["interrupted", "ok", "interrupted"])
      assert.isTrue(seen.every(({ ended }) => ended === 250))
    })
  )

  it.effect("is answered by the first attempt where that is faster after all", () =>
    Effect.gen(function* () {
      const { by, how } = yield* play(hedge(), [[120, "ok"], never])
      assert.strictEqual(by, "e1:1#1")
      assert.deepStrictEqual(how, ["ok", "interrupted"])
    })
  )

  it.effect("that is interrupted interrupts every attempt, waits for their ends, and sends no more", () =>
    Effect.gen(function* () {
      const { channel, seen } = script(never)
      const slow = Channel.intercept(channel, (one, next) =>
        Effect.onInterrupt(next(one), () => Effect.sleep("1 second"))
      )
      const fiber = yield* Effect.forkChild(Hedge.intercept(hedge({ attempts: 3 }))(slow).unary(call(idempotent)))
      yield* TestClock.adjust(150)
      fiber.interruptUnsafe()
      yield* TestClock.adjust(999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.isDefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(
        seen.map(({ how }) => how),
        ["interrupted", "interrupted"]
      )
    })
  )

  it.effect("is not kept waiting by a loser that takes long to end", () =>
    Effect.gen(function* () {
      const { channel } = script(never, [10, "ok"])
      const slow = Channel.intercept(channel, (one, next) => Effect.onInterrupt(next(one), () => Effect.never))
      const fiber = yield* Effect.forkChild(Hedge.intercept(hedge())(slow).unary(call(idempotent)))
      yield* TestClock.adjust(110)
      assert.isDefined(fiber.pollUnsafe())
    })
  )

  it.effect("heeds the pushback of an attempt that fails before it is waited for", () =>
    Effect.gen(function* () {
      const { times } = yield* play(hedge(), [
        [0, failure("Unavailable", "500")],
        [0, "ok"]
      ])
      assert.deepStrictEqual(times, [0, 500])
    })
  )

  it.effect("ends with a defect of one attempt", () =>
    Effect.gen(function* () {
      const { exit, how } = yield* play(hedge(), [never, [10, Effect.die("bug")]])
      assert.deepStrictEqual(exit, Exit.die("bug"))
      assert.strictEqual(how[0], "interrupted")
    })
  )

  it.effect("ends with a defect where `nonFatal` throws", () =>
    Effect.gen(function* () {
      const nonFatal = () => {
        throw new Error("bug")
      }
      const { exit } = yield* play(hedge({ nonFatal }), [[10, unavailable]])
      assert.isTrue(Exit.hasDies(exit))
    })
  )

  it.effect.each<readonly [string, ReadonlyArray<Step>, RpcError.Progress]>([
    // The first one runs when the second one ends the call.
    [
      "one beside it has a connection",
      [
        [1_000, "ok"],
        [10, failure("Internal", undefined, "NotSent")]
      ],
      "MaybeProcessed"
    ],
    [
      "one before it was lost",
      [
        [5, lost],
        [10, failure("Internal", undefined, "Refused")]
      ],
      "MaybeProcessed"
    ],
    [
      "none before it was sent",
      [
        [5, unsent],
        [10, failure("Internal", undefined, "NotSent")]
      ],
      "NotSent"
    ],
    [
      "it was answered itself",
      [
        [5, lost],
        [10, failure("Internal")]
      ],
      "Answered"
    ]
  ])("says in its error how far any attempt got: %s", ([, steps, expected]) =>
    Effect.gen(function* () {
      const { error, seen } = yield* play(hedge(), steps)
      assert.lengthOf(seen, 2)
      assert.isTrue(RpcError.isRpcError(error))
      assert.strictEqual((error as RpcError.RpcError).progress, expected)
      assert.strictEqual((error as RpcError.RpcError).attempts, 2)
    })
  )

  it.effect("may have been processed where another attempt has not heard yet that it is over", () =>
    Effect.gen(function* () {
      let sent = 0
      const channel = Channel.make<RpcError.RpcError>({
        // The first one has no connection, and takes its time to leave the queue.
        unary: () =>
          ++sent === 1
            ? Effect.onInterrupt(Effect.never, () => Effect.sleep("1 second"))
            : Effect.fail(failure("Internal", undefined, "NotSent"))
      })
      const hedged = Hedge.intercept(hedge())(channel)
      const fiber = yield* Effect.forkChild(Effect.flip(hedged.unary(call(idempotent))))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(fiber)).progress, "MaybeProcessed")
    })
  )

  describe("with one answer, when headers come", () => {
    /** After so many ms its headers come; then it does what it does. */
    const headersAt = ({ committed }: { readonly committed?: (() => void) | undefined }, millis: number) =>
      Effect.andThen(
        Effect.sleep(millis),
        Effect.sync(() => committed?.())
      )
    const begun = failure("Unavailable", undefined, "Answered", undefined, true)
    const policies = {
      make: hedge(),
      a6: Hedge.a6({ maxAttempts: 2, hedgingDelay: 100, nonFatalStatusCodes: ["UNAVAILABLE"] })
    }
    const run = (policy: Hedge.Hedge, first: Effect.Effect<never, RpcError.RpcError>) =>
      Effect.gen(function* () {
        let sent = 0
        const channel = Channel.make<RpcError.RpcError>({
          unary: <I, O>(one: Call.Call<I, O>) =>
            ++sent === 1 ? Effect.andThen(headersAt(one, 50), first) : Effect.as(Effect.sleep(10), reply(one, "e2:1#1"))
        })
        const fiber = yield* Effect.forkChild(Effect.exit(Hedge.intercept(policy)(channel).unary(call(idempotent))))
        yield* TestClock.adjust("1 minute")
        return { exit: fiber.pollUnsafe(), sent }
      })

    it.effect("goes on: whoever answers first is the answer, and a6 waits for the one with headers", () =>
      Effect.gen(function* () {
        const made = yield* run(policies.make, Effect.never)
        assert.strictEqual(made.sent, 2)
        assert.isTrue(made.exit?._tag === "Success" && made.exit.value._tag === "Success")
        const strict = yield* run(policies.a6, Effect.never)
        assert.strictEqual(strict.sent, 1)
        assert.isUndefined(strict.exit)
      })
    )

    it.effect("and it fails after them, sends another; a6 does not", () =>
      Effect.gen(function* () {
        const made = yield* run(policies.make, Effect.fail(begun))
        assert.strictEqual(made.sent, 2)
        assert.isTrue(made.exit?._tag === "Success" && made.exit.value._tag === "Success")
        const strict = yield* run(policies.a6, Effect.fail(begun))
        assert.strictEqual(strict.sent, 1)
        assert.isTrue(strict.exit?._tag === "Success" && strict.exit.value._tag === "Failure")
      })
    )
  })

  it.effect("keeps its context in every attempt, and its clock", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const channel = Channel.intercept(script(never, [0, "ok"]).channel, (one, next) =>
        Effect.andThen(
          Effect.map(Effect.currentSpan, ({ name }) => names.push(name)),
          next(one)
        )
      )
      const span = Effect.orDie(
        Effect.withSpan(Hedge.intercept(hedge())(channel as Channel.Channel).unary(call(idempotent)), "mine")
      )
      const fiber = yield* Effect.forkChild(span)
      yield* TestClock.adjust(100)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(names, ["mine", "mine"])
    })
  )
})

describe("methods", () => {
  it.effect.each<readonly [Method.Idempotency, boolean, number]>([
    ["Unknown", false, 1],
    ["Idempotent", false, 2],
    ["NoSideEffects", false, 2],
    ["Unknown", true, 2]
  ])("of idempotency %s, resendable %s, have %i attempts", ([idempotency, resendable, attempts]) =>
    Effect.gen(function* () {
      const { seen } = yield* play(hedge({ resendable }), [[500, "ok"]], { idempotency })
      assert.lengthOf(seen, attempts)
    })
  )

  it.effect("with many requests pass through untouched, once", () =>
    Effect.gen(function* () {
      const { channel, seen } = script([500, "ok"])
      const { method } = call(idempotent)
      const upload = Call.make({ ...method, kind: "clientStreaming" }, "ada", { requests: Stream.make("ada") })
      const fiber = yield* Effect.forkChild(Hedge.intercept(hedge())(channel).unary(upload))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.lengthOf(seen, 1)
      assert.strictEqual(seen[0]!.call, upload as unknown)
    })
  )
})

describe("an attempt", () => {
  it.effect("is told its number and how to be given up", () =>
    Effect.gen(function* () {
      const { seen } = yield* play(hedge({ attempts: 3 }), [never, never, [10, "ok"]])
      assert.deepStrictEqual(
        seen.map((one) => one.call.attempt),
        [1, 2, 3]
      )
      for (const one of seen) assert.isFunction(one.call.resend)
    })
  )

  it.effect("avoids the endpoints where the others run, and those where they failed", () =>
    Effect.gen(function* () {
      const { channel } = script(never, [10, failure("Unavailable", undefined, "MaybeProcessed", "f:1")], [10, "ok"])
      const avoided: Array<ReadonlyArray<string>> = []
      const watched = Channel.intercept(channel, (one, next) => {
        avoided.push([...(one.avoid ?? [])])
        return next(one)
      })
      const one = call({ ...idempotent, avoid: new Set(["z:1"]) })
      const fiber = yield* Effect.forkChild(Hedge.intercept(hedge({ attempts: 3 }))(watched).unary(one))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(avoided, [["z:1"], ["z:1", "e1:1"], ["z:1", "e1:1", "e2:1", "f:1"]])
    })
  )

  it.effect("tells whoever asked where each of them runs", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const picked = (endpoint: string) => void told.push(endpoint)
      yield* play(hedge(), [never, [10, "ok"]], { ...idempotent, picked })
      assert.deepStrictEqual(told, ["e1:1", "e2:1"])
    })
  )

  it.effect("that still waits in the queue learns where an earlier one went", () =>
    Effect.gen(function* () {
      const { seen } = yield* play(hedge({ attempts: 2 }), [never, [10, "ok"]])
      const [first, second] = seen
      ;(first!.call as unknown as { picked: (endpoint: string) => void }).picked("late:1")
      assert.isTrue(second!.call.avoid?.has("late:1"))
    })
  )

  it.effect("may be given up while another one may be sent, and then the next one is", () =>
    Effect.gen(function* () {
      const givenUp = RpcError.of(
        call().method.path,
        { _tag: "Unavailable", details: Status.pathGivenUp, connect: undefined },
        "MaybeProcessed"
      )
      const asked: Array<boolean> = []
      const { channel } = script([50, givenUp], [10, "ok"])
      const watched = Channel.intercept(channel, (one, next) =>
        Effect.suspend(() => {
          asked.push(one.resend!(one))
          return next(one)
        })
      )
      const fiber = yield* Effect.forkChild(Hedge.intercept(hedge({ delay: 100 }))(watched).unary(call(idempotent)))
      yield* TestClock.adjust(60)
      assert.strictEqual((yield* Fiber.join(fiber)).connection, "e2:1#1")
      assert.deepStrictEqual(asked, [true, false])
    })
  )

  it.effect("is not given up where throttle or budget would not send another", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 1, tokenRatio: 1 })
      throttle.failed()
      const budget = RetryBudget.make({ ratio: 0, minPerSecond: 0.01 })
      for (const policy of [hedge({ throttle }), hedge({ budget })]) {
        const { seen } = yield* play(policy, [[10, "ok"]])
        assert.isFalse(seen[0]!.call.resend!(seen[0]!.call))
      }
    })
  )
})

describe("the deadline", () => {
  it.effect.each<readonly [number, number]>([
    [100, 1],
    [101, 2],
    [201, 3]
  ])("of %i ms leaves time for %i attempts", ([deadline, attempts]) =>
    Effect.gen(function* () {
      const { channel, seen } = script(never)
      const hedged = Hedge.intercept(hedge({ attempts: 5 }))(channel)
      const fiber = yield* Effect.forkChild(hedged.unary(call({ ...idempotent, deadline })))
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(seen, attempts)
      assert.isTrue(seen.every((one) => one.call.deadline === deadline))
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("that has passed lets no failure send another attempt", () =>
    Effect.gen(function* () {
      const { error, seen } = yield* play(hedge(), [[60, unavailable]], { ...idempotent, deadline: 60 })
      assert.lengthOf(seen, 1)
      assert.strictEqual(error, unavailable)
    })
  )
})

describe("budget", () => {
  it.effect("is 20 % of calls and 10 per second by default, over all calls of the channel", () =>
    Effect.gen(function* () {
      const { channel, seen } = script([500, "ok"])
      const hedged = Hedge.intercept(Hedge.make({ delay: 100 }))(channel)
      const many = Effect.all(
        Array.from({ length: 1000 }, () => hedged.unary(call(idempotent))),
        { concurrency: "unbounded", discard: true }
      )
      const fiber = yield* Effect.forkChild(many)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.lengthOf(seen, 1000 + 200 + 100)
    })
  )

  it.effect("that is empty sends nothing, and the error says so", () =>
    Effect.gen(function* () {
      const budget = RetryBudget.make({ ratio: 0, minPerSecond: 0.01 })
      const slow = yield* play(hedge({ budget, attempts: 3 }), [[500, "ok"]])
      assert.deepStrictEqual(slow.times, [0])
      assert.strictEqual(slow.by, "e1:1#1")
      const { error, seen } = yield* play(hedge({ budget }), [[10, unavailable]])
      assert.lengthOf(seen, 1)
      assert.strictEqual(error?.reason.details, "Unavailable; hedge budget is empty")
    })
  )

  it.effect("that has become empty when an attempt is due ends the call, if nothing else runs", () =>
    Effect.gen(function* () {
      let left = 1
      const budget = { deposit: () => {}, withdraw: () => left-- > 0, balance: () => left }
      const { endedAt, error } = yield* play(hedge({ attempts: 3, budget }), [[10, failure("Unavailable", "100")]])
      // The first retry was paid for at 110 ms, the second could not be at 220.
      assert.strictEqual(endedAt, 220)
      assert.strictEqual(error?.attempts, 2)
      assert.include(error?.reason.details, "hedge budget is empty")
    })
  )

  it.effect("is not asked where the throttle says no", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 1, tokenRatio: 1 })
      throttle.failed()
      let withdrawn = 0
      const budget: RetryBudget.RetryBudget = {
        deposit: () => {},
        withdraw: () => ++withdrawn > 0,
        balance: () => 1
      }
      yield* play(hedge({ budget, throttle }), [[500, "ok"]])
      assert.strictEqual(withdrawn, 0)
    })
  )

  it.effect("gets one deposit per call, and none of calls that are not hedged", () =>
    Effect.gen(function* () {
      let deposits = 0
      const budget = { deposit: () => void deposits++, withdraw: () => true, balance: () => 1 }
      yield* play(hedge({ budget, attempts: 3 }), [never, never, [10, "ok"]])
      assert.strictEqual(deposits, 1)
      yield* play(hedge({ budget }), [[10, "ok"]], { idempotency: "Unknown" })
      assert.strictEqual(deposits, 1)
    })
  )
})

describe("a delay that is learned", () => {
  /** A channel that answers as slowly as it is told to. */
  const timed = () => {
    let millis = 0
    let attempts = 0
    const channel = Channel.make<RpcError.RpcError>({
      unary: (one) =>
        Effect.suspend(() => {
          attempts++
          const slow = Effect.sleep(one.attempt === 1 ? millis : 1)
          return Effect.as(slow, reply(one))
        })
    })
    return { channel, set: (to: number) => void (millis = to), attempts: () => attempts }
  }

  const run = (self: ReturnType<typeof timed>, hedged: Channel.Channel, millis: number) =>
    Effect.gen(function* () {
      self.set(millis)
      const before = self.attempts()
      const fiber = yield* Effect.forkChild(hedged.unary(call(idempotent)))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      return self.attempts() - before
    })

  it.effect("sends no hedge until 20 calls are known, and then after the percentile", () =>
    Effect.gen(function* () {
      const self = timed()
      const hedged = Hedge.intercept(Hedge.make({ delay: { percentile: 0.95 }, ...free }))(self.channel)
      for (let i = 0; i < 20; i++) assert.strictEqual(yield* run(self, hedged, i === 7 ? 5_000 : 16), 1)
      // 19 of 20 took 16 ms.
      assert.strictEqual(yield* run(self, hedged, 15), 1)
      assert.strictEqual(yield* run(self, hedged, 17), 2)
    })
  )

  it.effect("is `atMost` until then, and between `atLeast` and `atMost` always", () =>
    Effect.gen(function* () {
      const self = timed()
      const delay = { percentile: 0.5, atLeast: 50, atMost: 200 }
      const hedged = Hedge.intercept(Hedge.make({ delay, ...free }))(self.channel)
      assert.strictEqual(yield* run(self, hedged, 199), 1)
      assert.strictEqual(yield* run(self, hedged, 201), 2)
      for (let i = 0; i < 40; i++) yield* run(self, hedged, 2)
      assert.strictEqual(yield* run(self, hedged, 49), 1)
      assert.strictEqual(yield* run(self, hedged, 51), 2)
    })
  )

  it.effect("follows a service that has become slower, though its slow attempts are cut off", () =>
    Effect.gen(function* () {
      const self = timed()
      const hedged = Hedge.intercept(Hedge.make({ delay: { percentile: 0.9 }, ...free }))(self.channel)
      for (let i = 0; i < 40; i++) yield* run(self, hedged, 10)
      assert.strictEqual(yield* run(self, hedged, 12), 2)
      // Every first attempt is cut off after the delay and 1 ms: that raises it, step by step.
      let hedges = 0
      for (let i = 0; i < 400; i++) hedges += (yield* run(self, hedged, 30)) - 1
      assert.isBelow(hedges, 300)
      assert.strictEqual(yield* run(self, hedged, 30), 1)
    })
  )

  it.effect("forgets what is two windows old", () =>
    Effect.gen(function* () {
      const self = timed()
      const hedged = Hedge.intercept(Hedge.make({ delay: { percentile: 0.9 }, ...free }))(self.channel)
      for (let i = 0; i < 40; i++) yield* run(self, hedged, 1_000)
      for (let w = 0; w < 3; w++) {
        yield* TestClock.adjust("1 minute")
        for (let i = 0; i < 20; i++) yield* run(self, hedged, 10)
      }
      assert.strictEqual(yield* run(self, hedged, 20), 2)
    })
  )

  it.effect("does not learn from calls that the caller left early", () =>
    Effect.gen(function* () {
      const self = timed()
      const hedged = Hedge.intercept(Hedge.make({ delay: { percentile: 0.5 }, ...free }))(self.channel)
      self.set(1_000)
      for (let i = 0; i < 100; i++) {
        const fiber = yield* Effect.forkChild(hedged.unary(call(idempotent)))
        yield* TestClock.adjust(1)
        yield* Fiber.interrupt(fiber)
      }
      for (let i = 0; i < 40; i++) yield* run(self, hedged, 1_000)
      for (let i = 0; i < 100; i++) {
        const fiber = yield* Effect.forkChild(hedged.unary(call(idempotent)))
        yield* TestClock.adjust(1)
        yield* Fiber.interrupt(fiber)
      }
      assert.strictEqual(yield* run(self, hedged, 1_000), 1)
      assert.strictEqual(yield* run(self, hedged, 1_100), 2)
    })
  )

  /** Makes so many calls, one after another, and says how many attempts they had. */
  const calls = (self: ReturnType<typeof script>, hedged: Channel.Channel, n: number) =>
    Effect.gen(function* () {
      const before = self.seen.length
      for (let i = 0; i < n; i++) {
        const fiber = yield* Effect.forkChild(Effect.exit(hedged.unary(call(idempotent))))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
      }
      return self.seen.length - before
    })
  const times = <A>(n: number, one: A): ReadonlyArray<A> => Array.from({ length: n }, () => one)

  it.effect("learns from errors that are answers", () =>
    Effect.gen(function* () {
      const self = script(...times(20, [100, failure("NotFound")] as const), [500, "ok"])
      const hedged = Hedge.intercept(Hedge.make({ delay: { percentile: 0.5 }, ...free }))(self.channel)
      assert.strictEqual(yield* calls(self, hedged, 20), 20)
      assert.strictEqual(yield* calls(self, hedged, 1), 2)
    })
  )

  it.effect("learns from calls that their deadline has ended", () =>
    Effect.gen(function* () {
      const reason = { _tag: "DeadlineExceeded", details: "", by: "Us", phase: "Sent" } as const
      const late = RpcError.of(call().method.path, reason, "MaybeProcessed")
      const self = script(...times(20, [10, "ok"] as const), ...times(60, [100, late] as const), [50, "ok"])
      let pays = false
      const budget = { deposit: () => {}, withdraw: () => pays, balance: () => 1 }
      const hedged = Hedge.intercept(Hedge.make({ delay: { percentile: 0.5 }, budget }))(self.channel)
      assert.strictEqual(yield* calls(self, hedged, 80), 80)
      pays = true
      assert.strictEqual(yield* calls(self, hedged, 1), 1)
    })
  )

  it.effect("is known for 1,000 methods at most", () =>
    Effect.gen(function* () {
      const self = timed()
      const hedged = Hedge.intercept(Hedge.make({ delay: { percentile: 0.5 }, ...free }))(self.channel)
      const one = (name: string, millis: number) =>
        Effect.gen(function* () {
          self.set(millis)
          const before = self.attempts()
          const other = Call.make({ ...call(idempotent).method, path: `/demo.Greeter/${name}` }, "ada")
          const fiber = yield* Effect.forkChild(hedged.unary(other))
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(fiber)
          return self.attempts() - before
        })
      for (let i = 0; i < 999; i++) yield* one(String(i), 10)
      for (let i = 0; i < 40; i++) {
        yield* one("last", 10)
        yield* one("late", 10)
      }
      assert.strictEqual(yield* one("last", 100), 2)
      assert.strictEqual(yield* one("late", 100), 1)
    })
  )

  it.effect("is learned for each method by itself", () =>
    Effect.gen(function* () {
      const self = timed()
      const hedged = Hedge.intercept(Hedge.make({ delay: { percentile: 0.9 }, ...free }))(self.channel)
      for (let i = 0; i < 20; i++) yield* run(self, hedged, 10)
      self.set(1_000)
      const other = Call.make({ ...call(idempotent).method, path: "/demo.Greeter/Slow" }, "ada")
      const before = self.attempts()
      const fiber = yield* Effect.forkChild(hedged.unary(other))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(self.attempts() - before, 1)
    })
  )
})

describe("a stream", () => {
  const method = { ...call(idempotent).method, kind: "serverStreaming" as const }
  const watch = Call.make(method, "ada")

  /** Streams whose nth opening takes so long; what closes is noted. */
  const streams = (...millis: ReadonlyArray<number>) => {
    const log: Array<string> = []
    let n = 0
    const channel = Channel.make<RpcError.RpcError>({
      stream: ({ method: { decode } }) =>
        Effect.suspend(() => {
          const nth = ++n
          log.push(`open ${nth}`)
          return Effect.gen(function* () {
            yield* Effect.addFinalizer(() => Effect.sync(() => log.push(`close ${nth}`)))
            yield* Effect.sleep(millis[nth - 1] ?? 0)
            return {
              messages: Stream.make(decode(Buffer.from(String(nth)))),
              headers: Metadata.empty,
              trailers: Effect.succeed(Metadata.empty),
              connection: `e${nth}:1#1`
            }
          })
        })
    })
    return { channel, log }
  }

  it.effect("is won by the first headers; the loser is closed at once, the winner with the caller's scope", () =>
    Effect.gen(function* () {
      const { channel, log } = streams(1_000, 50)
      const scope = yield* Scope.make()
      const opening = Hedge.intercept(hedge())(channel).stream(watch)
      const fiber = yield* Effect.forkChild(Scope.provide(opening, scope))
      yield* TestClock.adjust(150)
      const replies = yield* Fiber.join(fiber)
      assert.deepStrictEqual(log, ["open 1", "open 2", "close 1"])
      assert.deepStrictEqual(yield* Stream.runCollect(replies.messages), ["2"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(log, ["open 1", "open 2", "close 1", "close 2"])
    })
  )

  it.effect("that was opened too late is closed at once", () =>
    Effect.gen(function* () {
      const { channel, log } = streams(120, 50)
      // The first one can't be interrupted: it opens after the call is answered.
      const stubborn = Channel.make<RpcError.RpcError>({
        stream: (one) => (one.attempt === 1 ? Effect.uninterruptible(channel.stream(one)) : channel.stream(one))
      })
      const policy = hedge({ delay: 10 })
      const fiber = yield* Effect.forkChild(Effect.exit(Hedge.intercept(policy)(stubborn).stream(watch)))
      yield* TestClock.adjust(60)
      assert.isDefined(fiber.pollUnsafe())
      yield* TestClock.adjust(60)
      assert.deepStrictEqual(log, ["open 1", "open 2", "close 1"])
    })
  )

  it("that is opened while another one wins is closed, in whatever order that goes (300 seeds)", async () => {
    for (let seed = 1; seed <= 300; seed++) {
      const open = new Set<number>()
      const channel = Channel.make<RpcError.RpcError>({
        stream: <I, O>({ attempt }: Call.Call<I, O>) =>
          Effect.gen(function* () {
            open.add(attempt)
            yield* Effect.addFinalizer(() => Effect.sync(() => open.delete(attempt)))
            // All at the same time.
            yield* Effect.sleep(100 - 10 * attempt)
            return {
              messages: Stream.empty as Stream.Stream<O>,
              headers: Metadata.empty,
              trailers: Effect.succeed(Metadata.empty),
              connection: `e${attempt}:1#1`
            }
          })
      })
      const hedged = Hedge.intercept(hedge({ attempts: 5, delay: 10 }))(channel)
      const program = Effect.gen(function* () {
        const { connection } = yield* hedged.stream(watch)
        yield* Effect.sleep(100)
        return [connection, [...open].map((attempt) => `e${attempt}:1#1`)] as const
      })
      const { exit } = await Simulation.run({ seed }, () => program)
      const [winner, left] = Exit.getSuccess(exit).pipe(Option.getOrThrow)
      assert.deepStrictEqual(left, [winner], `seed ${seed}`)
      assert.strictEqual(open.size, 0, `seed ${seed}`)
    }
  })

  it.effect("leaves nothing open where the caller is interrupted", () =>
    Effect.gen(function* () {
      const { channel, log } = streams(1_000, 1_000)
      const fiber = yield* Effect.forkChild(Effect.scoped(Hedge.intercept(hedge())(channel).stream(watch)))
      yield* TestClock.adjust(150)
      yield* Fiber.interrupt(fiber)
      assert.sameMembers(log, ["open 1", "open 2", "close 1", "close 2"])
    })
  )

  it.effect("counts as a success of the throttle with its last message", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 1 })
      for (let i = 0; i < 3; i++) throttle.failed()
      const { messages } = yield* Hedge.intercept(hedge({ throttle }))(streams(0).channel).stream(watch)
      assert.strictEqual(throttle.balance(), 7)
      yield* Stream.runDrain(messages)
      assert.strictEqual(throttle.balance(), 8)
    })
  )

  it.effect("that fails after its headers with a non-fatal error costs the throttle a token", () =>
    Effect.gen(function* () {
      const throttle = RetryThrottle.make({ maxTokens: 10, tokenRatio: 1 })
      const channel = Channel.make<RpcError.RpcError>({
        stream: (one) =>
          Effect.map(streams(0).channel.stream(one), (replies) => ({ ...replies, messages: Stream.fail(unavailable) }))
      })
      const { messages } = yield* Hedge.intercept(hedge({ throttle }))(channel).stream(watch)
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(messages)), unavailable)
      assert.strictEqual(throttle.balance(), 9)
    })
  )
})

describe("options", () => {
  const problems = (make: () => unknown): ReadonlyArray<string> => {
    try {
      make()
      return []
    } catch (error) {
      return (error as OptionsError.OptionsError).issues.map(({ path }) => path)
    }
  }

  it("are all checked at once", () => {
    const wrong = { delay: -1, attempts: 6, nonFatal: 1, budget: {}, throttle: {}, resendable: 1, tries: 3 }
    assert.deepStrictEqual(
      problems(() => Hedge.make(wrong as unknown as Hedge.HedgeOptions)),
      ["delay", "attempts", "nonFatal", "resendable", "budget", "throttle", "tries"]
    )
    const learned = { percentile: 0.9999, atLeast: "2 seconds", atMost: "1 second", p: 1 }
    assert.deepStrictEqual(
      problems(() => Hedge.make({ delay: learned as Hedge.PercentileOptions })),
      ["delay.percentile", "delay.atMost", "delay.p"]
    )
    const a6 = { maxAttempts: 1.5, hedgingDelay: "soon", nonFatalStatusCodes: ["OK", 17, "no"], delay: 1 }
    assert.deepStrictEqual(
      problems(() => Hedge.a6(a6 as unknown as Hedge.A6Options)),
      [
        "maxAttempts",
        "hedgingDelay",
        "nonFatalStatusCodes[0]",
        "nonFatalStatusCodes[1]",
        "nonFatalStatusCodes[2]",
        "delay"
      ]
    )
  })

  it("may be at their bounds", () => {
    for (const attempts of [2, 5]) assert.strictEqual(Hedge.make({ delay: 0, attempts }).attempts, attempts)
    for (const percentile of [0.5, 0.999]) assert.isTrue(Hedge.isHedge(Hedge.make({ delay: { percentile } })))
    assert.deepStrictEqual(
      problems(() => Hedge.make({ delay: NaN })),
      ["delay"]
    )
  })
})

describe("the layer", () => {
  it.effect("hedges the channel below it", () =>
    Effect.gen(function* () {
      const { channel, seen } = script(never, [0, "ok"])
      const layer = Layer.provide(Hedge.layer(hedge()), Layer.succeed(Channel.Channel, channel as Channel.Channel))
      const program = Channel.Channel.use(({ unary }) => unary(call(idempotent)))
      const fiber = yield* Effect.forkChild(Effect.provide(program, layer))
      yield* TestClock.adjust(100)
      yield* Fiber.join(fiber)
      assert.lengthOf(seen, 2)
      assert.strictEqual(yield* now, 100)
    })
  )
})
