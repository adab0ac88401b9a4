import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { dialEnds } from "../kit/dials.ts"
import * as Proxies from "../kit/proxies.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const connectTimeout = 500

export const F12: Scenario = {
  id: "F-12",
  title: "one of three accepts TCP and sends no SETTINGS",
  expect: "dials end at their timeout, calls go to the others at once",
  quick: true,
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3)
      const mute = yield* Proxies.start(servers[0]!.address)
      yield* mute.faults({ stall: true })
      const client = yield* Clients.start(stage, {
        target: Servers.targetOf([mute, ...servers.slice(1)]),
        options: { connections: { connectTimeout } }
      })
      yield* client.load({ rps: 100, timeoutMillis: 1_000 })
      yield* Effect.sleep(4_000 * stage.scale)
      const ledger = yield* client.finish()
      return verdict(ledger, 0, dialEnds(client, mute.address, connectTimeout, ledger.lagMillis))
    })
}
