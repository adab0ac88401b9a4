/** Endpoints that come and go. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Endpoint } from "@hawser/core/Endpoint"
import type { Resolver, Update } from "@hawser/core/Resolver"
import type { Dice } from "../support/core/prng.ts"

/** A resolver that a run moves. */
export interface Moving {
  readonly resolver: Resolver
  /** Some of the endpoints, some with another priority. */
  readonly change: Effect.Effect<unknown>
  /** All of them, as they were. */
  readonly restore: Effect.Effect<unknown>
}

/** A resolver of some of these endpoints. */
export const make = (all: ReadonlyArray<Endpoint>, dice: Dice): Effect.Effect<Moving> =>
  Effect.map(Queue.unbounded<Update>(), (updates) => {
    const say = (endpoints: ReadonlyArray<Endpoint>) => Queue.offer(updates, { _tag: "Endpoints", endpoints })
    return {
      resolver: {
        name: "moving",
        open: Effect.succeed({ updates: Stream.fromQueue(updates), refresh: () => {} })
      },
      change: Effect.suspend(() =>
        say(
          all
            .filter(() => dice.chance(0.8))
            .map((one) => (dice.chance(0.2) ? { ...one, priority: dice.below(2) } : one))
        )
      ),
      restore: Effect.suspend(() => say(all))
    }
  })
