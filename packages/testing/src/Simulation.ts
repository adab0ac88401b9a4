/**
 * Runs a program under virtual time and a seeded scheduler, to its end or to the point where nothing can happen any more.
 *
 * One seed is one run, to the byte: the order of everything that is ready, all chance and all time come from it. A run
 * that can't go on fails and says who waits for what, instead of hanging. Nothing in it takes real time, so an hour of
 * a service's life costs what its events cost.
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import { Issues } from "@hawser/core/OptionsError"
import { SeededScheduler } from "./SeededScheduler.ts"
import { VirtualClock } from "./VirtualClock.ts"

/** The program waits, and nothing can ever happen any more; or it takes more steps or time than it may. */
export class Stuck extends Data.TaggedError("Stuck")<{
  readonly why: "Deadlock" | "Steps" | "Time"
  /** Virtual milliseconds since the start. */
  readonly at: number
  /** Who waits, by the names that `named` gave, and since when. */
  readonly waiting: ReadonlyArray<string>
  readonly seed: number
}> {
  override get message(): string {
    const what = {
      Deadlock: "nothing can happen any more",
      Steps: "it takes too many steps",
      Time: "it takes too much time"
    }[this.why]
    const who = this.waiting.length === 0 ? "" : `\nwaiting: ${this.waiting.join("\n         ")}`
    return `seed ${this.seed}, ${Math.round(this.at)} ms: ${what}${who}`
  }
}

/** How to run. */
export interface SimulationOptions {
  /** An integer; the same one gives the same run. */
  readonly seed: number
  /** Called after every task. What it throws ends the run as a defect. */
  readonly check?: (() => void) | undefined
  /** Called whenever nothing is ready to run, before time passes. What it throws ends the run as a defect. */
  readonly idle?: (() => void) | undefined
  /** Tasks at most. Default 5,000,000. */
  readonly maxSteps?: number | undefined
  /** Virtual milliseconds at most. Default: 30 days. */
  readonly maxMillis?: number | undefined
}

/** How it went. */
export interface Result<out A, out E> {
  readonly exit: Exit.Exit<A, E | Stuck>
  readonly steps: number
  /** Virtual milliseconds. */
  readonly millis: number
  /** Timers that somebody forgot. */
  readonly timers: number
  /** What the run noted, in a number: equal runs have equal ones. */
  readonly hash: number
}

/** Turns that promises have before time passes for the first time, such as those of a dynamic import. */
const turns = 50
/** Milliseconds of real time for what is real, where nothing virtual is left. */
const lateTurns = 500
/** Tasks that an end by force may take. */
const lastSteps = 100_000

/**
 * A world of its own: its time, its order, its chance. For one run; see `run`, which makes one.
 *
 * **Example** (What happened, and when)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Simulation } from "@hawser/testing"
 *
 * const world = new Simulation.World({ seed: 1 })
 * const lines: Array<string> = []
 * world.trace = (line) => lines.push(line.trim())
 * await world.run(Effect.andThen(Effect.sleep("1 hour"), Effect.sync(() => world.note("tea"))))
 * lines[0] // => "3600000.000  tea"
 * ```
 */
export class World {
  readonly seed: number
  readonly clock = new VirtualClock()
  readonly scheduler: SeededScheduler
  hash = 17
  /** Gets every line that is noted. */
  trace: ((line: string) => void) | undefined = undefined
  private readonly names = new Map<symbol, string>()
  private readonly options: SimulationOptions

  constructor(options: SimulationOptions) {
    const issues = new Issues()
    const { maxMillis = 1, maxSteps = 1, seed } = options
    issues.check(Number.isSafeInteger(seed), "seed", "an integer", seed)
    issues.check(Number.isSafeInteger(maxSteps) && maxSteps > 0, "maxSteps", "an integer above 0", maxSteps)
    issues.check(maxMillis > 0, "maxMillis", "a number above 0", maxMillis)
    issues.throwIfAny()
    this.options = options
    this.seed = options.seed
    this.scheduler = new SeededScheduler(options.seed)
  }

  /** Notes what happens: part of what one run is told from another by. */
  note(line: string): void {
    let h = this.hash ^ Math.round(this.clock.now * 1_000)
    for (let i = 0; i < line.length; i++) h = Math.imul(h ^ line.charCodeAt(i), 16_777_619)
    this.hash = h
    this.trace?.(`${this.clock.now.toFixed(3).padStart(10)}  ${line}`)
  }

  /** Runs something under a name, by which `Stuck` speaks of it. */
  readonly named = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const key = Symbol()
      this.names.set(key, `${name}, since ${Math.round(this.clock.now)} ms`)
      return Effect.ensuring(
        effect,
        Effect.sync(() => this.names.delete(key))
      )
    })

  /** Runs a program to its end. Once. */
  async run<A, E>(program: Effect.Effect<A, E, Scope.Scope>): Promise<Result<A, E>> {
    const fiber = Effect.runFork(
      Effect.scoped(program).pipe(
        Random.withSeed(this.seed),
        Effect.provideService(Clock.Clock, this.clock),
        Effect.provideService(Scheduler.Scheduler, this.scheduler)
      )
    )
    let exit: Exit.Exit<A, E | Stuck>
    try {
      exit = await this.drive(fiber)
    } catch (defect) {
      exit = Exit.die(defect)
    }
    this.clear(fiber)
    this.note(`end after ${this.scheduler.steps} steps`)
    return { exit, steps: this.scheduler.steps, millis: this.clock.now, timers: this.clock.waiting, hash: this.hash }
  }

  private async drive<A, E>(fiber: Fiber.Fiber<A, E>): Promise<Exit.Exit<A, E | Stuck>> {
    const { clock, scheduler } = this
    const { check, idle, maxMillis = 30 * 86_400_000, maxSteps = 5_000_000 } = this.options
    let patience = turns
    let late = 0
    for (;;) {
      while (scheduler.step()) {
        check?.()
        if (scheduler.steps > maxSteps) return this.stuck("Steps")
      }
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return exit
      if (patience > 0) {
        patience--
        await new Promise((resolve) => setImmediate(resolve))
        continue
      }
      idle?.()
      if (!clock.advance((task) => scheduler.schedule(task, 0))) {
        // Nothing virtual is to come. Something real may: a module that is loaded for the first time.
        if (clock.now > 0 || late++ >= lateTurns) return this.stuck("Deadlock")
        await new Promise((resolve) => setTimeout(resolve, 1))
        continue
      }
      if (clock.now > maxMillis) return this.stuck("Time")
    }
  }

  private stuck(why: Stuck["why"]): Exit.Exit<never, Stuck> {
    return Exit.fail(new Stuck({ why, at: this.clock.now, waiting: [...this.names.values()], seed: this.seed }))
  }

  /** What could not go on is ended, as far as it can be. */
  private clear(fiber: Fiber.Fiber<unknown, unknown>): void {
    if (fiber.pollUnsafe() !== undefined) return
    fiber.interruptUnsafe()
    for (let n = 0; n < lastSteps && fiber.pollUnsafe() === undefined; n++) {
      if (!this.scheduler.step() && !this.clock.advance((task) => this.scheduler.schedule(task, 0))) return
    }
  }
}

/**
 * Runs a program in a world of its own, to its end.
 *
 * **When to use**: for what `TestClock` can't say: whether a program holds for every order in which things may happen. Run
 * it for many seeds; one that fails can be run again, and fails again.
 *
 * **Details**: `Clock`, `Random` and `Scheduler` are those of the world. The program can't wait for anything real, except
 * for promises before time has passed for the first time: build `Grpc.layer`, which loads a module, at the start. Rejects
 * with an `OptionsError` for options that break a rule.
 *
 * **Example** (Two that take from one account)
 *
 * ```ts import.meta.vitest
 * import { Effect, Exit } from "effect"
 * import { Simulation } from "@hawser/testing"
 *
 * let balance = 0
 * const withdraw = Effect.gen(function*() {
 *   if (balance < 10) return
 *   yield* Effect.sleep("1 milli")
 *   balance -= 10
 * })
 * const check = () => {
 *   if (balance < 0) throw new Error("overdrawn")
 * }
 * const overdrawn: Array<number> = []
 * for (let seed = 1; seed <= 20; seed++) {
 *   balance = 10
 *   const { exit } = await Simulation.run(
 *     { seed, check },
 *     () => Effect.all([withdraw, withdraw], { concurrency: 2, discard: true })
 *   )
 *   if (Exit.isFailure(exit)) overdrawn.push(seed)
 * }
 * overdrawn.length // => 20
 * ```
 *
 * **Example** (A program that can't go on)
 *
 * ```ts import.meta.vitest
 * import { Cause, Effect, Exit } from "effect"
 * import { Simulation } from "@hawser/testing"
 *
 * const { exit } = await Simulation.run({ seed: 7 }, (world) =>
 *   Effect.andThen(Effect.sleep("2 seconds"), world.named("the answer", Effect.never))
 * )
 * const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
 * const waiting = error instanceof Simulation.Stuck ? error.waiting : []
 * waiting // => ["the answer, since 2000 ms"]
 * ```
 */
export const run = async <A, E>(
  options: SimulationOptions,
  program: (world: World) => Effect.Effect<A, E, Scope.Scope>
): Promise<Result<A, E>> => {
  const world = new World(options)
  return world.run(Effect.suspend(() => program(world)))
}
