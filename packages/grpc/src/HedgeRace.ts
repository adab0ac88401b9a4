/**
 * One hedged call: its attempts, and the timer for the next one.
 *
 * A state machine that fibers report to: which attempts run, when the next one is due, and what ends the call. It waits
 * for nothing itself, so that an answer is handed on in the turn in which it came.
 */
import type { RetryBudget } from "@hawser/core/RetryBudget"
import type { RetryThrottle } from "@hawser/core/RetryThrottle"
import { monotonicMillis } from "@hawser/core/Time"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Call } from "./Call.ts"
import type { HedgeDelay } from "./HedgeDelay.ts"
import { neverLeft, pushbackOf } from "./RetryPolicy.ts"
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
  private readonly running = new Set<Fiber.Fiber<A, RpcError.RpcError>>()
  /** Where attempts run or have failed. */
  private readonly used: Set<string>
  private readonly begunAt: number
  private readonly delay: number
  /** Attempts that count. */
  private sent = 1
  /** All of them. */
  private begun = 0
  private first: Fiber.Fiber<A, RpcError.RpcError> | undefined = undefined
  private timer: Fiber.Fiber<void> | undefined = undefined
  private last: RpcError.RpcError | undefined = undefined
  /** Why there are no more attempts, where there could be; empty where the server said so. */
  private stopped: string | undefined = undefined
  private resent = false
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
  }

  begin(): void {
    this.rules.budget?.deposit(this.begunAt)
    this.send()
  }

  /** The caller has left. Ends when every attempt has. */
  interrupt(): Effect.Effect<void> {
    const { running } = this
    this.over()
    return Fiber.interruptAll(running)
  }

  private now(): number {
    return monotonicMillis(this.clock)
  }

  private send(): void {
    const nth = ++this.begun
    const attempt: Call<I, O> = {
      ...this.call,
      attempt: this.call.attempt + this.sent - 1,
      // The set itself: an attempt that waits in the queue must know where those went that left it earlier.
      avoid: nth === 1 ? this.call.avoid : this.used,
      resend: this.resend,
      picked: this.picked
    }
    const { send, undo } = this.sender
    // Interrupted after its success, it would end without one, and leave nothing to be undone.
    const fiber = Effect.runForkWith(this.context)(send(attempt), { uninterruptible: undo !== undefined })
    this.running.add(fiber)
    if (nth === 1) this.first = fiber
    fiber.addObserver((exit) => this.ended(fiber, exit))
    if (this.running.has(fiber)) this.schedule(this.delay)
  }

  private readonly picked = (endpoint: string): void => {
    this.used.add(endpoint)
  }

  private readonly resend = <I2, O2>(call: Call<I2, O2>): boolean => {
    const { budget, nonFatal, throttle } = this.rules
    if (!this.canSend() || throttle?.allows() === false) return false
    if (budget !== undefined && budget.balance(this.now()) < 1) return false
    return nonFatal(RpcError.of(call.method.path, givenUp, "MaybeProcessed", { attempts: call.attempt }))
  }

  /** Whether there is an attempt left, and time for it after so long. */
  private canSend(millis = 0): boolean {
    if (this.done || this.stopped !== undefined || this.sent >= this.rules.attempts) return false
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
    if (this.stopped !== undefined) return
    this.sent++
    this.send()
  }

  private ended(fiber: Fiber.Fiber<A, RpcError.RpcError>, exit: Exit.Exit<A, RpcError.RpcError>): void {
    const { undo } = this.sender
    this.running.delete(fiber)
    if (this.done) {
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
      this.failed(error, fiber === this.first)
    } catch (defect) {
      this.finish(Exit.die(defect))
    }
  }

  private failed(error: RpcError.RpcError, first: boolean): void {
    const { nonFatal, throttle, transparent } = this.rules
    if (error.endpoint !== undefined) this.used.add(error.endpoint)
    if (transparent && !this.resent && (error.progress === "Refused" || neverLeft(error))) {
      this.resent = true
      return this.send()
    }
    const pushback = pushbackOf(error)
    const passes = nonFatal(error)
    if (passes || pushback === "Never") throttle?.failed()
    if (first && error.reason._tag === "DeadlineExceeded") this.learn(false)
    if (!passes) {
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
    const { reason } = error
    const details = [reason.details, note].filter((text) => text !== "").join("; ")
    const attempts = this.call.attempt + this.sent - 1
    const same = error.attempts === attempts && details === reason.details
    const facts = { ...error, attempts }
    this.finish(Exit.fail(same ? error : RpcError.of(error.method, { ...reason, details }, error.progress, facts)))
  }

  private finish(exit: Exit.Exit<A, RpcError.RpcError>): void {
    this.over()
    // Not waited for: an answer must not wait for those who had none.
    for (const fiber of this.running) fiber.interruptUnsafe()
    this.resume(exit)
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
