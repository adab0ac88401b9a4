import { Effect, Fiber, Schedule } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Proxies from "../kit/proxies.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 5_000
const streams = 8

export const F16: Scenario = {
  id: "F-16",
  title: `100 kbit/s, and 1,000 calls of 1 MB within 2 s, of which ${streams} have a stream`,
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
      const before = yield* client.snapshot
      let [held, most, waiting] = [Infinity, 0, 0]
      const watching = yield* Effect.forkScoped(
        Effect.repeat(
          Effect.map(client.snapshot, ({ heldMiB, rssMiB, snapshot }) => {
            most = Math.max(most, rssMiB)
            waiting = Math.max(waiting, snapshot.waiting)
            // At its lowest, just after a garbage collection, it is what those who wait hold.
            if (snapshot.waiting > 900) held = Math.min(held, heldMiB)
          }),
          Schedule.spaced("100 millis")
        )
      )
      yield* client.load({
        concurrency: 1_000,
        spreadMillis: 2_000,
        calls: 1_000,
        bytes: 1_000_000,
        timeoutMillis: deadlineMillis
      })
      yield* Effect.sleep(2_000 + deadlineMillis + 500)
      yield* Fiber.interrupt(watching)
      const ledger = yield* client.finish()
      return verdict(
        ledger,
        1_000,
        [
          { what: "waiting", value: waiting, least: 900 },
          { what: "MiB held by them", value: held - before.heldMiB, most: 32 },
          byDeadline(ledger, deadlineMillis)
        ],
        { mostMiB: most - before.rssMiB }
      )
    })
}
