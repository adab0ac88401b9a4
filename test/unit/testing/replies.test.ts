import { assert, describe, it } from "@effect/vitest"
import { Client } from "@hawser/grpc"
import { TestChannel } from "@hawser/testing"
import { Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { EchoService, type WatchReply } from "../../generated/echo.ts"

class Echo extends Client.Service<Echo>()("test/Echo", EchoService) {}

const request = { id: "w", count: 3, delayMillis: 0, payload: Buffer.alloc(0), failCode: 0 }
const answer: WatchReply = { index: 0, payload: Buffer.alloc(0), server: "a" }

/** The replies of a handler with one answer, and then nothing. */
const watched = Effect.gen(function* () {
  const handlers = { watch: () => Stream.concat(Stream.make(answer), Stream.never) }
  const echo = yield* Effect.provide(Echo, Layer.provide(Echo.layer, TestChannel.layerService(EchoService, handlers)))
  const scope = yield* Scope.make()
  const replies = yield* Scope.provide(echo.watch.replies(request), scope)
  return { close: Scope.close(scope, Exit.void), messages: replies.messages }
})

describe("the replies of a test channel, as those of a real one", () => {
  it.effect("are run once", () =>
    Effect.gen(function* () {
      const { messages } = yield* watched
      assert.lengthOf(yield* Stream.runCollect(Stream.take(messages, 1)), 1)
      const error = yield* Effect.flip(Stream.runDrain(messages))
      assert.deepInclude(error.reason, { _tag: "FailedPrecondition" })
      assert.strictEqual(error.connection, "test#1")
    })
  )

  it.effect("end in Cancelled when their scope closes under a reader, and after it", () =>
    Effect.gen(function* () {
      const { close, messages } = yield* watched
      const fiber = yield* Effect.forkChild(Effect.flip(Stream.runDrain(messages)), { startImmediately: true })
      yield* close
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error.reason, { _tag: "Cancelled" })
      assert.strictEqual(error.progress, "Answered")
      const late = yield* watched
      yield* late.close
      assert.deepInclude((yield* Effect.flip(Stream.runDrain(late.messages))).reason, { _tag: "Cancelled" })
    })
  )
})
