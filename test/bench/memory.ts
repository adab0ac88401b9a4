/**
 * B14: heap that an idle member and a call in flight hold, beyond what grpc-js itself holds for them.
 */
import { answer } from "./alone.ts"
import { heapEach, type Open } from "./heap.ts"
import { leanChannels, members, plainChannels } from "./idle.ts"
import { calls } from "./inFlight.ts"
import { median } from "./pair.ts"
import { type Result, round, type Row } from "./result.ts"
import { build } from "./server/build.ts"
import { start } from "./server/start.ts"

const connections = 200
const inFlight = 2_000
/** Longer than anything here takes: the server answers nothing that is measured. */
const holdMillis = 60_000

type Kinds<K extends string> = Readonly<Record<K, Open>>

/** In turns, the first of which warms up; then the median of each. */
const measure = async <K extends string>(kinds: Kinds<K>, count: number, rounds: number) => {
  const bytes: Record<string, Array<number>> = {}
  for (let i = 0; i <= rounds; i++) {
    for (const [name, open] of Object.entries<Open>(kinds)) {
      const each = await heapEach(count, open)
      if (i > 0) (bytes[name] ??= []).push(each)
    }
  }
  return (name: K): number => median(bytes[name]!)
}

answer(async (quick): Promise<Result> => {
  const rounds = quick ? 1 : 5
  const server = await start(build(), 0, connections)
  const idle = await measure(
    {
      plain: plainChannels(server.addresses),
      lean: leanChannels(server.addresses),
      hawser: members(server.addresses)
    },
    connections,
    rounds
  )
  await server.delay(holdMillis)
  const busy = await measure(await calls(server, inFlight), inFlight, rounds)
  server.stop()
  const connection = "a connection, idle"
  const call = "a unary call in flight"
  return {
    values: { B14: idle("hawser") - idle("lean"), B14b: busy("hawser") - busy("createCall") },
    rows: [
      row(connection, "grpc-js, its defaults", idle("plain"), idle("lean")),
      row(connection, "grpc-js, configured as by Hawser", idle("lean"), idle("lean")),
      row(connection, "Hawser, a member", idle("hawser"), idle("lean")),
      row(call, "Channel.createCall", busy("createCall"), busy("createCall")),
      row(call, "raw grpc-js", busy("raw"), busy("createCall")),
      row(call, "Hawser", busy("hawser"), busy("createCall"))
    ]
  }
})

const row = (what: string, client: string, bytes: number, floor: number): Row => ({
  measurement: "memory",
  what,
  client,
  heapBytesEach: round(bytes, 0),
  beyondGrpcJs: round(bytes - floor, 0)
})
