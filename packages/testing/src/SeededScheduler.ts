/**
 * A scheduler that runs what is ready in an order drawn from a seed, one task at a time.
 *
 * Any order that it can draw is one that a program may meet; equal seeds draw equal orders.
 */
import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import * as Prng from "./Prng.ts"

interface Task {
  readonly run: () => void
  readonly priority: number
}

/** The chance of a fiber to be held up after each of its steps. */
const yieldChance = 0.15

/** Runs what is ready in an order drawn from a seed. It runs nothing by itself: `step` does. */
export class SeededScheduler implements Scheduler.Scheduler {
  readonly executionMode = "async" as const
  /** Tasks run so far. */
  steps = 0
  private readonly random: () => number
  private readonly tasks: Array<Task> = []

  constructor(seed: number) {
    this.random = Prng.make(seed)
  }

  /**
   * Never at the first step of a turn: Effect 4.1 forgets an interrupt that came before a fiber's start if the fiber is held
   * up right there, which its own schedulers never do.
   */
  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return fiber.currentOpCount > 1 && this.random() < yieldChance
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return { scheduleTask: this.schedule, flush: () => {} }
  }

  readonly schedule = (run: () => void, priority: number): void => {
    this.tasks.push({ run, priority })
  }

  /** How many tasks are ready. */
  get ready(): number {
    return this.tasks.length
  }

  /** Runs one of the tasks of the lowest priority. False: none is ready. */
  step(): boolean {
    const { tasks } = this
    const size = tasks.length
    if (size === 0) return false
    let lowest = Infinity
    let count = 0
    for (let i = 0; i < size; i++) {
      const { priority } = tasks[i]!
      if (priority < lowest) {
        lowest = priority
        count = 1
      } else if (priority === lowest) count++
    }
    let nth = count === 1 ? 0 : Math.floor(this.random() * count)
    let index = 0
    while (tasks[index]!.priority !== lowest || nth-- > 0) index++
    const [task] = tasks.splice(index, 1)
    this.steps++
    task!.run()
    return true
  }
}
