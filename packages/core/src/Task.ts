/**
 * A fiber that can be stopped at any time, from its start on.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** A fiber that is surely stopped: Effect forgets an interrupt that comes before the first step. Started once. */
export class Task {
  private stopped = false
  private fiber: Fiber.Fiber<void> | undefined = undefined

  start(run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>, effect: Effect.Effect<void>): void {
    const fiber = run(Effect.suspend(() => (this.stopped ? Effect.void : effect)))
    if (this.stopped) fiber.interruptUnsafe()
    else this.fiber = fiber
  }
  stop(): void {
    this.stopped = true
    this.fiber?.interruptUnsafe()
  }
}
