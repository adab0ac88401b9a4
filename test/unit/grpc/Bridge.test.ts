import { assert, describe, it } from "@effect/vitest"
import type { Borrow } from "@hawser/core/Borrow"
import type { ConnectError } from "@hawser/core/ConnectError"
import { makeUnsafe } from "@hawser/core/Endpoint"
import type { Lease } from "@hawser/core/Lease"
import { type Call, Metadata, type RpcError, Status } from "@hawser/grpc"
import * as Bridge from "@hawser/grpc/Bridge"
import type { CallListener, Connection, StartOptions } from "@hawser/grpc/Connection"
import { Effect, Exit, Fiber, Result } from "effect"
import { call } from "../../support/channels.ts"

const trailers = Metadata.fromRecord({ "x-where": "trailers" })

/** A bridge over a queue and a wire that write down what they are told. */
const setup = (options: { readonly maxSendBytes?: number; readonly broken?: boolean } = {}) => {
  const log: Array<string> = []
  const time = { now: 0 }
  let borrow: Borrow<Connection, ConnectError> | undefined
  let listener: CallListener | undefined
  let started: StartOptions | undefined
  const connection: Connection = {
    peer: "a:1",
    start: (start, from) => {
      if (options.broken === true) throw new Error("no stream")
      started = start
      listener = from
      log.push("start")
      return {
        send: (bytes) => log.push(`send ${bytes.length}`),
        end: () => log.push("end"),
        read: () => log.push("read"),
        cancel: () => log.push("cancel")
      }
    }
  }
  const lease: Lease<Connection> = {
    _tag: "Lease",
    connection,
    endpoint: makeUnsafe({ addresses: ["a:1"] }),
    id: "a:1#7",
    get startedAt() {
      return time.now
    },
    responded: () => {},
    release: (outcome) => log.push(`release ${outcome}`),
    observe: () => {}
  }
  const channel = Bridge.make({
    borrowUnsafe: (asked) => {
      borrow = asked
      log.push("queue")
      return { leave: () => log.push("leave") }
    },
    maxSendBytes: options.maxSendBytes ?? 100,
    now: () => time.now
  })
  const begin = (one: Call.Call<string, string>) =>
    Effect.forkChild(Effect.result(channel.unary(one)), { startImmediately: true })
  const grant = () => borrow!.granted(lease)
  /** The error of a call that has ended. */
  const failed = (fiber: Fiber.Fiber<Result.Result<unknown, RpcError.RpcError>>) =>
    Effect.map(Fiber.join(fiber), (result) => {
      if (Result.isFailure(result)) return result.failure
      throw new Error("the call succeeded")
    })
  return {
    begin,
    borrow: () => borrow!,
    failed,
    grant,
    listener: () => listener!,
    log,
    started: () => started!,
    time
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
      const { begin, failed, grant, listener, log, time } = setup()
      const fiber = yield* begin(call({ attempt: 2 }))
      time.now = 40
      grant()
      const startedAt = time.now
      listener().onStatus(5, "gone", trailers, "Answered")
      const error = yield* failed(fiber)
      assert.strictEqual(verdict(error), "Answered: NotFound")
      assert.deepInclude(error, {
        attempts: 2,
        endpoint: "a:1",
        connection: "a:1#7",
        waitedMillis: startedAt,
        metadata: trailers
      })
      assert.deepStrictEqual(log, [...sent, "release Success"])
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
        assert.strictEqual((yield* Effect.fromResult(yield* Fiber.join(fiber))).message, "hi")
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
        const { begin, failed, log } = setup({ maxSendBytes: 2 })
        const error = yield* failed(yield* begin(call()))
        assert.strictEqual(verdict(error), "NotSent: ResourceExhausted")
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
      silent.listener().onStatus(0, "", Metadata.empty, "Answered")
      assert.strictEqual(verdict(yield* silent.failed(none)), "Answered: Internal")

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
})
