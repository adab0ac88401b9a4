/**
 * Health checks: what says of a live connection whether it may lend.
 *
 * A connection that is open need not be one that serves. A health check is a value that looks at each connection from the
 * moment it is open and says verdicts; the connection lends from its first good one on. A bad one takes it out of the
 * picks and closes nothing: what is in flight runs on, and the next good one brings it back at once. Checks never wait in
 * the queue, and are not counted as borrows.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { hasProperty } from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Endpoint } from "./Endpoint.ts"
import { Issues } from "./OptionsError.ts"
import { monotonicMillis } from "./Time.ts"

const TypeId = "~hawser/Health"

/** What a check says. */
export type Verdict =
  | { readonly _tag: "Healthy" }
  /** `said`: what was said of it, in a few words; more than 200 characters are cut. */
  | { readonly _tag: "Unhealthy"; readonly said: string; readonly cause?: unknown }
  /** It is being asked anew; until then nobody is sent there. */
  | { readonly _tag: "Unknown"; readonly said?: string }
  /** The peer can't be asked. Counts as healthy, and as an event. */
  | { readonly _tag: "Unsupported"; readonly said: string }

/** What is checked: a connection, or the first one of an endpoint where the check is `per` endpoint. */
export interface Subject<out C> {
  readonly connection: C
  readonly endpoint: Endpoint
  /** Of the connection, as in errors and events: `10.0.0.7:50051#12`. */
  readonly id: string
  /** Says a verdict: at any time, as often as need be. The last one holds. */
  readonly say: (verdict: Verdict) => void
  /** How many borrows and probes the peer allows at once, now. */
  readonly limit: () => number
  /**
   * Takes one of those for a probe: the next that is free, ahead of all borrows. Given back with the scope. A check that is
   * `per` endpoint takes none.
   */
  readonly permit: Effect.Effect<void, never, Scope.Scope>
  /** Waits until the peer allows one at once, or none. */
  readonly squeezed: Effect.Effect<void>
}

/** Runs for as long as the connection lives, or until there is nothing more to say: then the last verdict holds. */
export interface Check<in C> {
  (subject: Subject<C>): Effect.Effect<void>
}

/** A health check, as `Cluster.make` takes it. */
export interface Health<in C> {
  readonly [TypeId]: typeof TypeId
  /** What it is called in snapshots. */
  readonly name: string
  readonly per: "Connection" | "Endpoint"
  /** How long a connection may be without a verdict. */
  readonly withinMillis: number
  /** Called once for each cluster, with its target. */
  readonly open: (target: string) => Check<C>
}

/** What `make` takes. */
export interface HealthOptions<in C> {
  /** What it is called in snapshots. */
  readonly name: string
  /** Once for each connection, or once for all connections to an endpoint. Default `"Connection"`. */
  readonly per?: "Connection" | "Endpoint" | undefined
  /** How long a connection may be without a verdict until it counts as unhealthy; 1 ms to a day. Default 5 s. */
  readonly within?: Duration.Input | undefined
  /** Makes the check of one cluster. */
  readonly open: (target: string) => Check<C>
}

const dayMillis = 86_400_000

/** Without a verdict for so long, a connection is as good as bad. A17 names no limit; a Watch that hangs has none there. */
const defaultWithin = Duration.seconds(5)

const millisIn = (issues: Issues, path: string, input: Duration.Input): number => {
  let millis = NaN
  try {
    millis = Duration.toMillis(Duration.fromInputUnsafe(input))
  } catch {
    // reported below
  }
  issues.check(millis >= 1 && millis <= dayMillis, path, "a duration from 1 ms to a day", input)
  return millis
}

/**
 * A health check from a program that runs beside each connection.
 *
 * **When to use**: where the peer tells by itself; `poll` is for asking it again and again.
 *
 * **Details**: the check runs in a fiber of the cluster's scope, from the moment at which the connection is open. It is
 * interrupted as soon as the connection ends or is given up. One that dies has said `Unhealthy`. Verdicts may come in any
 * number: a bad one holds at once, a good one after a bad one too, unless there were five such returns in a row: then
 * there is one a second. Throws an `OptionsError` for options out of bounds.
 *
 * **Example** (A peer that says when it is leaving)
 *
 * ```ts import.meta.vitest
 * import { Effect, Latch } from "effect"
 * import { Cluster, Endpoint, Health } from "@hawser/core"
 *
 * const leaving = Latch.makeUnsafe()
 * const health = Health.make<string>({
 *   name: "leaving",
 *   open: () => ({ say }) =>
 *     Effect.gen(function*() {
 *       say({ _tag: "Healthy" })
 *       yield* leaving.await
 *       say({ _tag: "Unhealthy", said: "I am leaving" })
 *     })
 * })
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: [Endpoint.makeUnsafe({ addresses: ["a:1"] })],
 *     health,
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   const before = yield* cluster.use((lease) => Effect.succeed(lease.id))
 *   yield* leaving.open
 *   yield* Effect.yieldNow
 *   const after = yield* Effect.flip(cluster.use(() => Effect.void))
 *   return [before, after.message]
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["a:1#1", "Unhealthy: I am leaving (a:1)"]
 * ```
 */
export const make = <C>(options: HealthOptions<C>): Health<C> => {
  const { name, open, per = "Connection", within = defaultWithin } = options
  const issues = new Issues()
  issues.check(typeof name === "string" && name !== "", "name", "a name", name)
  issues.check(typeof open === "function", "open", "a function", open)
  issues.check(per === "Connection" || per === "Endpoint", "per", '"Connection" or "Endpoint"', per)
  const withinMillis = millisIn(issues, "within", within)
  issues.throwIfAny()
  return { [TypeId]: TypeId, name, per, withinMillis, open }
}

/**
 * Whether a value is a health check, made by whatever copy of this package.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Health } from "@hawser/core"
 *
 * Health.isHealth(Health.poll(Effect.void)) // => true
 * Health.isHealth({ open: () => {} }) // => false
 * ```
 */
export const isHealth = (u: unknown): u is Health<unknown> => hasProperty(u, TypeId)

/** After how many answers in a row a verdict changes. */
export interface Thresholds {
  /** Good ones; 1 to 1,000. Default 1 (Kubernetes; HAProxy has 2). */
  readonly healthyAfter?: number | undefined
  /** Bad ones; 1 to 1,000. Default 3 (Kubernetes and HAProxy). */
  readonly unhealthyAfter?: number | undefined
}

/** How `poll` asks. */
export interface PollOptions extends Thresholds {
  /** What it is called in snapshots. Default `poll`. */
  readonly name?: string | undefined
  /** Until one answer counts as a bad one; 1 ms to a day. Default 1 s (Kubernetes). */
  readonly timeout?: Duration.Input | undefined
  /**
   * Once for each connection, on one of its permits; or once for all connections to an endpoint, where the answer does not
   * come over them. Default `"Connection"`.
   */
  readonly per?: "Connection" | "Endpoint" | undefined
}

/**
 * Every 10 s (Kubernetes), ±20 %: what is polled by many must not be polled by all at once.
 *
 * ```ts import.meta.vitest
 * import { Duration, Effect, Random, Schedule } from "effect"
 * import { Health } from "@hawser/core"
 *
 * const first = Effect.flatMap(Schedule.toStep(Health.every10s), (next) => next(0, undefined))
 * const middle = Effect.provideService(first, Random.Random, { nextDoubleUnsafe: () => 0.5, nextIntUnsafe: () => 0 })
 * const [, delay] = await Effect.runPromise(middle)
 * Duration.toMillis(delay) // => 10_000
 * ```
 */
export const every10s: Schedule.Schedule<unknown> = Schedule.jittered(Schedule.spaced("10 seconds"))

/**
 * A health check for any protocol: an effect, again and again.
 *
 * **Details**: what succeeds is good; what fails, dies, takes too long, or succeeds with `false` is bad. The first answer
 * decides alone; after that it takes `healthyAfter` or `unhealthyAfter` in a row. The waits are those of the schedule;
 * when it has no more, the last verdict holds. Throws an `OptionsError` for options out of bounds.
 *
 * **Gotchas**: with `per: "Connection"` each connection to an endpoint is asked. Where an endpoint has a port of its own for
 * such questions, ask it once: `per: "Endpoint"`.
 *
 * **Example** (Asked over the connection)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Cluster, Endpoint, Health } from "@hawser/core"
 *
 * let pings = 0
 * const socket = { ping: () => ++pings < 2 ? Effect.void : Effect.fail("no pong") }
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make<typeof socket>({
 *     target: "cache",
 *     endpoints: [Endpoint.makeUnsafe({ addresses: ["a:1"] })],
 *     health: Health.poll(({ connection }) => connection.ping(), undefined, { unhealthyAfter: 2 }),
 *     connector: () => Effect.succeed({
 *       connection: socket, limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady()
 *   yield* TestClock.adjust("30 seconds")
 *   return (yield* Effect.flip(cluster.use(() => Effect.void))).message
 * })
 * const message = await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(TestClock.layer())))
 * message // => "Unhealthy: no pong (a:1)"
 * ```
 */
export const poll = <C = unknown>(
  check: Effect.Effect<unknown, unknown> | ((subject: Subject<C>) => Effect.Effect<unknown, unknown>),
  schedule: Schedule.Schedule<unknown> = every10s,
  options: PollOptions = {}
): Health<C> => {
  const ask = (subject: Subject<C>) => (Effect.isEffect(check) ? check : check(subject))
  return polled({
    ...options,
    name: options.name ?? "poll",
    schedule,
    ask: (subject) =>
      Effect.map(ask(subject), (answer): Verdict => (answer === false ? { _tag: "Unhealthy", said: "false" } : healthy))
  })
}

/** A check that asks again and again, for protocols whose answers are verdicts. */
export interface PolledOptions<in C> extends PollOptions {
  readonly name: string
  readonly schedule: Schedule.Schedule<unknown>
  /** Asks once. What fails is bad; `Unsupported` ends the check, and `Unknown` is no answer. */
  readonly ask: (subject: Subject<C>) => Effect.Effect<Verdict, unknown>
}

/**
 * `poll` for a protocol whose answers are verdicts.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Health } from "@hawser/core"
 *
 * let message = ""
 * try {
 *   Health.polled({ name: "p", schedule: Health.every10s, ask: () => Effect.succeed(Health.healthy), healthyAfter: 0 })
 * } catch (error) { message = (error as Error).message }
 * message // => "healthyAfter: expected an integer from 1 to 1,000, got 0"
 * ```
 */
export const polled = <C>(options: PolledOptions<C>): Health<C> => {
  const { ask, healthyAfter = 1, per = "Connection", schedule, timeout = "1 second", unhealthyAfter = 3 } = options
  const issues = new Issues()
  const count = (path: string, n: unknown) =>
    issues.check(
      Number.isInteger(n) && (n as number) >= 1 && (n as number) <= 1_000,
      path,
      "an integer from 1 to 1,000",
      n
    )
  count("healthyAfter", healthyAfter)
  count("unhealthyAfter", unhealthyAfter)
  const timeoutMillis = millisIn(issues, "timeout", timeout)
  issues.check(Schedule.isSchedule(schedule), "schedule", "a Schedule", schedule)
  issues.throwIfAny()
  const late: Verdict = { _tag: "Unhealthy", said: `no answer within ${timeoutMillis} ms` }
  const once = (subject: Subject<C>): Effect.Effect<Verdict> =>
    Effect.suspend(() => ask(subject)).pipe(
      Effect.timeoutOrElse({ duration: timeoutMillis, orElse: () => Effect.succeed(late) }),
      Effect.catchCause((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.succeed(bad(cause))))
    )
  const asked =
    per === "Endpoint" ? once : (subject: Subject<C>) => Effect.scoped(Effect.andThen(subject.permit, once(subject)))
  return make<C>({
    name: options.name,
    per,
    // One long answer, and what it may wait for.
    within: Math.min(dayMillis, timeoutMillis + Duration.toMillis(defaultWithin)),
    open: () => (subject) => polling(subject, asked, schedule, healthyAfter, unhealthyAfter)
  })
}

const polling = Effect.fnUntraced(function* <C>(
  subject: Subject<C>,
  asked: (subject: Subject<C>) => Effect.Effect<Verdict>,
  schedule: Schedule.Schedule<unknown>,
  healthyAfter: number,
  unhealthyAfter: number
) {
  const clock = yield* Clock.Clock
  const next = yield* Schedule.toStep(schedule)
  let settled: boolean | undefined
  let last: boolean | undefined
  let row = 0
  for (;;) {
    const verdict = yield* asked(subject)
    if (verdict._tag === "Unsupported") return subject.say(verdict)
    if (verdict._tag !== "Unknown") {
      const good = verdict._tag === "Healthy"
      row = good === last ? row + 1 : 1
      last = good
      if (settled === undefined || row >= (good ? healthyAfter : unhealthyAfter)) {
        settled = good
        subject.say(verdict)
      }
    }
    const delay = yield* Effect.match(next(monotonicMillis(clock), verdict), {
      onSuccess: ([, delay]): Duration.Duration | undefined => delay,
      onFailure: () => undefined
    })
    if (delay === undefined) return
    yield* Effect.sleep(delay)
  }
})

/** What a failure says. */
const bad = (cause: Cause.Cause<unknown>): Verdict => {
  const error = Cause.squash(cause)
  const said = typeof error === "string" ? error : hasProperty(error, "message") ? String(error.message) : "it failed"
  return { _tag: "Unhealthy", said, cause: error }
}

/**
 * A good verdict.
 *
 * ```ts import.meta.vitest
 * import { Health } from "@hawser/core"
 *
 * Health.healthy // => { _tag: "Healthy" }
 * ```
 */
export const healthy: Verdict = { _tag: "Healthy" }
