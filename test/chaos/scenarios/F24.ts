import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 1_000

export const F24: Scenario = {
  id: "F-24",
  title: "MAX_CONCURRENT_STREAMS 0 at one of three, then at the only one",
  expect: "nothing is sent to it, the others serve; where there is no other, each call ends in time",
  play: (stage) =>
    Effect.gen(function* () {
      const closed = yield* Servers.start({ name: "closed", maxStreams: 0 })
      const servers = yield* Servers.startMany(2)
      const options = { deadline: deadlineMillis }
      const client = yield* Clients.start(stage, { target: Servers.targetOf([closed, ...servers]), options })
      const alone = yield* Clients.start(stage, { target: Servers.targetOf([closed]), options })
      yield* client.ready(2)
      yield* client.load({ rps: 200 })
      yield* alone.load({ rps: 50 })
      yield* Effect.sleep(4_000 * stage.scale)
      const ledger = yield* client.finish()
      const hopeless = yield* alone.finish()
      const { started } = yield* closed.count
      return verdict(ledger, 0, [
        { what: "calls that it saw", value: started, most: 0 },
        { what: "share answered without another", value: 1 - hopeless.failed / hopeless.calls, most: 0 },
        byDeadline(hopeless, deadlineMillis, " without another"),
        byDeadline(ledger, deadlineMillis)
      ])
    })
}
