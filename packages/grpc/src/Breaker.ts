/**
 * Stops calling what fails, and asks now and then whether it works again.
 *
 * Why: while most calls fail, each further one costs its caller a deadline and the server a request. An open circuit
 * refuses at once; after a while one call is let through as a trial, and its outcome closes the circuit or opens it
 * anew. Off by default: the balancer already leaves out endpoints that fail. A breaker is for a service as a whole.
 *
 * Synchronous, with a window of its own: effect's `CircuitBreaker` counts calls instead of time, goes through a store, and
 * loads `effect/Schema`.
 */
import { Issues } from "@hawser/core/OptionsError"
import { monotonicMillis } from "@hawser/core/Time"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { hasProperty } from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type { Call } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as Deadline from "./Deadline.ts"
import * as RpcError from "./RpcError.ts"

const TypeId = "~hawser/Breaker"

/** A breaker's policy. */
export interface Breaker {
  readonly [TypeId]: typeof TypeId
  readonly minCalls: number
  readonly ratio: number
  readonly windowMillis: number
  readonly openMillis: number
  readonly isFailure: (error: RpcError.RpcError) => boolean
}

/** What `make` takes. */
export interface BreakerOptions {
  /** With fewer calls in the window the circuit stays closed; 1 to 1,000,000. Default 20. */
  readonly minCalls?: number | undefined
  /** The share of failures that opens it, above 0 and up to 1. Default 0.5. */
  readonly ratio?: number | undefined
  /** How long a call counts; 1 s to 1 h. Default 10 s. */
  readonly window?: Duration.Input | undefined
  /** How long it stays open before a trial; above 0, at most 24 days. Default 5 s. */
  readonly open?: Duration.Input | undefined
  /** Which errors count against the service. Default: `isFailure`. */
  readonly isFailure?: ((error: RpcError.RpcError) => boolean) | undefined
}

const known: ReadonlyArray<string> = ["minCalls", "ratio", "window", "open", "isFailure"]

/**
 * The default of `isFailure`: no connection, no answer in time, overload, and the codes of a server that is broken.
 *
 * **Details**: what this client refused by itself, be it for a full queue or for a message that is too large, is no
 * failure of the service.
 *
 * ```ts import.meta.vitest
 * import { Breaker, RpcError } from "@hawser/grpc"
 *
 * Breaker.isFailure(RpcError.of("/demo.Shop/Buy", { _tag: "Internal", details: "" }, "Answered")) // => true
 * Breaker.isFailure(RpcError.of("/demo.Shop/Buy", { _tag: "NotFound", details: "" }, "Answered")) // => false
 * ```
 */
export const isFailure = ({ progress, reason }: RpcError.RpcError): boolean => {
  switch (reason._tag) {
    case "Unavailable":
    case "DeadlineExceeded":
      return true
    case "ResourceExhausted":
      return reason.by === "Server"
    case "Unknown":
    case "Internal":
    case "DataLoss":
      return progress !== "NotSent"
    default:
      return false
  }
}

/**
 * Makes a policy; throws an `OptionsError` that lists all that is wrong with the options.
 *
 * ```ts import.meta.vitest
 * import { Breaker } from "@hawser/grpc"
 *
 * const { minCalls, openMillis, ratio, windowMillis } = Breaker.make()
 * const defaults = [minCalls, ratio, windowMillis, openMillis]
 * defaults // => [20, 0.5, 10_000, 5_000]
 * ```
 */
export const make = (options: BreakerOptions = {}): Breaker => {
  const { minCalls = 20, ratio = 0.5 } = options
  const judge = options.isFailure ?? isFailure
  const windowMillis = Deadline.millisOf(options.window ?? 10_000)
  const openMillis = Deadline.millisOf(options.open ?? 5_000)
  const issues = new Issues()
  const whole = Number.isInteger(minCalls) && minCalls >= 1 && minCalls <= 1_000_000
  issues.check(whole, "minCalls", "an integer from 1 to 1,000,000", minCalls)
  issues.check(ratio > 0 && ratio <= 1, "ratio", "a number above 0, at most 1", ratio)
  const inBounds = windowMillis >= 1_000 && windowMillis <= 3_600_000
  issues.check(inBounds, "window", "a duration from 1 second to 1 hour", options.window)
  issues.check(Deadline.isMillis(openMillis), "open", "a duration above 0, at most 24 days", options.open)
  issues.check(typeof judge === "function", "isFailure", "a function", judge)
  for (const key of Object.keys(options)) issues.check(known.includes(key), key, `one of ${known.join(", ")}`, key)
  issues.throwIfAny()
  return { [TypeId]: TypeId, minCalls, ratio, windowMillis, openMillis, isFailure: judge }
}

/**
 * Whether a value is a breaker's policy. What only looks like one is none: `make` has checked no bound of it.
 *
 * ```ts import.meta.vitest
 * import { Breaker } from "@hawser/grpc"
 *
 * Breaker.isBreaker(Breaker.make()) // => true
 * Breaker.isBreaker({ ratio: 0.5 }) // => false
 * ```
 */
export const isBreaker = (u: unknown): u is Breaker => hasProperty(u, TypeId)

/** Closed: calls pass. Open: none does. HalfOpen: one is let through as a trial. */
export type State = "Closed" | "Open" | "HalfOpen"

const slices = 10

/** The outcomes of the last calls, in ten slices of the window. */
class Window {
  calls = 0
  failures = 0
  private readonly width: number
  private readonly callsOf = new Float64Array(slices)
  private readonly failuresOf = new Float64Array(slices)
  private slice = -Infinity

  constructor(millis: number) {
    this.width = millis / slices
  }

  add(failed: boolean, now: number): void {
    this.turn(now)
    const i = this.slice % slices
    this.callsOf[i]!++
    this.calls++
    if (!failed) return
    this.failuresOf[i]!++
    this.failures++
  }

  clear(): void {
    this.callsOf.fill(0)
    this.failuresOf.fill(0)
    this.calls = this.failures = 0
  }

  private turn(now: number): void {
    const slice = Math.max(0, Math.floor(now / this.width))
    if (slice <= this.slice) return
    for (let s = Math.max(0, this.slice + 1, slice - slices + 1); s <= slice; s++) {
      const i = s % slices
      this.calls -= this.callsOf[i]!
      this.failures -= this.failuresOf[i]!
      this.callsOf[i] = this.failuresOf[i] = 0
    }
    this.slice = slice
  }
}

/** The state of one channel. */
class Circuit {
  /** Why the last opening. */
  why = ""
  openUntil = -Infinity
  /** Counts openings and closings: what began before one has no say after it. */
  era = 0
  private readonly policy: Breaker
  private readonly window: Window
  private open = false
  private trial = false

  constructor(policy: Breaker) {
    this.policy = policy
    this.window = new Window(policy.windowMillis)
  }

  stateAt(now: number): State {
    return this.open ? (now < this.openUntil ? "Open" : "HalfOpen") : "Closed"
  }

  /** What a call is let in as; `undefined`: it is not. */
  admit(now: number): "Call" | "Trial" | undefined {
    if (!this.open) return "Call"
    if (this.trial || now < this.openUntil) return undefined
    this.trial = true
    return "Trial"
  }

  /** A call ended. `failed` is `undefined` where its end says nothing. */
  ended(as: "Call" | "Trial", era: number, failed: boolean | undefined, now: number): void {
    if (era !== this.era) return
    if (as === "Trial") {
      this.trial = false
      if (failed === true) return this.trip("the trial failed", now)
      if (failed === false) this.close()
      return
    }
    if (failed === undefined) return
    this.window.add(failed, now)
    const { calls, failures } = this.window
    const { minCalls, ratio, windowMillis } = this.policy
    if (failed && calls >= minCalls && failures >= calls * ratio) {
      this.trip(`${failures} of ${calls} calls failed within ${windowMillis / 1000} s`, now)
    }
  }

  private trip(why: string, now: number): void {
    this.why = why
    this.open = true
    this.openUntil = now + this.policy.openMillis
    this.turned()
  }

  private close(): void {
    this.open = false
    this.turned()
  }

  private turned(): void {
    this.era++
    this.window.clear()
  }
}

const around =
  (circuit: Circuit, policy: Breaker) =>
  <R>(self: Channel.Channel.With<RpcError.RpcError, R>): Channel.Channel.With<RpcError.RpcError, R> => {
    const judge = (exit: Exit.Exit<unknown, unknown>): boolean | undefined => {
      if (exit._tag === "Success") return false
      const error = exit.cause.reasons.find(Cause.isFailReason)?.error
      if (!RpcError.isRpcError(error)) return undefined
      if (policy.isFailure(error)) return true
      return error.isUnsent ? undefined : false
    }
    const guard = <I, O, A>(
      call: Call<I, O>,
      next: (call: Call<I, O>) => Effect.Effect<A, RpcError.RpcError, R>
    ): Effect.Effect<A, RpcError.RpcError, R> =>
      Effect.withFiber((fiber) => {
        const clock = fiber.getRef(Clock.Clock)
        let as: "Call" | "Trial" | undefined
        let era = 0
        // Admitted inside: the end is in place before a trial is taken.
        const admitted = Effect.suspend(() => {
          const now = monotonicMillis(clock)
          as = circuit.admit(now)
          era = circuit.era
          return as === undefined ? refused(call, circuit, now) : next(call)
        })
        return Effect.onExitPrimitive(admitted, (exit) => {
          if (as !== undefined) circuit.ended(as, era, judge(exit), monotonicMillis(clock))
          return undefined
        })
      })
    return Channel.intercept(self, guard)
  }

const refused = <I, O>(
  { attempt, method }: Call<I, O>,
  { openUntil, why }: Circuit,
  now: number
): Effect.Effect<never, RpcError.RpcError> => {
  const left = Math.ceil(openUntil - now)
  const until = left > 0 ? `a trial in ${left} ms` : "a trial runs"
  const reason = { _tag: "Unavailable", details: `Circuit open: ${why}; ${until}`, connect: undefined } as const
  return Effect.fail(RpcError.of(method.path, reason, "NotSent", { attempts: attempt - 1 }))
}

/**
 * Middleware that breaks the circuit. All calls of the channel share it.
 *
 * **Details**: refused calls fail with `Unavailable`, `NotSent`, and details that begin with `Circuit open`. Interrupts
 * and refusals of this client say nothing, and a call that began before the circuit turned has no say after it. A stream
 * counts by its headers.
 *
 * **Gotchas**: above retry, so that it sees what retries could not mend, and so that its refusals are not retried. It is
 * closed again by one call that succeeds.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Breaker, Call, Channel, RpcError } from "@hawser/grpc"
 *
 * let sent = 0
 * const down = Channel.make<RpcError.RpcError>({
 *   unary: ({ method }) =>
 *     Effect.suspend(() => {
 *       sent++
 *       return Effect.fail(RpcError.of(method.path, { _tag: "Internal", details: "" }, "Answered"))
 *     })
 * })
 * const guarded = down.pipe(Breaker.intercept(Breaker.make({ minCalls: 2 })))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const errors = Effect.runSync(Effect.all([1, 2, 3].map(() => Effect.flip(guarded.unary(call)))))
 * errors.map(({ reason }) => reason._tag) // => ["Internal", "Internal", "Unavailable"]
 * errors[2]?.reason.details.split(";")[0] // => "Circuit open: 2 of 2 calls failed within 10 s"
 * sent // => 2
 * ```
 */
export const intercept =
  (policy: Breaker) =>
  <R>(self: Channel.Channel.With<RpcError.RpcError, R>): Channel.Channel.With<RpcError.RpcError, R> =>
    around(new Circuit(policy), policy)(self)

/**
 * `intercept` with a gauge: `hawser.breaker.state` with the attribute `target`, 0 closed, 1 half-open, 2 open, read when
 * it is scraped, until the scope closes.
 *
 * ```ts import.meta.vitest
 * import { Effect, Metric } from "effect"
 * import { Breaker, Channel } from "@hawser/grpc"
 *
 * const program = Effect.gen(function*() {
 *   yield* Breaker.withGauge(Channel.make({}), Breaker.make(), "greeter")
 *   return (yield* Metric.snapshot).map((metric) => [metric.id, metric.attributes?.["target"]])
 * })
 * const isolated = Effect.provideService(Effect.scoped(program), Metric.MetricRegistry, new Map())
 * Effect.runSync(isolated) // => [["hawser.breaker.state", "greeter"]]
 * ```
 */
export const withGauge = <R>(
  self: Channel.Channel.With<RpcError.RpcError, R>,
  policy: Breaker,
  target: string
): Effect.Effect<Channel.Channel.With<RpcError.RpcError, R>, never, Scope.Scope> =>
  Effect.withFiber((fiber) => {
    const circuit = new Circuit(policy)
    const clock = fiber.getRef(Clock.Clock)
    const description = "Whether calls are let through: 0 closed, 1 half-open, 2 open"
    const gauge = Metric.gauge("hawser.breaker.state", { description, attributes: { target } })
    const hooks = {
      get: () => ({ value: values[circuit.stateAt(monotonicMillis(clock))] }),
      update: () => {},
      modify: () => {}
    }
    return Effect.as(
      Effect.acquireRelease(
        Effect.sync(() => Metric.registerUnsafe(gauge, fiber.context, hooks)),
        (registration) => Effect.sync(() => registration.remove())
      ),
      around(circuit, policy)(self)
    )
  })

const values: Readonly<Record<State, number>> = { Closed: 0, HalfOpen: 1, Open: 2 }

/**
 * A breaker as a layer over another layer's channel, with its gauge. `target` is what the gauge calls it.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Breaker, Call, Channel } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const broken = TestChannel.layer({ "/demo.Greeter/SayHello": () => Effect.fail({ _tag: "Internal" }) })
 * const layer = Layer.provideMerge(Breaker.layer(Breaker.make({ minCalls: 5 }), "greeter"), broken)
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Effect.gen(function*() {
 *   const { unary } = yield* Channel.Channel
 *   for (let i = 0; i < 100; i++) yield* Effect.flip(unary(call))
 *   return (yield* TestChannel.calls).length
 * })
 * await Effect.runPromise(Effect.provide(program, layer)) // => 5
 * ```
 */
export const layer = (
  policy: Breaker = make(),
  target = "default"
): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.flatMap(Channel.Channel, (channel) => withGauge(channel, policy, target))
  )
