/** Services that are slow and well: detection must cost them nothing. */
import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

/** No more than one extra connection per endpoint. */
const connections = (client: Clients.Client) => [
  { what: "connections to three endpoints", value: client.count("Connected"), least: 3, most: 6 }
]
const notes = (client: Clients.Client) => ({
  quarantined: client.count("Quarantined"),
  ejected: client.count("Ejected")
})

export const slowHandlers: Scenario = {
  id: "SLOW-10S",
  title: "handlers that take 10 s",
  expect: "no call is lost, and at most one extra connection per endpoint is opened",
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3, { delayMillis: 10_000 })
      const client = yield* Clients.start(stage, { target: Servers.targetOf(servers) })
      yield* client.ready(3)
      yield* client.load({ rps: 6 })
      yield* Effect.sleep(14_000 * Math.max(1, stage.scale))
      return verdict(yield* client.finish(), 0, connections(client), notes(client))
    })
}

export const slowJump: Scenario = {
  id: "SLOW-JUMP",
  title: "handlers whose latency jumps from 5 ms to 3 s",
  expect: "no call is lost, and at most one extra connection per endpoint is opened",
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3, { delayMillis: 5 })
      const client = yield* Clients.start(stage, { target: Servers.targetOf(servers) })
      yield* client.ready(3)
      yield* client.load({ rps: 50 })
      yield* Effect.sleep("3 seconds")
      yield* Effect.forEach(servers, ({ set }) => set({ delayMillis: 3_000 }))
      yield* Effect.sleep(7_000 * Math.max(1, stage.scale))
      return verdict(yield* client.finish(), 0, connections(client), notes(client))
    })
}
