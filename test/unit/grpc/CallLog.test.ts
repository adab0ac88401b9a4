import { assert, describe, it } from "@effect/vitest"
import { OptionsError } from "@hawser/core"
import { CallLog, Channel, Metadata, Retry, RpcError } from "@hawser/grpc"
import { Effect, Fiber, Layer, Logger, Random, References, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, method, scripted, unavailable } from "../../support/channels.ts"

interface Line {
  readonly level: string
  readonly text: string
  readonly annotations: Readonly<Record<string, unknown>>
}

/** Runs an effect and keeps the lines that it logs. */
const lines = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const out: Array<Line> = []
  const logger = Logger.make(({ fiber, logLevel, message }) => {
    out.push({ level: logLevel, text: String(message), annotations: fiber.getRef(References.CurrentLogAnnotations) })
  })
  return Effect.as(Effect.provide(Effect.exit(effect), Logger.layer([logger])), out)
}

const retry = Retry.intercept(Retry.make({ schedule: Schedule.recurs(9), maxAttempts: 3 }))
const stack = (channel: Channel.Channel, policy = CallLog.make()) =>
  channel.pipe(CallLog.perAttempt, retry, CallLog.intercept(policy))
const of = (tag: "NotFound" | "Internal", progress: RpcError.Progress) =>
  RpcError.of(method().path, { _tag: tag, details: "the words" }, progress, { connection: "b:2#7" })

describe("CallLog", () => {
  it.effect("writes one line for a call, whatever its attempts", () =>
    Effect.gen(function* () {
      const slow = Effect.as(Effect.sleep("250 millis"), "ok" as const)
      const { channel } = scripted(unavailable("Refused"), slow)
      const fiber = yield* Effect.forkChild(lines(stack(channel).unary(call())))
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [
        {
          level: "Info",
          text: "demo.Greeter/SayHello OK in 250 ms, attempt 2, a:1",
          annotations: {
            "rpc.method": "demo.Greeter/SayHello",
            "rpc.status": "OK",
            "rpc.durationMillis": 250,
            "rpc.attempts": 2,
            "rpc.endpoint": "a:1"
          }
        }
      ])
    })
  )

  it.effect("says of a failure how far it got, and why in our own words only", () =>
    Effect.gen(function* () {
      const texts: Array<string> = []
      for (const error of [of("Internal", "MaybeProcessed"), of("NotFound", "Answered"), unavailable("NotSent")]) {
        const [line] = yield* lines(stack(scripted(error).channel).unary(call()))
        texts.push(`${line?.level} ${line?.text}`)
      }
      assert.deepStrictEqual(texts, [
        "Warn demo.Greeter/SayHello INTERNAL in 0 ms, attempt 1, b:2, MaybeProcessed: the words",
        "Info demo.Greeter/SayHello NOT_FOUND in 0 ms, attempt 1, b:2, Answered",
        "Warn demo.Greeter/SayHello UNAVAILABLE in 0 ms, attempt 3, NotSent: lost"
      ])
    })
  )

  it.effect("leaves the attempts out where nobody counts them", () =>
    Effect.gen(function* () {
      const [line] = yield* lines(CallLog.intercept(CallLog.make())(scripted("ok").channel).unary(call()))
      assert.strictEqual(line?.text, "demo.Greeter/SayHello OK in 0 ms, a:1")
    })
  )

  it.effect("writes a share of the successes, and every failure", () =>
    Effect.gen(function* () {
      const policy = CallLog.make({ successes: 0.25 })
      const count = (channel: Channel.Channel) =>
        Effect.map(
          lines(Effect.repeat(Effect.exit(stack(channel, policy).unary(call())), { times: 399 })),
          (all) => all.length
        )
      const some = yield* Random.withSeed(count(scripted("ok").channel), "seed")
      assert.isTrue(some > 70 && some < 130, `${some} of 400`)
      assert.strictEqual(yield* count(scripted(of("NotFound", "Answered")).channel), 400)
      const never = CallLog.make({ successes: 0 })
      assert.deepStrictEqual(yield* lines(stack(scripted("ok").channel, never).unary(call())), [])
    })
  )

  it.effect("has a level for each outcome, or no line", () =>
    Effect.gen(function* () {
      const policy = CallLog.make({
        level: ({ status }) => (status === "OK" ? undefined : status === "NOT_FOUND" ? "Debug" : "Fatal")
      })
      const levels: Array<ReadonlyArray<string>> = []
      for (const step of ["ok", of("NotFound", "Answered"), of("Internal", "Answered")] as const) {
        const all = yield* lines(stack(scripted(step).channel, policy).unary(call())).pipe(
          Effect.provideService(References.MinimumLogLevel, "All")
        )
        levels.push(all.map(({ level }) => level))
      }
      assert.deepStrictEqual(levels, [[], ["Debug"], ["Fatal"]])
    })
  )

  it.effect("shows metadata by the names that are allowed, and no value that could forge a line", () =>
    Effect.gen(function* () {
      const policy = CallLog.make({ metadata: ["x-request-id", "x-tenant", "x-none"] })
      const metadata = Metadata.fromEntries([
        ["x-request-id", "7f3a"],
        ["x-tenant", "acme\nINFO forged"],
        ["x-tenant", "b".repeat(200)],
        ["x-secret", "s3cret"]
      ])
      const [line] = yield* lines(stack(scripted("ok").channel, policy).unary(call({ metadata })))
      assert.strictEqual(line?.annotations["rpc.metadata.x-request-id"], "7f3a")
      assert.strictEqual(line?.annotations["rpc.metadata.x-tenant"], `<illegal>,${"b".repeat(100)}`)
      assert.notProperty(line?.annotations, "rpc.metadata.x-none")
      assert.notInclude(JSON.stringify(line), "s3cret")
    })
  )

  it.effect("writes a line of a call that is interrupted, and of one that dies", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(
        lines(Effect.timeout(stack(scripted(Effect.never).channel).unary(call()), 50))
      )
      yield* TestClock.adjust(50)
      const [line] = yield* Fiber.join(fiber)
      assert.strictEqual(line?.text, "demo.Greeter/SayHello CANCELLED in 50 ms, attempt 1")
      const [dead] = yield* lines(stack(scripted(Effect.die("a bug")).channel).unary(call()))
      assert.strictEqual(dead?.text, "demo.Greeter/SayHello UNKNOWN in 0 ms, attempt 1")
    })
  )

  it.effect("writes the line of a stream when it has ended, once", () =>
    Effect.gen(function* () {
      const base = Channel.make<RpcError.RpcError>({
        stream: ({ method }) =>
          Effect.succeed({
            messages: Stream.tick("1 second").pipe(Stream.map(() => method.decode(Buffer.from("a")))),
            headers: Metadata.empty,
            trailers: Effect.succeed(Metadata.empty),
            connection: "a:1#1"
          })
      })
      const read = (n: number) =>
        Effect.scoped(
          Effect.flatMap(stack(base).stream(call()), ({ messages }) => Stream.runDrain(Stream.take(messages, n)))
        )
      const fiber = yield* Effect.forkChild(lines(read(3)))
      yield* TestClock.adjust("2 seconds")
      const all = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        all.map(({ text }) => text),
        ["demo.Greeter/SayHello CANCELLED in 2000 ms, attempt 1, a:1"]
      )
    })
  )

  it.effect("never fails a call, whatever its logger and its policy do", () =>
    Effect.gen(function* () {
      const { channel } = scripted("ok")
      const broken = Logger.layer([
        Logger.make(() => {
          throw new Error("full disk")
        })
      ])
      const logged = yield* stack(channel).unary(call()).pipe(Effect.provide(broken))
      assert.strictEqual(logged.message, "ada")
      const policy = CallLog.make({
        level: () => {
          throw new Error("a bug")
        }
      })
      assert.strictEqual((yield* stack(channel, policy).unary(call())).message, "ada")
    })
  )

  it.effect("is a layer over any channel", () =>
    Effect.gen(function* () {
      const base = Layer.succeed(Channel.Channel, scripted("ok").channel)
      const layer = Layer.provide(CallLog.layer(), base)
      const all = yield* lines(
        Effect.provide(
          Channel.Channel.use((c) => c.unary(call())),
          layer
        )
      )
      assert.lengthOf(all, 1)
    })
  )

  it("lists everything that is wrong with its options, names of credentials among it", () => {
    const secrets = ["authorization", "cookie", "x-api-key", "x-auth-token", "Upper", "trace-bin"]
    try {
      CallLog.make({ successes: 2, level: "Info", metadata: secrets, details: true } as never)
      assert.fail("accepted")
    } catch (error) {
      assert.instanceOf(error, OptionsError.OptionsError)
      assert.deepStrictEqual(
        error.issues.map(({ path }) => path),
        ["successes", "level", ...secrets.map((_, i) => `metadata[${i}]`), "details"]
      )
    }
  })
})
