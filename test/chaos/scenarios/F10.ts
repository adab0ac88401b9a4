import { Effect, Schedule } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Namespaces from "../kit/namespaces.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

export const F10: Scenario = {
  id: "F-10",
  title: "RST of all sockets every 500 ms (ss -K)",
  expect: "at least 99.9 % of the idempotent calls succeed, at most 2 dials per second and member, no socket is left",
  needs: ["namespaces"],
  play: (stage) =>
    Effect.gen(function* () {
      const namespace = yield* Namespaces.make()
      const servers = yield* Servers.startMany(3, { namespace })
      const client = yield* Clients.start(stage, { target: Servers.targetOf(servers), namespace })
      yield* client.ready(3)
      yield* client.load({ rps: 300 })
      yield* Effect.sleep("1 second")
      const since = yield* Clients.now
      yield* Effect.forEach(servers, ({ address }) => namespace.reset(address)).pipe(
        Effect.repeat(Schedule.spaced("500 millis").pipe(Schedule.upTo({ times: Math.round(20 * stage.scale) })))
      )
      const seconds = ((yield* Clients.now) - since) / 1_000
      yield* Effect.sleep("1 second")
      const ledger = yield* client.finish()
      const lost = client.count("Disconnected", since)
      return verdict(ledger, ledger.calls / 1_000, [
        { what: "connections cut", value: lost, least: 3 * seconds },
        // The one that follows the last reset is one more.
        { what: "dials per second and member", value: (client.count("Connecting", since) - 3) / seconds / 3, most: 2 }
      ])
    })
}
