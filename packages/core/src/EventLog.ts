/**
 * The events of one cluster: numbered without gaps, handed to listeners at once, and seen as a stream.
 */
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Envelope, Event, Events } from "./Event.ts"
import { monotonicMillis } from "./Time.ts"

/** A reader that falls behind by more loses the oldest; the gap in `seq` says how many. */
const viewSize = 1_024

/** The events of one cluster. */
export interface EventLog {
  readonly publish: (event: Event) => void
  /** A bounded, sliding view from now on. */
  readonly stream: Stream.Stream<Envelope>
}

/** Makes the log of a cluster. `bus` gets every event, too. */
export const make = (cluster: string, clock: Clock.Clock, bus: Events): EventLog => {
  const views = new Set<Queue.Enqueue<Envelope, Cause.Done>>()
  let seq = 0
  return {
    publish: (event) => {
      const envelope: Envelope = {
        seq: seq++,
        cluster,
        monotonicMillis: monotonicMillis(clock),
        wallMillis: clock.currentTimeMillisUnsafe(),
        event
      }
      bus.publish(envelope)
      for (const view of views) Queue.offerUnsafe(view, envelope)
    },
    stream: Stream.callback<Envelope>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            views.add(queue)
          }),
          () => Effect.sync(() => views.delete(queue))
        ),
      { bufferSize: viewSize, strategy: "sliding" }
    )
  }
}
