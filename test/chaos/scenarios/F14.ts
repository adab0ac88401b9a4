import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Namespaces from "../kit/namespaces.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 1_000

export const F14: Scenario = {
  id: "F-14",
  title: "2 % and then 30 % of all packets are lost (nft)",
  expect: "at 2 % no idempotent call fails and nobody is ejected; at 30 % each call ends in time",
  needs: ["namespaces"],
  play: (stage) =>
    Effect.gen(function* () {
      const namespace = yield* Namespaces.make()
      const servers = yield* Servers.startMany(3, { namespace })
      const client = yield* Clients.start(stage, {
        target: Servers.targetOf(servers),
        namespace,
        options: { deadline: deadlineMillis }
      })
      yield* client.ready(3)
      const during = (name: string, percent: number) =>
        Effect.gen(function* () {
          yield* namespace.rule(`numgen random mod 100 < ${percent} drop`)
          yield* client.load({ name, rps: 200 })
          yield* Effect.sleep(6_000 * stage.scale)
          const ledger = yield* client.finish(name)
          yield* namespace.calm
          return ledger
        })
      const few = yield* during("few", 2)
      const ejected = client.count("Ejected")
      const many = yield* during("many", 30)
      return verdict(
        few,
        0,
        [
          { what: "ejected at 2 %", value: ejected, most: 0 },
          byDeadline(few, deadlineMillis, " at 2 %"),
          byDeadline(many, deadlineMillis, " at 30 %")
        ],
        { failedAt30: many.failed, callsAt30: many.calls, quarantined: client.count("Quarantined") }
      )
    })
}
