import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Namespaces from "../kit/namespaces.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 1_000
const drainMillis = 500

export const F13: Scenario = {
  id: "F-13",
  title: "the path to one of three is a black hole (nft), deadline of 1 s, no keepalive",
  expect: "detected within 2 s, no idempotent call fails, closing does not wait for the peer",
  needs: ["namespaces"],
  quick: true,
  play: (stage) =>
    Effect.gen(function* () {
      const namespace = yield* Namespaces.make()
      const servers = yield* Servers.startMany(3, { namespace })
      const client = yield* Clients.start(stage, {
        target: Servers.targetOf(servers),
        namespace,
        options: { deadline: deadlineMillis, drain: drainMillis }
      })
      yield* client.ready(3)
      yield* client.load({ rps: 300 })
      yield* Effect.sleep("2 seconds")
      const { address, host } = servers[0]!
      const cutAt = yield* Clients.now
      yield* namespace.rule(`ip daddr ${host} drop`)
      yield* namespace.rule(`ip saddr ${host} drop`)
      const found = yield* client.until("Quarantined", cutAt, 5, ({ endpoint }) => endpoint === address)
      yield* Effect.sleep(5_000 * stage.scale)
      const ledger = yield* client.finish()
      const closingAt = yield* Clients.now
      yield* client.close
      const closedAt = yield* Clients.now
      return verdict(ledger, 0, [
        { what: "detected after, s", value: ((found?.at ?? Infinity) - cutAt) / 1_000, most: 2 },
        { what: "its share from 2 s on", value: ledger.between(cutAt + 2_000).share("s1"), most: 0 },
        { what: "closed after, ms", value: closedAt - closingAt, most: drainMillis + 500 + ledger.lagMillis },
        byDeadline(ledger, deadlineMillis)
      ])
    })
}
