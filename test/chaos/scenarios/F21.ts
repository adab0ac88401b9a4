import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Names from "../kit/names.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 1_000

export const F21: Scenario = {
  id: "F-21",
  title: "DNS: an empty answer",
  expect: 'the last good set stays in use; with empty: "Accept", calls fail with a typed error and never with a defect',
  needs: ["namespaces"],
  play: (stage) =>
    Effect.gen(function* () {
      const { namespace, say } = yield* Names.liar
      const servers = yield* Servers.startMany(2, { namespace })
      yield* say({ tag: "addresses", sets: [servers.map(({ host }) => host)] })
      // The system does not tell an empty answer from a name that does not exist; a name server that is asked itself does.
      const start = (empty: "Keep" | "Accept", server: string) =>
        Clients.start(stage, {
          target: `dns://${server}/${Names.name}:${servers[0]!.port}`,
          namespace,
          options: { deadline: deadlineMillis, dns: { refresh: "1 second", empty } }
        })
      const [keeps, accepts] = [yield* start("Keep", ""), yield* start("Accept", Names.nameserver)]
      yield* keeps.ready(2)
      yield* accepts.ready(2)
      yield* keeps.load({ rps: 100 })
      yield* accepts.load({ rps: 100 })
      yield* Effect.sleep("1 second")
      yield* say({ tag: "empty" })
      const emptyAt = yield* Clients.now
      yield* Effect.sleep(4_000 * Math.max(1, stage.scale))
      yield* say({ tag: "addresses", sets: [servers.map(({ host }) => host)] })
      yield* Effect.sleep("3 seconds")
      const ledger = yield* keeps.finish()
      const accepted = yield* accepts.finish()
      const typed = (text: string) => text.startsWith("Unavailable") || text.startsWith("DeadlineExceeded")
      return verdict(
        ledger,
        0,
        [
          { what: "failed where it is accepted", value: accepted.between(emptyAt).failed, least: 50 },
          { what: "of them without a type", value: accepted.count(({ ok, text }) => !ok && !typed(text)), most: 0 },
          {
            what: "failed in the last half second",
            value: accepted.between((yield* Clients.now) - 1_000).failed,
            most: 0
          },
          byDeadline(accepted, deadlineMillis, " where it is accepted")
        ],
        { accepted: accepted.failures }
      )
    })
}
