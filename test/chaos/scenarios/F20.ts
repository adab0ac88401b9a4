import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Names from "../kit/names.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const troubles = ["nxdomain", "servfail", "silent"] as const
const secondsEach = 5

export const F20: Scenario = {
  id: "F-20",
  title: "DNS: NXDOMAIN, then SERVFAIL, then silence, after an answer",
  expect: "the last good set stays in use, no call fails, it is asked no more often than the backoff allows",
  needs: ["namespaces"],
  play: (stage) =>
    Effect.gen(function* () {
      const { asked, namespace, say } = yield* Names.liar
      const servers = yield* Servers.startMany(3, { namespace })
      yield* say({ tag: "addresses", sets: [servers.map(({ host }) => host)] })
      const client = yield* Clients.start(stage, {
        target: `dns:///${Names.name}:${servers[0]!.port}`,
        namespace,
        options: { dns: { refresh: "1 second", timeout: "1 second" } }
      })
      yield* client.ready(3)
      yield* client.load({ rps: 200 })
      yield* Effect.sleep("2 seconds")
      const before = yield* asked
      for (const tag of troubles) {
        yield* say({ tag })
        yield* Effect.sleep(secondsEach * 1_000)
      }
      const during = (yield* asked) - before
      yield* say({ tag: "addresses", sets: [servers.map(({ host }) => host)] })
      yield* Effect.sleep("2 seconds")
      const ledger = yield* client.finish()
      return verdict(
        ledger,
        0,
        [
          // 1 s × 1.6 and so on, from the first failure; the system asks twice where it is not answered.
          { what: "questions in 15 s without an answer", value: during, least: 2, most: 12 },
          { what: "connections", value: client.count("Connected"), most: 3 }
        ],
        { tags: client.events.map(({ event }) => event._tag) }
      )
    })
}
