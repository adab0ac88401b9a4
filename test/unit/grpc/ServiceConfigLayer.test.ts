import { assert, describe, it } from "@effect/vitest"
import { type Call, Channel, Deadline, Metadata, RpcError } from "@hawser/grpc"
import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
import { Clock, Effect, Fiber, Latch, Layer, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, method, scripted, unavailable } from "../../support/channels.ts"
import { echo, Echo, type EchoHandlers, one, two } from "../../support/testing/echo.ts"

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
/** No jitter: the middle of ±20 %. */
const middle = { nextDoubleUnsafe: () => 0.5, nextIntUnsafe: () => 0 }

/** Lets everything happen that can happen now: each frame takes a turn. */
const settle = Effect.repeat(TestClock.adjust(0), { times: 20 })

const retryPolicy = {
  maxAttempts: 4,
  initialBackoff: "0.5s",
  maxBackoff: "1.5s",
  backoffMultiplier: 2,
  retryableStatusCodes: ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
}
const hedgingPolicy = { maxAttempts: 3, hedgingDelay: "0.25s", nonFatalStatusCodes: ["UNAVAILABLE"] }
const greeter = (settings: object, more: object = {}) =>
  ServiceConfig.make({ methodConfig: [{ name: [{ service: "demo.Greeter" }], ...settings }], ...more })

/** What a call looks like below a config. */
const below = (config: ServiceConfig.ServiceConfig, options?: Partial<Call.Call<string, string>>) =>
  Effect.gen(function* () {
    const { channel, seen } = scripted("ok")
    yield* ServiceConfig.intercept(config)(channel).unary(call(options))
    return seen[0]!
  })

describe("a timeout", () => {
  const config = greeter({ timeout: "0.5s" })

  it.effect("is the deadline of a call that has none, and never later than its own", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 second")
      const at = yield* now
      assert.strictEqual((yield* below(config)).deadline, at + 500)
      assert.strictEqual((yield* below(config, { deadline: at + 499 })).deadline, at + 499)
      assert.strictEqual((yield* below(config, { deadline: at + 501 })).deadline, at + 500)
      assert.strictEqual((yield* below(config, { deadline: Infinity })).deadline, at + 500)
      // It has passed already, and is refused below.
      assert.isNaN((yield* below(config, { deadline: NaN })).deadline)
    })
  )

  it.effect("is not there for other methods, whose calls pass as they are", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const given = call()
      const other = ServiceConfig.make({ methodConfig: [{ name: [{ service: "demo.Other" }], timeout: "1s" }] })
      yield* ServiceConfig.intercept(other)(channel).unary(given)
      assert.strictEqual(seen[0], given as never)
      assert.isUndefined((yield* below(greeter({ waitForReady: true }))).deadline)
    })
  )

  it.effect("ends a call to a server that never answers", () => {
    const config = ServiceConfig.make({
      methodConfig: [{ name: [{ service: "test.Echo", method: "Say" }], timeout: "0.5s" }]
    })
    const client = { deadline: Deadline.none, perCall: ServiceConfig.intercept(config) } as const
    const begun = Latch.makeUnsafe()
    const say = () => Effect.andThen(begun.open, Effect.never)
    return Effect.gen(function* () {
      const { say } = yield* Echo
      const fiber = yield* Effect.forkChild(Effect.flip(say("ada")))
      yield* begun.await
      yield* TestClock.adjust("499 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 milli")
      const { reason } = yield* Fiber.join(fiber)
      assert.strictEqual(reason._tag, "DeadlineExceeded")
    }).pipe(Effect.provide(echo({ say }, {}, client)))
  })
})

describe("waitForReady", () => {
  it.effect("is that of the call, and that of the config where the call says nothing", () =>
    Effect.gen(function* () {
      const seen: Array<boolean | undefined> = []
      for (const said of [undefined, false, true]) {
        const config = greeter(said === undefined ? { timeout: "1s" } : { waitForReady: said })
        for (const own of [undefined, false, true]) {
          seen.push((yield* below(config, { waitForReady: own })).waitForReady)
        }
      }
      assert.deepStrictEqual(seen, [undefined, false, true, false, false, true, true, false, true])
    })
  )
})

describe("a retry policy", () => {
  /** When the attempts of a call began, and how it ended. */
  const run = (config: ServiceConfig.ServiceConfig, options?: Partial<Call.Call<string, string>>) =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unavailable("MaybeProcessed"))
      const times: Array<number> = []
      const timed = Channel.intercept(channel, (c, next) =>
        Effect.andThen(
          Effect.map(now, (at) => times.push(at)),
          next(c)
        )
      )
      const fiber = yield* Effect.forkChild(Effect.flip(ServiceConfig.intercept(config)(timed).unary(call(options))))
      yield* TestClock.adjust("1 hour")
      return { seen, times, error: yield* Fiber.join(fiber) }
    }).pipe(Effect.provideService(Random.Random, middle))

  it.effect("sends a call again that is not declared idempotent, after its waits", () =>
    Effect.gen(function* () {
      const { error, seen, times } = yield* run(greeter({ retryPolicy }))
      assert.deepStrictEqual(times, [0, 500, 1_500, 3_000])
      assert.deepStrictEqual(
        seen.map(({ attempt }) => attempt),
        [1, 2, 3, 4]
      )
      assert.strictEqual(error.attempts, 4)
    })
  )

  it.effect("has one timeout for all attempts", () =>
    Effect.gen(function* () {
      const { seen, times } = yield* run(greeter({ retryPolicy, timeout: "1.2s" }))
      assert.deepStrictEqual(times, [0, 500])
      assert.deepStrictEqual(
        seen.map(({ deadline }) => deadline),
        [1_200, 1_200]
      )
    })
  )

  it.effect("is there for its methods only", () =>
    Effect.gen(function* () {
      const { times } = yield* run(
        ServiceConfig.make({
          methodConfig: [
            { name: [{ service: "demo.Greeter" }], retryPolicy },
            { name: [{ service: "demo.Greeter", method: "SayHello" }] }
          ]
        })
      )
      assert.deepStrictEqual(times, [0])
    })
  )

  it.effect("sends attempts that the server can tell apart", () => {
    const attempts: Array<number> = []
    const say = (text: string, { attempt }: Call.Call<unknown, unknown>) =>
      Effect.suspend(() => {
        attempts.push(attempt)
        return attempt < 3 ? Effect.fail({ _tag: "Unavailable" } as const) : Effect.succeed(`hello ${text}`)
      })
    const config = ServiceConfig.make({ methodConfig: [{ name: [{ service: "test.Echo" }], retryPolicy }] })
    const addresses = [one, two]
    const client = { target: `ipv4:${addresses}`, perCall: ServiceConfig.intercept(config) }
    return Effect.gen(function* () {
      const { say } = yield* Echo
      const fiber = yield* Effect.forkChild(say("ada"))
      yield* settle
      yield* Effect.repeat(TestClock.adjust("100 millis"), { times: 30 })
      assert.strictEqual(yield* Fiber.join(fiber), "hello ada")
      assert.deepStrictEqual(attempts, [1, 2, 3])
    }).pipe(Effect.provide(echo({ say }, { addresses }, client)))
  })
})

describe("a hedging policy", () => {
  it.effect("sends a call again while it has no answer", () =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const { channel } = scripted(Effect.never)
      const timed = Channel.intercept(channel, (c, next) =>
        Effect.andThen(
          Effect.map(now, (at) => times.push(at)),
          next(c)
        )
      )
      const hedged = ServiceConfig.intercept(greeter({ hedgingPolicy }))(timed)
      const fiber = yield* Effect.forkChild(hedged.unary(call()), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(times, [0, 250, 500])
      yield* Fiber.interrupt(fiber)
    })
  )
})

describe("a throttle", () => {
  const config = ServiceConfig.make({
    methodConfig: [
      { name: [{ service: "demo.Greeter" }], retryPolicy: { ...retryPolicy, maxAttempts: 2 } },
      { name: [{ service: "demo.Other" }], hedgingPolicy: { ...hedgingPolicy, hedgingDelay: "0s" } }
    ],
    retryThrottling: { maxTokens: 4, tokenRatio: 0.1 }
  })
  const other = { ...call(), method: { ...method(), path: "/demo.Other/Go" } }
  /** The attempts of one call after the other. */
  const attempts = (
    channel: Channel.Channel,
    seen: ReadonlyArray<unknown>,
    calls: ReadonlyArray<Call.Call<string, string>>
  ) =>
    Effect.gen(function* () {
      const counts: Array<number> = []
      for (const one of calls) {
        const before = seen.length
        const fiber = yield* Effect.forkChild(Effect.exit(channel.unary(one)), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(fiber)
        counts.push(seen.length - before)
      }
      return counts
    })

  it.effect("is shared by all methods of a channel, retried or hedged, and by no other channel", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unavailable("MaybeProcessed"))
      const throttled = ServiceConfig.intercept(config)(channel)
      // Four tokens: the second failure leaves two, which is not more than half.
      assert.deepStrictEqual(yield* attempts(throttled, seen, [call(), call(), other]), [2, 1, 1])
      assert.deepStrictEqual(yield* attempts(ServiceConfig.intercept(config)(channel), seen, [call(), call()]), [2, 1])
    })
  )
})

describe("a message size", () => {
  const config = greeter({ maxRequestMessageBytes: 3, maxResponseMessageBytes: 5, retryPolicy })
  /** A channel that encodes and decodes as the bridge does. */
  const bridge = (answer: string) => {
    const sent: Array<string> = []
    const fail = (path: string, details: string, progress: RpcError.Progress, cause: unknown) =>
      RpcError.of(path, { _tag: "Internal", details }, progress, { cause, connection: "a:1#1" })
    const channel = Channel.make<RpcError.RpcError>({
      unary: <I, O>({ input, method }: Call.Call<I, O>) =>
        Effect.gen(function* () {
          const bytes = yield* Effect.try({
            try: () => method.encode(input),
            catch: (cause) => fail(method.path, "The request serializer threw", "NotSent", cause)
          })
          sent.push(Buffer.from(bytes).toString())
          const message = yield* Effect.try({
            try: () => method.decode(Buffer.from(answer)),
            catch: (cause) => fail(method.path, "The response deserializer threw", "Answered", cause)
          })
          return { message, headers: Metadata.empty, trailers: Metadata.empty, connection: "a:1#1" }
        })
    })
    return { sent, channel: ServiceConfig.intercept(config)(channel) }
  }

  it.effect("lets pass what is as large", () =>
    Effect.gen(function* () {
      const { channel, sent } = bridge("hello")
      assert.strictEqual((yield* channel.unary(call())).message, "hello")
      assert.deepStrictEqual(sent, ["ada"])
    })
  )

  it.effect("keeps back a larger request, which is ResourceExhausted by us, and not sent again", () =>
    Effect.gen(function* () {
      const { channel, sent } = bridge("hello")
      const error = yield* Effect.flip(channel.unary({ ...call(), input: "adam" }))
      assert.deepStrictEqual(error.reason, {
        _tag: "ResourceExhausted",
        details: "The request has 4 bytes, more than maxRequestMessageBytes allows (3)",
        by: "Us"
      })
      assert.deepStrictEqual([error.progress, error.attempts, error.cause], ["NotSent", 1, undefined])
      assert.deepStrictEqual(sent, [])
    })
  )

  it.effect("refuses a larger answer, which is ResourceExhausted by us, and not asked for again", () =>
    Effect.gen(function* () {
      const { channel, sent } = bridge("hello!")
      const { connection, message, progress } = yield* Effect.flip(channel.unary(call()))
      assert.include(
        message,
        "ResourceExhausted The response has 6 bytes, more than maxResponseMessageBytes allows (5)"
      )
      assert.deepStrictEqual([connection, progress, sent.length], ["a:1#1", "Answered", 1])
    })
  )

  it.effect("leaves what a codec itself throws as it is", () =>
    Effect.gen(function* () {
      const { channel } = bridge("hello")
      const broken = { ...method(), encode: () => assert.fail("broken") as never }
      const { reason } = yield* Effect.flip(channel.unary({ ...call(), method: broken }))
      assert.strictEqual(reason._tag, "Internal")
    })
  )

  it.effect("is the same for each attempt of a method, by one wrapped method", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const limited = ServiceConfig.intercept(config)(channel)
      const one = call()
      yield* limited.unary(one)
      yield* limited.unary(one)
      assert.notStrictEqual(seen[0]!.method, one.method as never)
      assert.strictEqual(seen[0]!.method, seen[1]!.method)
    })
  )

  it.effect("holds for each message of a stream, on a whole client", () => {
    const echoConfig = ServiceConfig.make({
      methodConfig: [{ name: [{ service: "test.Echo" }], maxRequestMessageBytes: 3, maxResponseMessageBytes: 5 }]
    })
    const handlers: EchoHandlers = {
      say: Effect.succeed,
      watch: () => Stream.make("one", "three", "eleven", "two"),
      upload: (texts) => Effect.as(Stream.runDrain(texts), "done")
    }
    return Effect.gen(function* () {
      const client = yield* Echo
      const said = yield* Effect.flip(client.say("four"))
      assert.strictEqual(said.reason.details, "The request has 4 bytes, more than maxRequestMessageBytes allows (3)")
      assert.strictEqual(said.progress, "NotSent")

      const watched: Array<string> = []
      const watching = Stream.runForEach(client.watch("all"), (text) => Effect.sync(() => watched.push(text)))
      const cut = yield* Effect.flip(watching)
      assert.include(cut.reason.details, "The response has 6 bytes")
      assert.deepStrictEqual([cut.reason._tag, cut.progress, cut.cause], ["ResourceExhausted", "Answered", undefined])
      assert.deepStrictEqual(watched, ["one", "three"])

      const uploaded = yield* Effect.flip(client.upload(Stream.make("one", "four")))
      assert.strictEqual(uploaded.reason._tag, "ResourceExhausted")
      assert.isNull(yield* Effect.flip(client.upload(Stream.fail(null))))
    }).pipe(Effect.provide(echo(handlers, {}, { perCall: ServiceConfig.intercept(echoConfig) })))
  })
})

describe("a service config's layer", () => {
  it.effect("wraps the channel of another layer", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const layer = Layer.provide(
        ServiceConfig.layer(greeter({ waitForReady: true, timeout: "2s" })),
        Layer.succeed(Channel.Channel, channel)
      )
      yield* Effect.provide(
        Channel.Channel.use((wrapped) => wrapped.unary(call())),
        layer
      )
      assert.deepStrictEqual([seen[0]?.waitForReady, seen[0]?.deadline], [true, 2_000])
    })
  )

  it.effect("says more than the default deadline of a client, and less than the ambient one", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const stack = channel.pipe(Deadline.withDefault("1 second"), ServiceConfig.intercept(greeter({ timeout: "2s" })))
      yield* stack.unary(call())
      yield* Deadline.within(stack.unary(call()), "0.5 seconds")
      assert.deepStrictEqual(
        seen.map(({ deadline }) => deadline),
        [2_000, 500]
      )
    })
  )
})
