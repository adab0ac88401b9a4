import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, type Scope } from "effect"
import * as ChildServer from "../support/grpc/ChildServer.ts"
import * as Client from "../support/grpc/client.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"

const put = { id: "p", delayMillis: 0, failCode: 0 }

const three: Effect.Effect<ReadonlyArray<ChildServer.ChildServer>, never, Scope.Scope> = Effect.forEach(
  ["a", "b", "c"],
  (name) => ChildServer.make(name),
  { concurrency: 3 }
)

const times = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

/** A client of all of them that knows how long its calls take. */
const warm = (servers: ReadonlyArray<ChildServer.ChildServer>, options: Client.ClientOptions) =>
  Effect.gen(function* () {
    const client = yield* Client.make({ endpoints: servers.map((s) => s.address), drain: "100 millis", ...options })
    yield* Effect.orDie(client.cluster.awaitReady(servers.length))
    const calls = times(100).map((i) => (i % 2 === 0 ? client.echo.echo(Client.request()) : client.echo.put(put)))
    yield* Effect.orDie(Effect.forEach(calls, (call) => Effect.asVoid(call), { concurrency: 4 }))
    return client
  })

/** How many calls run on the connections to a server. */
const runningOn = (client: Client.TestClient, server: ChildServer.ChildServer): number =>
  client.gauge.connections.reduce((n, c) => n + (c.connection.peer === server.address ? c.running : 0), 0)
const startedOn = (client: Client.TestClient, server: ChildServer.ChildServer): number =>
  client.gauge.connections.reduce((n, c) => n + (c.connection.peer === server.address ? c.started : 0), 0)

describe("a frozen server", () => {
  it.live("costs no idempotent call with a deadline of 1 s, and is used again when it thaws", () =>
    leavesNothing(
      Effect.gen(function* () {
        const servers = yield* three
        const client = yield* warm(servers, { retry: undefined })
        const frozen = servers[0]!
        yield* frozen.freeze
        const before = startedOn(client, frozen)
        const calls = times(600).map(() =>
          client.echo.echo(Client.request({ delayMillis: 5 }), { timeout: "1 second" })
        )
        const replies = yield* Effect.orDie(Effect.forEach(calls, (call) => call, { concurrency: 12 }))
        // Some were sent to it before it was known to be silent. All were answered by others.
        assert.isAbove(startedOn(client, frozen), before)
        assert.deepStrictEqual([...new Set(replies.map((reply) => reply.server))].sort(), ["b", "c"])
        assert.isAbove(client.count("Quarantined"), 0)

        yield* frozen.thaw
        let thawed = false
        const until = performance.now() + 15_000
        while (!thawed && performance.now() < until) {
          thawed = (yield* Effect.orDie(client.echo.echo(Client.request({ delayMillis: 5 })))).server === "a"
        }
        assert.isTrue(thawed)
      })
    )
  )

  it.live("keeps a call that is not idempotent to its deadline, and that is all it costs", () =>
    leavesNothing(
      Effect.gen(function* () {
        const servers = yield* three
        const client = yield* warm(servers, { retry: undefined })
        const started = performance.now()
        const call = client.echo.put({ ...put, delayMillis: 600 }, { timeout: "1500 millis" })
        const calls = yield* Effect.forkScoped(
          Effect.forEach(times(12), () => Effect.result(call), { concurrency: 12 })
        )
        yield* eventually("all calls on their way", () => client.gauge.running === 12)
        // Whichever has most of them: on a busy machine one of the three may have none.
        const frozen = servers.toSorted((a, b) => runningOn(client, b) - runningOn(client, a))[0]!
        const caught = runningOn(client, frozen)
        yield* frozen.freeze
        const results = yield* Fiber.join(calls)
        const failed = results.flatMap((result) => (result._tag === "Failure" ? [result.failure] : []))
        assert.isAtLeast(performance.now() - started, 1_500)
        assert.lengthOf(failed, caught)
        for (const error of failed) {
          assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", by: "Us", phase: "Sent" })
          assert.strictEqual(error.progress, "MaybeProcessed")
          assert.strictEqual(error.endpoint, frozen.address)
          assert.strictEqual(error.attempts, 1)
        }
      })
    )
  )

  it.live("loses its load when its calls are interrupted, without any detection of silence", () =>
    leavesNothing(
      Effect.gen(function* () {
        const servers = yield* three
        const client = yield* warm(servers, { silence: false })
        const frozen = servers[2]!
        yield* frozen.freeze
        const before = startedOn(client, frozen)
        let interrupted = 0
        for (const _ of times(300)) {
          const answer = yield* Effect.raceFirst(
            Effect.orDie(client.echo.echo(Client.request())),
            Effect.as(Effect.sleep(100), undefined)
          )
          if (answer === undefined) interrupted++
        }
        assert.strictEqual(startedOn(client, frozen) - before, interrupted)
        // A third of them, were an interrupt to teach nothing.
        assert.isAtMost(interrupted, 15)
        assert.strictEqual((yield* client.cluster.snapshot).root.inFlight, 0)
      })
    )
  )
})
