/**
 * B7: calls that wait for a permit that never comes. What each holds on the heap, its fiber included, and how long it
 * takes to cancel them all: in the bridge, and through a client with the middleware that calls have by default.
 */
import * as Bridge from "@hawser/grpc/Bridge"
import * as Call from "@hawser/grpc/Call"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { answer, cpuNanos } from "./alone.ts"
import { client, method } from "./inMemory.ts"
import { median } from "./pair.ts"
import { type Result, round, type Row } from "./result.ts"

const few = 5_000
const many = 20_000
/** Coprime to both: fibers are cancelled in an order that is not that of the queue. */
const stride = 7_919

interface Waited {
  readonly bytesEach: number
  readonly cancelMillis: number
}

const waited = async (call: Effect.Effect<unknown, unknown>, waiting: () => number, count: number): Promise<Waited> => {
  const fibers: Array<Fiber.Fiber<unknown, unknown>> = Array.from({ length: count })
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < count; i++) fibers[i] = Effect.runFork(call)
  globalThis.gc?.()
  const bytesEach = (process.memoryUsage().heapUsed - before) / count
  if (waiting() !== count) throw new Error(`${waiting()} of ${count} calls wait`)
  const ended = new Promise<void>((resolve) => {
    let left = count
    for (const fiber of fibers) fiber.addObserver(() => --left === 0 && resolve())
  })
  const startedAt = cpuNanos()
  for (let i = 0; i < count; i++) fibers[(i * stride) % count]!.interruptUnsafe()
  await ended
  const cancelMillis = (cpuNanos() - startedAt) / 1e6
  if (waiting() !== 0) throw new Error(`${waiting()} of ${count} calls still wait`)
  return { bytesEach, cancelMillis }
}

answer(async (quick): Promise<Result> => {
  const program = Effect.gen(function* () {
    const { cluster, echo } = yield* client(0, many)
    const { borrowUnsafe, waitingUnsafe } = cluster
    const bridge = Bridge.make({ borrowUnsafe, maxSendBytes: 4 << 20, now: () => performance.now() })
    const bytes = Buffer.alloc(100)
    const rounds = (call: Effect.Effect<unknown, unknown>, count: number) =>
      Effect.promise(async () => {
        const all: Array<Waited> = []
        for (let i = 0; i < (quick ? 4 : 8); i++) all.push(await waited(call, waitingUnsafe, count))
        // The first one warms up.
        const of = (f: (one: Waited) => number): number => median(all.slice(1).map(f))
        return { bytesEach: of((one) => one.bytesEach), cancelMillis: of((one) => one.cancelMillis) }
      })
    const inBridge = Effect.suspend(() => bridge.unary(Call.make(method, bytes)))
    const inClient = Effect.suspend(() => echo(bytes))
    return {
      bridge: yield* rounds(inBridge, many),
      few: yield* rounds(inClient, few),
      many: yield* rounds(inClient, many)
    }
  })
  const measured = await Effect.runPromise(Effect.scoped(program))
  const row = (what: string, count: number, { bytesEach, cancelMillis }: Waited): Row => ({
    measurement: "waiting",
    what,
    calls: count,
    heapBytesEach: round(bytesEach, 0),
    cancelMillis: round(cancelMillis, 1)
  })
  return {
    values: {
      B7: measured.bridge.bytesEach,
      B7b: measured.many.cancelMillis,
      B7c: measured.many.cancelMillis / many / (measured.few.cancelMillis / few)
    },
    rows: [
      row("in the bridge", many, measured.bridge),
      row("default client", few, measured.few),
      row("default client", many, measured.many)
    ]
  }
})
