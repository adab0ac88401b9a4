import { assert, describe, it } from "@effect/vitest"
import { CallMetrics, Channel, Metadata, RpcError } from "@hawser/grpc"
import { Effect, Exit, Fiber, Metric, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, method, scripted, unavailable } from "../../support/channels.ts"

/** Metrics in a registry of their own. */
const isolated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Metric.MetricRegistry, new Map())

const metricsOf = (target: string) =>
  Effect.map(Effect.context<never>(), (context) => CallMetrics.make(target, context))

const series = Effect.map(Metric.snapshot, (all) =>
  all.map(({ attributes, id, state }) => ({ id, attributes, state: { ...state } as Record<string, unknown> }))
)

const stack = Effect.fnUntraced(function* (channel: Channel.Channel) {
  const metrics = yield* metricsOf("greeter")
  return channel.pipe(CallMetrics.perAttempt(metrics), CallMetrics.perCall(metrics))
})

describe("CallMetrics", () => {
  it.effect("counts attempts by method and target", () =>
    isolated(
      Effect.gen(function* () {
        const metrics = yield* metricsOf("greeter")
        const { channel } = scripted("ok", unavailable("NotSent"))
        const counted = CallMetrics.perAttempt(metrics)(channel)
        yield* counted.unary(call())
        yield* Effect.ignore(counted.unary(call()))
        assert.deepStrictEqual(yield* series, [
          {
            id: "grpc.client.attempt.started",
            attributes: { "grpc.method": "demo.Greeter/SayHello", "grpc.target": "greeter" },
            state: { count: 2, incremental: true }
          }
        ])
      })
    )
  )

  it.effect("times calls in seconds, by status, on the buckets of gRFC A66", () =>
    isolated(
      Effect.gen(function* () {
        const channel = yield* stack(scripted(Effect.as(Effect.sleep("250 millis"), "ok" as const)).channel)
        const fiber = yield* Effect.forkChild(channel.unary(call()))
        yield* TestClock.adjust("250 millis")
        yield* Fiber.join(fiber)
        const duration = (yield* series).find(({ id }) => id === "grpc.client.call.duration")
        assert.deepStrictEqual(duration?.attributes, {
          "grpc.method": "demo.Greeter/SayHello",
          "grpc.target": "greeter",
          "grpc.status": "OK",
          unit: "s"
        })
        assert.deepInclude(duration?.state, { count: 1, sum: 0.25, min: 0.25, max: 0.25 })
        const buckets = duration?.state["buckets"] as ReadonlyArray<readonly [number, number]>
        assert.deepStrictEqual(
          buckets.map(([bound]) => bound),
          [...CallMetrics.boundaries]
        )
        assert.strictEqual(buckets.find(([, count]) => count === 1)?.[0], 0.25)
      })
    )
  )

  it("has 41 bounds, ascending", () => {
    assert.lengthOf(CallMetrics.boundaries, 41)
    assert.deepStrictEqual(
      [...CallMetrics.boundaries].toSorted((a, b) => a - b),
      [...CallMetrics.boundaries]
    )
  })

  it.effect.each<readonly [string, Effect.Effect<"ok", RpcError.RpcError>]>([
    ["OK", Effect.succeed("ok" as const)],
    ["UNAVAILABLE", unavailable("NotSent")],
    ["NOT_FOUND", RpcError.of(method().path, { _tag: "NotFound", details: "" }, "Answered")],
    ["CANCELLED", Effect.interrupt],
    ["UNKNOWN", Effect.die("bug")]
  ])("labels a call %s", ([status, step]) =>
    isolated(
      Effect.gen(function* () {
        const channel = yield* stack(scripted(step).channel)
        yield* Effect.exit(channel.unary(call()))
        const statuses = (yield* series)
          .map(({ attributes }) => attributes?.["grpc.status"])
          .filter((s) => s !== undefined)
        assert.deepStrictEqual(statuses, [status])
      })
    )
  )

  it.effect("counts an interrupt from outside as CANCELLED, with its time", () =>
    isolated(
      Effect.gen(function* () {
        const channel = yield* stack(scripted(Effect.never).channel)
        const fiber = yield* Effect.forkChild(channel.unary(call()))
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.interrupt(fiber)
        const duration = (yield* series).find(({ id }) => id === "grpc.client.call.duration")
        assert.strictEqual(duration?.attributes?.["grpc.status"], "CANCELLED")
        assert.strictEqual(duration?.state["sum"], 2)
      })
    )
  )

  it.effect("passes answers and errors on", () =>
    isolated(
      Effect.gen(function* () {
        const lost = unavailable("NotSent")
        const channel = yield* stack(scripted("ok", lost).channel)
        assert.strictEqual((yield* channel.unary(call())).message, "ada")
        assert.strictEqual(yield* Effect.flip(channel.unary(call())), lost)
      })
    )
  )

  it.effect("binds a series once, not per call", () =>
    isolated(
      Effect.gen(function* () {
        const channel = yield* stack(scripted("ok").channel)
        for (let i = 0; i < 10; i++) yield* channel.unary(call())
        assert.deepStrictEqual(
          (yield* series).map(({ state }) => state["count"]),
          [10, 10]
        )
      })
    )
  )

  it.effect("bounds its labels: from the 1,000th method on it is other, and strange codes are UNKNOWN", () =>
    isolated(
      Effect.gen(function* () {
        const metrics = yield* metricsOf("greeter")
        for (let i = 0; i < 1100; i++) metrics.attemptStarted(`/demo.Greeter/M${i}`)
        metrics.callEnded("/demo.Greeter/M1099", 0, 1)
        metrics.callEnded("/demo.Greeter/M1098", 0, 1)
        metrics.callEnded("/demo.Greeter/M1", 999, 1)
        metrics.callEnded("/demo.Greeter/M1", NaN, 1)
        const all = yield* series
        const started = all.filter(({ id }) => id === "grpc.client.attempt.started")
        assert.lengthOf(started, 1001)
        assert.deepInclude(started.at(-1), { state: { count: 100, incremental: true } })
        const ended = all.filter(({ id }) => id === "grpc.client.call.duration")
        assert.deepStrictEqual(
          ended.map(({ attributes, state }) => [
            attributes?.["grpc.method"],
            attributes?.["grpc.status"],
            state["count"]
          ]),
          [
            ["other", "OK", 2],
            ["demo.Greeter/M1", "UNKNOWN", 2]
          ]
        )
      })
    )
  )
})

describe("CallMetrics.perCall of a stream", () => {
  const lost = unavailable("MaybeProcessed")

  /** A channel whose streams give these messages, or fail to open, and what its calls were counted as. */
  const counted = Effect.fnUntraced(function* (
    messages: Stream.Stream<unknown, RpcError.RpcError> | RpcError.RpcError | Effect.Effect<never>,
    told?: () => number | undefined
  ) {
    const metrics = yield* metricsOf("greeter")
    const base = Channel.make<RpcError.RpcError>({
      stream: <_I, O>() =>
        Stream.isStream(messages)
          ? Effect.succeed({
              [CallMetrics.told]: told,
              messages: messages as Stream.Stream<O, RpcError.RpcError>,
              headers: Metadata.empty,
              trailers: Effect.succeed(Metadata.empty),
              connection: "a:1#1"
            })
          : messages
    })
    const statuses = Effect.map(series, (all) =>
      all
        .filter(({ id }) => id === "grpc.client.call.duration")
        .map(({ attributes, state }) => [attributes?.["grpc.status"], state["count"], state["sum"]])
    )
    return { channel: CallMetrics.perCall(metrics)(base), statuses }
  })

  it.effect("counts it once at the end of its messages, with their time, and not again with its scope", () =>
    isolated(
      Effect.gen(function* () {
        const slow = Stream.mapEffect(Stream.make(1, 2), () => Effect.sleep("1 second"))
        const { channel, statuses } = yield* counted(slow)
        const scope = yield* Scope.make()
        const { messages } = yield* Scope.provide(channel.stream(call()), scope)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* statuses, [])
        const fiber = yield* Effect.forkChild(Stream.runDrain(messages))
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(yield* statuses, [["OK", 1, 3]])
        yield* TestClock.adjust("1 second")
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* statuses, [["OK", 1, 3]])
      })
    )
  )

  it.effect("counts it once when its messages fail", () =>
    isolated(
      Effect.gen(function* () {
        const { channel, statuses } = yield* counted(Stream.concat(Stream.make(1), Stream.fail(lost)))
        const read = Effect.flatMap(channel.stream(call()), ({ messages }) => Stream.runDrain(messages))
        assert.strictEqual(yield* Effect.flip(Effect.scoped(read)), lost)
        assert.deepStrictEqual(yield* statuses, [["UNAVAILABLE", 1, 0]])
      })
    )
  )

  it.effect.each<readonly [string, undefined | (() => number | undefined)]>([
    ["CANCELLED", undefined],
    ["CANCELLED", () => undefined],
    ["OK", () => 0],
    ["NOT_FOUND", () => 5]
  ])("counts it once as %s when its reader leaves early and the channel told %o", ([status, told]) =>
    isolated(
      Effect.gen(function* () {
        const { channel, statuses } = yield* counted(Stream.forever(Stream.make(1)), told)
        const read = Effect.gen(function* () {
          const { messages } = yield* channel.stream(call())
          yield* TestClock.adjust("1 second")
          yield* Stream.runDrain(Stream.take(messages, 1))
          assert.deepStrictEqual(yield* statuses, [[status, 1, 1]])
          yield* TestClock.adjust("1 second")
        })
        yield* Effect.scoped(read)
        assert.deepStrictEqual(yield* statuses, [[status, 1, 1]])
      })
    )
  )

  it.effect("asks for the status when its reader leaves, before the call is cancelled for it", () =>
    isolated(
      Effect.gen(function* () {
        let code: number | undefined
        const ended = Stream.ensuring(
          Stream.forever(Stream.make(1)),
          Effect.sync(() => (code = 13))
        )
        const { channel, statuses } = yield* counted(ended, () => code)
        const read = Effect.flatMap(channel.stream(call()), ({ messages }) => Stream.runDrain(Stream.take(messages, 1)))
        yield* Effect.scoped(read)
        assert.strictEqual(code, 13)
        assert.deepStrictEqual(yield* statuses, [["CANCELLED", 1, 0]])
      })
    )
  )

  it.effect("counts it as CANCELLED when its reader fails, whatever with", () =>
    isolated(
      Effect.gen(function* () {
        const { channel, statuses } = yield* counted(Stream.forever(Stream.make(1)))
        const read = Effect.flatMap(channel.stream(call()), ({ messages }) =>
          Stream.runForEach(messages, () => Effect.die("bug"))
        )
        yield* Effect.exit(Effect.scoped(read))
        assert.deepStrictEqual(yield* statuses, [["CANCELLED", 1, 0]])
      })
    )
  )

  it.effect("counts it once as CANCELLED when its reader is interrupted", () =>
    isolated(
      Effect.gen(function* () {
        const { channel, statuses } = yield* counted(Stream.never)
        const read = Effect.flatMap(channel.stream(call()), ({ messages }) => Stream.runDrain(messages))
        const fiber = yield* Effect.forkChild(Effect.scoped(read))
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* statuses, [["CANCELLED", 1, 2]])
      })
    )
  )

  it.effect("counts it once as CANCELLED when its scope ends unread", () =>
    isolated(
      Effect.gen(function* () {
        const { channel, statuses } = yield* counted(Stream.make(1))
        const scope = yield* Scope.make()
        yield* Scope.provide(channel.stream(call()), scope)
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(yield* statuses, [])
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* statuses, [["CANCELLED", 1, 3]])
      })
    )
  )

  it.effect("counts it once when opening fails, and passes the error on", () =>
    isolated(
      Effect.gen(function* () {
        const { channel, statuses } = yield* counted(lost)
        assert.strictEqual(yield* Effect.flip(Effect.scoped(channel.stream(call()))), lost)
        assert.deepStrictEqual(yield* statuses, [["UNAVAILABLE", 1, 0]])
      })
    )
  )

  it.effect("counts it once as CANCELLED when opening is interrupted", () =>
    isolated(
      Effect.gen(function* () {
        const { channel, statuses } = yield* counted(Effect.never)
        const fiber = yield* Effect.forkChild(Effect.scoped(channel.stream(call())))
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* statuses, [["CANCELLED", 1, 2]])
      })
    )
  )
})
