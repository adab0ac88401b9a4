/** Scripts of the cross-check: stream limits, retries and flow control. */
import { Retry } from "@hawser/grpc"
import { Effect, Fiber, Latch, Schedule, Stream } from "effect"
import { type ServerOptions, many, one } from "./CrossPeer.ts"
import { answer, inFlight, message, script, start, type Script } from "./CrossStage.ts"

/** MAX_CONCURRENT_STREAMS, from the beginning and changed. */
export const limits: ReadonlyArray<Script> = [
  script("five calls under a limit of one", { limit: 1, client: { connections: { max: 1 } } }, (stage) =>
    Effect.gen(function* () {
      const { calls, client, server, until } = stage
      const fibers = yield* Effect.forEach(Array.from({ length: 5 }), () => start(one(calls.unary(message))))
      const seen: Array<unknown> = []
      for (let n = 0; n < 5; n++) {
        yield* until(`${n + 1} begun`, () => server.calls.length === n + 1)
        yield* until(`${4 - n} waiting`, () => client.cluster.waitingUnsafe() === 4 - n)
        seen.push(server.calls.length)
        answer(server.calls[n]!)
      }
      return [seen, yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))]
    })
  ),
  inFlight("a limit falls to one while three calls are in flight", 3, {}, (stage, fibers) =>
    Effect.gen(function* () {
      const { calls, client, server, until } = stage
      server.limit(1)
      // Sent after it, and so read after it.
      answer(server.calls[1]!)
      const first = yield* Fiber.join(fibers[0]!)
      const more = yield* Effect.forEach([4, 5], () => start(one(calls.unary(message))))
      yield* until("two waiting", () => client.cluster.waitingUnsafe() === 2)
      answer(server.calls[2]!)
      yield* Fiber.join(fibers[1]!)
      const before = [server.calls.length, client.cluster.waitingUnsafe()]
      answer(server.calls[3]!)
      yield* until("the fourth begun", () => server.calls.length === 5)
      const between = [server.calls.length, client.cluster.waitingUnsafe()]
      answer(server.calls[4]!)
      yield* until("the fifth begun", () => server.calls.length === 6)
      answer(server.calls[5]!)
      return [first, before, between, yield* Effect.forEach(more, (fiber) => Fiber.join(fiber))]
    })
  ),
  script(
    "a limit of none is raised",
    { limit: 0, onCall: answer, client: { connections: { max: 1 } } },
    ({ calls, client, server, until }) =>
      Effect.gen(function* () {
        yield* Effect.orDie(client.cluster.awaitReady())
        const call = yield* start(one(calls.unary(message)))
        yield* until("waiting", () => client.cluster.waitingUnsafe() === 1)
        const before = server.calls.length
        server.limit(2)
        return [before, yield* Fiber.join(call)]
      })
  ),
  inFlight("a limit falls to none and is raised", 1, {}, (stage, fibers) =>
    Effect.gen(function* () {
      const { calls, client, server, until } = stage
      server.limit(0)
      answer(server.calls[1]!)
      yield* Fiber.join(fibers[0]!)
      const call = yield* start(one(calls.unary(message)))
      yield* until("waiting", () => client.cluster.waitingUnsafe() === 1)
      const before = server.calls.length
      server.limit(2)
      yield* until("begun", () => server.calls.length === 3)
      answer(server.calls[2]!)
      return [before, yield* Fiber.join(call)]
    })
  )
]

/** Refuses the first call of all, whichever server has it. */
const refusingOnce = (): ServerOptions["onCall"] => {
  let refused = false
  return (call) => {
    if (refused) return answer(call)
    refused = true
    call.reset(7)
  }
}

/** Anew for each play: a retry has a budget of its own. */
const retry = () => ({ retry: Retry.make({ schedule: Schedule.spaced(20) }) })

/** What is sent again. */
export const retries: ReadonlyArray<Script> = [
  script(
    "a refused call is sent again to another server",
    () => ({ onCall: refusingOnce(), others: 1, client: retry() }),
    ({ calls, client }) => Effect.andThen(Effect.orDie(client.cluster.awaitReady(2)), one(calls.unary(message)))
  ),
  script(
    "a refused call is sent again to the only server",
    () => ({ onCall: refusingOnce(), client: retry() }),
    ({ calls }) => one(calls.unary(message))
  ),
  script(
    "a call that may have been processed is not sent again",
    () => ({ onCall: (call) => call.reset(2), client: retry() }),
    ({ calls }) => one(calls.unary(message))
  )
]

/** The first call gets many messages, the others an answer. */
const flood = (): ServerOptions["onCall"] => {
  let flooding = false
  return (call) => {
    if (flooding) return answer(call)
    flooding = true
    call.flood(most, large)
  }
}

/** So many messages of so many bytes, and how many of them the reader takes before it stops. */
const most = 100
const large = 10_000
const few = 3
/** 64 KiB for a stream, as much that Node reads before it stops, 16 that wait here, those that were read, and some. */
const ahead = 48
/** After so many turns nothing is on its way. */
const turns = 30

/** Messages faster than they are read. */
export const flows: ReadonlyArray<Script> = [
  script(
    "a slow reader holds its server back, and then gets everything",
    () => ({ onCall: flood() }),
    ({ calls, server, until }) =>
      Effect.gen(function* () {
        const gate = yield* Latch.make()
        let read = 0
        const slowly = Stream.mapEffect(calls.download(message), () => (++read < few ? Effect.void : gate.await))
        const call = yield* start(many(slowly))
        yield* until("stopped", () => read === few)
        // Each call on the same connection is a turn of both sides.
        yield* Effect.repeat(one(calls.unary(message)), { times: turns })
        const stopped = server.flooded
        yield* Effect.repeat(one(calls.unary(message)), { times: turns })
        const more = server.flooded - stopped
        yield* gate.open
        return [stopped >= few && stopped <= ahead ? "bounded" : stopped, more, yield* Fiber.join(call)]
      })
  )
]
