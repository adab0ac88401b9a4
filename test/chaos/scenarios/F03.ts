import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 1_000

export const F03: Scenario = {
  id: "F-03",
  title: "SIGSTOP of one of three, deadline of 1 s, no keepalive",
  expect: "no idempotent call fails, and at most 0.5 % of those that must not be resent",
  quick: true,
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3)
      const target = Servers.targetOf(servers)
      const client = yield* Clients.start(stage, { target, options: { deadline: deadlineMillis } })
      yield* client.ready(3)
      yield* client.load({ name: "echo", rps: 200 })
      yield* client.load({ name: "put", method: "put", rps: 200 })
      yield* Effect.sleep("2 seconds")
      const frozenAt = yield* Clients.now
      yield* servers[0]!.freeze
      yield* Effect.sleep(10_000 * stage.scale)
      const echo = yield* client.finish("echo")
      const put = yield* client.finish("put")
      yield* servers[0]!.thaw
      const during = put.between(frozenAt)
      return verdict(echo, 0, [
        { what: "% of the others lost", value: (100 * put.failed) / Math.max(1, during.calls), most: 0.5 },
        byDeadline(echo, deadlineMillis),
        byDeadline(put, deadlineMillis, " of the others")
      ])
    })
}
