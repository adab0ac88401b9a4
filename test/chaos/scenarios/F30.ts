import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import type { HealthManners } from "../kit/messages.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const manners: ReadonlyArray<HealthManners> = [
  "Serving",
  "NotServing",
  "ServiceUnknown",
  "Unimplemented",
  "Hangs",
  "Dies",
  "Floods"
]
/** Who gets calls. */
const healthy: ReadonlyArray<HealthManners> = ["Serving", "Unimplemented", "Floods"]

export const F30: Scenario = {
  id: "F-30",
  title: "health services that are well, NOT_SERVING, SERVICE_UNKNOWN, UNIMPLEMENTED, hang, die and flood",
  expect:
    "calls go to who serves, has no health service, or floods; one Watch per connection; a flood costs little CPU",
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Effect.forEach(
        manners,
        (health) => Servers.start({ name: health, health, delayMillis: 10 }),
        {
          concurrency: 4
        }
      )
      const client = yield* Clients.start(stage, { target: Servers.targetOf(servers), health: { watch: "" } })
      yield* client.ready(healthy.length)
      yield* client.load({ rps: 200 })
      yield* Effect.sleep(4_000 * stage.scale)
      // The other way round while it runs.
      yield* servers[0]!.set({ health: "NotServing" })
      yield* servers[1]!.set({ health: "Serving" })
      yield* Effect.sleep("500 millis")
      const turnedAt = yield* Clients.now
      yield* Effect.sleep(3_000 * stage.scale)
      const ledger = yield* client.finish()
      const flood = yield* Clients.start(stage, { target: Servers.targetOf(servers.slice(-1)), health: { watch: "" } })
      yield* flood.ready(1)
      const before = yield* flood.snapshot
      yield* Effect.sleep("4 seconds")
      const cpu = ((yield* flood.snapshot).cpuMillis - before.cpuMillis) / 4_000
      const counts = yield* Effect.forEach(servers, ({ count }) => count)
      const of = (name: HealthManners) => counts[manners.indexOf(name)]!
      const sick = manners.filter((name) => !healthy.includes(name) && name !== "NotServing")
      const later = ledger.between(turnedAt)
      return verdict(
        ledger,
        0,
        [
          { what: "answers of the sick", value: Math.max(...sick.map((name) => ledger.share(name))), most: 0 },
          {
            what: "least share of who is well",
            value: Math.min(...healthy.map((name) => ledger.share(name))),
            least: 0.1
          },
          { what: "share of who turned NOT_SERVING", value: later.share("Serving"), most: 0 },
          { what: "share of who turned SERVING", value: later.share("NotServing"), least: 0.1 },
          { what: "Watches of one connection at once", value: Math.max(...counts.map((c) => c.maxWatches)), most: 1 },
          { what: "Watches of one that dies", value: of("Dies").watches, least: 2, most: 12 },
          { what: "Watches of one that has none", value: of("Unimplemented").watches, most: 4 },
          { what: "% CPU in a flood of a thousand a second", value: 100 * cpu, most: 5 }
        ],
        { shares: Object.fromEntries(manners.map((name) => [name, ledger.share(name)])) }
      )
    })
}
