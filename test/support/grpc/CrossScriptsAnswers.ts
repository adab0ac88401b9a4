/** Scripts of the cross-check: what a server answers. */
import { Effect, Fiber, Stream } from "effect"
import { many, one } from "./CrossPeer.ts"
import { answer, forever, message, script, some, start, type Script } from "./CrossStage.ts"

/** Messages that wait for a reader on this side. */
const waiting = 16

/** Messages and statuses, in all ways. */
export const answers: ReadonlyArray<Script> = [
  script("a unary call is answered", { onCall: answer }, ({ calls }) => one(calls.unary(message))),
  script("a unary call gets a status alone", { onCall: (call) => call.status(5, "gone") }, ({ calls }) =>
    one(calls.unary(message))
  ),
  script(
    "a unary call gets a status after headers",
    {
      onCall: (call) => {
        call.headers()
        call.status(5, "gone")
      }
    },
    ({ calls }) => one(calls.unary(message))
  ),
  script(
    "a unary call gets two messages",
    {
      onCall: (call) => {
        call.message()
        call.message()
        call.status(0)
      }
    },
    ({ calls }) => one(calls.unary(message))
  ),
  script(
    "a unary call gets OK and no message",
    {
      onCall: (call) => {
        call.headers()
        call.status(0)
      }
    },
    ({ calls }) => one(calls.unary(message))
  ),
  script("a unary call gets OK alone", { onCall: (call) => call.status(0) }, ({ calls }) => one(calls.unary(message))),
  script("a unary call gets an answer and then an error", {}, ({ calls, client, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(one(calls.unary(message)))
      yield* until("begun", () => server.calls.length === 1)
      server.calls[0]!.message()
      yield* until("a message", () => client.heard[0]!.messages === 1)
      server.calls[0]!.status(13, "after all")
      return yield* Fiber.join(call)
    })
  ),
  script(
    "a stream of three messages",
    {
      onCall: (call) => {
        for (let n = 0; n < 3; n++) call.message(10)
        call.status(0)
      }
    },
    ({ calls }) => many(calls.download(message))
  ),
  script("a stream ends without a message", { onCall: (call) => call.status(0) }, ({ calls }) =>
    many(calls.download(message))
  ),
  script("a stream fails after two messages", {}, ({ calls, client, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(many(calls.download(message)))
      yield* until("begun", () => server.calls.length === 1)
      server.calls[0]!.message()
      server.calls[0]!.message()
      yield* until("two messages", () => client.heard[0]!.messages === 2)
      server.calls[0]!.status(13, "no more")
      return yield* Fiber.join(call)
    })
  ),
  script("a stream fails while its reader has not begun", {}, ({ calls, client, server, until }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const opening = yield* Effect.forkScoped(calls.download.replies(message), { startImmediately: true })
        yield* until("begun", () => server.calls.length === 1)
        for (let n = 0; n < waiting + 4; n++) server.calls[0]!.message()
        const replies = yield* Effect.orDie(Fiber.join(opening))
        yield* until("as many as wait here", () => client.heard[0]!.messages === waiting)
        server.calls[0]!.status(13, "no more")
        yield* until("failed", () => client.heard[0]!.status !== undefined)
        return yield* many(replies.messages)
      })
    )
  ),
  script("an upload is answered at its end", { requests: true }, ({ calls, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(one(calls.upload(some(3))))
      yield* until("all of it", () => server.calls[0]?.received === 3 && server.calls[0].halfClosed)
      answer(server.calls[0]!)
      return yield* Fiber.join(call)
    })
  ),
  script("an upload is answered before its end", { requests: true }, ({ calls, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(one(calls.upload(Stream.concat(some(2), forever))))
      yield* until("two requests", () => server.calls[0]?.received === 2)
      answer(server.calls[0]!)
      return yield* Fiber.join(call)
    })
  ),
  script("a chat ends on the server's side first", { requests: true }, ({ calls, client, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(many(calls.chat(Stream.concat(some(2), forever))))
      yield* until("two requests", () => server.calls[0]?.received === 2)
      server.calls[0]!.message()
      yield* until("a message", () => client.heard[0]!.messages === 1)
      server.calls[0]!.status(0)
      return yield* Fiber.join(call)
    })
  ),
  script(
    "a chat fails on the server's side while requests are to come",
    { requests: true, onCall: (call) => call.status(9, "enough") },
    ({ calls }) => many(calls.chat(forever))
  )
]

/** RST_STREAM, with every code that grpc-js knows. */
export const resets: ReadonlyArray<Script> = (
  [
    ["NO_ERROR", 0],
    ["PROTOCOL_ERROR", 1],
    ["INTERNAL_ERROR", 2],
    ["REFUSED_STREAM", 7],
    ["CANCEL", 8],
    ["ENHANCE_YOUR_CALM", 11],
    ["INADEQUATE_SECURITY", 12]
  ] as const
).flatMap(([name, code]) => [
  script(`a call is reset with ${name} before its headers`, { onCall: (call) => call.reset(code) }, ({ calls }) =>
    one(calls.unary(message))
  ),
  script(`a call is reset with ${name} after its headers`, {}, ({ calls, client, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(one(calls.unary(message)))
      yield* until("begun", () => server.calls.length === 1)
      server.calls[0]!.headers()
      yield* until("headers", () => client.heard[0]!.headers !== undefined)
      server.calls[0]!.reset(code)
      return yield* Fiber.join(call)
    })
  ),
  script(`a stream is reset with ${name} after a message`, {}, ({ calls, client, server, until }) =>
    Effect.gen(function* () {
      const call = yield* start(many(calls.download(message)))
      yield* until("begun", () => server.calls.length === 1)
      server.calls[0]!.message()
      yield* until("a message", () => client.heard[0]!.messages === 1)
      server.calls[0]!.reset(code)
      return yield* Fiber.join(call)
    })
  )
])
