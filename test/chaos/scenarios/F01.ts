import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { p99, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const rps = 2_000

export const F01: Scenario = {
  id: "F-01",
  title: `SIGKILL of one of three at ${rps} calls/s`,
  expect: "idempotent calls are answered by others",
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3)
      const client = yield* Clients.start(stage, { target: Servers.targetOf(servers) })
      yield* client.ready(3)
      // Until the code is compiled.
      yield* client.load({ name: "warm", rps })
      yield* Effect.sleep("2 seconds")
      yield* client.finish("warm")

      yield* Servers.lag(servers)
      yield* client.load({ rps })
      yield* Effect.sleep(1_500 * stage.scale)
      const killedAt = yield* Clients.now
      yield* servers[0]!.kill
      yield* Effect.sleep(3_500 * stage.scale)
      const ledger = yield* client.finish()
      const after = ledger.between(killedAt)
      return verdict(ledger, 0, [
        p99(ledger, 25, yield* Servers.lag(servers.slice(1))),
        { what: "share of the killed, half a second later", value: after.between(killedAt + 500).share("s1"), most: 0 }
      ])
    })
}
