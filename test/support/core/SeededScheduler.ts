import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import { mulberry } from "./prng.ts"

interface Task {
  readonly run: () => void
  readonly priority: number
}

/**
 * Runs the tasks of equal priority in an order drawn from a seed, and makes fibers yield at points drawn from it.
 *
 * Equal seeds give equal runs; `hash` tells runs apart. `check` is called after each task.
 */
export class SeededScheduler implements Scheduler.Scheduler {
  readonly executionMode = "async" as const
  check: () => void = () => {}
  steps = 0
  hash = 0
  private readonly random: () => number
  private readonly tasks: Array<Task> = []
  private armed = false

  constructor(seed: number) {
    this.random = mulberry(seed)
  }

  /** Never at the first step of a turn: see the scheduler of `@hawser/testing`. */
  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return fiber.currentOpCount > 1 && this.random() < 0.25
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return {
      scheduleTask: (run, priority) => {
        this.tasks.push({ run, priority })
        if (this.armed) return
        this.armed = true
        setImmediate(() => this.drain())
      },
      flush: () => this.drain()
    }
  }

  private drain(): void {
    this.armed = false
    while (this.tasks.length > 0) {
      this.take().run()
      this.steps++
      this.check()
    }
  }

  private take(): Task {
    let lowest = Infinity
    let count = 0
    for (const { priority } of this.tasks) {
      if (priority < lowest) {
        lowest = priority
        count = 1
      } else if (priority === lowest) count++
    }
    let nth = Math.floor(this.random() * count)
    const index = this.tasks.findIndex((task) => task.priority === lowest && nth-- === 0)
    this.hash = (this.hash * 31 + index + 1) | 0
    return this.tasks.splice(index, 1)[0]!
  }
}
