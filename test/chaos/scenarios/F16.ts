import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Proxies from "../kit/proxies.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 10_000
const streams = 8

export const F16: Scenario = {
  id: "F-16",
  title: `100 kbit/s, and 1,000 calls of 1 MB within 4 s, of which ${streams} have a stream`,
  expect: "what waits costs next to no memory, and each call ends in time",
  play: (stage) =>
    Effect.gen(function* () {
      const server = yield* Servers.start()
      const proxy = yield* Proxies.start(server.address)
      yield* proxy.faults({ bytesPerSecond: 12_500 })
      const client = yield* Clients.start(stage, {
        target: Servers.targetOf([proxy]),
        options: { retry: false, connections: { max: 1, streamsPerConnection: streams }, drain: 200 }
      })
      yield* client.ready(1)
      const look = client.child.ask({ tag: "snapshot", collect: true }, "snapshot")
      const before = yield* look
      yield* client.load({
        concurrency: 1_000,
        spreadMillis: 4_000,
        calls: 1_000,
        bytes: 1_000_000,
        timeoutMillis: deadlineMillis
      })
      // All have been made, and half of the first one's deadline is not over: then the line is taken for silent, and eight
      // more get a stream.
      yield* Effect.sleep(4_400)
      const { heldMiB, snapshot } = yield* look
      yield* Effect.sleep(deadlineMillis)
      const ledger = yield* client.finish()
      return verdict(ledger, 1_000, [
        { what: "waiting", value: snapshot.waiting, least: 900 },
        { what: "MiB held by them", value: heldMiB - before.heldMiB, most: 32 },
        byDeadline(ledger, deadlineMillis)
      ])
    })
}
