import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Peers from "../kit/peers.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import { targetOf } from "../kit/servers.ts"

const ageMillis = 1_000

export const F09: Scenario = {
  id: "F-09",
  title: "max_connection_age of 1 s with grace at two servers in Go and one in Python",
  expect: "no call fails, the ones that must not be resent included; those in flight are never cut",
  needs: ["go", "python"],
  play: (stage) =>
    Effect.gen(function* () {
      // In Go the age is off by up to a tenth. Sixty seconds are scaled to twelve, and the calls with them.
      const config = { AgeMillis: ageMillis, GraceMillis: 5_000, DelayMillis: 20 }
      const peers = [
        yield* Peers.start("go", { ...config, Name: "go-1" }),
        yield* Peers.start("go", { ...config, Name: "go-2" }),
        yield* Peers.start("python", config)
      ]
      const client = yield* Clients.start(stage, { target: targetOf(peers) })
      yield* client.ready(3)
      yield* client.load({ method: "put", rps: 600 })
      const seconds = 12 * stage.scale
      yield* Effect.sleep(seconds * 1_000)
      const ledger = yield* client.finish()
      return verdict(ledger, 0, [
        { what: "connections that came of age", value: client.count("Disconnected"), least: 2 * seconds },
        { what: "longest call, ms", value: ledger.max, most: 1_000 + ledger.lagMillis }
      ])
    })
}
