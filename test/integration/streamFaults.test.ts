import { assert, describe, it } from "@effect/vitest"
import { Client as GrpcClient, RpcError } from "@hawser/grpc"
import * as StreamCall from "@hawser/grpc/StreamCall"
import { Cause, Data, Effect, Exit, Fiber, Metric, Scope, Stream } from "effect"
import { EchoService, type WatchRequest } from "../generated/echo.ts"
import * as Client from "../support/grpc/client.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as Http2Server from "../support/grpc/Http2Server.ts"
import * as StreamServer from "../support/grpc/StreamServer.ts"

class Spilled extends Data.TaggedError("Spilled")<{}> {}

const request = (options: Partial<WatchRequest> = {}): WatchRequest => ({
  id: "",
  count: 0,
  delayMillis: 0,
  payload: Buffer.alloc(0),
  failCode: 0,
  ...options
})
const chunk = { id: "", payload: Buffer.alloc(10) }
/** More than a peer takes that does not read. */
const big = { id: "", payload: Buffer.alloc(1_000_000) }
const bad = { id: "?", payload: Buffer.from("?") }

const refuse = (payload: Buffer) => {
  if (payload.equals(bad.payload)) throw new Error("no such field")
}
/** Its codecs refuse `bad` on its way out, and number 3 on its way in. */
const Refusing = {
  upload: {
    ...EchoService.upload,
    requestSerialize: (value: typeof chunk) => {
      refuse(value.payload)
      return EchoService.upload.requestSerialize(value)
    }
  },
  chat: {
    ...EchoService.chat,
    requestSerialize: (value: typeof chunk) => {
      refuse(value.payload)
      return EchoService.chat.requestSerialize(value)
    }
  },
  watch: {
    ...EchoService.watch,
    responseDeserialize: (bytes: Buffer) => {
      const reply = EchoService.watch.responseDeserialize(bytes)
      if (reply.index === 3) throw new Error("no such field")
      return reply
    }
  }
} as const

const verdict = (error: unknown): string => {
  if (!RpcError.isRpcError(error)) return String(error)
  const { progress, reason } = error
  return `${progress}: ${reason._tag}${"phase" in reason ? ` in ${reason.phase}` : ""}`
}

/** Requests, how many were pulled, and whether they are over. */
const source = (requests: Stream.Stream<typeof chunk, unknown>) => {
  const state = { pulled: 0, ended: 0 }
  const stream = requests.pipe(
    Stream.rechunk(1),
    Stream.tap(() => Effect.sync(() => state.pulled++)),
    Stream.ensuring(Effect.sync(() => state.ended++))
  )
  return { state, stream }
}

/** A client with one connection, and on it another call that must not be harmed. */
const setup = Effect.gen(function* () {
  const server = yield* StreamServer.make()
  const client = yield* Client.make({ endpoints: [server.address], connections: { min: 1, max: 1 }, drain: 0 })
  const other = yield* client.echo.watch.replies(request())
  const pull = yield* Stream.toPull(other.messages)
  const inFlight = Effect.map(client.cluster.snapshot, (s) => s.root.inFlight)
  /** So many calls were cancelled at the server, and nothing else has happened. */
  const unharmed = (cancelled: number) =>
    Effect.gen(function* () {
      yield* server.until("cancelled", () => server.cancelled === cancelled)
      assert.strictEqual(yield* inFlight, 1)
      assert.isNotEmpty(yield* Effect.orDie(pull))
      assert.strictEqual(client.count("Disconnected"), 0)
    })
  return { client, echo: client.echo, inFlight, refusing: GrpcClient.make(Refusing, client.channel), server, unharmed }
})

describe("requests that can't be sent", () => {
  it.live.each([1, 5])("cancel their call at number %i, and no other", (at) =>
    leavesNothing(
      Effect.gen(function* () {
        const { refusing, unharmed } = yield* setup
        const requests = () => source(Stream.range(1, 9).pipe(Stream.map((n) => (n === at ? bad : chunk))))
        const up = requests()
        assert.strictEqual(verdict(yield* Effect.flip(refusing.upload(up.stream))), "MaybeProcessed: Internal")
        yield* unharmed(1)
        const both = requests()
        const error = yield* Effect.flip(Stream.runDrain(refusing.chat(both.stream)))
        assert.strictEqual(verdict(error), "MaybeProcessed: Internal")
        yield* unharmed(2)
        assert.deepStrictEqual(
          [up.state, both.state],
          [
            { pulled: at, ended: 1 },
            { pulled: at, ended: 1 }
          ]
        )
      })
    )
  )

  const faults: ReadonlyArray<
    readonly [string, Stream.Stream<never, unknown>, (cause: Cause.Cause<unknown>) => boolean]
  > = [
    ["fail", Stream.fail(new Spilled()), (cause) => Cause.squash(cause) instanceof Spilled],
    ["die", Stream.die(new Spilled()), Cause.hasDies],
    [
      "throw in their construction",
      Stream.suspend(() => {
        throw new Spilled()
      }),
      Cause.hasDies
    ],
    ["are interrupted", Stream.fromEffect(Effect.interrupt), Cause.hasInterruptsOnly]
  ]
  for (const [how, fault, is] of faults) {
    it.live(`since they ${how} cancel their call with their own cause, and no other`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const { echo, server, unharmed } = yield* setup
          const fails = (call: Effect.Effect<unknown, unknown>) =>
            Effect.map(Effect.exit(call), (exit) => assert.isTrue(Exit.isFailure(exit) && is(exit.cause), String(exit)))
          const later = Stream.concat(Stream.make(chunk, chunk), fault)
          yield* fails(echo.upload(later))
          yield* unharmed(1)
          yield* fails(Stream.runDrain(echo.chat(later)))
          yield* unharmed(2)
          // Whether the server hears of those is a matter of the moment.
          yield* fails(echo.upload(fault))
          yield* fails(Stream.runDrain(echo.chat(fault)))
          yield* server.until("over", () => server.ended === server.started - 1)
        })
      )
    )
  }

  it.live("since they never come are ended by the deadline", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { echo, unharmed } = yield* setup
        const { state, stream } = source(Stream.never)
        const up = yield* Effect.flip(echo.upload(stream, { timeout: 300 }))
        // The server holds the same deadline, and on a busy machine may be the first to say so.
        const passed = /^(MaybeProcessed|Answered): DeadlineExceeded in Sent$/
        assert.match(verdict(up), passed)
        yield* unharmed(1)
        const both = yield* Effect.flip(Stream.runDrain(echo.chat(stream, { timeout: 300 })))
        assert.match(verdict(both), passed)
        yield* unharmed(2)
        assert.deepStrictEqual(state, { pulled: 0, ended: 2 })
      })
    )
  )

  it.live("since the server never reads are ended by the deadline", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { echo, server, unharmed } = yield* setup
        server.holding = true
        const { state, stream } = source(Stream.forever(Stream.make(big)))
        const error = yield* Effect.flip(echo.upload(stream, { timeout: 300 }))
        assert.strictEqual(verdict(error), "MaybeProcessed: DeadlineExceeded in Sent")
        yield* unharmed(1)
        assert.deepStrictEqual(state, { pulled: 1, ended: 1 })
      })
    )
  )

  it.live("since the server never reads are ended by an interrupt", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { echo, server, unharmed } = yield* setup
        server.holding = true
        const { state, stream } = source(Stream.forever(Stream.make(big)))
        const fiber = yield* Effect.forkChild(echo.upload(stream))
        yield* server.until("started", () => server.started === 2)
        yield* eventually("pulled", () => state.pulled === 1)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(state, { pulled: 1, ended: 1 })
        yield* unharmed(1)
      })
    )
  )
})

describe("a server that has answered before it was asked all", () => {
  const waits: ReadonlyArray<readonly [string, Stream.Stream<typeof chunk>]> = [
    ["while the next request is waited for", Stream.concat(Stream.make(chunk), Stream.never)],
    ["while requests come without end", Stream.forever(Stream.make(chunk))],
    ["while the transport takes a request", Stream.forever(Stream.make(big))]
  ]
  for (const [when, requests] of waits) {
    it.live(`ends the requests with OK, ${when}`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* Http2Server.make((s) => {
            s.stream.pause()
            Http2Server.polite(s)
          })
          const client = yield* Client.make({ endpoints: [server.address] })
          const { state, stream } = source(requests)
          const reply = yield* client.echo.upload.reply(stream)
          assert.strictEqual(reply.message.messages, 0)
          assert.strictEqual(state.ended, 1)
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { messages } = yield* client.echo.chat.replies(stream)
              assert.lengthOf(yield* Stream.runCollect(messages), 1)
              // The scope is still open.
              yield* eventually("over", () => state.ended === 2)
              assert.strictEqual((yield* client.cluster.snapshot).root.inFlight, 0)
            })
          )
          assert.strictEqual(client.count("Disconnected"), 0)
        })
      )
    )
  }
})

describe("answers", () => {
  it.live("that their codec can't read cancel their call after those before, and no other", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { refusing, unharmed } = yield* setup
        const seen: Array<number> = []
        const error = yield* refusing.watch(request()).pipe(
          Stream.runForEach(({ index }) => Effect.sync(() => seen.push(index))),
          Effect.flip
        )
        assert.strictEqual(verdict(error), "Answered: Internal")
        assert.deepStrictEqual(seen, [0, 1, 2])
        yield* unharmed(1)
      })
    )
  )

  it.live("that nobody reads are no more than the window, and end by the deadline", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { client, echo, server, unharmed } = yield* setup
        const { messages } = yield* echo.watch.replies(request({ payload: Buffer.alloc(10_000) }), { timeout: 300 })
        yield* server.until("cancelled", () => server.cancelled === 1)
        yield* eventually("over", () => client.gauge.running === 1)
        yield* unharmed(1)
        let read = 0
        const error = yield* Effect.flip(Stream.runForEach(messages, () => Effect.sync(() => read++)))
        assert.strictEqual(read, StreamCall.window)
        assert.strictEqual(verdict(error), "Answered: DeadlineExceeded in Receiving")
      })
    )
  )

  it.live("that nobody reads end with the drain of the layer", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const layer = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const options = { endpoints: [server.address], drain: "50 millis" } as const
        const { echo } = yield* Scope.provide(Client.make(options), layer)
        const { messages, trailers } = yield* echo.watch.replies(request())
        yield* Scope.close(layer, Exit.void)
        yield* trailers
        const error = yield* Effect.flip(Stream.runDrain(messages))
        assert.strictEqual(verdict(error), "Answered: Unavailable")
        yield* server.until("cancelled", () => server.cancelled === 1)
      })
    )
  )

  it.live("are run once, and not after their scope", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { echo, unharmed } = yield* setup
        const { messages: twice } = yield* echo.watch.replies(request({ count: 3 }))
        assert.lengthOf(yield* Stream.runCollect(twice), 3)
        assert.strictEqual(verdict(yield* Effect.flip(Stream.runDrain(twice))), "Answered: FailedPrecondition")
        const { messages: late } = yield* Effect.scoped(echo.watch.replies(request()))
        assert.strictEqual(verdict(yield* Effect.flip(Stream.runDrain(late))), "Answered: Cancelled")
        yield* unharmed(1)
      })
    )
  )
})

describe("a stream is counted", () => {
  /** How the calls of a method have ended. */
  const statuses = Effect.map(Metric.snapshot, (all) =>
    all
      .filter(({ id }) => id === "grpc.client.call.duration")
      .filter(({ attributes }) => attributes?.["grpc.method"] === "hawser.test.v1.Echo/Watch")
      .map(({ attributes, state }) => `${(state as { readonly count: number }).count} ${attributes?.["grpc.status"]}`)
      .toSorted()
  )
  const isolated = <A, E, R>(test: Effect.Effect<A, E, R>) =>
    leavesNothing(Effect.provideService(test, Metric.MetricRegistry, new Map()))
  const connect = Effect.flatMap(StreamServer.make(), (server) => Client.make({ endpoints: [server.address] }))

  it.live("as CANCELLED when its reader leaves it", () =>
    isolated(
      Effect.gen(function* () {
        const { echo } = yield* connect
        yield* Stream.runDrain(Stream.take(echo.watch(request()), 3))
        assert.deepStrictEqual(yield* statuses, ["1 CANCELLED"])
      })
    )
  )

  it.live("as CANCELLED when its reader fails, or is interrupted", () =>
    isolated(
      Effect.gen(function* () {
        const { echo } = yield* connect
        yield* Effect.flip(Stream.runForEach(echo.watch(request()), () => Effect.fail(new Spilled())))
        assert.deepStrictEqual(yield* statuses, ["1 CANCELLED"])
        yield* Stream.runForEach(echo.watch(request()), () => Effect.interrupt).pipe(Effect.exit)
        assert.deepStrictEqual(yield* statuses, ["2 CANCELLED"])
      })
    )
  )

  it.live("by its status where that was here when its reader left", () =>
    isolated(
      Effect.gen(function* () {
        const { echo } = yield* connect
        const leave = (failCode: number) =>
          Effect.scoped(
            Effect.gen(function* () {
              const { messages, trailers } = yield* echo.watch.replies(request({ count: 3, failCode }))
              yield* trailers
              // An error may overtake what was not asked for yet.
              yield* Effect.ignore(Stream.runDrain(Stream.take(messages, 1)))
              return yield* statuses
            })
          )
        assert.deepStrictEqual(yield* leave(0), ["1 OK"])
        assert.deepStrictEqual(yield* leave(5), ["1 NOT_FOUND", "1 OK"])
        assert.deepStrictEqual(yield* statuses, ["1 NOT_FOUND", "1 OK"])
      })
    )
  )

  it.live("as OK when it is read to its end", () =>
    isolated(
      Effect.gen(function* () {
        const { echo } = yield* connect
        yield* Stream.runDrain(echo.watch(request({ count: 3 })))
        assert.deepStrictEqual(yield* statuses, ["1 OK"])
      })
    )
  )
})
