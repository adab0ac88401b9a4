import { assert, describe, it } from "@effect/vitest"
import { Keepalive } from "@hawser/grpc"
import * as GrpcJs from "@hawser/grpc/GrpcJs"
import { Effect, Fiber, Stream } from "effect"
import * as ChildServer from "../support/grpc/ChildServer.ts"
import * as Client from "../support/grpc/client.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as Http2Server from "../support/grpc/Http2Server.ts"

const short = Keepalive.make({ time: 500, timeout: 500, serverPermits: "anything" })

/** A stream without an end and without a deadline, on a server of its own that freezes. */
const frozenStream = (options: Client.ClientOptions) =>
  Effect.gen(function* () {
    const server = yield* ChildServer.make("a")
    const client = yield* Client.make({ endpoints: [server.address], drain: 0, silence: false, ...options })
    yield* Effect.orDie(client.echo.echo(Client.request()))
    const stream = yield* Effect.forkScoped(Client.failure(Stream.runDrain(client.echo.chat(Stream.never))))
    yield* eventually("the stream runs", () => client.gauge.running === 1)
    const frozenAt = performance.now()
    yield* server.freeze
    const error = yield* Fiber.join(stream)
    return { client, error, millis: performance.now() - frozenAt, server }
  })

describe("keepalive", () => {
  it.live("ends a stream without a deadline on a frozen server", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { client, error, millis } = yield* frozenStream({ keepalive: short })
        assert.strictEqual(error.reason._tag, "Unavailable")
        assert.include(error.message, "No answer to a ping within 500ms")
        // Time, timeout, and 200 ms; what was heard last was heard before the freeze.
        assert.isAtMost(millis, 1_200)
        assert.strictEqual(client.count("Disconnected"), 1)
      })
    )
  )

  it.live("does so by grpc-js's own pings where its HTTP/2 sessions can't be found", () =>
    leavesNothing(
      Effect.gen(function* () {
        const transport = GrpcJs.make({ settings: false })
        const { client, error, millis } = yield* frozenStream({ keepalive: short, transport })
        assert.strictEqual(error.reason._tag, "Unavailable")
        assert.isAtMost(millis, 1_700)
        assert.strictEqual(client.count("Disconnected"), 1)
      })
    )
  )

  it.live("leaves a stream alone whose server is there", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => s.open())
        const client = yield* Client.make({ endpoints: [server.address], drain: 0, silence: false, keepalive: short })
        let pings = 0
        yield* Effect.forkScoped(Effect.ignore(Stream.runDrain(client.echo.chat(Stream.never))))
        yield* server.until("a session", ({ sessions }) => sessions.size > 0)
        for (const session of server.sessions) session.on("ping", () => pings++)
        yield* eventually("three pings", () => pings >= 3)
        assert.strictEqual(client.gauge.running, 1)
        assert.strictEqual(client.count("Disconnected"), 0)
      })
    )
  )
})

describe("a server that talks nonsense", () => {
  it.live("costs the calls on its connection, and none that follow", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make(Http2Server.polite)
        const client = yield* Client.make({ endpoints: [server.address], drain: 0 })
        let failed = 0
        let calls = 0
        const call = Effect.matchEffect(client.echo.echo(Client.request(), { timeout: "10 seconds" }), {
          onFailure: () => Effect.sync(() => failed++),
          onSuccess: () => Effect.sync(() => calls++)
        })
        const callers = yield* Effect.forkScoped(
          Effect.all(
            Array.from({ length: 20 }, () => Effect.repeat(call, { times: 100 })),
            { concurrency: "unbounded", discard: true }
          )
        )
        yield* eventually("some calls", () => calls > 200)
        // No frame has a length as this.
        for (const socket of server.sockets) socket.write(Buffer.alloc(64, 255))
        yield* Fiber.join(callers)
        assert.isAtMost(failed, 20)
        assert.isAtLeast(calls, 1_900)
      })
    )
  )
})

describe("a server that says too_many_pings", () => {
  it.live("is heard: the time doubles, and it is dialled once per step of the backoff", () =>
    leavesNothing(
      Effect.gen(function* () {
        const goodbye: Http2Server.Script = (s) => {
          Http2Server.polite(s)
          setImmediate(() => s.session.goaway(11, s.stream.id!, Buffer.from("too_many_pings")))
        }
        const server = yield* Http2Server.make(goodbye)
        const client = yield* Client.make({
          endpoints: [server.address],
          drain: 0,
          keepalive: Keepalive.make({ time: "10 minutes" })
        })
        const call = Effect.ignore(client.echo.echo(Client.request(), { timeout: "10 seconds" }))
        const began = performance.now()
        yield* call
        yield* client.until("the complaint", () => client.count("TooManyPings") === 1)
        yield* call
        yield* client.until("another complaint", () => client.count("TooManyPings") === 2)
        assert.isAtLeast(performance.now() - began, 800)
        assert.strictEqual(server.accepted, 2)
        assert.deepInclude(
          client.events.find((event) => event._tag === "TooManyPings"),
          { keepaliveMillis: 1_200_000 }
        )
        const lost = client.events.flatMap((event) => (event._tag === "Disconnected" ? [event.error.reason._tag] : []))
        assert.deepStrictEqual(lost, ["TooManyPings", "TooManyPings"])
      })
    )
  )
})
