import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Queue, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Call from "@hawser/grpc/Call"
import * as Channel from "@hawser/grpc/Channel"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Metadata from "@hawser/grpc/Metadata"
import * as Deadline from "@hawser/grpc/Deadline"
import type { RpcError } from "@hawser/grpc/RpcError"
import { reply } from "@hawser/testing/TestChannel"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { clientOf, definition, Echo, echo, one } from "../../support/testing/echo.ts"

const server = Effect.orDie(TestNetwork.server(one))
const say = (text: string, options?: Call.CallOptions) => Echo.use((client) => client.say(text, options))

/** What a failed call says: tag, details, progress. */
const said = <A>(call: Effect.Effect<A, RpcError, Echo>) =>
  Effect.map(Effect.flip(call), ({ progress, reason }) => [reason._tag, reason.details ?? "", progress] as const)

/** Starts something, which gets as far as it can without time passing. */
const started = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(effect, { startImmediately: true }), () => TestNetwork.settle)

describe("VirtualServer", () => {
  it.effect("answers each kind of call through the codecs, and counts", () =>
    Effect.gen(function* () {
      const client = yield* Echo
      assert.strictEqual(yield* client.say("a"), "a!")
      assert.deepStrictEqual(yield* Stream.runCollect(client.watch("a")), ["a1", "a2"])
      assert.strictEqual(yield* client.upload(Stream.make("a", "b")), "ab")
      assert.deepStrictEqual(yield* Stream.runCollect(client.chat(Stream.make("a", "b"))), ["A", "B"])
      const { seen } = yield* server
      assert.deepInclude(seen, { accepted: 1, started: 4, completed: 4, cancelled: 0, inFlight: 0, most: 1 })
    }).pipe(
      Effect.provide(
        echo({
          say: (text) => Effect.succeed(`${text}!`),
          watch: (text) => Stream.make(`${text}1`, `${text}2`),
          upload: (texts) => Stream.mkString(texts),
          chat: (texts) => Stream.map(texts, (text) => text.toUpperCase())
        })
      )
    )
  )

  it.effect("no answers, no requests: the call ends well all the same", () =>
    Effect.gen(function* () {
      const client = yield* Echo
      assert.deepStrictEqual(yield* Stream.runCollect(client.watch("a")), [])
      assert.strictEqual(yield* client.upload(Stream.empty), "none")
    }).pipe(
      Effect.provide(echo({ watch: () => Stream.empty, upload: (texts) => Effect.as(Stream.runDrain(texts), "none") }))
    )
  )

  it.effect("whatever a handler does, the call gets one status", () =>
    Effect.gen(function* () {
      const client = yield* Echo
      const expected = {
        status: ["NotFound", "nobody", "Answered"],
        die: ["Internal", "the handler died: boom", "Answered"],
        throw: ["Internal", "the handler died: boom", "Answered"],
        interrupt: ["Cancelled", "the handler was interrupted", "Answered"],
        nothing: ["Unknown", 'the handler failed with what is no status: "boom"', "Answered"],
        null: ["Unknown", "the handler failed with what is no status: null", "Answered"]
      } as const
      for (const [how, what] of Object.entries(expected)) {
        assert.deepStrictEqual(yield* said(client.say(how)), what, how)
        assert.deepStrictEqual(yield* said(Stream.runDrain(client.watch(how))), what, how)
      }
      const [, one] = yield* said(client.say("no effect"))
      assert.strictEqual(one, "the handler died: a method with one answer needs an Effect")
      const [, many] = yield* said(Stream.runDrain(client.watch("no effect")))
      assert.strictEqual(many, "the handler died: a method with many answers needs a Stream")
      const { seen } = yield* server
      assert.deepInclude(seen, { started: 14, completed: 14, cancelled: 0, inFlight: 0 })
    }).pipe(
      Effect.provide(
        echo({
          say: (how) => misbehave(how),
          watch: (how) => (how === "no effect" ? (1 as never) : Stream.fromEffect(misbehave(how)))
        })
      )
    )
  )

  it.effect("codecs that throw are the server's fault", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* said(say("request")), ["Internal", "the handler died: request", "Answered"])
      const [tag, details] = yield* said(say("response"))
      assert.deepStrictEqual([tag, details], ["Internal", "the handler died: response"])
    }).pipe(
      Effect.provide(
        clientOf().pipe(
          Layer.provideMerge(
            TestNetwork.layerService(
              {
                say: {
                  ...definition.say,
                  requestDeserialize: (bytes: Buffer) => {
                    if (bytes.toString() === "request") throw new Error("request")
                    return bytes.toString()
                  },
                  responseSerialize: (): Buffer => {
                    throw new Error("response")
                  }
                }
              },
              { say: (text: string) => Effect.succeed(text) },
              { addresses: [one] }
            )
          )
        )
      )
    )
  )

  it.effect("a path without a handler is unimplemented", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* said(say("a")), ["Unimplemented", "no such method: /test.Echo/Say", "Answered"])
    }).pipe(Effect.provide(echo({})))
  )

  it.effect("a failure after two answers comes after them", () =>
    Effect.gen(function* () {
      const client = yield* Echo
      const got: Array<string> = []
      const error = yield* Effect.flip(
        Stream.runForEach(client.watch("a"), (text) => Effect.sync(() => got.push(text)))
      )
      assert.deepStrictEqual([got, error.reason._tag], [["a1", "a2"], "Aborted"])
    }).pipe(
      Effect.provide(
        echo({
          watch: (text) => Stream.concat(Stream.make(`${text}1`, `${text}2`), Stream.fail({ _tag: "Aborted" as const }))
        })
      )
    )
  )

  it.effect("headers, trailers and the metadata of a failure come through; the handler sees those of the call", () =>
    Effect.gen(function* () {
      const channel = yield* Channel.Channel
      const metadata = Metadata.fromRecord({ "x-tenant": "acme" })
      const client = yield* Echo
      const { headers, message, trailers } = yield* channel.unary(
        Call.make(
          {
            path: "/test.Echo/Say",
            kind: "unary",
            idempotency: "Unknown",
            encode: definition.say.requestSerialize,
            decode: (bytes) => definition.say.responseDeserialize(Buffer.from(bytes))
          },
          "ok",
          { metadata }
        )
      )
      assert.deepStrictEqual([message, headers.get("x-one"), trailers.get("x-two")], ["ok from acme", "1", "2"])
      const error = yield* Effect.flip(client.say("no"))
      assert.strictEqual(error.metadata?.get("x-three"), "3")
    }).pipe(
      Effect.provide(
        echo({
          say: (text, call) =>
            text === "no"
              ? Effect.fail({ _tag: "Aborted" as const, metadata: Metadata.fromRecord({ "x-three": "3" }) })
              : Effect.succeed(
                  reply(`${text} from ${call.metadata?.get("x-tenant")}`, {
                    headers: Metadata.fromRecord({ "x-one": "1" }),
                    trailers: Metadata.fromRecord({ "x-two": "2" })
                  })
                )
        })
      )
    )
  )

  it.effect("a deadline holds on the server too: its handler is interrupted though nobody tells it", () => {
    const ended: Array<string> = []
    return Effect.gen(function* () {
      const { host, manners, seen } = yield* server
      const call = yield* started(said(say("a", { timeout: "1 second" })))
      yield* TestClock.adjust(500)
      assert.strictEqual(seen.inFlight, 1)
      // Nothing that the client says from now on arrives.
      host.silence("toServer")
      yield* TestClock.adjust(500)
      assert.deepStrictEqual(yield* Fiber.join(call), [
        "DeadlineExceeded",
        "Deadline exceeded after 1.000s",
        "MaybeProcessed"
      ])
      assert.deepStrictEqual([seen.inFlight, ended], [0, ["interrupted after 1000"]])
      assert.isFalse(manners.mute)
    }).pipe(
      Effect.provide(
        echo({
          say: (_, call) =>
            Effect.onInterrupt(Effect.never, () =>
              Effect.clockWith((clock) =>
                Effect.sync(() => {
                  assert.closeTo(call.deadline!, 1_000, 1)
                  ended.push(`interrupted after ${clock.currentTimeMillisUnsafe()}`)
                })
              )
            )
        })
      )
    )
  })

  it.effect("a client that leaves interrupts the handler", () => {
    let interrupted = 0
    const forever = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
    return Effect.gen(function* () {
      const client = yield* Echo
      const { seen } = yield* server
      const call = yield* started(client.say("a"))
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(call)
      yield* TestNetwork.settle
      assert.deepStrictEqual([interrupted, seen.cancelled], [1, 1])
      assert.deepStrictEqual(yield* client.watch("a").pipe(Stream.take(1), Stream.runCollect), ["a"])
      yield* TestNetwork.settle
      assert.deepStrictEqual([interrupted, seen.cancelled, seen.inFlight], [2, 2, 0])
    }).pipe(
      Effect.provide(
        echo({ say: () => forever, watch: (text) => Stream.concat(Stream.make(text), Stream.fromEffect(forever)) })
      )
    )
  })

  it.effect("answers wait while the reader does not read, and go on when it does", () => {
    let produced = 0
    const size = 20_000
    return Effect.gen(function* () {
      const client = yield* Echo
      const go = yield* Deferred.make<void>()
      let read = 0
      const reader = yield* started(
        Stream.runForEach(client.watch("a"), () => (read++ === 0 ? Deferred.await(go) : Effect.void))
      )
      yield* TestClock.adjust("1 minute")
      // The window, what the message in flight goes beyond it, and what the client reads ahead.
      assert.isAtLeast(produced * size, 65_535)
      assert.isAtMost(produced, 25)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(reader)
      assert.deepStrictEqual([produced, read], [100, 100])
    }).pipe(
      Effect.provide(
        echo({
          watch: () =>
            Stream.range(1, 100).pipe(
              Stream.mapEffect(() =>
                Effect.sync(() => {
                  produced++
                  return "x".repeat(size)
                })
              )
            )
        })
      )
    )
  })

  it.effect("requests wait while the handler does not take them, and go on when it does", () => {
    let sent = 0
    const size = 20_000
    const go = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      const client = yield* Echo
      const requests = Stream.range(1, 100).pipe(
        Stream.mapEffect(() =>
          Effect.sync(() => {
            sent++
            return "x".repeat(size)
          })
        )
      )
      const call = yield* started(client.upload(requests, { timeout: Deadline.none }))
      yield* TestClock.adjust("1 minute")
      assert.isAtLeast(sent * size, 65_535)
      assert.isAtMost(sent * size, 65_535 + 5 * size)
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual(yield* Fiber.join(call), "100")
    }).pipe(
      Effect.provide(
        echo({
          upload: (texts) =>
            Effect.andThen(
              Deferred.await(go),
              Effect.map(Stream.runCount(texts), (n) => String(n))
            )
        })
      )
    )
  })

  it.effect("a goodbye in order loses nothing: what runs ends, and what is on its way is taken", () => {
    let begun = 0
    return Effect.gen(function* () {
      const vs = yield* server
      vs.host.weather.latency = 10
      const calls = yield* started(
        Effect.forEach(
          Array.from({ length: 50 }, (_, n) => n),
          (n) => Effect.delay(say("a", { waitForReady: true }), 40 + n),
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust(65)
      vs.goAway()
      yield* TestNetwork.settle
      yield* TestClock.adjust("5 seconds")
      assert.lengthOf(yield* Fiber.join(calls), 50)
      assert.deepStrictEqual([begun, vs.seen.accepted, vs.seen.refused], [50, 2, 0])
      assert.strictEqual(vs.connections.size, 1)
    }).pipe(
      Effect.provide(
        echo({
          say: (text) => {
            begun++
            return Effect.delay(Effect.succeed(text), 100)
          }
        })
      )
    )
  })

  it.effect("an abrupt goodbye refuses what is on its way, and what runs ends", () => {
    let begun = 0
    return Effect.gen(function* () {
      const vs = yield* server
      yield* say("warm up")
      vs.host.weather.latency = 10
      const running = yield* started(say("running"))
      yield* TestClock.adjust(15)
      const late = yield* started(said(say("late")))
      yield* TestClock.adjust(5)
      vs.goAway({ abrupt: true })
      yield* TestClock.adjust(15)
      assert.deepStrictEqual((yield* Fiber.join(late)).toSpliced(1, 1), ["Unavailable", "Refused"])
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* Fiber.join(running), "running")
      assert.deepStrictEqual([begun, vs.seen.started], [2, 2])
    }).pipe(
      Effect.provide(
        echo({
          say: (text) => {
            begun++
            return text === "running" ? Effect.delay(Effect.succeed(text), 100) : Effect.succeed(text)
          }
        })
      )
    )
  })

  it.effect("whoever has said goodbye closes the connection, though the client may never hear or do so", () =>
    Effect.gen(function* () {
      const vs = yield* server
      yield* say("a")
      vs.host.silence("toServer")
      vs.goAway({ abrupt: true })
      assert.strictEqual(vs.connections.size, 0)
    }).pipe(Effect.provide(echo({ say: Effect.succeed })))
  )

  it.effect("a connection as old as the limit is sent away in order", () =>
    Effect.gen(function* () {
      const vs = yield* server
      for (let n = 0; n < 25; n++) {
        yield* say("a", { waitForReady: true })
        yield* TestClock.adjust("10 seconds")
      }
      assert.isAtLeast(vs.seen.accepted, 4)
      assert.strictEqual(vs.seen.completed, 25)
    }).pipe(Effect.provide(echo({ say: Effect.succeed }, { maxConnectionAge: Duration.minutes(1) })))
  )

  it.effect(
    "a limit holds when it is lowered, is 0, and is raised; and no stream goes above one that was confirmed",
    () =>
      Effect.gen(function* () {
        const vs = yield* server
        const calls = yield* started(
          Effect.forEach(Array.from({ length: 30 }), () => say("a", { waitForReady: true, timeout: "1 minute" }), {
            concurrency: "unbounded"
          })
        )
        yield* TestClock.adjust(50)
        assert.deepInclude(vs.seen, { inFlight: 4, most: 4, completed: 0 })
        vs.manners.maxStreams = 1
        vs.tellLimit()
        yield* TestNetwork.settle
        yield* TestClock.adjust(450)
        assert.deepInclude(vs.seen, { inFlight: 1, completed: 8 })
        vs.manners.maxStreams = 0
        vs.tellLimit()
        yield* TestNetwork.settle
        yield* TestClock.adjust(1_000)
        assert.deepInclude(vs.seen, { inFlight: 0, completed: 9 })
        vs.manners.maxStreams = 100
        vs.tellLimit()
        yield* TestNetwork.settle
        yield* TestClock.adjust(100)
        assert.lengthOf(yield* Fiber.join(calls), 30)
        assert.deepInclude(vs.seen, { most: 21, overTheLimit: 0, completed: 30, refused: 0 })
      }).pipe(
        Effect.provide(
          echo(
            { say: (text) => Effect.delay(Effect.succeed(text), 100) },
            { maxStreams: 4 },
            { connections: { min: 1, max: 1 } }
          )
        )
      )
  )

  it.effect(
    "what is on its way above a limit that the client does not know yet is refused, and is no fault of its",
    () =>
      Effect.gen(function* () {
        const vs = yield* server
        vs.host.weather.latency = 10
        const first = yield* started(say("a"))
        yield* TestClock.adjust(50)
        assert.strictEqual(vs.seen.inFlight, 1)
        vs.manners.maxStreams = 1
        vs.tellLimit()
        const second = yield* started(said(say("b")))
        yield* TestClock.adjust(20)
        assert.deepStrictEqual((yield* Fiber.join(second)).toSpliced(1, 1), ["Unavailable", "Refused"])
        assert.deepInclude(vs.seen, { started: 2, refused: 1, overTheLimit: 0, most: 1 })
        yield* TestClock.adjust(100)
        assert.strictEqual(yield* Fiber.join(first), "a")
      }).pipe(
        Effect.provide(
          echo({ say: (text) => Effect.delay(Effect.succeed(text), 100) }, {}, { connections: { min: 1, max: 1 } })
        )
      )
  )

  it.effect("a killed server breaks its connections and refuses; started again, it serves", () => {
    let interrupted = 0
    return Effect.gen(function* () {
      const vs = yield* server
      const ends: Array<string> = []
      const { network } = yield* TestNetwork.TestNetwork
      network.tap = (to, packet) => {
        if (packet._tag === "End") ends.push(`${to} ${packet.how}`)
      }
      const call = yield* started(said(say("a")))
      yield* TestNetwork.settle
      vs.kill()
      vs.kill()
      assert.isFalse(vs.up)
      assert.deepStrictEqual(yield* Fiber.join(call), ["Unavailable", "read ECONNRESET", "MaybeProcessed"])
      const refused = yield* started(said(say("b")))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(refused))[2], "NotSent")
      assert.deepStrictEqual([interrupted, vs.seen.cancelled, vs.connections.size], [1, 1, 0])
      assert.deepStrictEqual(ends, ["client:1 Reset"])
      vs.start()
      assert.isTrue(vs.up)
      const again = yield* started(say("b", { waitForReady: true }))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(again), "b")
    }).pipe(
      Effect.provide(
        echo({
          say: (text) =>
            text === "a"
              ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
              : Effect.succeed(text)
        })
      )
    )
  })

  it.effect("what a frozen server was sent, it works on afterwards", () =>
    Effect.gen(function* () {
      const vs = yield* server
      yield* say("warm up")
      const thaw = vs.host.freeze()
      const call = yield* started(say("a"))
      yield* TestClock.adjust("10 seconds")
      assert.isUndefined(call.pollUnsafe())
      assert.strictEqual(vs.seen.started, 1)
      thaw()
      assert.strictEqual(yield* Fiber.join(call), "a")
      assert.strictEqual(vs.seen.started, 2)
    }).pipe(Effect.provide(echo({ say: Effect.succeed })))
  )

  it.effect("shows what it is told to show: who expects otherwise does not get in", () =>
    Effect.gen(function* () {
      const open = (credentials: Credentials.Credentials) =>
        Effect.scoped(
          Effect.gen(function* () {
            const net = yield* TestNetwork.TestNetwork
            const context = yield* Layer.build(Layer.provide(clientOf({ credentials }), TestNetwork.layerOf(net)))
            return yield* Effect.exit(Effect.provide(say("a"), context))
          })
        )
      const tell = (exit: Exit.Exit<string, RpcError>) =>
        Exit.isSuccess(exit)
          ? exit.value
          : exit.cause.reasons.map((reason) =>
              reason._tag === "Fail" && reason.error.reason._tag === "Unavailable"
                ? (reason.error.reason.connect?.reason ?? "?")
                : "?"
            )
      const serve = (security: TestNetwork.ServeOptions["security"]) =>
        TestNetwork.serve(definition, { say: Effect.succeed }, { address: one, security })
      const both = Effect.all([open(Credentials.insecure), open(Credentials.tls())])
      const table = yield* Effect.forEach(["Plaintext", "Tls", "Expired"] as const, (security) =>
        Effect.scoped(
          Effect.andThen(
            serve(security),
            Effect.map(both, (exits) => exits.map(tell))
          )
        )
      )
      assert.deepStrictEqual(table, [
        ["a", [{ _tag: "Tls", problem: "Other" }]],
        [[{ _tag: "Reset" }], "a"],
        [[{ _tag: "Reset" }], [{ _tag: "Tls", problem: "Expired" }]]
      ])
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("its scope ends it for good", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const serve = TestNetwork.serve(definition, {}, { address: one })
      const vs = yield* Scope.provide(serve, scope)
      yield* Scope.close(scope, Exit.void)
      vs.start()
      assert.isFalse(vs.up)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(TestNetwork.server(one))))
      // The address is free.
      const other = yield* serve
      vs.start()
      assert.isTrue(other.up)
    }).pipe(Effect.provide(TestNetwork.layer))
  )

  it.effect("handlers that outlive their server are interrupted", () => {
    const events = Effect.runSync(Queue.unbounded<string>())
    const note = (text: string) => Effect.asVoid(Queue.offer(events, text))
    return Effect.gen(function* () {
      const scope = yield* Scope.make()
      const handlers = { say: () => Effect.ensuring(Effect.andThen(note("began"), Effect.never), note("ended")) }
      yield* Scope.provide(TestNetwork.serve(definition, handlers, { address: one }), scope)
      const net = yield* TestNetwork.TestNetwork
      const context = yield* Layer.build(Layer.provide(clientOf(), TestNetwork.layerOf(net)))
      const call = yield* started(Effect.provide(said(say("a")), context))
      assert.strictEqual(yield* Queue.take(events), "began")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Queue.take(events), "ended")
      assert.strictEqual((yield* Fiber.join(call))[0], "Unavailable")
    }).pipe(Effect.provide(TestNetwork.layer))
  })
})

const misbehave = (how: string): Effect.Effect<string, { readonly _tag: "NotFound"; readonly details: string }> => {
  switch (how) {
    case "status":
      return Effect.fail({ _tag: "NotFound", details: "nobody" })
    case "die":
      return Effect.die(new Error("boom"))
    case "interrupt":
      return Effect.interrupt
    case "nothing":
      return Effect.fail("boom") as never
    case "null":
      return Effect.fail(null) as never
    case "no effect":
      return 1 as never
    default:
      throw new Error("boom")
  }
}
