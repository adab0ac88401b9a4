/** Scripts of the cross-check: what happens to connections. */
import { Effect, Fiber, Schedule } from "effect"
import { client as connect, one } from "./CrossPeer.ts"
import { answer, inFlight, message, script, start, type Script, type Stage } from "./CrossStage.ts"

const disconnected = ({ client, until }: Stage) =>
  until("disconnected", () => client.events.some((event) => event.startsWith("Disconnected")))

/** Goodbyes, losses, and dials that fail. */
export const connections: ReadonlyArray<Script> = [
  inFlight("a server says goodbye in order to one call in flight, and another comes", 1, {}, (stage) =>
    Effect.gen(function* () {
      const { calls, server, until } = stage
      server.goAway()
      yield* disconnected(stage)
      const later = yield* start(one(calls.unary(message)))
      yield* until("the later one begun", () => server.calls.length === 3)
      answer(server.calls[2]!)
      const ended = yield* Fiber.join(later)
      answer(server.calls[1]!)
      return ended
    })
  ),
  inFlight("a server says goodbye in order while nothing is in flight", 0, {}, (stage) =>
    Effect.gen(function* () {
      stage.server.goAway()
      yield* disconnected(stage)
      const later = yield* start(one(stage.calls.unary(message)))
      yield* stage.until("begun", () => stage.server.calls.length === 2)
      answer(stage.server.calls[1]!)
      return yield* Fiber.join(later)
    })
  ),
  inFlight("a server says goodbye above the second of three calls in flight", 3, {}, (stage, fibers) =>
    Effect.gen(function* () {
      // 1 is the call that proved the connection.
      stage.server.goAway(5)
      const refused = yield* Fiber.join(fibers[2]!)
      answer(stage.server.calls[1]!)
      answer(stage.server.calls[2]!)
      return refused
    })
  ),
  ...([1, 2, 7, 8, 11, 12] as const).map((code) =>
    inFlight(`a server says goodbye with code ${code} and knows one of two calls in flight`, 2, {}, (stage) =>
      Effect.gen(function* () {
        stage.server.goAway(3, code)
        yield* disconnected(stage)
      })
    )
  ),
  inFlight("a connection breaks under two calls", 2, {}, (stage) =>
    Effect.gen(function* () {
      stage.server.cut()
      yield* disconnected(stage)
    })
  ),
  inFlight("a connection breaks, and another call comes", 1, {}, (stage) =>
    Effect.gen(function* () {
      stage.server.cut()
      yield* disconnected(stage)
      const later = yield* start(one(stage.calls.unary(message)))
      yield* stage.until("begun", () => stage.server.calls.length === 3)
      answer(stage.server.calls[2]!)
      return yield* Fiber.join(later)
    })
  ),
  inFlight("a server hangs up under two calls", 2, {}, (stage) =>
    Effect.gen(function* () {
      stage.server.hangUp()
      yield* disconnected(stage)
    })
  ),
  inFlight("a server stops and starts again", 1, { client: { reconnect: Schedule.spaced(300) } }, (stage) =>
    Effect.gen(function* () {
      const { calls, client, server, until } = stage
      yield* server.stop
      yield* until("refused", () => client.events.some((event) => event.startsWith("ConnectFailed")))
      const during = yield* one(calls.unary(message))
      yield* server.start
      const later = yield* start(one(calls.unary(message, { waitForReady: true })))
      yield* until("begun", () => server.calls.length === 3)
      answer(server.calls[2]!)
      return [during, yield* Fiber.join(later)]
    })
  ),
  inFlight("the client ends under a call", 1, {}, ({ close }) => close),
  {
    name: "nobody listens",
    play: (peer) =>
      Effect.scoped(
        Effect.gen(function* () {
          const client = yield* connect(peer, [yield* peer.nowhere])
          return { ended: yield* one(client.calls.unary(message)), heard: client.heard, events: client.events }
        })
      )
  },
  script(
    "a server accepts and never greets",
    { mute: true, client: { connections: { connectTimeout: 150 } } },
    ({ calls }) => one(calls.unary(message))
  ),
  ...(["cut", "hangUp"] as const).map((how) =>
    script(`a server ends the connection before it greets (${how})`, { mute: true }, ({ client, server, until }) =>
      Effect.gen(function* () {
        yield* until("accepted", () => server.accepted === 1)
        server[how]()
        yield* until("failed", () => client.events.some((event) => event.startsWith("ConnectFailed")))
      })
    )
  ),
  script("a deadline passes while a server does not greet", { mute: true }, ({ calls }) =>
    one(calls.unary(message, { timeout: 100 }))
  )
]
