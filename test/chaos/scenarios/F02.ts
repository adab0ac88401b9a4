import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 1_000

export const F02: Scenario = {
  id: "F-02",
  title: "SIGKILL of all three, restarted after 5 s",
  expect: "calls fail in time while all are gone, all three are ready within 10 s of the restart, no waiter is stuck",
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3)
      const target = Servers.targetOf(servers)
      const client = yield* Clients.start(stage, { target, options: { deadline: deadlineMillis } })
      yield* client.ready(3)
      yield* client.load({ rps: 100 })
      yield* Effect.sleep("1 second")
      const killedAt = yield* Clients.now
      yield* Effect.forEach(servers, ({ kill }) => kill)
      yield* Effect.sleep("5 seconds")
      yield* Effect.forEach(servers, ({ name, port }) => Servers.start({ name, port }), { concurrency: 3 })
      const restartedAt = yield* Clients.now
      const ready = yield* client.ready(3, 15)
      const readyAt = yield* Clients.now
      yield* Effect.sleep("1 second")
      const ledger = yield* client.finish()
      const { snapshot } = yield* client.snapshot
      const outage = ledger.between(killedAt - deadlineMillis, readyAt)
      return verdict(ledger, outage.failed, [
        { what: "ready after, s", value: ready ? (readyAt - restartedAt) / 1_000 : Infinity, most: 10 },
        {
          what: "first answer after, s",
          value: ((ledger.firstOk(restartedAt) ?? Infinity) - restartedAt) / 1_000,
          most: 10
        },
        { what: "waiters left", value: snapshot.waiting, most: 0 },
        byDeadline(ledger, deadlineMillis)
      ])
    })
}
