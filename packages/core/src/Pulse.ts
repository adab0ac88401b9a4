/**
 * A tick while there are borrows in flight, and nothing at all while there are none.
 *
 * It also knows when the process itself was late: after a stall everything looks silent, although it was us who did not
 * listen.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** Milliseconds between two ticks. */
export const periodMillis = 50
/** Between two ticks so much time counts; the rest was a stall of ours. */
const countedMillis = 100

/** What a pulse needs. */
export interface PulseOptions {
  readonly now: () => number
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** It begins to tick. */
  readonly woken?: () => void
  /** Whether to go on. */
  readonly busy: () => boolean
  /** `deafMillis`: for so long before this tick we did not listen, so silence proves nothing. */
  readonly tick: (now: number, deafMillis: number) => void
}

/** A tick while there are borrows in flight. */
export class Pulse {
  private running = false
  private readonly options: PulseOptions

  constructor(options: PulseOptions) {
    this.options = options
  }

  /** Called with each borrow: starts ticking unless it does. */
  wake(): void {
    if (this.running) return
    this.running = true
    this.options.woken?.()
    this.options.run(this.loop)
  }

  private readonly loop: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    const { busy, now, tick } = this.options
    let before = now()
    do {
      yield* Effect.sleep(periodMillis)
      const at = now()
      tick(at, Math.max(0, at - before - countedMillis))
      before = at
    } while (busy())
    this.running = false
  })
}
