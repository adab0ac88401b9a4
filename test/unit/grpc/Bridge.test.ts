import { assert, describe, it } from "@effect/vitest"
import { type Call, Metadata, type RpcError, Status } from "@hawser/grpc"
import { Effect, Exit, Fiber, Result } from "effect"
import { call } from "../../support/channels.ts"
import { ScriptedWire, type ScriptedWireOptions } from "../../support/grpc/ScriptedWire.ts"

const trailers = Metadata.fromRecord({ "x-where": "trailers" })

const setup = (options?: ScriptedWireOptions) => {
  const wire = new ScriptedWire(options)
  const begin = (one: Call.Call<string, string>) =>
    Effect.forkChild(Effect.result(wire.channel.unary(one)), { startImmediately: true })
  /** The error of a call that has ended. */
  const failed = (fiber: Fiber.Fiber<Result.Result<unknown, RpcError.RpcError>>) =>
    Effect.map(Fiber.join(fiber), (result) => {
      if (Result.isFailure(result)) return result.failure
      throw new Error("the call succeeded")
    })
  return {
    begin,
    borrow: () => wire.borrow!,
    failed,
    grant: () => wire.grant(),
    listener: () => wire.listener!,
    log: wire.log,
    started: () => wire.started!,
    wire
  }
}

const sent = ["queue", "start", "send 3", "end", "read"]
const verdict = ({ progress, reason }: RpcError.RpcError) => `${progress}: ${reason._tag}`
const again = () => true

describe("the bridge", () => {
  it.effect("asks the queue and the wire for what the call says", () =>
    Effect.gen(function* () {
      const { begin, borrow, grant, started } = setup()
      const said = {
        priority: 2,
        deadline: 5_000,
        waitForReady: true,
        affinity: { key: "k", hard: true },
        avoid: new Set(["b:1"]),
        metadata: Metadata.fromRecord({ "x-a": "1" }),
        attempt: 3
      } as const
      const one = call(said)
      yield* begin(one)
      const { affinity, avoid, deadline, method, priority, waitForReady } = borrow()
      assert.deepStrictEqual(
        { affinity, avoid, deadline, priority, waitForReady },
        { affinity: said.affinity, avoid: said.avoid, deadline: 5_000, priority: 2, waitForReady: true }
      )
      assert.strictEqual(method, one.method.path)
      const plain = setup()
      yield* plain.begin(call())
      assert.strictEqual(plain.borrow().deadline, Infinity)
      grant()
      assert.strictEqual(started().path, one.method.path)
      assert.strictEqual(started().metadata, said.metadata)
      assert.deepStrictEqual([started().deadline, started().attempt], [5_000, 3])
    })
  )

  it.effect("returns the permit with the status, and gives the whole answer", () =>
    Effect.gen(function* () {
      const { begin, grant, listener, log } = setup()
      const fiber = yield* begin(call())
      grant()
      const headers = Metadata.fromRecord({ "x-where": "headers" })
      listener().onHeaders(headers)
      listener().onMessage(Buffer.from("hi"))
      listener().onStatus(0, "", trailers, "Answered")
      const reply = yield* Effect.fromResult(yield* Fiber.join(fiber))
      assert.deepInclude(reply, { message: "hi", connection: "a:1#7" })
      assert.strictEqual(reply.headers, headers)
      assert.strictEqual(reply.trailers, trailers)
      // The second read is what brings the status.
      assert.deepStrictEqual(log, [...sent, "read", "release Success"])
    })
  )

  it.effect("says of a failure who had the call, how long it waited, and what came with it", () =>
    Effect.gen(function* () {
      const { begin, failed, grant, listener, log, wire } = setup()
      const fiber = yield* begin(call({ attempt: 2 }))
      wire.now = 40
      grant()
      wire.now = 90
      listener().onStatus(5, "gone", trailers, "Answered")
      const error = yield* failed(fiber)
      assert.strictEqual(verdict(error), "Answered: NotFound")
      assert.deepInclude(error, {
        attempts: 2,
        endpoint: "a:1",
        connection: "a:1#7",
        waitedMillis: 40,
        metadata: trailers
      })
      assert.deepStrictEqual(log, [...sent, "release Success"])
    })
  )

  it.effect.each([
    ["Connecting", "NotSent", false],
    ["Sent", "MaybeProcessed", false],
    ["Receiving", "Answered", true]
  ] as const)("says of a deadline that it was spent on: %s", ([phase, progress, headers]) =>
    Effect.gen(function* () {
      const { begin, failed, grant, listener } = setup()
      const fiber = yield* begin(call())
      grant()
      if (headers) listener().onHeaders(Metadata.empty)
      listener().onStatus(4, "", Metadata.empty, progress)
      const error = yield* failed(fiber)
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase })
      assert.strictEqual(error.progress, progress)
    })
  )

  it.effect("returns the permit before the caller goes on, however it ends", () =>
    Effect.gen(function* () {
      const ends: ReadonlyArray<readonly [string, (wire: ScriptedWire) => void]> = [
        ["release Success", ({ listener }) => listener!.onStatus(5, "", trailers, "Answered")],
        ["release Failure", ({ listener }) => listener!.onStatus(14, "", trailers, "MaybeProcessed")],
        ["release Neutral", ({ borrow }) => borrow!.lost!()],
        ["release Success", (wire) => (wire.receive("a"), wire.listener!.onStatus(0, "", trailers, "Answered"))],
        ["release Success", (wire) => wire.receive("a", "b")]
      ]
      for (const [released, end] of ends) {
        const { begin, grant, log, wire } = setup()
        const fiber = yield* begin(call({ resend: again }))
        fiber.addObserver(() => log.push("over"))
        grant()
        end(wire)
        yield* Fiber.await(fiber)
        assert.deepStrictEqual(log.slice(-2), [released, "over"])
      }
    })
  )

  describe("an interrupt", () => {
    it.effect("while it waits leaves the queue", () =>
      Effect.gen(function* () {
        const { begin, log } = setup()
        yield* Fiber.interrupt(yield* begin(call()))
        assert.deepStrictEqual(log, ["queue", "leave"])
      })
    )

    it.effect("on the wire cancels, and only then returns the permit", () =>
      Effect.gen(function* () {
        const { begin, grant, listener, log } = setup()
        const fiber = yield* begin(call())
        grant()
        yield* Fiber.interrupt(fiber)
        listener().onMessage(Buffer.from("late"))
        listener().onStatus(1, "", Metadata.empty, "MaybeProcessed")
        assert.deepStrictEqual(log, [...sent, "cancel", "release Neutral"])
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      })
    )
  })

  describe("the headers of a gRPC server", () => {
    const begun = Metadata.fromRecord({ "content-type": "application/grpc+proto" })
    const page = Metadata.fromRecord({ "content-type": "text/html" })

    it.effect("are told to whoever asked, and noted in the error; a page of a proxy is not", () =>
      Effect.gen(function* () {
        for (const [headers, is] of [
          [begun, true],
          [page, false],
          [Metadata.empty, false]
        ] as const) {
          const { begin, failed, grant, listener } = setup()
          let told = 0
          const fiber = yield* begin(call({ committed: () => told++ }))
          grant()
          listener().onHeaders(headers)
          listener().onStatus(14, "", trailers, "Answered")
          assert.strictEqual((yield* failed(fiber)).committed, is)
          assert.strictEqual(told, is ? 1 : 0)
        }
      })
    )

    it.effect("are not those of a status that comes alone, though it carries them", () =>
      Effect.gen(function* () {
        const { begin, failed, grant, listener } = setup()
        const fiber = yield* begin(call({ committed: () => assert.fail("no headers came") }))
        grant()
        listener().onStatus(14, "", begun, "Answered")
        assert.strictEqual((yield* failed(fiber)).committed, false)
      })
    )
  })

  describe("a path that is given up", () => {
    it.effect("ends a call that would be sent again: cancelled, returned, and possibly processed", () =>
      Effect.gen(function* () {
        const { begin, borrow, failed, grant, log } = setup()
        const asked: Array<number> = []
        const fiber = yield* begin(call({ attempt: 2, resend: (one) => asked.push(one.attempt) > 0 }))
        grant()
        borrow().lost!()
        borrow().lost!()
        const error = yield* failed(fiber)
        assert.strictEqual(verdict(error), "MaybeProcessed: Unavailable")
        assert.strictEqual(error.reason.details, Status.pathGivenUp)
        assert.deepStrictEqual(log, [...sent, "cancel", "release Neutral"])
        assert.deepStrictEqual(asked, [2])
      })
    )

    it.effect.each([
      ["that retry would not send again", () => false],
      ["that retry never saw", undefined]
    ] as const)("leaves alone a call %s", ([, resend]) =>
      Effect.gen(function* () {
        const { begin, borrow, grant, listener, log } = setup()
        const fiber = yield* begin(call({ resend }))
        grant()
        borrow().lost!()
        assert.deepStrictEqual(log, sent)
        listener().onMessage(Buffer.from("hi"))
        listener().onStatus(0, "", Metadata.empty, "Answered")
        const { headers, message } = yield* Effect.fromResult(yield* Fiber.join(fiber))
        assert.strictEqual(message, "hi")
        assert.strictEqual(headers, Metadata.empty)
      })
    )

    it.effect("leaves alone a call whose headers have come, but not for a page of a proxy", () =>
      Effect.gen(function* () {
        for (const [type, left] of [
          ["application/grpc", true],
          ["text/html", false]
        ] as const) {
          const { begin, borrow, grant, listener, log } = setup()
          const fiber = yield* begin(call({ resend: again }))
          grant()
          listener().onHeaders(Metadata.fromRecord({ "content-type": type }))
          borrow().lost!()
          assert.deepStrictEqual(log, left ? sent : [...sent, "cancel", "release Neutral"])
          yield* Fiber.interrupt(fiber)
        }
      })
    )

    it.effect("says nothing to a call that has ended", () =>
      Effect.gen(function* () {
        const { begin, borrow, failed, grant, listener, log } = setup()
        const fiber = yield* begin(call({ resend: again }))
        grant()
        listener().onStatus(5, "", trailers, "Answered")
        borrow().lost!()
        assert.strictEqual(verdict(yield* failed(fiber)), "Answered: NotFound")
        assert.deepStrictEqual(log, [...sent, "release Success"])
      })
    )
  })

  describe("takes no permit for", () => {
    it.effect("a request above the limit, to the byte", () =>
      Effect.gen(function* () {
        const { begin, failed, log, wire } = setup({ maxSendBytes: 2 })
        wire.now = 40
        const error = yield* failed(yield* begin(call()))
        assert.strictEqual(verdict(error), "NotSent: ResourceExhausted")
        assert.deepInclude(error.reason, { by: "Us" })
        assert.include(error.reason.details, "3 bytes")
        // It never waited.
        assert.strictEqual(error.waitedMillis, 0)
        assert.deepStrictEqual(log, [])
        const enough = setup({ maxSendBytes: 3 })
        yield* enough.begin(call())
        assert.deepStrictEqual(enough.log, ["queue"])
      })
    )

    it.effect("metadata that must not be sent, whoever set it", () =>
      Effect.gen(function* () {
        const { begin, failed, log } = setup()
        const error = yield* failed(yield* begin(call({ metadata: Metadata.fromRecord({ connection: "close" }) })))
        assert.strictEqual(verdict(error), "NotSent: InvalidArgument")
        assert.include(error.reason.details, "connection")
        assert.deepStrictEqual(log, [])
      })
    )

    it.effect("a request that its codec can't take", () =>
      Effect.gen(function* () {
        const { begin, failed, log } = setup()
        const one = call()
        const encode = () => {
          throw new Error("no such field")
        }
        const error = yield* failed(yield* begin({ ...one, method: { ...one.method, encode } }))
        assert.strictEqual(verdict(error), "NotSent: Internal")
        assert.deepStrictEqual(log, [])
      })
    )
  })

  it.effect("keeps no bytes of a large request that waits, and sends it all the same", () =>
    Effect.gen(function* () {
      const encoded = (size: number) =>
        Effect.gen(function* () {
          const { begin, grant, log } = setup({ maxSendBytes: 10_000 })
          const one = call()
          let times = 0
          const encode = () => {
            times++
            return Buffer.alloc(size)
          }
          yield* begin({ ...one, method: { ...one.method, encode } })
          grant()
          assert.include(log, `send ${size}`)
          return times
        })
      assert.strictEqual(yield* encoded(4_096), 1)
      assert.strictEqual(yield* encoded(4_097), 2)
    })
  )

  it.effect("trusts no connection on which a call could not be started", () =>
    Effect.gen(function* () {
      const { begin, failed, grant, log } = setup({ broken: true })
      const fiber = yield* begin(call())
      grant()
      assert.strictEqual(verdict(yield* failed(fiber)), "NotSent: Unavailable")
      assert.deepStrictEqual(log, ["queue", "release Broken"])
    })
  )

  it.effect("cancels a server that sends more than one message, and then returns the permit", () =>
    Effect.gen(function* () {
      const { begin, failed, grant, listener, log } = setup()
      const fiber = yield* begin(call())
      grant()
      for (const text of ["one", "two", "three"]) listener().onMessage(Buffer.from(text))
      listener().onStatus(0, "", Metadata.empty, "Answered")
      assert.strictEqual(verdict(yield* failed(fiber)), "Answered: Internal")
      assert.deepStrictEqual(log, [...sent, "read", "cancel", "release Success"])
    })
  )

  it.effect("takes an OK without a message for an error, and a codec that can't read it, too", () =>
    Effect.gen(function* () {
      const silent = setup()
      const none = yield* silent.begin(call())
      silent.grant()
      silent.listener().onStatus(0, "OK", Metadata.empty, "Answered")
      const error = yield* silent.failed(none)
      assert.strictEqual(verdict(error), "Answered: Internal")
      assert.strictEqual(error.reason.details, "Status OK without an answer")

      const { begin, failed, grant, listener, log } = setup()
      const one = call()
      const decode = () => {
        throw new Error("no such field")
      }
      const fiber = yield* begin({ ...one, method: { ...one.method, decode } })
      grant()
      listener().onMessage(Buffer.from("hi"))
      listener().onStatus(0, "", Metadata.empty, "Answered")
      assert.strictEqual(verdict(yield* failed(fiber)), "Answered: Internal")
      assert.deepStrictEqual(log.slice(-1), ["release Success"])
    })
  )

  it.effect("looks for a report of load only where somebody wants to know, whatever the status", () =>
    Effect.gen(function* () {
      // ORCA's field 1, a double: 0.5.
      const bytes = Uint8Array.of(0x09, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f)
      const reported = (reports: boolean, code: number, value = bytes) =>
        Effect.gen(function* () {
          const { begin, grant, listener, wire } = setup({ reports })
          const fiber = yield* begin(call())
          grant()
          listener().onMessage(Buffer.from("hi"))
          listener().onStatus(code, "", Metadata.fromRecord({ "endpoint-load-metrics-bin": value }), "Answered")
          yield* Fiber.join(fiber)
          return wire.report?.cpu
        })
      assert.strictEqual(yield* reported(true, 0), 0.5)
      assert.strictEqual(yield* reported(true, 5), 0.5)
      assert.strictEqual(yield* reported(false, 0), undefined)
      assert.strictEqual(yield* reported(true, 0, Uint8Array.of(9, 9, 9)), undefined)
    })
  )
})
