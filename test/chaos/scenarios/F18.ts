import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Proxies from "../kit/proxies.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 500

export const F18: Scenario = {
  id: "F-18",
  title: "the paths to all three flip one bit in 20,000 bytes",
  expect:
    "connections are dropped and replaced, each of 10,000 calls ends in time, the client lives, and is well afterwards",
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3)
      const proxies = yield* Effect.forEach(servers, ({ address }) => Proxies.start(address), { concurrency: 3 })
      const client = yield* Clients.start(stage, {
        target: Servers.targetOf(proxies),
        options: { deadline: deadlineMillis }
      })
      yield* client.ready(3)
      yield* Effect.forEach(proxies, ({ faults }) => faults({ flipEvery: 20_000 }))
      yield* client.load({ rps: 1_000, calls: 10_000 })
      yield* Effect.sleep("11 seconds")
      const ledger = yield* client.finish()
      yield* Effect.forEach(proxies, ({ faults, reset }) => Effect.andThen(faults({}), reset))
      yield* client.ready(3)
      yield* client.load({ name: "after", rps: 100, calls: 200 })
      yield* Effect.sleep("2500 millis")
      const after = yield* client.finish("after")
      // Plaintext has no checksum: a flipped bit may be an answer, or the fault of a call that TCP knows nothing of.
      return verdict(
        ledger,
        ledger.calls / 2,
        [
          { what: "connections dropped", value: client.count("Disconnected"), least: 10 },
          { what: "failed afterwards", value: after.failed, most: 0 },
          byDeadline(ledger, deadlineMillis)
        ],
        { failures: Object.fromEntries(Object.entries(ledger.failures).slice(0, 20)) }
      )
    })
}
