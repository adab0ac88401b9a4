import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Peers from "../kit/peers.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import { targetOf } from "../kit/servers.ts"

const callers = 500
const connections = 4
const looks = 30

export const F23: Scenario = {
  id: "F-23",
  title: `MAX_CONCURRENT_STREAMS 100, then 1, ${callers} calls at once (grpc-go)`,
  expect:
    "the pool grows to its four connections, what has no stream waits in the queue and is counted, streams are used",
  needs: ["go"],
  quick: true,
  play: (stage) =>
    Effect.gen(function* () {
      const part = (limit: number, handlerMillis: number) =>
        Effect.gen(function* () {
          const peer = yield* Peers.start("go", { MaxStreams: limit, DelayMillis: handlerMillis })
          const client = yield* Clients.start(stage, { target: targetOf([peer]) })
          yield* client.ready(1)
          yield* client.load({
            concurrency: callers,
            spreadMillis: handlerMillis,
            timeoutMillis: "none",
            abandon: true
          })
          yield* Effect.sleep(1_000 + 2 * handlerMillis)
          const since = yield* Clients.now
          let unseen = 0
          for (let look = 0; look < looks; look++) {
            yield* Effect.sleep("100 millis")
            const { snapshot } = yield* client.snapshot
            unseen += (callers - snapshot.waiting - snapshot.root.inFlight) / looks
          }
          const until = yield* Clients.now
          const { snapshot } = yield* client.snapshot
          const ledger = yield* client.finish()
          const done = ledger.endedBetween(since, until).calls
          const possible = (connections * limit * (until - since)) / handlerMillis
          return { ledger, waiting: snapshot.waiting, used: done / possible, unseen }
        })
      const hundred = yield* part(100, 1_000)
      const one = yield* part(1, 200)
      return verdict(
        hundred.ledger,
        0,
        [
          { what: "streams used of 400", value: hundred.used, least: 0.9 },
          { what: "waiting", value: hundred.waiting, least: callers - 400 - 40, most: callers - 400 + 40 },
          // Calls that have just ended, whose callers call again in the next turn.
          { what: "neither waiting nor in flight, on average", value: hundred.unseen, most: 40 },
          { what: "streams used of 4", value: one.used, least: 0.9 },
          { what: "waiting", value: one.waiting, least: callers - 4 - 4, most: callers - 4 + 4 },
          { what: "failed with a limit of 1", value: one.ledger.failed, most: 0 }
        ],
        { callsWithLimitOne: one.ledger.calls }
      )
    })
}
