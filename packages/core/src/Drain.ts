/**
 * The end of a cluster, in order: refuse, let finish, cut, close.
 *
 * It happens once; whoever asks again gets the same report.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Balancer } from "./Balancer.ts"
import type { DrainReport } from "./DrainReport.ts"
import type { Event } from "./Event.ts"
import type { Members } from "./Members.ts"
import type { WaitQueue } from "./WaitQueue.ts"

/** What a drain needs. */
export interface DrainOptions<C, E> {
  readonly members: Members<C>
  readonly balancer: Balancer<C, E>
  readonly queue: WaitQueue<C, E>
  /** How long borrows may go on. */
  readonly within: Duration.Duration
  readonly publish: (event: Event) => void
  readonly now: () => number
}

/** The drain of a cluster: runs once, and is remembered. */
export const make = <C, E>(options: DrainOptions<C, E>): Effect.Effect<DrainReport> => {
  const done = Deferred.makeUnsafe<DrainReport>()
  let started = false
  // An interrupt between the mark and the fork would leave a drain that everybody waits for and nobody runs.
  return Effect.uninterruptibleMask((restore) => {
    const report = restore(Deferred.await(done))
    if (started) return report
    started = true
    // A fiber of its own: whoever asked may be interrupted, the drain goes on.
    return Effect.andThen(Effect.forkDetach(Deferred.into(drain(options), done)), report)
  })
}

const drain = Effect.fnUntraced(function* <C, E>(options: DrainOptions<C, E>): Effect.fn.Return<DrainReport> {
  const { balancer, members, now, publish, queue, within } = options
  const startedAt = now()
  const refusedBefore = queue.refused
  const inFlight = members.load()
  queue.close()
  members.stop()
  if (members.load() > 0) {
    yield* Effect.raceFirst(finished(balancer, members), Effect.sleep(within))
  }
  const cancelled = members.load()
  for (const pool of members.all()) {
    for (const subchannel of pool.all()) yield* subchannel.close
  }
  const report: DrainReport = {
    finished: inFlight - cancelled,
    cancelled,
    refused: queue.refused - refusedBefore,
    elapsed: Duration.millis(Math.max(0, Math.round(now() - startedAt)))
  }
  publish({ _tag: "Drained", report })
  return report
})

const finished = <C, E>(balancer: Balancer<C, E>, members: Members<C>): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const unsubscribe = balancer.subscribe(() => {
      if (members.load() > 0) return
      unsubscribe()
      resume(Effect.void)
    })
    return Effect.sync(unsubscribe)
  })
