/**
 * One hedged call: its attempts, and the timer for the next one.
 *
 * A state machine that fibers report to: which attempts run, when the next one is due, and what ends the call. It waits
 * for nothing itself, so that an answer is handed on in the turn in which it came. The headers of one attempt make it the
 * call: the others are cancelled, and how it ends is how the call ends (gRFC A6).
 */
import type { RetryBudget } from "@hawser/core/RetryBudget"
import type { RetryThrottle } from "@hawser/core/RetryThrottle"
import { monotonicMillis } from "@hawser/core/Time"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { Random } from "effect/Random"
import type { Call } from "./Call.ts"
import type { HedgeDelay } from "./HedgeDelay.ts"
import * as LastError from "./LastError.ts"
import { pushbackOf } from "./RetryPolicy.ts"
import { Transparent } from "./RetryTransparent.ts"
import * as RpcError from "./RpcError.ts"
import { pathGivenUp } from "./Status.ts"

/** What all calls of a hedged channel share. */
export interface Rules {
  readonly attempts: number
  readonly nonFatal: (error: RpcError.RpcError) => boolean
  readonly delay: HedgeDelay
  readonly budget: RetryBudget | undefined
  readonly throttle: RetryThrottle | undefined
  readonly transparent: boolean
  /** Whether the headers of an attempt decide. */
  readonly commits: boolean
}

/** How an attempt is sent, and how one is undone that succeeded too late. */
export interface Sender<I, O, A, R> {
  /** Where there is an `undo`, it is run uninterruptible, and says itself what may be interrupted. */
  readonly send: (call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R>
  readonly undo: ((answer: A) => Effect.Effect<void>) | undefined
}

/** Sends a call, and sends it again while it has no answer. */
export const run = <I, O, A, R>(
  rules: Rules,
  call: Call<I, O>,
  sender: Sender<I, O, A, R>
): Effect.Effect<A, RpcError.RpcError, R> =>
  Effect.withFiber((fiber) =>
    Effect.callback<A, RpcError.RpcError>((resume) => {
      const race = new Race(rules, call, sender, fiber, resume)
      race.begin()
      return Effect.suspend(() => race.interrupt())
    })
  )

class Race<I, O, A, R> {
  private readonly rules: Rules
  private readonly call: Call<I, O>
  private readonly sender: Sender<I, O, A, R>
  private readonly context: Context.Context<R>
  private readonly clock: Clock.Clock
  private readonly resume: (exit: Exit.Exit<A, RpcError.RpcError>) => void
  /** And whether they have a connection. */
  private readonly running = new Map<Fiber.Fiber<A, RpcError.RpcError>, boolean>()
  /** Whether an attempt that has failed may have been processed. */
  private reached = false
  /** Where attempts run or have failed. */
  private readonly used: Set<string>
  private readonly begunAt: number
  private readonly delay: number
  /** Attempts that count. */
  private sent = 0
  private first: Fiber.Fiber<A, RpcError.RpcError> | undefined = undefined
  private timer: Fiber.Fiber<void> | undefined = undefined
  private last: RpcError.RpcError | undefined = undefined
  /** Why there are no more attempts, where there could be; empty where the server said so. */
  private stopped: string | undefined = undefined
  /** The attempt whose headers have come. */
  private winner: Fiber.Fiber<A, RpcError.RpcError> | undefined = undefined
  private readonly free: Transparent | undefined
  private done = false

  constructor(
    rules: Rules,
    call: Call<I, O>,
    sender: Sender<I, O, A, R>,
    fiber: Fiber.Fiber<unknown, unknown>,
    resume: (exit: Exit.Exit<A, RpcError.RpcError>) => void
  ) {
    this.rules = rules
    this.call = call
    this.sender = sender
    this.context = fiber.context as Context.Context<R>
    this.clock = fiber.getRef(Clock.Clock)
    this.resume = resume
    this.used = new Set(call.avoid)
    this.begunAt = this.now()
    this.delay = rules.delay.of(call.method.path)
    this.free = rules.transparent ? new Transparent(call.deadline ?? Infinity) : undefined
  }

  begin(): void {
    this.rules.budget?.deposit(this.begunAt)
    this.send()
  }

  /** The caller has left. Ends when every attempt has. */
  interrupt(): Effect.Effect<void> {
    this.over()
    return Fiber.interruptAll(this.running.keys())
  }

  private now(): number {
    return monotonicMillis(this.clock)
  }

  /** Sends the next attempt that counts. */
  private send(): void {
    this.sent++
    const fiber = this.run({
      ...this.call,
      attempt: this.call.attempt + this.sent - 1,
      // The set itself: an attempt that waits in the queue must know where those went that left it earlier.
      avoid: this.sent === 1 ? this.call.avoid : this.used,
      resend: this.resend
    })
    this.first ??= fiber
    if (this.running.has(fiber)) this.schedule(this.delay)
  }

  /** Runs an attempt, or what is left of it after a wait. */
  private run(one: Call<I, O>, wait = 0): Fiber.Fiber<A, RpcError.RpcError> {
    const { send, undo } = this.sender
    let fiber: Fiber.Fiber<A, RpcError.RpcError> | undefined = undefined
    let early = false
    const committed = (): void => {
      if (fiber === undefined) early = true
      else this.commit(fiber)
    }
    let onWire = false
    const picked = (endpoint: string, connection: string): void => {
      this.used.add(endpoint).add(connection)
      if (fiber === undefined) onWire = true
      else if (this.running.has(fiber)) this.running.set(fiber, true)
      one.picked?.(endpoint, connection)
    }
    const attempt = send({ ...one, committed, picked })
    const effect = wait > 0 ? Effect.andThen(Effect.interruptible(Effect.sleep(wait)), attempt) : attempt
    // Interrupted after its success, it would end without one, and leave nothing to be undone.
    const begun = Effect.runForkWith(this.context)(effect, { uninterruptible: undo !== undefined })
    fiber = begun
    this.running.set(begun, onWire)
    if (early) this.commit(begun)
    begun.addObserver((exit) => this.ended(begun, one, exit))
    return begun
  }

  /** The headers of an attempt are here: it is the call from now on. */
  private commit(fiber: Fiber.Fiber<A, RpcError.RpcError>): void {
    if (!this.rules.commits || this.done || this.winner !== undefined || !this.running.has(fiber)) return
    this.winner = fiber
    this.cancelTimer()
    if (this.first !== undefined && this.first !== fiber && this.running.has(this.first)) {
      this.learn(false)
      this.first = undefined
    }
    for (const other of this.running.keys()) if (other !== fiber) other.interruptUnsafe()
  }

  private readonly resend = <I2, O2>(call: Call<I2, O2>): boolean => {
    const { budget, nonFatal, throttle } = this.rules
    if (!this.canSend() || throttle?.allows() === false) return false
    if (budget !== undefined && budget.balance(this.now()) < 1) return false
    return nonFatal(RpcError.of(call.method.path, givenUp, "MaybeProcessed", { attempts: call.attempt }))
  }

  /** Whether there is an attempt left, and time for it after so long. */
  private canSend(millis = 0): boolean {
    const over = this.done || this.winner !== undefined || this.stopped !== undefined
    if (over || this.sent >= this.rules.attempts) return false
    return this.now() + millis < (this.call.deadline ?? Infinity)
  }

  /** The next attempt is due after so long, and not before. */
  private schedule(millis: number): void {
    this.cancelTimer()
    if (!this.canSend(millis)) return
    if (millis <= 0) return this.another()
    const timer = Effect.runForkWith(this.context)(Effect.sleep(millis))
    this.timer = timer
    timer.addObserver(() => {
      if (this.timer !== timer) return
      this.timer = undefined
      this.another()
      this.settle()
    })
  }

  private cancelTimer(): void {
    const { timer } = this
    this.timer = undefined
    timer?.interruptUnsafe()
  }

  /** Sends one more, if throttle and budget let it. */
  private another(): void {
    const { budget, throttle } = this.rules
    if (throttle?.allows() === false) this.stopped = "hedges are throttled"
    else if (budget?.withdraw(this.now()) === false) this.stopped = "hedge budget is empty"
    else this.send()
  }

  private ended(
    fiber: Fiber.Fiber<A, RpcError.RpcError>,
    one: Call<I, O>,
    exit: Exit.Exit<A, RpcError.RpcError>
  ): void {
    const { undo } = this.sender
    this.running.delete(fiber)
    if (this.done || (this.winner !== undefined && this.winner !== fiber)) {
      if (Exit.isSuccess(exit) && undo !== undefined) Effect.runForkWith(this.context)(undo(exit.value))
      return
    }
    if (Exit.isSuccess(exit)) {
      if (fiber === this.first) this.learn(true)
      return this.finish(exit)
    }
    const error = exit.cause.reasons.find(Cause.isFailReason)?.error
    // A defect, or an interrupt from within.
    if (!RpcError.isRpcError(error)) return this.finish(exit)
    try {
      this.failed(error, one, fiber === this.first)
    } catch (defect) {
      this.finish(Exit.die(defect))
    }
  }

  private failed(error: RpcError.RpcError, one: Call<I, O>, first: boolean): void {
    const { commits, nonFatal, throttle } = this.rules
    if (error.endpoint !== undefined) this.used.add(error.endpoint)
    this.reached ||= !error.isUnsent
    const wait = this.free?.next(error, Context.get(this.context, Random))
    if (wait !== undefined) {
      // It is the same attempt still; the next one is due when it was.
      if (this.now() + wait < (this.call.deadline ?? Infinity)) return void this.run({ ...one, avoid: this.used }, wait)
      this.last = error
      return this.settle()
    }
    const pushback = pushbackOf(error)
    const passes = nonFatal(error)
    if (passes || pushback === "Never") throttle?.failed()
    if (first && error.reason._tag === "DeadlineExceeded") this.learn(false)
    if (!passes || this.winner !== undefined || (commits && error.committed === true)) {
      if (first && error.progress === "Answered") this.learn(true)
      return this.fail(error)
    }
    this.last = error
    if (pushback === "Never") {
      this.stopped ??= ""
      this.cancelTimer()
    } else this.schedule(pushback ?? 0)
    this.settle()
  }

  /** Fails when nothing runs and nothing is due. */
  private settle(): void {
    if (this.done || this.running.size > 0 || this.timer !== undefined || this.last === undefined) return
    this.fail(this.last, this.stopped)
  }

  private fail(error: RpcError.RpcError, note = ""): void {
    this.reached ||= [...this.running.values()].includes(true)
    this.stop()
    // One that waits, and has not heard yet that it is over, may get a connection still.
    this.reached ||= this.running.size > 0
    this.resume(Exit.fail(LastError.of(error, this.reached, this.call.attempt + this.sent - 1, note)))
  }

  private finish(exit: Exit.Exit<A, RpcError.RpcError>): void {
    this.stop()
    this.resume(exit)
  }

  /** The end, without waiting for the attempts: an answer must not wait for those who had none. */
  private stop(): void {
    this.over()
    for (const fiber of this.running.keys()) fiber.interruptUnsafe()
  }

  private over(): void {
    this.done = true
    this.cancelTimer()
    if (this.first !== undefined && this.running.has(this.first)) this.learn(false)
  }

  private learn(whole: boolean): void {
    const { delay } = this.rules
    if (delay.learn === undefined) return
    const now = this.now()
    delay.learn(this.call.method.path, now - this.begunAt, now, whole)
  }
}

const givenUp: RpcError.RpcReason = { _tag: "Unavailable", details: pathGivenUp, connect: undefined }
