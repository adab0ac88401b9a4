import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const unavailable = 14

export const F28: Scenario = {
  id: "F-28",
  title: "one of three flaps: for a second it answers, for a second it fails each call",
  expect: "at most 1 % of the idempotent calls fail, and it is ejected for longer each time",
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3)
      const target = Servers.targetOf(servers)
      const client = yield* Clients.start(stage, { target })
      // Peak EWMA leaves it sooner than five failures in a row are together, most times; a round does not.
      const round = yield* Clients.start(stage, { target, balancer: "round robin" })
      for (const one of [client, round]) {
        yield* one.ready(3)
        yield* one.load({ rps: 200 })
      }
      yield* Effect.sleep("2 seconds")
      const since = yield* Clients.now
      const flaps = Math.max(4, Math.round(8 * stage.scale))
      for (let i = 0; i < flaps; i++) {
        yield* servers[0]!.set({ failCode: unavailable })
        yield* Effect.sleep("1 second")
        yield* servers[0]!.set({ failCode: 0 })
        yield* Effect.sleep("1 second")
      }
      const ledger = yield* client.finish()
      const others = yield* round.finish()
      const ejections = round.events.flatMap(({ at, event }) =>
        event._tag === "Ejected" ? [{ at: at - since, rule: event.rule, millis: event.millis }] : []
      )
      const times = ejections.map(({ millis }) => millis ?? 0)
      return verdict(
        ledger,
        ledger.calls / 100,
        [
          { what: "% of the calls lost by round robin", value: (others.failed / others.calls) * 100, most: 1 },
          { what: "ejections", value: ejections.length, least: 2, most: flaps },
          { what: "longest ejection, of the first", value: Math.max(...times) / (times[0] ?? 1), least: 2 }
        ],
        { ejections }
      )
    })
}
