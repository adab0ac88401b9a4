import { writeFileSync } from "node:fs"
import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const stallMillis = 10_000
const jumps = ["+1h", "+0", "+1d", "+0", "-1d", "+0"]

export const F38: Scenario = {
  id: "F-38",
  title: "the wall clock jumps by hours and days, both ways (faketime); the event loop stalls for 10 s",
  expect: "no call fails, none is late by more than the stall, nobody is ejected, no connection is given up",
  needs: ["faketime"],
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3, { delayMillis: 200 })
      const clock = `${stage.folder}/faketime`
      const jump = (to: string) => Effect.sync(() => writeFileSync(clock, `${to}\n`))
      yield* jump("+0")
      const client = yield* Clients.start(stage, { target: Servers.targetOf(servers), clock })
      yield* client.ready(3)
      yield* client.load({ name: "jumps", rps: 100 })
      for (const to of jumps) {
        yield* Effect.sleep("1 second")
        yield* jump(to)
      }
      yield* Effect.sleep("1 second")
      const jumped = yield* client.finish("jumps")
      yield* client.load({ name: "stall", rps: 50 })
      yield* Effect.sleep("1 second")
      yield* client.child.tell({ tag: "stall", millis: stallMillis })
      yield* Effect.sleep(stallMillis + 2_000)
      const stalled = yield* client.finish("stall")
      return verdict(
        jumped,
        0,
        [
          { what: "failed by the stall", value: stalled.failed, most: 0 },
          { what: "calls over the stall", value: stalled.calls, least: 500 },
          { what: "longest of them, ms", value: stalled.max, most: stallMillis + 3_000 },
          { what: "ejected", value: client.count("Ejected"), most: 0 },
          { what: "connections", value: client.count("Connected"), most: 3 }
        ],
        { stalled: stalled.failures, tags: client.events.map(({ event }) => event._tag).slice(0, 60) }
      )
    })
}
