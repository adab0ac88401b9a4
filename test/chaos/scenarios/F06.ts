import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

export const F06: Scenario = {
  id: "F-06",
  title: "GOAWAY(NO_ERROR) after each call, with calls in flight",
  expect: "what is in flight finishes, the next call has a new connection, no error is seen, nothing is sent twice",
  quick: true,
  play: (stage) =>
    Effect.gen(function* () {
      const server = yield* Servers.start({ goawayAfter: 1, delayMillis: 5 })
      const client = yield* Clients.start(stage, { target: Servers.targetOf([server]), options: { retry: false } })
      yield* client.ready(1)
      yield* client.load({ method: "put", concurrency: 1 })
      yield* Effect.sleep(3_000 * stage.scale)
      const ledger = yield* client.finish()
      const { accepted, started } = yield* server.count
      return verdict(ledger, 0, [
        { what: "calls that the server saw per call", value: started / ledger.calls, most: 1 },
        { what: "connections per call", value: accepted / (ledger.calls + 1), least: 0.9, most: 1.1 }
      ])
    })
}
