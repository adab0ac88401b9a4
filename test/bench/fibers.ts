/**
 * A client of effects: one fiber per lane. Apart from `client.ts`, so that clients of promises load nothing of Effect.
 */
import * as Effect from "effect/Effect"
import type { Client } from "./client.ts"
import { type Message, request } from "./echo.ts"

export const fibers = <E>(
  call: (message: Message) => Effect.Effect<Message, E>,
  runPromise: (all: Effect.Effect<void, E>) => Promise<void>
): Client => ({
  run: (lanes, meter) => {
    const lane = Effect.suspend(() => {
      let at = performance.now()
      return Effect.whileLoop({
        while: () => at < meter.end,
        body: () => call(request),
        step: () => {
          at = meter.done(at)
        }
      })
    })
    return runPromise(
      Effect.forEach(Array.from({ length: lanes }), () => lane, { concurrency: "unbounded", discard: true })
    )
  }
})
