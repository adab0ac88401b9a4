import { assert, describe, it } from "@effect/vitest"
import type { OptionsError } from "@hawser/core"
import { Breaker, Call, Channel, Retry, RpcError } from "@hawser/grpc"
import { Deferred, Effect, Exit, Fiber, Layer, Metric, Scope } from "effect"
import { TestClock } from "effect/testing"
import { call, reply, scripted, unavailable } from "../../support/channels.ts"

type End = "ok" | RpcError.RpcError | Effect.Effect<"ok", RpcError.RpcError>

/** A service that ends calls as it is told to, behind a breaker. */
const guarded = (options?: Breaker.BreakerOptions) => {
  const state: { end: End; sent: number } = { end: "ok", sent: 0 }
  const channel = Channel.make<RpcError.RpcError>({
    unary: (one) =>
      Effect.suspend(() => {
        state.sent++
        const { end } = state
        if (end === "ok") return Effect.succeed(reply(one))
        return RpcError.isRpcError(end) ? Effect.fail(end) : Effect.as(end, reply(one))
      })
  })
  const self = Breaker.intercept(Breaker.make(options))(channel)
  const send = (end: End, times = 1) =>
    Effect.gen(function* () {
      state.end = end
      const before = state.sent
      for (let i = 0; i < times; i++) yield* Effect.exit(self.unary(call()))
      return state.sent - before
    })
  return { self, state, send }
}

const broken = RpcError.of(call().method.path, { _tag: "Internal", details: "" }, "Answered")
const of = (reason: RpcError.RpcReason, progress: RpcError.Progress = "Answered") =>
  RpcError.of(call().method.path, reason, progress)

describe("a closed circuit", () => {
  it.effect("opens with the 20th call in 10 s of which half have failed", () =>
    Effect.gen(function* () {
      const { send } = guarded()
      yield* send("ok", 10)
      assert.strictEqual(yield* send(broken, 9), 9)
      assert.strictEqual(yield* send(broken), 1)
      assert.strictEqual(yield* send("ok"), 0)
    })
  )

  it.effect("stays closed with 19 failures of 19", () =>
    Effect.gen(function* () {
      const { send } = guarded()
      yield* send(broken, 19)
      assert.strictEqual(yield* send("ok"), 1)
    })
  )

  it.effect("stays closed below the ratio", () =>
    Effect.gen(function* () {
      const { send } = guarded()
      yield* send("ok", 100)
      yield* send(broken, 99)
      assert.strictEqual(yield* send("ok"), 1)
    })
  )

  it.effect("forgets what is older than the window", () =>
    Effect.gen(function* () {
      const { send } = guarded()
      yield* send(broken, 19)
      yield* TestClock.adjust("10 seconds")
      yield* send(broken, 19)
      assert.strictEqual(yield* send("ok"), 1)
    })
  )

  it.effect("remembers over the whole window", () =>
    Effect.gen(function* () {
      const { send } = guarded()
      yield* send(broken, 10)
      yield* TestClock.adjust("8900 millis")
      yield* send(broken, 10)
      assert.strictEqual(yield* send("ok"), 0)
    })
  )

  // The error, and whether it counts against the service, for it, or not at all.
  it.effect.each<readonly [string, RpcError.RpcError, "against" | "for" | "not at all"]>([
    ["Unavailable", unavailable("MaybeProcessed"), "against"],
    ["no connection", unavailable("NotSent"), "against"],
    [
      "DeadlineExceeded",
      of({ _tag: "DeadlineExceeded", details: "", by: "Us", phase: "Sent" }, "MaybeProcessed"),
      "against"
    ],
    ["overload", of({ _tag: "ResourceExhausted", details: "", by: "Server" }), "against"],
    ["Unknown", of({ _tag: "Unknown", details: "" }), "against"],
    ["Internal", broken, "against"],
    ["DataLoss", of({ _tag: "DataLoss", details: "" }), "against"],
    ["NotFound", of({ _tag: "NotFound", details: "" }), "for"],
    ["Aborted", of({ _tag: "Aborted", details: "" }), "for"],
    ["Unauthenticated", of({ _tag: "Unauthenticated", details: "" }), "for"],
    ["our queue is full", of({ _tag: "ResourceExhausted", details: "", by: "Us" }, "NotSent"), "not at all"],
    ["bad metadata", of({ _tag: "InvalidArgument", details: "" }, "NotSent"), "not at all"],
    ["a serializer that throws", of({ _tag: "Internal", details: "" }, "NotSent"), "not at all"]
  ])("%s", ([, error, counts]) =>
    Effect.gen(function* () {
      const { send } = guarded()
      yield* send(error, 20)
      assert.strictEqual(yield* send("ok"), counts === "against" ? 0 : 1)
      const other = guarded()
      yield* other.send(broken, 15)
      yield* other.send(error, 21)
      yield* other.send(broken, 5)
      assert.strictEqual(yield* other.send("ok"), counts === "for" ? 1 : 0)
    })
  )

  it.effect("does not count interrupts and defects", () =>
    Effect.gen(function* () {
      const { send } = guarded()
      yield* send(Effect.interrupt, 30)
      yield* send(Effect.die("bug"), 30)
      assert.strictEqual(yield* send("ok"), 1)
    })
  )

  it.effect("counts what `isFailure` says", () =>
    Effect.gen(function* () {
      const { send } = guarded({ isFailure: ({ reason }) => reason._tag === "NotFound" })
      yield* send(broken, 20)
      assert.strictEqual(yield* send("ok"), 1)
      yield* send(of({ _tag: "NotFound", details: "" }), 30)
      assert.strictEqual(yield* send("ok"), 0)
    })
  )
})

describe("an open circuit", () => {
  const opened = (options?: Breaker.BreakerOptions) => {
    const self = guarded(options)
    return Effect.as(self.send(broken, 20), self)
  }

  it.effect("refuses at once, as Unavailable, NotSent, and says why and until when", () =>
    Effect.gen(function* () {
      const { self } = yield* opened()
      yield* TestClock.adjust("1 second")
      const error = yield* Effect.flip(self.unary(call()))
      assert.strictEqual(
        error.message,
        "/demo.Greeter/SayHello: Unavailable Circuit open: 20 of 20 calls failed within 10 s; a trial in 4000 ms (NotSent)"
      )
      assert.strictEqual(error.attempts, 0)
    })
  )

  it.effect("lets one trial through after 5 s, and refuses the others while it runs", () =>
    Effect.gen(function* () {
      const { self, send, state } = yield* opened()
      yield* TestClock.adjust(4_999)
      assert.strictEqual(yield* send("ok"), 0)
      yield* TestClock.adjust(1)
      const answer = yield* Deferred.make<"ok">()
      state.end = Deferred.await(answer)
      const trial = yield* Effect.forkChild(self.unary(call()))
      yield* Effect.yieldNow
      assert.strictEqual(yield* send("ok", 5), 0)
      assert.include((yield* Effect.flip(self.unary(call()))).reason.details, "a trial runs")
      yield* Deferred.succeed(answer, "ok")
      yield* Fiber.join(trial)
      assert.strictEqual(yield* send("ok", 5), 5)
    })
  )

  it.effect("stays open for another 5 s when the trial fails", () =>
    Effect.gen(function* () {
      const { self, send } = yield* opened()
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* send(broken, 3), 1)
      const { reason } = yield* Effect.flip(self.unary(call()))
      assert.strictEqual(reason.details, "Circuit open: the trial failed; a trial in 5000 ms")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* send("ok", 3), 3)
    })
  )

  it.effect("begins with an empty window when it has closed", () =>
    Effect.gen(function* () {
      const { send } = yield* opened()
      yield* TestClock.adjust("5 seconds")
      yield* send("ok")
      assert.strictEqual(yield* send(broken, 19), 19)
      assert.strictEqual(yield* send("ok"), 1)
    })
  )

  it.effect("gives the trial to another call when it is interrupted, or says nothing", () =>
    Effect.gen(function* () {
      for (const end of [
        Effect.interrupt,
        of({ _tag: "ResourceExhausted", details: "", by: "Us" }, "NotSent")
      ] as const) {
        const { self, send, state } = yield* opened()
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* send(end, 2), 2)
        state.end = Effect.never
        const trial = yield* Effect.forkChild(self.unary(call()))
        yield* Effect.yieldNow
        assert.strictEqual(yield* send("ok"), 0)
        yield* Fiber.interrupt(trial)
        assert.strictEqual(yield* send("ok", 2), 2)
      }
    })
  )

  it.effect("is neither opened nor closed by calls that began before it turned", () =>
    Effect.gen(function* () {
      const { self, send, state } = guarded()
      const old = yield* Deferred.make<"ok", RpcError.RpcError>()
      state.end = Deferred.await(old)
      const late = yield* Effect.forEach(Array.from({ length: 20 }), () =>
        Effect.forkChild(Effect.exit(self.unary(call())))
      )
      yield* Effect.yieldNow
      yield* send(broken, 20)
      yield* TestClock.adjust("5 seconds")
      yield* send("ok")
      yield* Deferred.fail(old, broken)
      yield* Effect.forEach(late, Fiber.join)
      assert.strictEqual(yield* send("ok"), 1)
    })
  )

  it.effect("above retry counts calls, not attempts", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unavailable("NotSent"))
      const retried = Retry.intercept(Retry.make({ maxAttempts: 2, budget: false }))(channel)
      const self = Breaker.intercept(Breaker.make({ minCalls: 3 }))(retried)
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* Effect.flip(self.unary(call()))).attempts, 2)
      const error = yield* Effect.flip(self.unary(call()))
      assert.isTrue(error.isUnsent)
      assert.lengthOf(seen, 6)
    })
  )
})

describe("streams", () => {
  it.effect("count by their opening", () =>
    Effect.gen(function* () {
      let sent = 0
      const channel = Channel.make<RpcError.RpcError>({
        stream: () =>
          Effect.suspend(() => {
            sent++
            return Effect.fail(broken)
          })
      }).pipe(Breaker.intercept(Breaker.make({ minCalls: 2 })))
      const watch = channel.stream(Call.make({ ...call().method, kind: "serverStreaming" }, "ada"))
      for (let i = 0; i < 5; i++) yield* Effect.flip(watch)
      assert.strictEqual(sent, 2)
    })
  )
})

describe("the gauge", () => {
  it.effect("tells the state when it is read, until the scope closes", () =>
    Effect.gen(function* () {
      const states = Effect.map(Metric.snapshot, (all) =>
        all.flatMap((one) =>
          one.id === "hawser.breaker.state" && one.type === "Gauge"
            ? [[one.attributes?.["target"], one.state.value]]
            : []
        )
      )
      const failing = Channel.make<RpcError.RpcError>({ unary: () => Effect.fail(broken) })
      const layer = Breaker.layer(Breaker.make({ minCalls: 1 }), "greeter").pipe(
        Layer.provide(Layer.succeed(Channel.Channel, failing))
      )
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(layer, scope)
      assert.deepStrictEqual(yield* states, [["greeter", 0]])
      yield* Effect.exit(Channel.Channel.use(({ unary }) => unary(call())).pipe(Effect.provide(context)))
      assert.deepStrictEqual(yield* states, [["greeter", 2]])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* states, [["greeter", 1]])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* states, [])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})

describe("options", () => {
  it("are all checked at once", () => {
    const wrong = { minCalls: 0, ratio: 1.1, window: 10, open: 0, isFailure: 1, halfOpen: 2 }
    try {
      Breaker.make(wrong as unknown as Breaker.BreakerOptions)
      assert.fail("no error")
    } catch (error) {
      assert.deepStrictEqual(
        (error as OptionsError.OptionsError).issues.map(({ path }) => path),
        ["minCalls", "ratio", "window", "open", "isFailure", "halfOpen"]
      )
    }
  })
})
