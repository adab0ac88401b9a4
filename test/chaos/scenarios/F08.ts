import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Peers from "../kit/peers.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import { targetOf } from "../kit/servers.ts"

const timeMillis = 400

export const F08: Scenario = {
  id: "F-08",
  title: `GOAWAY ENHANCE_YOUR_CALM too_many_pings: a client that pings every ${timeMillis} ms, and grpc-go that permits 5 min`,
  expect: "the keepalive time doubles each time, it is told, one dial follows a loss, no idempotent call fails",
  needs: ["go"],
  play: (stage) =>
    Effect.gen(function* () {
      const peer = yield* Peers.start("go", { DelayMillis: 3_000 })
      const client = yield* Clients.start(stage, {
        target: targetOf([peer]),
        keepalive: { time: timeMillis, timeout: 1_000 }
      })
      yield* client.ready(1)
      yield* client.load({ concurrency: 2 })
      yield* Effect.sleep(15_000 * Math.max(1, stage.scale))
      const ledger = yield* client.finish()
      const times = client.events.flatMap(({ event }) =>
        event._tag === "TooManyPings" ? [event.keepaliveMillis ?? Infinity] : []
      )
      const lost = client.count("Disconnected")
      return verdict(
        ledger,
        0,
        [
          { what: "connections lost", value: lost, least: 1, most: 4 },
          { what: "told", value: times.length, least: 1, most: lost },
          { what: "keepalive grown by", value: Math.min(...times) / timeMillis, least: 2 },
          { what: "dials", value: client.count("Connecting"), most: lost + 1 }
        ],
        { times }
      )
    })
}
