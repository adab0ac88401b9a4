import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Call } from "@hawser/grpc/Call"
import type { Status } from "@hawser/testing/TestChannel"
import type { Routes } from "@hawser/testing/Route"

/** A Watch, as the server has it. */
export interface ServedWatch {
  readonly service: string
  readonly at: number
  readonly metadata: Call<unknown, unknown>["metadata"]
  /** Answers with a status by its number, or with any bytes. */
  readonly say: (status: number | Uint8Array) => void
  /** Ends it; with OK, unless said otherwise. */
  readonly end: (status?: Status) => void
  open: boolean
}

/** A health service that does what the test says. */
export class HealthServer {
  readonly watches: Array<ServedWatch> = []
  readonly checks: Array<{ readonly service: string; readonly at: number }> = []
  /** What a Watch or Check is answered with as soon as it comes; `undefined`: not yet. */
  answer: number | Uint8Array | undefined = 1
  /** How every Watch and Check ends, unanswered. */
  fails: Status | undefined = undefined

  get open(): number {
    return this.watches.filter((watch) => watch.open).length
  }
  get last(): ServedWatch {
    return this.watches.at(-1)!
  }

  private readonly watch = (service: string, { metadata }: Call<unknown, unknown>): Stream.Stream<Uint8Array, Status> =>
    Stream.unwrap(
      Effect.gen({ self: this }, function* () {
        const queue = yield* Queue.unbounded<Uint8Array, Status | Cause.Done>()
        const watch: ServedWatch = {
          service,
          metadata,
          at: yield* Clock.currentTimeMillis,
          open: true,
          say: (status) => void Queue.offerUnsafe(queue, bytesOf(status)),
          end: (status) =>
            void (status === undefined ? Queue.endUnsafe(queue) : Queue.failCauseUnsafe(queue, Cause.fail(status)))
        }
        this.watches.push(watch)
        if (this.fails !== undefined) watch.end(this.fails)
        else if (this.answer !== undefined) watch.say(this.answer)
        return Stream.ensuring(
          Stream.fromQueue(queue),
          Effect.sync(() => {
            watch.open = false
          })
        )
      })
    )

  private readonly check = (service: string): Effect.Effect<Uint8Array, Status> =>
    Effect.gen({ self: this }, function* () {
      this.checks.push({ service, at: yield* Clock.currentTimeMillis })
      if (this.fails !== undefined) return yield* Effect.fail(this.fails)
      return this.answer === undefined ? yield* Effect.never : bytesOf(this.answer)
    })

  readonly routes: Routes = new Map([
    ["/grpc.health.v1.Health/Watch", { ...raw, responseStream: true, handler: this.watch as never }],
    ["/grpc.health.v1.Health/Check", { ...raw, responseStream: false, handler: this.check as never }]
  ])
}

const raw = {
  requestStream: false,
  requestDeserialize: (bytes: Buffer) => (bytes.length === 0 ? "" : bytes.subarray(2).toString()),
  responseSerialize: (value: unknown) => value as Uint8Array
}

const bytesOf = (status: number | Uint8Array): Uint8Array =>
  typeof status === "number" ? Uint8Array.from(status === 0 ? [] : [0x08, status]) : status
