/**
 * A clock whose time passes only when it is told to.
 *
 * Unlike `TestClock` it wakes sleepers without a fiber of its own, knows when nobody sleeps any more, and can be asked for
 * the next moment at which anything happens: what a simulation needs to run fast and never hang.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { TaskClock } from "./Timers.ts"

interface Timer {
  readonly at: number
  readonly order: number
  task: (() => void) | undefined
}

const before = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** A clock whose time passes only when it is told to. Wall time is 1970 at the start. */
export class VirtualClock implements TaskClock {
  private millis = 0
  private nanos = 0n
  private order = 0
  /** A binary heap, the next one first. */
  private readonly heap: Array<Timer> = []
  private live = 0

  /** Milliseconds since the start. */
  get now(): number {
    return this.millis
  }
  /** How many wait for a moment to come. */
  get waiting(): number {
    return this.live
  }
  currentTimeMillisUnsafe(): number {
    return this.millis
  }
  currentTimeNanosUnsafe(): bigint {
    return this.nanos
  }
  monotonicTimeNanosUnsafe(): bigint {
    return this.nanos
  }
  readonly currentTimeMillis = Effect.sync(() => this.millis)
  readonly currentTimeNanos = Effect.sync(() => this.nanos)
  readonly monotonicTimeNanos = Effect.sync(() => this.nanos)

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration)
    if (!(millis > 0)) return Effect.yieldNow
    return Effect.callback((resume) => {
      const cancel = this.after(millis, () => resume(Effect.void))
      return Effect.sync(cancel)
    })
  }

  readonly after = (millis: number, task: () => void): (() => void) => {
    const timer: Timer = { at: this.millis + Math.max(0, millis), order: this.order++, task }
    this.live++
    // Never, for as long as anybody watches.
    if (millis < Infinity) this.push(timer)
    return () => {
      if (timer.task === undefined) return
      timer.task = undefined
      this.live--
    }
  }

  /** Goes to the next moment at which somebody waits, and hands out the tasks of that moment. False: nobody waits. */
  advance(run: (task: () => void) => void): boolean {
    let first = this.heap[0]
    while (first !== undefined && first.task === undefined) {
      this.pop()
      first = this.heap[0]
    }
    if (first === undefined) return false
    this.millis = first.at
    this.nanos = BigInt(Math.round(first.at * 1_000)) * 1_000n
    while (this.heap[0] !== undefined && this.heap[0].at <= this.millis) {
      const timer = this.pop()
      // Cancelled by whoever came first in the same moment, it does not run.
      if (timer.task !== undefined) {
        run(() => {
          const { task } = timer
          if (task === undefined) return
          timer.task = undefined
          this.live--
          task()
        })
      }
    }
    return true
  }

  private push(timer: Timer): void {
    const { heap } = this
    let i = heap.push(timer) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(timer, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = timer
  }

  private pop(): Timer {
    const { heap } = this
    const first = heap[0]!
    const last = heap.pop()!
    const size = heap.length
    if (size === 0) return first
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= size) break
      if (child + 1 < size && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
    return first
  }
}
