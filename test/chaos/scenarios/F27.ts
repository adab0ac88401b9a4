import { Effect, Fiber, Schedule } from "effect"
import * as Clients from "../kit/clients.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 1_000
const maxStreams = 10
const maxWaiters = 50
const rps = 300
const slowMillis = 200

export const F27: Scenario = {
  id: "F-27",
  title: `all three take ten times as long, at twice what they can do then`,
  expect: "the queue stays bounded, what is too much is refused, retries don't add to it, what they can do is done",
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3, { delayMillis: slowMillis / 10, maxStreams })
      const client = yield* Clients.start(stage, {
        target: Servers.targetOf(servers),
        options: { deadline: deadlineMillis, connections: { max: 1 }, queue: { max: maxWaiters } }
      })
      yield* client.ready(3)
      // Until the code is compiled: a stall of the client itself would fill the queue, too.
      yield* client.load({ name: "warm", rps })
      yield* Effect.sleep("2 seconds")
      yield* client.finish("warm")
      const before = yield* Effect.forEach(servers, ({ count }) => count)
      yield* client.load({ rps })
      yield* Effect.sleep("2 seconds")
      yield* Effect.forEach(servers, ({ set }) => set({ delayMillis: slowMillis }))
      const slowAt = yield* Clients.now
      let waiting = 0
      const watching = yield* Effect.forkScoped(
        Effect.repeat(
          Effect.map(client.snapshot, ({ snapshot }) => (waiting = Math.max(waiting, snapshot.waiting))),
          Schedule.spaced("100 millis")
        )
      )
      yield* Effect.sleep(6_000 * stage.scale)
      const endedAt = yield* Clients.now
      yield* Fiber.interrupt(watching)
      const ledger = yield* client.finish()
      const slow = ledger.between(slowAt)
      const counts = yield* Effect.forEach(servers, ({ count }) => count)
      const attempts = counts.reduce((n, { started }, i) => n + started - before[i]!.started, 0)
      const capacity = (3 * maxStreams * (endedAt - slowAt)) / slowMillis
      // Refusals and calls that ran out of time are expected: there are twice as many as can be served.
      return verdict(ledger, slow.calls - 0.85 * capacity, [
        { what: "answered, of what could be", value: (slow.calls - slow.failed) / capacity, least: 0.85 },
        { what: "failed before", value: ledger.between(0, slowAt - deadlineMillis).failed, most: 0 },
        { what: "most waiters", value: waiting, least: 1, most: maxWaiters },
        { what: "attempts per call", value: attempts / ledger.calls, most: 1.2 },
        byDeadline(ledger, deadlineMillis)
      ])
    })
}
