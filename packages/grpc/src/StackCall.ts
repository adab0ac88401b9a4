/**
 * A unary call through the whole default stack, as one object and one step of its fiber.
 *
 * Each part of the stack costs a call two or three steps, and several of them read the clock. Where nothing of anybody
 * else's stands between the parts, all of them happen in one object: what `CallMetrics`, `CallTracing`, `Deadline`, `Retry`
 * and the bridge do for a call that succeeds at once, in the same order and with the same results. From the first failure
 * on, the layers themselves take over.
 */
import type { RetryBudget } from "@hawser/core/RetryBudget"
import { monotonicMillis } from "@hawser/core/Time"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"
import { isPrivate } from "./AuthTokens.ts"
import type { BridgeOptions } from "./BridgeCall.ts"
import type { Call, Reply } from "./Call.ts"
import { died, type End, endOf, interrupted, refused, succeeded } from "./CallEnd.ts"
import type { CallMetrics } from "./CallMetrics.ts"
import * as Span from "./CallSpan.ts"
import * as Channel from "./Channel.ts"
import type { Metadata } from "./Metadata.ts"
import { again } from "./RetryLoop.ts"
import { isWatched, type RetryPlan } from "./RetryPlan.ts"
import type { RetryPolicy } from "./RetryPolicy.ts"
import type { RpcError } from "./RpcError.ts"
import { Surroundings } from "./Surroundings.ts"
import { type Resume, UnaryCall } from "./UnaryCall.ts"

/** A default stack without anything of anybody else's in it. */
export interface Stack {
  readonly bridge: BridgeOptions
  readonly metrics: CallMetrics
  /** `undefined`: no spans. */
  readonly propagation: ReadonlyArray<Span.Propagation> | undefined
  /** `Infinity` for none. */
  readonly deadlineMillis: number
  readonly retry: RetryPlan | undefined
  /** Whether the connections can be read by others. */
  readonly isPlaintext: boolean
  /** Everything below retry, layer by layer. */
  readonly attempts: Channel.Channel
  /** The same stack, layer by layer. */
  readonly layered: Channel.Channel
}

/** The stack with its unary calls in one step. Whatever is out of the ordinary goes through the layers. */
export const make = (stack: Stack): Channel.Channel => {
  const { isPlaintext, layered, retry } = stack
  const surroundings = new Surroundings()
  return Channel.make<RpcError>({
    unary: (call) => {
      if (call.method.kind !== "unary") return layered.unary(call)
      return Effect.callback((resume) => {
        const fiber = Fiber.getCurrent()!
        const around = surroundings.of(fiber)
        const now = monotonicMillis(around.clock)
        const own = call.deadline ?? now + stack.deadlineMillis
        // In this order NaN stays NaN, and has passed.
        const deadline = around.deadline < own ? around.deadline : own
        const policy = retry?.of(call.method.path)
        if (!(deadline > now) || (policy !== undefined && isWatched(policy)) || (isPlaintext && isPrivate(call))) {
          return resume(layered.unary(call))
        }
        const whole = new StackCall(call, resume, stack, around.clock, now, deadline, policy)
        try {
          if (stack.propagation !== undefined) whole.trace(fiber, around, stack.propagation)
          whole.begin()
        } catch (defect) {
          whole.abandon()
          throw defect
        }
        return Effect.sync(() => whole.interrupt())
      })
    },
    stream: layered.stream
  })
}

class StackCall<I, O> extends UnaryCall<I, O> {
  private readonly stack: Stack
  private readonly clock: Clock.Clock
  private readonly startedAt: number
  private readonly until: number
  private readonly policy: RetryPolicy | undefined
  private budget: RetryBudget | undefined = undefined
  /** When its spans began, in wall nanoseconds. */
  private begunAt = 0n
  private isTimed = false
  private span: Tracer.Span | undefined = undefined
  private attemptSpan: Tracer.Span | undefined = undefined
  private told: Metadata | undefined = undefined
  /** Whether its end was told. */
  private over = false

  constructor(
    call: Call<I, O>,
    resume: Resume<O>,
    stack: Stack,
    clock: Clock.Clock,
    startedAt: number,
    deadline: number,
    policy: RetryPolicy | undefined
  ) {
    super(call, stack.bridge, resume)
    this.stack = stack
    this.clock = clock
    this.startedAt = startedAt
    this.until = deadline
    this.policy = policy
  }

  override get deadline(): number {
    return this.until
  }
  override get metadata(): Metadata | undefined {
    return this.told ?? this.call.metadata
  }

  /** Begins the spans, where they are recorded, and tells the server of them. */
  trace(
    fiber: Fiber.Fiber<unknown, unknown>,
    surroundings: Surroundings,
    propagation: ReadonlyArray<Span.Propagation>
  ): void {
    const { call } = this
    const around = Span.around(call, fiber)
    const isRecorded = Span.isRecorded(fiber)
    if (around === undefined && !isRecorded) return
    let above = around
    if (isRecorded) {
      const settings = surroundings.spans
      const now = (this.begunAt = settings.now())
      this.isTimed = settings.isTimed
      this.span = Span.begin(call, "call", above, fiber, settings, now)
      above = this.span ?? above
      this.attemptSpan = Span.begin(call, "attempt", above, fiber, settings, now)
      above = this.attemptSpan ?? above
    }
    if (above !== undefined && propagation.length > 0) this.told = Span.told(call.metadata, propagation, above)
  }

  override begin(): void {
    const { policy, stack } = this
    if (policy !== undefined) this.budget = stack.retry!.begin(policy, this.clock, this.startedAt)
    stack.metrics.attemptStarted(this.path)
    super.begin()
  }

  override interrupt(): void {
    super.interrupt()
    this.end(interrupted)
  }

  /** Something of somebody else's threw: a tracer, say. */
  abandon(): void {
    super.interrupt()
    this.end(died)
  }

  protected override isResendable(): boolean {
    const first = this.first()
    return first.resend?.(first) === true
  }

  protected override replied(reply: Reply<O>): void {
    const { releasedAt = -1 } = this.lease!
    this.end(succeeded(reply.connection), releasedAt < 0 ? undefined : releasedAt)
    super.replied(reply)
  }

  protected override failed(error: RpcError): void {
    const { policy } = this
    const end = refused(error)
    if (policy === undefined) {
      this.end(end)
      return super.failed(error)
    }
    this.endAttempt(end, monotonicMillis(this.clock) - this.startedAt)
    const { attempts } = this.stack
    const rest = again(policy, this.budget, this.clock, this.first(), 0, attempts.unary, error)
    this.resume(Effect.onExitPrimitive(rest, (exit) => this.end(endOf(exit))))
  }

  /** The first attempt as the layers would have sent it. */
  private first(): Call<I, O> {
    const { call, policy, stack } = this
    const first = { ...call, deadline: this.until, resend: policy === undefined ? call.resend : stack.retry!.resend }
    return this.span === undefined ? first : Span.under(first, this.span)
  }

  private end(end: End, at: number = monotonicMillis(this.clock)): undefined {
    if (this.over) return
    this.over = true
    const { span, stack } = this
    const millis = at - this.startedAt
    this.endAttempt(end, millis)
    if (span !== undefined) Span.finish(span, this.path, end, this.after(millis))
    stack.metrics.callEnded(this.path, end.code, millis / 1_000)
  }

  private endAttempt(end: End, millis: number): void {
    const { attemptSpan } = this
    if (attemptSpan === undefined) return
    this.attemptSpan = undefined
    Span.finish(attemptSpan, this.path, end, this.after(millis))
  }

  /** The time of spans: that of their start and what has passed since, which is cheaper than wall time. */
  private after(millis: number): bigint {
    return this.isTimed ? this.begunAt + BigInt(Math.round(millis * 1e6)) : 0n
  }
}
