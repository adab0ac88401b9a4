/** Scripts of the cross-check: calls that this side ends. */
import { Effect, Fiber, Stream } from "effect"
import { many, one } from "./CrossPeer.ts"
import { answer, forever, message, script, some, start, type Script } from "./CrossStage.ts"

/** Deadlines, interrupts, and streams that fail or are left. */
export const ends: ReadonlyArray<Script> = [
  script("a deadline passes while a handler is silent", {}, ({ calls, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(one(calls.unary(message, { timeout: 200 })))
      yield* until("begun", () => server.calls.length === 1)
      const ended = yield* Fiber.join(call)
      yield* until("cancelled", () => server.calls[0]!.cancelled)
      return ended
    })
  ),
  script("a deadline passes after headers", { onCall: (call) => call.headers() }, ({ calls, server, until }) =>
    Effect.gen(function* () {
      const ended = yield* one(calls.unary(message, { timeout: 200 }))
      yield* until("cancelled", () => server.calls[0]!.cancelled)
      return ended
    })
  ),
  script(
    "a deadline passes in the middle of a stream",
    { onCall: (call) => call.message() },
    ({ calls, server, until }) =>
      Effect.gen(function* () {
        const ended = yield* many(calls.download(message, { timeout: 200 }))
        yield* until("cancelled", () => server.calls[0]!.cancelled)
        return ended
      })
  ),
  script("a unary call is interrupted", {}, ({ calls, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(one(calls.unary(message)))
      yield* until("begun", () => server.calls.length === 1)
      yield* Fiber.interrupt(call)
      yield* until("cancelled", () => server.calls[0]!.cancelled)
    })
  ),
  script("a unary call is interrupted in the queue", { limit: 1, client: { connections: { max: 1 } } }, (stage) =>
    Effect.gen(function* () {
      const { calls, client, server, until } = stage
      const first = yield* start(one(calls.unary(message)))
      yield* until("begun", () => server.calls.length === 1)
      const second = yield* start(one(calls.unary(message)))
      yield* until("waiting", () => client.cluster.waitingUnsafe() === 1)
      yield* Fiber.interrupt(second)
      answer(server.calls[0]!)
      return [client.cluster.waitingUnsafe(), yield* Fiber.join(first)]
    })
  ),
  script(
    "a stream is interrupted after a message",
    { onCall: (call) => call.message() },
    ({ calls, client, server, until }) =>
      Effect.gen(function* () {
        const call = yield* start(many(calls.download(message)))
        yield* until("a message", () => client.heard[0]?.messages === 1)
        yield* Fiber.interrupt(call)
        yield* until("cancelled", () => server.calls[0]!.cancelled)
      })
  ),
  script(
    "a stream's reader leaves after two messages",
    {
      onCall: (call) => {
        call.message()
        call.message()
      }
    },
    ({ calls, server, until }) =>
      Effect.gen(function* () {
        const ended = yield* many(Stream.take(calls.download(message), 2))
        yield* until("cancelled", () => server.calls[0]!.cancelled)
        return ended
      })
  ),
  script("an upload is interrupted", { requests: true }, ({ calls, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(one(calls.upload(Stream.concat(some(2), forever))))
      yield* until("two requests", () => server.calls[0]?.received === 2)
      yield* Fiber.interrupt(call)
      yield* until("cancelled", () => server.calls[0]!.cancelled)
    })
  ),
  script("a deadline passes in the middle of an upload", { requests: true }, ({ calls, server, until }) =>
    Effect.gen(function* () {
      const ended = yield* one(calls.upload(Stream.concat(some(2), forever), { timeout: 200 }))
      yield* until("cancelled", () => server.calls[0]!.cancelled)
      return ended
    })
  ),
  script("an upload's requests fail", { requests: true }, ({ calls, server, until }) =>
    Effect.gen(function* () {
      const reached = () => server.calls[0]?.received === 2
      const requests = Stream.concat(
        some(2),
        Stream.unwrap(Effect.as(until("two requests", reached), Stream.fail("broken requests")))
      )
      const ended = yield* one(calls.upload(requests))
      yield* until("cancelled", () => server.calls[0]!.cancelled)
      return ended
    })
  ),
  script("a chat's requests fail", { requests: true }, ({ calls, client, server, until }) =>
    Effect.gen(function* () {
      const reached = () => server.calls[0]?.received === 1
      const requests = Stream.concat(
        some(1),
        Stream.unwrap(
          Effect.gen(function* () {
            yield* until("a request", reached)
            server.calls[0]!.message()
            yield* until("a message", () => client.heard[0]!.messages === 1)
            return Stream.fail("broken requests")
          })
        )
      )
      const ended = yield* many(calls.chat(requests))
      yield* until("cancelled", () => server.calls[0]!.cancelled)
      return ended
    })
  )
]
