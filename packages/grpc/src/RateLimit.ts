/**
 * So many calls per second, or at once, and no more.
 *
 * Why on this side: a quota that the server counts is cheaper kept here, where a call over it costs no round trip, and a
 * client that fans out must not take a service from all others. Calls over the limit wait their turn, in the order in
 * which they came, for a bounded time; what would wait longer is refused at once.
 */
import { Issues } from "@hawser/core/OptionsError"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import * as Stream from "effect/Stream"
import type { Call } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as Deadline from "./Deadline.ts"
import * as RpcError from "./RpcError.ts"

const TypeId = "~hawser/RateLimit"

/** A limit. */
export interface RateLimit {
  readonly [TypeId]: typeof TypeId
  /** Calls per second in the long run; infinite: no such limit. */
  readonly perSecond: number
  /** Calls that may begin in one moment after a quiet time. */
  readonly burst: number
  /** Calls that run at once; infinite: no such limit. */
  readonly atOnce: number
  readonly maxWaitMillis: number
  readonly maxWaiters: number
}

/** What `make` takes: `perSecond`, `atOnce`, or both. */
export interface RateLimitOptions {
  /** Calls per second, from 0.001 to 1,000,000. Default: no such limit. */
  readonly perSecond?: number | undefined
  /** Calls that may begin in one moment after a quiet time; 1 to 1,000,000. Default: those of one second. */
  readonly burst?: number | undefined
  /** Calls that run at once, streams until they end; 1 to 1,000,000. Default: no such limit. */
  readonly atOnce?: number | undefined
  /** How long a call may wait for its turn; 0 to 24 days, and never beyond its deadline. 0: not at all. Default 1 s. */
  readonly maxWait?: Duration.Input | undefined
  /** How many may wait; 0 to 1,000,000. Default 1,000. */
  readonly maxWaiters?: number | undefined
}

const known: ReadonlyArray<string> = ["perSecond", "burst", "atOnce", "maxWait", "maxWaiters"]

/**
 * Makes a limit; throws an `OptionsError` that lists all that is wrong with the options.
 *
 * ```ts import.meta.vitest
 * import { RateLimit } from "@hawser/grpc"
 *
 * RateLimit.make({ perSecond: 50 }).burst // => 50
 * RateLimit.make({ atOnce: 8, maxWait: 0 }).maxWaitMillis // => 0
 * let message = ""
 * try { RateLimit.make({}) } catch (e) { message = (e as Error).message }
 * message // => "perSecond: expected perSecond, atOnce, or both, got undefined"
 * ```
 */
export const make = (options: RateLimitOptions): RateLimit => {
  const { atOnce = Infinity, maxWaiters = 1_000, perSecond = Infinity } = options
  const { burst = perSecond === Infinity ? Infinity : Math.max(1, Math.floor(perSecond)) } = options
  const maxWaitMillis = Deadline.millisOf(options.maxWait ?? 1_000)
  const issues = new Issues()
  const whole = (n: number, min: number) => Number.isInteger(n) && n >= min && n <= most
  const some = options.perSecond !== undefined || options.atOnce !== undefined
  issues.check(some, "perSecond", "perSecond, atOnce, or both", undefined)
  const rate = options.perSecond === undefined || (perSecond >= 0.001 && perSecond <= most)
  issues.check(rate, "perSecond", "a number from 0.001 to 1,000,000", perSecond)
  const burstRule = "an integer from 1 to 1,000,000, with perSecond"
  const pair = options.burst === undefined || (options.perSecond !== undefined && whole(burst, 1))
  issues.check(pair, "burst", burstRule, burst)
  const few = options.atOnce === undefined || whole(atOnce, 1)
  issues.check(few, "atOnce", "an integer from 1 to 1,000,000", atOnce)
  const wait = maxWaitMillis >= 0 && maxWaitMillis <= Deadline.maxMillis
  issues.check(wait, "maxWait", "a duration from 0 to 24 days", options.maxWait)
  issues.check(whole(maxWaiters, 0), "maxWaiters", "an integer from 0 to 1,000,000", maxWaiters)
  for (const key of Object.keys(options)) issues.check(known.includes(key), key, `one of ${known.join(", ")}`, key)
  issues.throwIfAny()
  return { [TypeId]: TypeId, perSecond, burst, atOnce, maxWaitMillis, maxWaiters }
}

const most = 1_000_000

/**
 * Whether a value is a limit. What only looks like one is none: `make` has checked no bound of it.
 *
 * ```ts import.meta.vitest
 * import { RateLimit } from "@hawser/grpc"
 *
 * RateLimit.isRateLimit(RateLimit.make({ atOnce: 1 })) // => true
 * RateLimit.isRateLimit({ atOnce: 1 }) // => false
 * ```
 */
export const isRateLimit = (u: unknown): u is RateLimit => hasProperty(u, TypeId)

/** A call's turn: it waits, has it, or has left. */
class Turn {
  state: "New" | "Waiting" | "Running" | "Over" = "New"
  go: (() => void) | undefined = undefined
}

/** The turns of one channel: a bucket of tokens that time fills, places that calls give back, and who waits for them. */
class Limiter {
  private readonly limit: RateLimit
  private readonly waiting = new Set<Turn>()
  private tokens: number
  private filledAt = 0
  private running = 0
  private timer: Fiber.Fiber<void> | undefined = undefined

  constructor(limit: RateLimit) {
    this.limit = limit
    this.tokens = limit.burst
  }

  /** Takes a turn now, if nobody waits and nothing is in the way. */
  tryTake(turn: Turn, now: number): boolean {
    if (this.waiting.size > 0 || this.running >= this.limit.atOnce || !this.hasToken(now)) return false
    this.give(turn)
    return true
  }

  /** How long at least the next one to come has to wait. */
  waitOf(now: number): number {
    const { perSecond } = this.limit
    if (perSecond === Infinity) return 0
    this.fill(now)
    return Math.max(0, ((this.waiting.size + 1 - this.tokens) * 1000) / perSecond)
  }

  get isFull(): boolean {
    return this.waiting.size >= this.limit.maxWaiters
  }

  enqueue(turn: Turn, clock: Clock.Clock, context: Context.Context<never>): void {
    turn.state = "Waiting"
    this.waiting.add(turn)
    this.next(clock, context)
  }

  /** Leaves the line, or gives the place back. */
  leave(turn: Turn, clock: Clock.Clock, context: Context.Context<never>): void {
    if (turn.state === "Running") this.running--
    this.waiting.delete(turn)
    turn.state = "Over"
    this.next(clock, context)
  }

  /** Gives turns to those who have waited longest, and sets the timer for the next token. */
  private next(clock: Clock.Clock, context: Context.Context<never>): void {
    if (this.waiting.size === 0) return this.stop()
    const now = monotonicMillis(clock)
    for (const turn of this.waiting) {
      if (this.running >= this.limit.atOnce) return this.stop()
      if (!this.hasToken(now)) return this.wake(clock, context)
      this.waiting.delete(turn)
      this.give(turn)
      turn.go?.()
    }
    this.stop()
  }

  private wake(clock: Clock.Clock, context: Context.Context<never>): void {
    if (this.timer !== undefined) return
    const millis = ((1 - this.tokens) * 1000) / this.limit.perSecond
    const timer = Effect.runForkWith(context)(Effect.sleep(Math.max(millis, shortest)))
    this.timer = timer
    timer.addObserver(() => {
      if (this.timer !== timer) return
      this.timer = undefined
      this.next(clock, context)
    })
  }

  private stop(): void {
    const { timer } = this
    this.timer = undefined
    timer?.interruptUnsafe()
  }

  private give(turn: Turn): void {
    turn.state = "Running"
    this.running++
    this.tokens--
  }

  private hasToken(now: number): boolean {
    this.fill(now)
    return this.tokens >= 1 - tolerance
  }

  private fill(now: number): void {
    const { burst, perSecond } = this.limit
    if (burst === Infinity || now <= this.filledAt) return
    this.tokens = Math.min(burst, this.tokens + ((now - this.filledAt) * perSecond) / 1000)
    this.filledAt = now
  }
}

// Sums of fractions fall short of 1 by less than this.
const tolerance = 1e-9
const shortest = 0.01

/**
 * Middleware that limits. All calls of the channel share the limit.
 *
 * **Details**: a call over the limit waits for `maxWait`, or until its deadline where that is sooner. It is refused with
 * `ResourceExhausted` by `Us`, `NotSent`: at once where too many wait or its turn would come too late, and at the end of
 * its wait. Where the deadline ended the wait, it is `DeadlineExceeded`, phase `Queued`. One that is interrupted leaves
 * the line.
 *
 * **Gotchas**: above retry it counts calls, below it attempts. A retry of what it refused is refused again:
 * `ResourceExhausted` is not retried by default.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, Metadata, RateLimit } from "@hawser/grpc"
 *
 * const channel = Channel.make({
 *   unary: ({ input, method }) =>
 *     Effect.succeed({
 *       message: method.decode(method.encode(input)),
 *       headers: Metadata.empty,
 *       trailers: Metadata.empty,
 *       connection: "here#1"
 *     })
 * })
 * const limited = channel.pipe(RateLimit.intercept(RateLimit.make({ perSecond: 2, maxWait: 0 })))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const three = [limited.unary(call), limited.unary(call), Effect.flip(limited.unary(call))] as const
 * const [, , error] = Effect.runSync(Effect.all(three))
 * error.reason._tag // => "ResourceExhausted"
 * error.progress // => "NotSent"
 * ```
 */
export const intercept =
  (limit: RateLimit) =>
  <E, R>(self: Channel.Channel.With<E, R>): Channel.Channel.With<E | RpcError.RpcError, R> => {
    const limiter = new Limiter(limit)
    // What ends a turn is in place before it is taken: nothing can come between.
    const turned = <A, E2, R2>(
      f: (enter: Effect.Effect<void, RpcError.RpcError>, leave: Effect.Effect<void>) => Effect.Effect<A, E2, R2>,
      call: Call<never, unknown>
    ): Effect.Effect<A, E2, R2> =>
      Effect.withFiber((fiber) => {
        const turn = new Turn()
        const clock = fiber.getRef(Clock.Clock)
        const { context } = fiber
        const enter = Effect.suspend(() => take(limiter, limit, turn, call, clock, context))
        return f(
          enter,
          Effect.sync(() => limiter.leave(turn, clock, context))
        )
      })
    return Channel.make<E | RpcError.RpcError, R>({
      unary: (call) =>
        turned(
          (enter, leave) => Effect.ensuring(Effect.andThen(enter, self.unary(call)), leave),
          call as unknown as Call<never, unknown>
        ),
      stream: (call) =>
        turned(
          (enter, leave) =>
            Effect.addFinalizer(() => leave).pipe(
              Effect.andThen(enter),
              Effect.andThen(self.stream(call)),
              Effect.map((replies) => ({ ...replies, messages: Stream.ensuring(replies.messages, leave) })),
              Effect.onExit((exit) => (Exit.isFailure(exit) ? leave : Effect.void))
            ),
          call as unknown as Call<never, unknown>
        )
    })
  }

const take = (
  limiter: Limiter,
  limit: RateLimit,
  turn: Turn,
  call: Call<never, unknown>,
  clock: Clock.Clock,
  context: Context.Context<never>
): Effect.Effect<void, RpcError.RpcError> => {
  const now = monotonicMillis(clock)
  if (limiter.tryTake(turn, now)) return Effect.void
  const left = (call.deadline ?? Infinity) - now
  const bound = Math.min(limit.maxWaitMillis, left)
  if (limiter.isFull) return refused(call, `${limit.maxWaiters} calls wait for their turn already`, 0)
  const wait = limiter.waitOf(now)
  if (bound <= 0 || wait > bound) {
    return refused(
      call,
      `Its turn would come after ${Math.ceil(wait)} ms at least, and it may wait ${Math.max(0, bound)}`,
      0
    )
  }
  const waited = Effect.callback<void>((resume) => {
    turn.go = () => resume(Effect.void)
    limiter.enqueue(turn, clock, context)
  })
  const late = Effect.suspend(() =>
    left <= limit.maxWaitMillis ? outOfTime(call, bound) : refused(call, tooLong(bound), bound)
  )
  return Effect.timeoutOrElse(waited, { duration: bound, orElse: () => late })
}

const tooLong = (millis: number): string => `Waited ${millis} ms for its turn`

const refused = (
  { attempt, method }: Call<never, unknown>,
  why: string,
  waitedMillis: number
): Effect.Effect<never, RpcError.RpcError> => {
  const reason = { _tag: "ResourceExhausted", details: `Rate limit: ${why}`, by: "Us" } as const
  return Effect.fail(RpcError.of(method.path, reason, "NotSent", { attempts: attempt - 1, waitedMillis }))
}

const outOfTime = (
  { attempt, method }: Call<never, unknown>,
  waitedMillis: number
): Effect.Effect<never, RpcError.RpcError> => {
  const details = `Rate limit: ${tooLong(waitedMillis)}`
  const reason = { _tag: "DeadlineExceeded", details, phase: "Queued", by: "Us" } as const
  return Effect.fail(RpcError.of(method.path, reason, "NotSent", { attempts: attempt - 1, waitedMillis }))
}

/**
 * A limit as a layer over another layer's channel.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Call, Channel, RateLimit } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const greeter = TestChannel.layer({ "/demo.Greeter/SayHello": () => Effect.never })
 * const layer = Layer.provide(RateLimit.layer(RateLimit.make({ atOnce: 1, maxWait: "5 millis" })), greeter)
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Effect.gen(function*() {
 *   const { unary } = yield* Channel.Channel
 *   yield* Effect.forkChild(unary(call), { startImmediately: true })
 *   return yield* Effect.flip(unary(call))
 * })
 * const { reason } = await Effect.runPromise(Effect.provide(program, layer))
 * reason.details // => "Rate limit: Waited 5 ms for its turn"
 * ```
 */
export const layer = (limit: RateLimit): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => intercept(limit)(channel))
  )
