import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

export const F05: Scenario = {
  id: "F-05",
  title: "SIGCONT of a server that was left out for its silence",
  expect: "it has at least 25 % of the calls again within 2 s",
  play: (stage) =>
    Effect.gen(function* () {
      // With a few calls in flight each, their number tells the servers apart, and not the noise of a millisecond.
      const servers = yield* Servers.startMany(3, { delayMillis: 10 })
      const target = Servers.targetOf(servers)
      const client = yield* Clients.start(stage, { target, options: { deadline: 1_000 } })
      yield* client.ready(3)
      yield* client.load({ rps: 400 })
      yield* Effect.sleep("2 seconds")
      const frozenAt = yield* Clients.now
      yield* servers[0]!.freeze
      const out = yield* client.until("Quarantined", frozenAt, 5)
      yield* Effect.sleep(3_000 * stage.scale)
      const thawedAt = yield* Clients.now
      yield* servers[0]!.thaw
      yield* Effect.sleep(2_000 + 3_000 * stage.scale)
      const ledger = yield* client.finish()
      const frozen = ledger.between(frozenAt + 1_000, thawedAt)
      return verdict(ledger, 0, [
        { what: "left out after, ms", value: (out?.at ?? Infinity) - frozenAt, most: 2_000 },
        { what: "its share while frozen", value: frozen.share("s1"), most: 0 },
        { what: "its share from 2 s after on", value: ledger.between(thawedAt + 2_000).share("s1"), least: 0.25 }
      ])
    })
}
