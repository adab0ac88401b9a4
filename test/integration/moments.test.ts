/**
 * Calls of all kinds that are given up at any moment leave nothing behind, here or at the server.
 *
 * A moment is a number of microtasks, of turns of the event loop, or of messages of the call itself, drawn from a seed that
 * the title of the test says. `HAWSER_SEED=123 npx vitest run test/integration/moments.test.ts` draws the same ones again;
 * `HAWSER_MOMENTS=10000` draws so many.
 */
import { assert, describe, it } from "@effect/vitest"
import { sessionOf } from "@hawser/grpc/GrpcJsSettings"
import type { GrpcJsCall } from "@hawser/grpc/GrpcJsCall"
import { Deferred, Effect, Exit, Fiber, Metric, Scope, Stream } from "effect"
import { Dice } from "../support/core/prng.ts"
import * as Client from "../support/grpc/client.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as FlowMoments from "../support/grpc/FlowMoments.ts"

const seed = Number(process.env["HAWSER_SEED"] ?? 20_261_120)
const moments = Number(process.env["HAWSER_MOMENTS"] ?? 400)
/** A Node server cuts a connection that resets more than a thousand streams at once, so that each of these has its own. */
const perServer = 400
/** More at once than there are streams, so that some are given up in the queue. */
const lanes = 24
const connections = { min: 2, max: 2, streamsPerConnection: 8 }

/** Counts what is alive. */
class Alive {
  fibers = 0
  /** Streams of requests that were begun and not ended. */
  sources = 0
  readonly recordFiberStart = () => void this.fibers++
  readonly recordFiberEnd = () => void this.fibers--
}

/** Comes after a drawn number of microtasks, turns, or messages of its call; at the latest when that has ended. */
class Moment {
  readonly come = Deferred.makeUnsafe<void>()
  private left = Infinity
  readonly what: string

  constructor(dice: Dice) {
    this.what = dice.oneOf(["microtasks", "turns", "turns", "messages", "messages"])
    const n = dice.below(this.what === "turns" ? 30 : 20)
    if (this.what === "turns") FlowMoments.afterTurns(n, this.reach)
    else if (this.what === "messages") this.left = n
    else this.microtasks(n)
    this.message()
  }

  readonly reach = (): void => void Deferred.doneUnsafe(this.come, Exit.void)

  readonly message = (): void => {
    if (this.left-- <= 0) this.reach()
  }

  private microtasks(n: number): void {
    if (n === 0) this.reach()
    else queueMicrotask(() => this.microtasks(n - 1))
  }
}

type Echo = Client.TestClient["echo"]

interface Drawn {
  readonly call: Effect.Effect<unknown, unknown, Scope.Scope>
  /** Whether the end of the scope alone ends it. */
  readonly held: boolean
}

/** A call of a drawn kind. Its messages count, both ways. */
const callOf = (dice: Dice, echo: Echo, alive: Alive, moment: Moment): Drawn => {
  const payload = Buffer.alloc(dice.oneOf([0, 100, 10_000]))
  const delayMillis = dice.below(20)
  const failCode = dice.chance(0.1) ? 5 : 0
  const id = "m"
  const messages = dice.oneOf([0, 1, 5, 50, Infinity])
  const requests = Stream.fromIterable({
    *[Symbol.iterator]() {
      for (let i = 0; i < messages; i++) yield { id, payload }
    }
  }).pipe(
    Stream.rechunk(1),
    Stream.tap(() => Effect.sync(moment.message)),
    (stream) => (dice.chance(0.1) ? Stream.concat(stream, Stream.fail("spilled")) : stream),
    (stream) =>
      Stream.unwrap(
        Effect.as(
          Effect.acquireRelease(
            Effect.sync(() => alive.sources++),
            () => Effect.sync(() => alive.sources--)
          ),
          stream
        )
      )
  )
  const most = dice.chance(0.3) ? dice.below(20) : Infinity
  const read = <E>(replies: { readonly messages: Stream.Stream<unknown, E> }) => {
    moment.message()
    const seen = Stream.tap(replies.messages, () => Effect.sync(moment.message))
    return Stream.runDrain(most === Infinity ? seen : Stream.take(seen, most))
  }
  switch (dice.oneOf(["echo", "put", "upload", "watch", "watch", "chat", "chat"])) {
    case "echo":
      return { held: false, call: echo.echo({ id, payload, delayMillis, failCode }) }
    case "put":
      return { held: false, call: echo.put({ id, delayMillis, failCode: 0 }) }
    case "upload":
      return { held: false, call: echo.upload(requests) }
    case "watch": {
      const count = Number.isFinite(messages) ? messages + 1 : 0
      const request = { id, count, delayMillis, payload, failCode: 0 }
      return { held: true, call: Effect.flatMap(echo.watch.replies(request), read) }
    }
    default:
      return { held: true, call: Effect.flatMap(echo.chat.replies(requests), read) }
  }
}

/** One call, given up in one of three ways. */
const one = (dice: Dice, echo: Echo, alive: Alive) =>
  Effect.gen(function* () {
    const moment = new Moment(dice)
    const drawn = callOf(dice, echo, alive, moment)
    const call = drawn.call.pipe(Effect.exit, Effect.tap(Effect.sync(moment.reach)))
    const come = Deferred.await(moment.come)
    switch (dice.oneOf(["interrupt", "close", "race"])) {
      case "interrupt": {
        const fiber = yield* Effect.forkChild(Effect.scoped(call))
        yield* come
        return yield* Fiber.interrupt(fiber)
      }
      case "close": {
        // The reader of a stream is not interrupted: it must come to its end when the scope of its call does.
        const scope = yield* Scope.make()
        const run = Scope.provide(call, scope)
        const fiber = yield* drawn.held ? Effect.forkChild(run) : Effect.forkIn(run, scope)
        yield* come
        yield* Scope.close(scope, Exit.void)
        return yield* Fiber.await(fiber)
      }
      default:
        return yield* Effect.raceFirst(Effect.scoped(call), come)
    }
  })

const count = (kind: string): number => process.getActiveResourcesInfo().filter((one) => one === kind).length

/** What grpc-js and the adapter hold of a connection, along private paths. */
const insides = (client: Client.TestClient) =>
  client.gauge.connections.map(({ connection }) => {
    const { newest, channel } = connection as unknown as {
      readonly newest: GrpcJsCall | undefined
      readonly channel: Parameters<typeof sessionOf>[0]
    }
    const session = sessionOf(channel)!
    const listeners = session.eventNames().reduce((n, name) => n + session.listenerCount(name), 0)
    let calls = 0
    for (let call = newest; call !== undefined; call = call.prev) calls++
    return { calls, listeners }
  })

describe("calls that are given up at any moment", () => {
  it.live(
    `leave nothing behind (${moments} moments, HAWSER_SEED=${seed})`,
    () =>
      leavesNothing(
        Effect.gen(function* () {
          const alive = new Alive()
          const round = Effect.fn(function* (first: number, size: number) {
            const server = yield* FlowMoments.make
            const client = yield* Client.make({ endpoints: [server.address], connections, silence: false })
            yield* Effect.orDie(client.cluster.awaitReady())
            yield* eventually("both connected", () => client.gauge.connections.length === 2)
            const all = (n: number, seed: number) =>
              Effect.forEach(Array.from({ length: n }), (_, i) => one(new Dice(seed + i), client.echo, alive), {
                concurrency: lanes,
                discard: true
              })
            const left = Effect.gen(function* () {
              const snapshot = yield* client.cluster.snapshot
              return {
                inFlight: snapshot.root.inFlight,
                waiting: client.cluster.waitingUnsafe(),
                onWire: client.gauge.running,
                insides: insides(client),
                sources: alive.sources,
                sockets: count("TCPSocketWrap"),
                openAtServer: server.open.size,
                streamsAtServer: server.streams
              }
            })
            // The server may hear of an end before the adapter has its status.
            const settled = eventually(
              "free of calls",
              () => server.open.size === 0 && server.streams === 0 && insides(client).every(({ calls }) => calls === 0),
              () => [server.open.size, server.streams, insides(client)]
            )
            // Whatever is made once is made now.
            yield* all(lanes, -lanes)
            yield* settled
            const before = yield* left
            // The connections' own may become fewer.
            const timers = count("Timeout")
            const { fibers } = alive
            assert.deepStrictEqual([before.inFlight, before.waiting, before.onWire, before.sources], [0, 0, 0, 0])
            yield* all(size, first)
            // Here everything is over at once, at the server when it has heard of it.
            const { inFlight, onWire, sources, waiting } = yield* left
            assert.deepStrictEqual([inFlight, waiting, onWire, sources], [0, 0, 0, 0])
            assert.isAtMost(alive.fibers, fibers)
            yield* settled
            if (process.env["HAWSER_VERBOSE"] !== undefined) console.log(server.begun, server.cancelled, before)
            assert.deepStrictEqual(yield* left, before)
            yield* eventually("free of timers", () => count("Timeout") <= timers)
            assert.isAbove(server.cancelled, size / 20, "too few were given up at the server for the test to tell")
          })
          for (let at = 0; at < moments; at += perServer) {
            yield* Effect.scoped(round(seed + at, Math.min(perServer, moments - at))).pipe(
              Effect.provideService(Metric.FiberRuntimeMetrics, alive)
            )
            assert.strictEqual(alive.fibers, 0)
          }
        })
      ),
    600_000
  )
})
