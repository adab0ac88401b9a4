/** Starts everybody, plays the story under load and collects what the clients saw. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { ClientName } from "./echo.ts"
import type { Live } from "./live.ts"
import type { ClientConfig, FromClient, ToClient } from "./messages.ts"
import { type Child, Processes } from "./processes.ts"
import type { Played } from "./report.ts"
import { makeStage } from "./stage.ts"
import { story } from "./story.ts"

/** Long enough for code to be compiled and latencies to be known. */
const warmUp = Duration.seconds(1)
/** A call answers in milliseconds before a fault; whatever takes longer is not waited for. */
const settleWithin = Duration.millis(300)

export const direct = Effect.fnUntraced(function* (live: Live) {
  const processes = yield* Processes
  const stage = yield* makeStage
  live.servers = stage.servers
  const addresses = stage.servers().map((server) => server.address)

  const startClient = Effect.fnUntraced(function* (name: ClientName) {
    const config: ClientConfig = { addresses, rps: live.rps }
    const client = yield* processes.start<ToClient, FromClient>(name, `./${name}.ts`, config)
    client.listen((message) => message.tag === "tick" && live.tick(name, message))
    yield* client.hear("ready")
    return client
  })
  const clients = yield* Effect.all([startClient("hawser"), startClient("raw")], { concurrency: "unbounded" })
  const toBoth = (message: ToClient) => Effect.forEach(clients, (client) => client.tell(message), { discard: true })

  yield* toBoth({ tag: "start" })
  yield* Effect.sleep(warmUp)

  const phases: Array<Played["phases"][number]> = []
  live.begin()
  for (const [index, phase] of story.entries()) {
    const act = yield* phase.begin(stage)
    live.turn(index)
    // What is in flight at a blow belongs to the phase that it opens: let the calls of the phase before end first.
    if (phase.victim === undefined) yield* toBoth({ tag: "phase", index })
    else yield* Effect.forEach(clients, (client) => settle(client, index), { concurrency: "unbounded" })
    const inFlightOnVictim = phase.victim === undefined ? undefined : yield* stage.inFlight(phase.victim)
    yield* act
    phases.push({ name: phase.name, inFlightOnVictim })
    yield* Effect.sleep(Duration.millis(Math.max(0, live.ends[index]! - live.elapsedMillis)))
  }
  live.turn(story.length)

  yield* toBoth({ tag: "stop" })
  const [hawser, raw] = yield* Effect.all(
    clients.map((client) => Effect.map(client.hear("summary"), ({ summary }) => summary)),
    { concurrency: "unbounded" }
  )
  return { summaries: { hawser: hawser!, raw: raw! }, phases, addresses } satisfies Played
})

const settle = (client: Child<ToClient, FromClient>, index: number) =>
  client.ask({ tag: "phase", index }, "settled").pipe(Effect.timeout(settleWithin), Effect.ignore)
