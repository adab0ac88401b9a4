import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Proxies from "../kit/proxies.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

export const F15: Scenario = {
  id: "F-15",
  title: "the latency of one of three steps from 1 to 200 ms (delaying proxy)",
  expect: "its share is at most 10 % within 2 s",
  quick: true,
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3, { delayMillis: 10 })
      const proxies = yield* Effect.forEach(servers, ({ address }) => Proxies.start(address), { concurrency: 3 })
      const client = yield* Clients.start(stage, { target: Servers.targetOf(proxies) })
      yield* client.ready(3)
      yield* client.load({ rps: 300 })
      yield* Effect.sleep("2 seconds")
      const slowAt = yield* Clients.now
      yield* proxies[0]!.faults({ delayMillis: 200 })
      yield* Effect.sleep(2_000 + 3_000 * stage.scale)
      const ledger = yield* client.finish()
      const before = ledger.between(slowAt - 1_500, slowAt)
      return verdict(ledger, 0, [
        { what: "its share before", value: before.share("s1"), least: 0.15 },
        { what: "its share from 2 s on", value: ledger.between(slowAt + 2_000).share("s1"), most: 0.1 }
      ])
    })
}
