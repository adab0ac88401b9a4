/**
 * Streams hold their sender back, and nothing piles up here meanwhile: 20,000 messages of 10 kB each way.
 *
 * `HAWSER_MESSAGES=100000 npx vitest run test/integration/backpressure.test.ts` sends more; `HAWSER_VERBOSE=1` prints what
 * was measured.
 */
import { assert, describe, it } from "@effect/vitest"
import * as StreamCall from "@hawser/grpc/StreamCall"
import { Effect, Fiber, Stream } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Client from "../support/grpc/client.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import * as FlowServer from "../support/grpc/FlowServer.ts"

const messages = Number(process.env["HAWSER_MESSAGES"] ?? 20_000)
const payload = Buffer.alloc(10_000, "x")
/** The reader stops here, and all is looked at. Not at round numbers: servers send by sixteens, and so do we read. */
const stops = Array.from({ length: 15 }, (_, i) => Math.floor(((i + 1) * messages) / 16) + 5 * i)
/** So many messages are read in one turn of the event loop. */
const perTurn = 10
/** In messages: 64 KiB that HTTP/2 lets out for a stream, and 64 KiB that Node reads before it stops to let out more. */
const inTransit = Math.ceil((2 * 65_536) / payload.length)
/** What grpc-js keeps of a frame beyond the message asked for. */
const restOfFrame = 2
/** The queue of a stream of objects in Node, on the side of the server. */
const atServer = 16
const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

setFlagsFromString("--expose-gc")
const gc = runInNewContext("gc") as () => void

/** What lives on the heap, and the bytes of buffers beside it. The second pass frees what the first has finalized. */
const heap = (): number => {
  gc()
  gc()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** What was seen at the stops. */
class Seen {
  readonly ahead: Array<number> = []
  readonly heaps: Array<number> = []
  readonly what: string

  constructor(what: string) {
    this.what = what
  }

  look(ahead: number): void {
    this.ahead.push(ahead)
    this.heaps.push(heap())
  }

  check(window: number): void {
    const level = this.heaps[0]!
    const drift = this.heaps.map((bytes) => Math.round((bytes - level) / 1e4) / 1e2)
    if (process.env["HAWSER_VERBOSE"] !== undefined) console.log(this.what, "ahead", this.ahead, "heap, MB", drift)
    assert.strictEqual(this.ahead.length, stops.length)
    for (const n of this.ahead) assert.isAtMost(n, window)
    // It is backpressure that ends the advance, not a slow sender.
    for (const n of this.ahead) assert.isAtLeast(n, 16)
    for (const mb of drift) assert.isAtMost(Math.abs(mb), 8)
  }
}

describe("a stream that nobody hurries to read", () => {
  it.live(
    "holds the server back, and costs no memory here",
    () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* FlowServer.make
          const client = yield* Client.make({ endpoints: [server.address] })
          const seen = new Seen("down")
          let read = 0
          const request = { id: "", count: messages, delayMillis: 0, payload, failCode: 0 }
          yield* client.echo.watch(request).pipe(
            Stream.rechunk(1),
            Stream.runForEach(({ index }) => {
              assert.strictEqual(index, read)
              read++
              if (read === messages) return Effect.void
              if (stops.includes(read)) {
                return Effect.map(
                  server.still(() => read),
                  ({ sent }) => seen.look(sent - read)
                )
              }
              return read % perTurn === 0 ? turn : Effect.void
            })
          )
          assert.strictEqual(read, messages)
          // Those that wait here, the rest of the batch that the reader is in, and all that is not ours.
          seen.check(StreamCall.window + (StreamCall.window - 1) + inTransit + restOfFrame + atServer)
        })
      ),
    600_000
  )

  it.live(
    "holds its own writer back when the server is slow",
    () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* FlowServer.make
          const client = yield* Client.make({ endpoints: [server.address] })
          const seen = new Seen("up")
          let pulled = 0
          const requests = Stream.range(1, messages).pipe(
            Stream.rechunk(1),
            Stream.map(() => {
              pulled++
              return { payload }
            })
          )
          const upload = yield* Effect.forkChild(client.echo.upload(requests, { timeout: "10 minutes" }))
          for (const at of stops) {
            yield* server.readTo(at)
            let counts = yield* server.still(() => pulled)
            while (counts.read < at) counts = yield* server.still(() => pulled)
            assert.strictEqual(counts.read, at)
            seen.look(pulled - at)
          }
          // Beyond the last one is the end.
          yield* server.readTo(messages + 1)
          const reply = yield* Fiber.join(upload)
          assert.deepStrictEqual([reply.messages, reply.bytes, pulled], [messages, messages * payload.length, messages])
          // One is with the transport, and no other is pulled until that is taken.
          seen.check(1 + inTransit + restOfFrame + atServer)
        })
      ),
    600_000
  )
})
