import { assert, describe, it } from "@effect/vitest"
import type { OptionsError } from "@hawser/core"
import { Call, Channel, Client, Fallback, Metadata, type Method, Retry, RpcError } from "@hawser/grpc"
import { Effect, Exit, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, reply, scripted, unavailable } from "../../support/channels.ts"
import { definition } from "../../support/testing/echo.ts"

const down = unavailable("NotSent")
const of = (reason: RpcError.RpcReason, progress: RpcError.Progress = "Answered") =>
  RpcError.of(call().method.path, reason, progress)
const late = (by: RpcError.By) => of({ _tag: "DeadlineExceeded", details: "", by, phase: "Sent" }, "MaybeProcessed")
const idempotent = { idempotency: "Idempotent" as Method.Idempotency }

describe("another channel", () => {
  // What happened, and whether an idempotent and another call go to the other channel.
  it.effect.each<readonly [string, RpcError.RpcError, boolean, boolean]>([
    ["not sent", down, true, true],
    ["refused", unavailable("Refused"), true, true],
    ["maybe processed", unavailable("MaybeProcessed"), true, false],
    ["our queue is full", of({ _tag: "ResourceExhausted", details: "", by: "Us" }, "NotSent"), true, true],
    ["overload of the server", of({ _tag: "ResourceExhausted", details: "", by: "Server" }), true, false],
    ["our time is up", late("Us"), true, false],
    ["the server's time is up", late("Server"), false, false],
    ["not found", of({ _tag: "NotFound", details: "" }), false, false],
    ["an internal error", of({ _tag: "Internal", details: "" }), false, false]
  ])("gets a call after %s only where that is safe", ([, error, whenIdempotent, otherwise]) =>
    Effect.gen(function* () {
      for (const idempotency of ["Idempotent", "NoSideEffects", "Unknown"] as const) {
        const other = scripted("ok")
        const channel = Fallback.intercept(Fallback.to(other.channel))(scripted(error).channel)
        const exit = yield* Effect.exit(channel.unary(call({ idempotency })))
        const expected = idempotency === "Unknown" ? otherwise : whenIdempotent
        assert.lengthOf(other.seen, expected ? 1 : 0)
        if (!expected) assert.deepStrictEqual(exit, Exit.fail(error))
      }
    })
  )

  it.effect("does not get what retries may have had processed, though the last attempt was not sent", () =>
    Effect.gen(function* () {
      const first = scripted(unavailable("MaybeProcessed"), down)
      const other = scripted("ok")
      // A policy that names the status resends even what is not idempotent.
      const retry = Retry.a6({
        maxAttempts: 2,
        initialBackoff: 1,
        maxBackoff: 1,
        backoffMultiplier: 1,
        retryableStatusCodes: [14]
      })
      const channel = Fallback.intercept(Fallback.to(other.channel))(Retry.intercept(retry)(first.channel))
      const fiber = yield* Effect.forkChild(Effect.flip(channel.unary(call({ idempotency: "Unknown" }))))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.progress, "MaybeProcessed")
      assert.isAtLeast(first.seen.length, 2)
      assert.lengthOf(other.seen, 0)
    })
  )

  it.effect.each<readonly [RpcError.Progress, RpcError.Progress, RpcError.Progress]>([
    ["MaybeProcessed", "NotSent", "MaybeProcessed"],
    ["MaybeProcessed", "Answered", "Answered"],
    ["NotSent", "Refused", "Refused"]
  ])("fails with how far either got: %s here, %s there", ([here, there, expected]) =>
    Effect.gen(function* () {
      const other = scripted(unavailable(there))
      const channel = Fallback.intercept(Fallback.to(other.channel))(scripted(unavailable(here)).channel)
      const error = yield* Effect.flip(channel.unary(call(idempotent)))
      assert.strictEqual(error.progress, expected)
      assert.isTrue(RpcError.isRpcError(error.cause))
    })
  )

  it.effect("is not asked about a call that succeeds", () =>
    Effect.gen(function* () {
      const other = scripted("ok")
      const channel = Fallback.intercept(Fallback.to(other.channel))(scripted("ok").channel)
      yield* channel.unary(call())
      assert.lengthOf(other.seen, 0)
    })
  )

  it.effect("gets the call as a first attempt with the same deadline", () =>
    Effect.gen(function* () {
      const other = scripted("ok")
      const channel = Fallback.intercept(Fallback.to(other.channel))(scripted(down).channel)
      yield* channel.unary(call({ attempt: 3, avoid: new Set(["a:1"]), deadline: 1_000, resend: () => true }))
      const [seen] = other.seen
      assert.deepInclude(seen, { attempt: 1, avoid: undefined, deadline: 1_000, resend: undefined, input: "ada" })
    })
  )

  it.effect("is not asked when the deadline has passed", () =>
    Effect.gen(function* () {
      const other = scripted("ok")
      const slow = scripted(Effect.andThen(Effect.sleep(100), Effect.fail(late("Us"))))
      const channel = Fallback.intercept(Fallback.to(other.channel))(slow.channel)
      const fiber = yield* Effect.forkChild(Effect.flip(channel.unary(call({ ...idempotent, deadline: 100 }))))
      yield* TestClock.adjust(100)
      assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "DeadlineExceeded")
      assert.lengthOf(other.seen, 0)
    })
  )

  it.effect("that fails too fails the call, and the first failure is the cause", () =>
    Effect.gen(function* () {
      const second = of({ _tag: "Internal", details: "other" })
      const channel = Fallback.intercept(Fallback.to(scripted(second).channel))(scripted(down).channel)
      const error = yield* Effect.flip(channel.unary(call()))
      assert.strictEqual(error.reason.details, "other")
      assert.strictEqual(error.cause, down)
    })
  )

  it.effect("may be chosen by another rule", () =>
    Effect.gen(function* () {
      const other = scripted("ok")
      const when = (error: RpcError.RpcError) => error.reason._tag === "Unimplemented"
      const fallback = Fallback.intercept(Fallback.to(other.channel, { when }))
      yield* Effect.flip(fallback(scripted(down).channel).unary(call()))
      yield* fallback(scripted(of({ _tag: "Unimplemented", details: "" })).channel).unary(call(idempotent))
      assert.lengthOf(other.seen, 1)
    })
  )

  it.effect("is not asked after defects and interrupts", () =>
    Effect.gen(function* () {
      const other = scripted("ok")
      for (const end of [Effect.die("bug"), Effect.interrupt]) {
        const channel = Fallback.intercept(Fallback.to(other.channel))(scripted(end).channel)
        assert.deepStrictEqual(yield* Effect.exit(channel.unary(call())), yield* Effect.exit(end))
      }
      assert.lengthOf(other.seen, 0)
    })
  )

  const streams = (name: string, failure?: RpcError.RpcError, rest?: RpcError.RpcError) =>
    Channel.make<RpcError.RpcError>({
      stream: ({ method }) =>
        failure !== undefined
          ? Effect.fail(failure)
          : Effect.succeed({
              messages: Stream.concat(
                Stream.make(method.decode(Buffer.from(name))),
                rest === undefined ? Stream.empty : Stream.fail(rest)
              ),
              headers: Metadata.empty,
              trailers: Effect.succeed(Metadata.empty),
              connection: `${name}#1`
            })
    })
  const watch = Call.make({ ...call().method, kind: "serverStreaming" }, "ada")

  it.effect("gets a stream that fails before its headers", () =>
    Effect.gen(function* () {
      const channel = Fallback.intercept(Fallback.to(streams("other")))(streams("first", down))
      const { connection, messages } = yield* channel.stream(watch)
      assert.strictEqual(connection, "other#1")
      assert.deepStrictEqual(yield* Stream.runCollect(messages), ["other"])
    })
  )

  it.effect("does not get a stream that fails after them", () =>
    Effect.gen(function* () {
      const channel = Fallback.intercept(Fallback.to(streams("other")))(streams("first", undefined, down))
      const { messages } = yield* channel.stream(watch)
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(messages)), down)
    })
  )
})

describe("an answer of one's own", () => {
  it.effect("gets the request and the error, by the names of the definition", () =>
    Effect.gen(function* () {
      const fallback = Fallback.orElse(definition, {
        say: (text, error) => Effect.succeed(`${text}? ${error.reason._tag}`)
      })
      const client = Client.make(
        definition,
        Fallback.intercept(fallback)(scripted(unavailable("MaybeProcessed")).channel)
      )
      assert.strictEqual(yield* client.say("ada"), "ada? Unavailable")
      const { connection, headers } = yield* client.say.reply("ada")
      assert.strictEqual(connection, "fallback")
      assert.strictEqual(headers.size, 0)
    })
  )

  it.effect("may be an error of its own, or a defect", () =>
    Effect.gen(function* () {
      const own = of({ _tag: "NotFound", details: "mine" })
      const ends = [() => Effect.fail(own), () => Effect.die("bug")] as const
      for (const say of ends) {
        const client = Client.make(
          definition,
          Fallback.intercept(Fallback.orElse(definition, { say }))(scripted(down).channel)
        )
        assert.deepStrictEqual(yield* Effect.exit(client.say("ada")), yield* Effect.exit(say()))
      }
      const throws = Fallback.orElse(definition, {
        say: () => {
          throw new Error("bug")
        }
      })
      const exit = yield* Effect.exit(
        Client.make(definition, Fallback.intercept(throws)(scripted(down).channel)).say("a")
      )
      assert.isTrue(Exit.hasDies(exit))
    })
  )

  it.effect("is given for errors of `when` only, and for the methods that have one", () =>
    Effect.gen(function* () {
      const fallback = Fallback.orElse(definition, { say: () => Effect.succeed("own") })
      const missing = of({ _tag: "NotFound", details: "" })
      const client = Client.make(definition, Fallback.intercept(fallback)(scripted(missing).channel))
      assert.strictEqual(yield* Effect.flip(client.say("ada")), missing)
      const other = Fallback.intercept(fallback)(scripted(down).channel)
      assert.strictEqual(yield* Effect.flip(other.unary(call())), down)
    })
  )

  it.effect("composes: the innermost is asked first", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const region = scripted(
        Effect.andThen(
          Effect.sync(() => asked.push("region")),
          Effect.fail(down)
        )
      )
      const channel = scripted(down).channel.pipe(
        Fallback.intercept(Fallback.to(region.channel)),
        Fallback.intercept(
          Fallback.orElse(definition, {
            say: () =>
              Effect.sync(() => {
                asked.push("own")
                return "own"
              })
          })
        )
      )
      assert.strictEqual(yield* Client.make(definition, channel).say("ada"), "own")
      assert.deepStrictEqual(asked, ["region", "own"])
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
    const wrong = { watch: () => Effect.succeed("x"), typo: () => Effect.succeed("x"), say: 1, constructor: () => {} }
    assert.deepStrictEqual(
      problems(() => Fallback.orElse(definition, wrong as never, { when: 1, else: 2 } as never)),
      ["answers.watch", "answers.typo", "answers.say", "answers.constructor", "when", "else"]
    )
    assert.deepStrictEqual(
      problems(() => Fallback.to({} as never)),
      ["channel"]
    )
  })

  it("that break the types do not compile", () => {
    const cases = [
      // @ts-expect-error -- a stream has no answer of one's own
      () => Fallback.orElse(definition, { watch: () => Effect.succeed("x") }),
      // @ts-expect-error -- not what the method answers
      () => Fallback.orElse(definition, { say: () => Effect.succeed(1) })
    ]
    assert.lengthOf(cases, 2)
  })
})

describe("the layer", () => {
  it.effect("falls back from the channel below it", () =>
    Effect.gen(function* () {
      const other = scripted("ok")
      const layer = Fallback.layer(Fallback.to(other.channel)).pipe(
        Layer.provide(Layer.succeed(Channel.Channel, scripted(down).channel))
      )
      const { message } = yield* Effect.provide(
        Channel.Channel.use(({ unary }) => unary(call())),
        layer
      )
      assert.strictEqual(message, reply(call()).message)
    })
  )
})
