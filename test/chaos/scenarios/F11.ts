import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Namespaces from "../kit/namespaces.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"
import { dialEnds } from "../kit/dials.ts"

const connectTimeout = 500

export const F11: Scenario = {
  id: "F-11",
  title: "a SYN black hole before one of three (nft)",
  expect: "dials end at their timeout, calls go to the others at once",
  needs: ["namespaces"],
  quick: true,
  play: (stage) =>
    Effect.gen(function* () {
      const namespace = yield* Namespaces.make()
      const servers = yield* Servers.startMany(3, { namespace })
      yield* namespace.rule(`ip daddr ${servers[0]!.host} tcp flags & (syn|ack) == syn drop`)
      const client = yield* Clients.start(stage, {
        target: Servers.targetOf(servers),
        namespace,
        options: { connections: { connectTimeout } }
      })
      yield* client.load({ rps: 100, timeoutMillis: 1_000 })
      yield* Effect.sleep(4_000 * stage.scale)
      const ledger = yield* client.finish()
      return verdict(ledger, 0, dialEnds(client, servers[0]!.address, connectTimeout, ledger.lagMillis))
    })
}
