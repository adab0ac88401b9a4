import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { type Scenario, type Verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

// The default is five and a half minutes, which servers permit; a server of a test permits anything.
const keepalive = { time: 2_000, timeout: 1_000 }

export const F04: Scenario = {
  id: "F-04",
  title: "SIGSTOP in the middle of a stream without a deadline, keepalive of 2 s and 1 s",
  expect: "the stream ends as Unavailable when the keepalive is over; one that is alive and says nothing does not",
  play: (stage) =>
    Effect.gen(function* () {
      const [frozen, quiet] = [yield* Servers.start({ name: "frozen" }), yield* Servers.start({ name: "quiet" })]
      const clients = yield* Effect.forEach([frozen, quiet], (server) =>
        Clients.start(stage, { target: Servers.targetOf([server]), keepalive, options: { drain: 200 } })
      )
      const [client, other] = [clients[0]!, clients[1]!]
      yield* Effect.forEach(clients, ({ ready }) => ready(1))
      yield* client.child.tell({ tag: "watch", name: "busy", delayMillis: 50 })
      yield* other.child.tell({ tag: "watch", name: "quiet", delayMillis: 60_000 })
      yield* Effect.sleep("1 second")
      const frozenAt = yield* Clients.now
      yield* frozen.freeze
      const ended = yield* Effect.result(client.child.hear("watched", 10))
      const lived = yield* Effect.result(other.child.hear("watched", 3))
      yield* frozen.thaw
      const found = ended._tag === "Success" ? ended.success : undefined
      const most = keepalive.time + keepalive.timeout + 200
      const verdict: Verdict = {
        calls: 2,
        failed: lived._tag === "Success" ? 1 : 0,
        limit: 0,
        checks: [
          {
            what: "ended after, ms",
            value: (found?.at ?? Infinity) - frozenAt,
            least: keepalive.time,
            most: most + 100
          },
          { what: "ended as Unavailable", value: found?.why.startsWith("Unavailable") === true ? 1 : 0, least: 1 },
          { what: "messages before", value: found?.messages ?? 0, least: 10 }
        ],
        notes: { why: found?.why }
      }
      return verdict
    })
}
