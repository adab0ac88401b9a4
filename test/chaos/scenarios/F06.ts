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
      const server = yield* Servers.start({ goawayAfter: 1 })
      const client = yield* Clients.start(stage, { target: Servers.targetOf([server]) })
      yield* client.ready(1)
      // Of different lengths, so that some are in flight whenever one ends.
      const kinds = [3, 17, 40, 61]
      yield* Effect.forEach(kinds, (delayMillis) =>
        client.load({ name: `${delayMillis} ms`, method: "put", concurrency: 2, delayMillis })
      )
      yield* Effect.sleep(4_000 * stage.scale)
      const ledgers = yield* Effect.forEach(kinds, (delayMillis) => client.finish(`${delayMillis} ms`))
      const { accepted, started } = yield* server.count
      const calls = ledgers.reduce((n, ledger) => n + ledger.calls, 0)
      const lost = client.events.flatMap(({ event }) => (event._tag === "Disconnected" ? [event.inFlight] : []))
      return {
        ...verdict(ledgers[0]!, 0, [
          { what: "calls that the server saw, per call", value: started / calls, most: 1 },
          { what: "connections", value: accepted, least: 20, most: lost.length + 1 },
          { what: "calls in flight at a GOAWAY", value: lost.reduce((n, inFlight) => n + inFlight, 0), least: 20 }
        ]),
        calls,
        failed: ledgers.reduce((n, ledger) => n + ledger.failed, 0)
      }
    })
}
