import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Names from "../kit/names.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

export const F22: Scenario = {
  id: "F-22",
  title: "DNS: each answer is another set, with one address that stays",
  expect:
    "it is asked at the pace of the refresh, who stays keeps its socket, only who changes is dialled, no call fails",
  needs: ["namespaces"],
  play: (stage) =>
    Effect.gen(function* () {
      const { asked, namespace, say } = yield* Names.liar
      const servers = yield* Servers.startMany(5, { namespace })
      const hosts = servers.map(({ host }) => host)
      const sets = hosts.slice(1).map((host) => [hosts[0]!, host])
      yield* say({ tag: "addresses", sets })
      const client = yield* Clients.start(stage, {
        target: `dns:///${Names.name}:${servers[0]!.port}`,
        namespace,
        options: { dns: { refresh: "1 second" } }
      })
      yield* client.ready(2)
      yield* client.load({ rps: 200 })
      const [before, since] = [yield* asked, yield* Clients.now]
      yield* Effect.sleep(10_000 * stage.scale)
      const [after, until] = [yield* asked, yield* Clients.now]
      const ledger = yield* client.finish()
      const counts = yield* Effect.forEach(servers, ({ count }) => count)
      const questions = after - before
      return verdict(ledger, 0, [
        // Each refresh is up to a third sooner than said.
        { what: "questions per second", value: (questions * 1_000) / (until - since), least: 0.5, most: 1.6 },
        { what: "sockets of who stays", value: counts[0]!.accepted, most: 1 },
        { what: "dials per question", value: (client.count("Connecting", since) - 1) / questions, most: 1 }
      ])
    })
}
