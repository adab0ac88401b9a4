import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const failShare = 0.6

export const F29: Scenario = {
  id: "F-29",
  title: `all three fail ${failShare * 100} % of their calls, and all of them may be ejected`,
  expect: "panic: all are used, nothing is refused by us, and what they can answer is answered",
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3)
      const client = yield* Clients.start(stage, {
        target: Servers.targetOf(servers),
        options: { retry: false },
        // By chance one fails five in a row; peak EWMA would leave it for a second.
        balancer: "round robin",
        outlier: { maximumEjected: 1, consecutiveFailures: { failures: 3, firstTrial: "10 seconds" } }
      })
      yield* client.ready(3)
      yield* client.load({ name: "warm", rps: 200 })
      yield* Effect.sleep("1 second")
      yield* client.finish("warm")
      yield* Effect.forEach(servers, ({ set }) => set({ failCode: 14, failShare }))
      const badAt = yield* Clients.now
      yield* client.load({ rps: 200 })
      const panic = yield* client.until("Panic", badAt, 5, ({ on }) => on)
      yield* Effect.sleep(5_000 * stage.scale)
      const ledger = yield* client.finish()
      const names = ["s1", "s2", "s3"]
      return verdict(ledger, ledger.calls * (failShare + 0.06), [
        { what: "panic after, s", value: ((panic?.at ?? Infinity) - badAt) / 1_000, most: 5 },
        { what: "refused by us", value: ledger.count(({ ok, text }) => !ok && !text.includes("Answered")), most: 0 },
        { what: "answered, of what they can", value: 1 - ledger.failed / ledger.calls, least: (1 - failShare) * 0.85 },
        { what: "least share of a server", value: Math.min(...names.map((name) => ledger.share(name))), least: 0.25 }
      ])
    })
}
