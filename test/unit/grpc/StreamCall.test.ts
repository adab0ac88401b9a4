import { assert, describe, it } from "@effect/vitest"
import { ConnectError } from "@hawser/core/ConnectError"
import { Call, CallMetrics, Metadata, type Method, RpcError, type ThrownError } from "@hawser/grpc"
import * as StreamCall from "@hawser/grpc/StreamCall"
import { Cause, Data, Deferred, Effect, Exit, Fiber, Redacted, Scheduler, Scope, Stream } from "effect"
import { ScriptedWire, type ScriptedWireOptions } from "../../support/grpc/ScriptedWire.ts"

const originalOf = (error: RpcError.RpcError): Error =>
  Redacted.value((error.cause as ThrownError.ThrownError).original) as Error

const trailers = Metadata.fromRecord({ "x-where": "trailers" })
const headers = Metadata.fromRecord({ "x-where": "headers" })

class Spilled extends Data.TaggedError("Spilled")<{}> {}

/** Text; `?` is what neither codec takes. */
const refusing = (text: string): string => {
  if (text.includes("?")) throw new Error("no such field")
  return text
}
const method = (kind: Method.Kind): Method.Method<string, string> => ({
  path: "/demo.Greeter/Chat",
  kind,
  idempotency: "Unknown",
  encode: (text) => Buffer.from(refusing(text)),
  decode: (bytes) => refusing(Buffer.from(bytes).toString())
})
const down = (options?: Partial<Call.Call<string, string>>) => Call.make(method("serverStreaming"), "ada", options)
const both = (requests: Stream.Stream<string, unknown>) => Call.make(method("bidiStreaming"), "", { requests })
const up = (requests: Stream.Stream<string, unknown>) => Call.make(method("clientStreaming"), "", { requests })

const verdict = (error: unknown): string =>
  RpcError.isRpcError(error) ? `${error.progress}: ${error.reason._tag}` : String((error as Spilled)._tag)

/** A stream of requests, and how far it is. */
const source = <E = never>(requests: Stream.Stream<string, E> | ReadonlyArray<string>) => {
  const state = { begun: 0, pulled: 0, ended: 0 }
  const stream = (Stream.isStream(requests) ? requests : Stream.fromIterable(requests)).pipe(
    Stream.rechunk(1),
    Stream.tap(() => Effect.sync(() => state.pulled++)),
    Stream.onStart(Effect.sync(() => state.begun++)),
    Stream.ensuring(Effect.sync(() => state.ended++))
  )
  return { state, stream }
}

/** A call that waits for its permit, in a scope of its own. */
const begin = Effect.fnUntraced(function* (call: Call.Call<string, string>, options?: ScriptedWireOptions) {
  const wire = new ScriptedWire(options)
  const scope = yield* Scope.make()
  const opening = yield* Effect.forkChild(Effect.exit(Scope.provide(wire.channel.stream(call), scope)), {
    startImmediately: true
  })
  return { wire, opening, scope, close: Scope.close(scope, Exit.void) }
})

/** A call with its headers, whose reader pulls by hand. */
const open = Effect.fnUntraced(function* (call: Call.Call<string, string> = down(), options?: ScriptedWireOptions) {
  const { close, opening, scope, wire } = yield* begin(call, options)
  wire.grant()
  wire.listener!.onHeaders(headers)
  const replies = yield* Effect.flatten(Fiber.join(opening))
  const reader = yield* Scope.make()
  const pull = yield* Scope.provide(Stream.toPull(replies.messages), reader)
  const code = () => (replies as CallMetrics.Told)[CallMetrics.told]!()
  return { wire, close, scope, replies, pull, code, leave: Scope.close(reader, Exit.void) }
})

const started = ["queue", "start", "send 3", "end", "read"]
const isDone = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Cause.isDone(Cause.squash(exit.cause))

describe("a stream of answers", () => {
  it.effect("is asked for with one request, and opens at the headers", () =>
    Effect.gen(function* () {
      const { opening, wire } = yield* begin(down())
      assert.deepStrictEqual(wire.log, ["queue"])
      assert.strictEqual(wire.borrow!.method, undefined)
      opening.addObserver(() => wire.log.push("open"))
      wire.grant()
      assert.deepStrictEqual(wire.log, started)
      assert.strictEqual(opening.pollUnsafe(), undefined)
      wire.listener!.onHeaders(headers)
      const replies = yield* Effect.flatten(Fiber.join(opening))
      assert.strictEqual(replies.headers, headers)
      assert.strictEqual(replies.connection, "a:1#7")
      assert.deepStrictEqual(wire.log, [...started, "responded", "open"])
    })
  )

  it.effect("opens at an end without headers, empty", () =>
    Effect.gen(function* () {
      const { opening, wire } = yield* begin(down())
      wire.grant()
      wire.listener!.onStatus(0, "", trailers, "Answered")
      const replies = yield* Effect.flatten(Fiber.join(opening))
      assert.strictEqual(replies.headers, Metadata.empty)
      assert.strictEqual(yield* replies.trailers, trailers)
      assert.deepStrictEqual(yield* Stream.runCollect(replies.messages), [])
      assert.deepStrictEqual(wire.log, [...started, "release Success"])
    })
  )

  it.effect("asks for one message at a time, and for none while a full window waits for its reader", () =>
    Effect.gen(function* () {
      assert.strictEqual(StreamCall.window, 16)
      const { pull, wire } = yield* open()
      for (let i = 1; i <= StreamCall.window; i++) {
        assert.strictEqual(wire.count("read"), i)
        wire.receive(`m${i}`)
      }
      assert.strictEqual(wire.count("read"), StreamCall.window)
      assert.lengthOf(yield* pull, StreamCall.window)
      assert.strictEqual(wire.count("read"), StreamCall.window + 1)
      wire.receive("next")
      assert.strictEqual(wire.count("read"), StreamCall.window + 2)
      // One is asked for already.
      assert.lengthOf(yield* pull, 1)
      assert.strictEqual(wire.count("read"), StreamCall.window + 2)
    })
  )

  it.effect("wakes a reader once for what came in one turn, and at once for a full window", () =>
    Effect.gen(function* () {
      const { pull, wire } = yield* open()
      const batches: Array<number> = []
      const got = Effect.map(pull, (batch) => batches.push(batch.length))
      const first = yield* Effect.forkChild(got, { startImmediately: true })
      wire.receive("a", "b", "c")
      assert.strictEqual(first.pollUnsafe(), undefined)
      yield* Fiber.join(first)
      const second = yield* Effect.forkChild(got, { startImmediately: true })
      wire.receive(...Array.from({ length: StreamCall.window + 2 }, () => "x"))
      assert.isDefined(second.pollUnsafe())
      yield* got
      assert.deepStrictEqual(batches, [3, StreamCall.window, 2])
    })
  )

  it.effect("asks its reader's own scheduler for one turn, however much comes in one piece", () => {
    let asked = 0
    const mixed = new Scheduler.MixedScheduler()
    const counting: Scheduler.Scheduler = {
      executionMode: "async",
      shouldYield: (fiber) => mixed.shouldYield(fiber),
      makeDispatcher: () => {
        const dispatcher = mixed.makeDispatcher()
        return {
          flush: () => dispatcher.flush(),
          scheduleTask: (task, priority) => {
            asked++
            dispatcher.scheduleTask(task, priority)
          }
        }
      }
    }
    return Effect.gen(function* () {
      const { pull, wire } = yield* open()
      const reader = yield* Effect.forkChild(Effect.all([pull, pull]), { startImmediately: true })
      for (const texts of [
        ["a", "b", "c"],
        ["d", "e"]
      ]) {
        const before = asked
        wire.receive(...texts)
        assert.strictEqual(asked, before + 1)
        yield* Effect.yieldNow
      }
      assert.deepStrictEqual(yield* Fiber.join(reader), [
        ["a", "b", "c"],
        ["d", "e"]
      ])
    }).pipe(Effect.provideService(Scheduler.Scheduler, counting))
  })

  it.effect("gives what came before its end, then its end, and the permit back before both", () =>
    Effect.gen(function* () {
      const { close, code, pull, replies, wire } = yield* open()
      assert.strictEqual(code(), undefined)
      wire.receive("a", "b")
      wire.listener!.onStatus(0, "", trailers, "Answered")
      assert.strictEqual(wire.log.at(-1), "release Success")
      assert.strictEqual(yield* replies.trailers, trailers)
      assert.strictEqual(code(), 0)
      wire.listener!.onMessage(Buffer.from("late"))
      assert.deepStrictEqual(yield* pull, ["a", "b"])
      assert.isTrue(isDone(yield* Effect.exit(pull)))
      yield* close
      assert.strictEqual(wire.log.at(-1), "release Success")
    })
  )

  it.effect("gives what came before its failure, then the failure, to a reader that waits too", () =>
    Effect.gen(function* () {
      const { code, pull, replies, wire } = yield* open()
      const waiting = yield* Effect.forkChild(pull, { startImmediately: true })
      wire.receive("a")
      wire.listener!.onStatus(5, "gone", trailers, "Answered")
      assert.deepStrictEqual(yield* Fiber.join(waiting), ["a"])
      assert.strictEqual(verdict(yield* Effect.flip(pull)), "Answered: NotFound")
      assert.strictEqual(yield* replies.trailers, trailers)
      assert.strictEqual(code(), 5)
      assert.strictEqual(wire.log.at(-1), "release Success")
    })
  )

  it.effect("fails at its opening where it fails before the headers", () =>
    Effect.gen(function* () {
      const { opening, wire } = yield* begin(down())
      wire.grant()
      wire.listener!.onStatus(14, "lost", Metadata.empty, "MaybeProcessed")
      assert.strictEqual(
        verdict(yield* Effect.flip(Effect.flatten(Fiber.join(opening)))),
        "MaybeProcessed: Unavailable"
      )
    })
  )

  it.effect("is cancelled by a message that its codec can't read, after those before it", () =>
    Effect.gen(function* () {
      const { close, code, pull, replies, wire } = yield* open()
      wire.receive("a", "b", "?", "d")
      assert.deepStrictEqual(yield* pull, ["a", "b"])
      const error = yield* Effect.flip(pull)
      assert.strictEqual(verdict(error), "Answered: Internal")
      assert.strictEqual((error as RpcError.RpcError).connection, "a:1#7")
      assert.deepStrictEqual(wire.log.slice(-2), ["cancel", "release Neutral"])
      assert.strictEqual(yield* replies.trailers, Metadata.empty)
      assert.strictEqual(code(), RpcError.codes.Internal)
      wire.receive("late")
      wire.listener!.onStatus(1, "", Metadata.empty, "MaybeProcessed")
      assert.strictEqual(yield* Effect.flip(pull), error)
      yield* close
      assert.deepStrictEqual(wire.log.slice(-2), ["cancel", "release Neutral"])
    })
  )

  it.effect("fails of a message that its codec can't read where its status is here already", () =>
    Effect.gen(function* () {
      const { code, pull, wire } = yield* open()
      wire.receive("?")
      wire.listener!.onStatus(0, "", trailers, "Answered")
      const error = (yield* Effect.flip(pull)) as RpcError.RpcError
      assert.strictEqual(verdict(error), "Answered: Internal")
      assert.strictEqual(originalOf(error).message, "no such field")
      assert.strictEqual(code(), RpcError.codes.Internal)
      assert.strictEqual(wire.log.at(-1), "release Success")
    })
  )

  it.effect("whose reader leaves early is cancelled, and only then returns the permit, once", () =>
    Effect.gen(function* () {
      const { close, code, leave, replies, wire } = yield* open()
      yield* leave
      wire.receive("late")
      wire.listener!.onStatus(0, "", trailers, "Answered")
      yield* close
      assert.deepStrictEqual(wire.log, [...started, "responded", "cancel", "release Neutral"])
      assert.strictEqual(code(), RpcError.codes.Cancelled)
      assert.strictEqual(yield* replies.trailers, Metadata.empty)
    })
  )

  it.effect("whose scope closes under its reader ends in Cancelled, not as if it were all", () =>
    Effect.gen(function* () {
      const { close, pull, replies, wire } = yield* open()
      const waiting = yield* Effect.forkChild(Effect.flip(pull), { startImmediately: true })
      yield* close
      assert.strictEqual(verdict(yield* Fiber.join(waiting)), "Answered: Cancelled")
      assert.deepStrictEqual(wire.log.slice(-2), ["cancel", "release Neutral"])
      assert.strictEqual(yield* replies.trailers, Metadata.empty)
    })
  )

  it.effect("read after its scope has closed gives what was here, then Cancelled", () =>
    Effect.gen(function* () {
      const { opening, scope, wire } = yield* begin(down())
      wire.grant()
      wire.listener!.onHeaders(headers)
      wire.receive("a")
      const { messages } = yield* Effect.flatten(Fiber.join(opening))
      yield* Scope.close(scope, Exit.void)
      const seen: Array<string> = []
      const error = yield* Effect.flip(Stream.runForEach(messages, (text) => Effect.sync(() => seen.push(text))))
      assert.strictEqual(verdict(error), "Answered: Cancelled")
      assert.deepStrictEqual(seen, ["a"])
    })
  )

  it.effect("whose scope closes while it opens leaves the queue, or the wire", () =>
    Effect.gen(function* () {
      const queued = yield* begin(down())
      yield* queued.close
      assert.strictEqual(verdict(yield* Effect.flip(Effect.flatten(Fiber.join(queued.opening)))), "NotSent: Cancelled")
      assert.deepStrictEqual(queued.wire.log, ["queue", "leave"])
      const sent = yield* begin(down())
      sent.wire.grant()
      yield* sent.close
      const error = yield* Effect.flip(Effect.flatten(Fiber.join(sent.opening)))
      assert.strictEqual(verdict(error), "MaybeProcessed: Cancelled")
      assert.deepStrictEqual(sent.wire.log, [...started, "cancel", "release Neutral"])
    })
  )

  it.effect("whose opening is interrupted runs on until its scope closes", () =>
    Effect.gen(function* () {
      const { close, opening, wire } = yield* begin(down())
      yield* Fiber.interrupt(opening)
      assert.deepStrictEqual(wire.log, ["queue"])
      yield* close
      assert.deepStrictEqual(wire.log, ["queue", "leave"])
    })
  )

  it.effect("is run once: the second run fails, and the first reads on", () =>
    Effect.gen(function* () {
      const { pull, replies, wire } = yield* open()
      const waiting = yield* Effect.forkChild(pull, { startImmediately: true })
      const second = yield* Effect.flip(Stream.runDrain(replies.messages))
      assert.strictEqual(verdict(second), "Answered: FailedPrecondition")
      assert.strictEqual(second.connection, "a:1#7")
      wire.receive("a")
      assert.deepStrictEqual(yield* Fiber.join(waiting), ["a"])
      wire.listener!.onStatus(0, "", trailers, "Answered")
      assert.isTrue(isDone(yield* Effect.exit(pull)))
      const third = yield* Effect.flip(Stream.runDrain(replies.messages))
      assert.strictEqual(verdict(third), "Answered: FailedPrecondition")
    })
  )

  it.effect("whose reader is interrupted while it waits is cancelled", () =>
    Effect.gen(function* () {
      const { pull, wire } = yield* open()
      const waiting = yield* Effect.forkChild(pull, { startImmediately: true })
      wire.receive("a")
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(wire.log.slice(-2), ["cancel", "release Neutral"])
      wire.receive("late")
      assert.strictEqual(wire.count("read"), 2)
    })
  )

  it.effect("that its codec can't ask for, or that is too large, takes no permit", () =>
    Effect.gen(function* () {
      for (const [input, expected] of [
        ["?", "NotSent: Internal"],
        ["four", "NotSent: ResourceExhausted"]
      ] as const) {
        const { close, opening, wire } = yield* begin({ ...down(), input }, { maxSendBytes: 3 })
        assert.strictEqual(verdict(yield* Effect.flip(Effect.flatten(Fiber.join(opening)))), expected)
        yield* close
        assert.deepStrictEqual(wire.log, [])
      }
    })
  )

  it.effect("that is refused fails at its opening, and one that can't be started breaks the connection", () =>
    Effect.gen(function* () {
      const { close, opening, wire } = yield* begin(down())
      wire.borrow!.refused(new ConnectError({ reason: { _tag: "Closed" } }))
      assert.strictEqual(verdict(yield* Effect.flip(Effect.flatten(Fiber.join(opening)))), "NotSent: Unavailable")
      yield* close
      assert.deepStrictEqual(wire.log, ["queue"])
      const broken = yield* begin(down(), { broken: true })
      broken.wire.grant()
      const error = yield* Effect.flip(Effect.flatten(Fiber.join(broken.opening)))
      assert.strictEqual(verdict(error), "NotSent: Unavailable")
      yield* broken.close
      assert.deepStrictEqual(broken.wire.log, ["queue", "release Broken"])
    })
  )

  it.effect("whose path is given up ends before its headers where retry would open it again", () =>
    Effect.gen(function* () {
      const { opening, wire } = yield* begin(down({ resend: () => true }))
      wire.grant()
      wire.borrow!.lost!()
      const error = yield* Effect.flip(Effect.flatten(Fiber.join(opening)))
      assert.strictEqual(verdict(error), "MaybeProcessed: Unavailable")
      assert.deepStrictEqual(wire.log, [...started, "cancel", "release Neutral"])
    })
  )
})

describe("a stream of requests", () => {
  it.effect("is begun with the permit, and pulled only when the transport has taken the one before", () =>
    Effect.gen(function* () {
      const { state, stream } = source(["a", "bb", "ccc"])
      const { opening, wire } = yield* begin(both(stream))
      yield* Effect.yieldNow
      assert.strictEqual(state.begun, 0)
      wire.grant()
      yield* wire.until("send 1")
      wire.listener!.onHeaders(headers)
      yield* Fiber.join(opening)
      assert.strictEqual(state.pulled, 1)
      wire.take()
      yield* wire.until("send 2")
      assert.strictEqual(state.pulled, 2)
      wire.take()
      yield* wire.until("send 3")
      assert.strictEqual(wire.count("end"), 0)
      wire.take()
      yield* wire.until("end")
      assert.strictEqual(state.ended, 1)
    })
  )

  it.effect("that is empty is only ended", () =>
    Effect.gen(function* () {
      const { opening, wire } = yield* begin(both(Stream.empty))
      wire.grant()
      yield* wire.until("end")
      wire.listener!.onStatus(0, "", trailers, "Answered")
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(opening)))
      assert.deepStrictEqual(wire.log, ["queue", "start", "read", "end", "release Success"])
    })
  )

  const bad: ReadonlyArray<
    readonly [string, Stream.Stream<string, unknown>, (cause: Cause.Cause<unknown>) => boolean]
  > = [
    ["fails", Stream.fail(new Spilled()), (cause) => Cause.squash(cause) instanceof Spilled],
    ["dies", Stream.die("bug"), (cause) => Cause.hasDies(cause)],
    [
      "throws in its construction",
      Stream.suspend(() => {
        throw new Error("bug")
      }),
      (cause) => Cause.hasDies(cause)
    ],
    ["interrupts itself", Stream.fromEffect(Effect.interrupt), (cause) => Cause.hasInterruptsOnly(cause)]
  ]
  it.effect.each(bad)("that %s cancels the call, at its opening and later, and is its cause", ([, fault, is]) =>
    Effect.gen(function* () {
      const early = yield* begin(both(fault))
      early.wire.grant()
      const opened = yield* Fiber.join(early.opening)
      assert.isTrue(Exit.isFailure(opened) && is(opened.cause))
      assert.deepStrictEqual(early.wire.log, ["queue", "start", "read", "cancel", "release Neutral"])

      const { code, pull, replies, wire } = yield* open(both(Stream.concat(Stream.make("a"), fault)))
      yield* wire.until("send 1")
      wire.receive("m")
      wire.take()
      yield* wire.until("release Neutral")
      assert.deepStrictEqual(yield* pull, ["m"])
      const exit = yield* Effect.exit(pull)
      assert.isTrue(Exit.isFailure(exit) && is(exit.cause))
      assert.strictEqual(yield* replies.trailers, Metadata.empty)
      assert.strictEqual(code(), undefined)
      wire.listener!.onStatus(1, "", trailers, "MaybeProcessed")
      assert.strictEqual(wire.count("cancel"), 1)
      assert.strictEqual(wire.count("end"), 0)
    })
  )

  it.effect.each([1, 5] as const)(
    "with number %i refused by its codec cancels the call, and is pulled no more",
    (bad) =>
      Effect.gen(function* () {
        const { state, stream } = source(Array.from({ length: 9 }, (_, i) => (i + 1 === bad ? "?" : "a")))
        const { pull, wire } = yield* open(both(stream))
        for (let i = 1; i < bad; i++) {
          yield* wire.until("send 1", i)
          wire.take()
        }
        const error = (yield* Effect.flip(pull)) as RpcError.RpcError
        assert.strictEqual(verdict(error), "MaybeProcessed: Internal")
        assert.strictEqual(originalOf(error).message, "no such field")
        yield* Effect.yieldNow
        assert.deepStrictEqual(wire.log.slice(-2), ["cancel", "release Neutral"])
        assert.deepStrictEqual([state.pulled, state.ended], [bad, 1])
        assert.strictEqual(wire.count("end"), 0)
      })
  )

  it.effect("with a message that is too large cancels the call", () =>
    Effect.gen(function* () {
      const { pull, wire } = yield* open(both(Stream.make("four")), { maxSendBytes: 3 })
      assert.strictEqual(verdict(yield* Effect.flip(pull)), "MaybeProcessed: ResourceExhausted")
      assert.deepStrictEqual(wire.log.slice(-2), ["cancel", "release Neutral"])
    })
  )

  it.effect.each([0, 5] as const)("is ended by a status %i, in the middle of a wait for the transport", (code) =>
    Effect.gen(function* () {
      const { state, stream } = source(["a", "bb"])
      const { wire } = yield* open(both(stream))
      yield* wire.until("send 1")
      wire.listener!.onStatus(code, "", trailers, "Answered")
      // The scope of the call is still open.
      assert.deepStrictEqual(state, { begun: 1, pulled: 1, ended: 1 })
      wire.take()
      assert.deepStrictEqual([wire.count("send 2"), wire.count("end")], [0, 0])
    })
  )

  it.effect("is ended by a status while it waits for its own next element", () =>
    Effect.gen(function* () {
      const stopped = Deferred.makeUnsafe<void>()
      const never = Stream.ensuring(Stream.never, Deferred.succeed(stopped, undefined))
      const { wire } = yield* open(both(Stream.concat(Stream.make("a"), never)))
      yield* wire.until("send 1")
      wire.take()
      yield* Effect.yieldNow
      wire.listener!.onStatus(0, "", trailers, "Answered")
      yield* Deferred.await(stopped)
      assert.strictEqual(wire.count("end"), 0)
    })
  )

  it.effect("is never begun for a call that is refused", () =>
    Effect.gen(function* () {
      const { state, stream } = source(["a"])
      const { opening, wire } = yield* begin(both(stream))
      wire.borrow!.refused(new ConnectError({ reason: { _tag: "Closed" } }))
      assert.isTrue(Exit.isFailure(yield* Fiber.join(opening)))
      yield* Effect.yieldNow
      assert.deepStrictEqual(state, { begun: 0, pulled: 0, ended: 0 })
    })
  )

  it.effect("is not begun, and the queue not entered, for metadata that must not be sent", () =>
    Effect.gen(function* () {
      const { state, stream } = source(["a"])
      const { opening, wire } = yield* begin({
        ...both(stream),
        metadata: Metadata.fromRecord({ connection: "close" })
      })
      const error = yield* Effect.flip(Effect.flatten(Fiber.join(opening)))
      assert.strictEqual(verdict(error), "NotSent: InvalidArgument")
      yield* Effect.yieldNow
      assert.deepStrictEqual([wire.log, state.begun], [[], 0])
    })
  )

  it.effect("is interrupted, and its end awaited, where the scope closes", () =>
    Effect.gen(function* () {
      const { state, stream } = source(["a", "b"])
      const { close, wire } = yield* open(both(stream))
      yield* wire.until("send 1")
      yield* close
      assert.strictEqual(state.ended, 1)
      assert.deepStrictEqual(wire.log.slice(-2), ["cancel", "release Neutral"])
    })
  )
})

describe("one answer to a stream of requests", () => {
  const answered = Effect.fnUntraced(function* (...texts: ReadonlyArray<string>) {
    const wire = new ScriptedWire()
    const fiber = yield* Effect.forkChild(Effect.result(wire.channel.unary(up(Stream.empty))), {
      startImmediately: true
    })
    wire.grant()
    yield* wire.until("end")
    wire.listener!.onHeaders(headers)
    wire.receive(...texts)
    wire.listener!.onStatus(0, "", trailers, "Answered")
    return { wire, reply: Effect.flatMap(Fiber.join(fiber), Effect.fromResult) }
  })

  it.effect("comes with its headers and trailers", () =>
    Effect.gen(function* () {
      const { reply, wire } = yield* answered("hi")
      assert.deepStrictEqual(yield* reply, { message: "hi", headers, trailers, connection: "a:1#7" })
      assert.strictEqual(wire.log.at(-1), "release Success")
    })
  )

  it.effect("must be one", () =>
    Effect.gen(function* () {
      const none = yield* Effect.flip((yield* answered()).reply)
      assert.strictEqual(verdict(none), "Answered: Internal")
      assert.include(none.reason.details, "without an answer")
      const two = yield* Effect.flip((yield* answered("a", "b")).reply)
      assert.strictEqual(verdict(two), "Answered: Internal")
      assert.include(two.reason.details, "more than one")
      assert.strictEqual(two.connection, "a:1#7")
    })
  )
})
