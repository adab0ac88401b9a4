/**
 * The health checks of one cluster: they run beside live connections, and connections lend by their verdicts.
 *
 * Verdicts may come in a flood. A gate passes on what changes something: what takes a connection out at once, anything else
 * as often as an honest peer needs, and then once a second. It never closes a connection.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { type Endpoint, name } from "./Endpoint.ts"
import type { Event, HealthState } from "./Event.ts"
import type { Check, Health, Subject, Verdict } from "./Health.ts"
import type { Gate, LiveConnection } from "./LiveConnection.ts"
import { Task } from "./Task.ts"
import { cut, lends, said, stateOf, unknown } from "./HealthVerdict.ts"

/** So many changes for the better at once; one more each `changeMillis`. */
const maxChanges = 10
const changeMillis = 1_000
const nobody: ReadonlyArray<() => void> = []

/** What the checks of a cluster need. */
export interface HealthChecksOptions<C> {
  readonly health: Health<C>
  readonly target: string
  readonly now: () => number
  readonly publish: (event: Event) => void
  /** Forks into the cluster's scope. */
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

/** The checks of one cluster. */
export class HealthChecks<C> {
  readonly options: HealthChecksOptions<C>
  readonly check: Check<C>
  /** Those that are per endpoint, by its name. */
  private readonly shared = new Map<string, SharedCheck<C>>()

  constructor(options: HealthChecksOptions<C>) {
    this.options = options
    this.check = options.health.open(options.target)
  }

  /** Puts a gate in front of a connection. `judged` is told each verdict that changes something, by `live.healthy` too. */
  watch(live: LiveConnection<C>, judged: (verdict: Verdict) => void): void {
    const gate = new HealthGate(live, judged, this)
    live.healthy = false
    live.gate = gate
    gate.start()
  }

  /** Joins the check of an endpoint, which the first one starts and the last one stops. */
  join(gate: HealthGate<C>): void {
    const key = name(gate.endpoint)
    let shared = this.shared.get(key)
    if (shared === undefined) this.shared.set(key, (shared = new SharedCheck(gate, this)))
    shared.join(gate)
  }
  leave(gate: HealthGate<C>): void {
    const key = name(gate.endpoint)
    if (this.shared.get(key)?.leave(gate) === true) this.shared.delete(key)
  }
}

const checking = <C>(check: Check<C>, subject: Subject<C>): Effect.Effect<void> =>
  Effect.catchCause(
    Effect.suspend(() => check(subject)),
    (cause) =>
      Effect.sync(() => {
        if (!Cause.hasInterrupts(cause)) {
          subject.say({ _tag: "Unhealthy", said: "the health check died", cause: Cause.squash(cause) })
        }
      })
  )

/** One check for all connections to an endpoint. */
class SharedCheck<C> implements Subject<C> {
  readonly connection: C
  readonly endpoint: Endpoint
  readonly id: string
  readonly permit = Effect.void
  readonly squeezed = Effect.never
  private readonly task = new Task()
  private readonly gates = new Set<HealthGate<C>>()
  private verdict: Verdict = unknown

  constructor(first: HealthGate<C>, checks: HealthChecks<C>) {
    this.connection = first.connection
    this.endpoint = first.endpoint
    this.id = first.id
    this.task.start(checks.options.run, checking(checks.check, this))
  }

  readonly limit = (): number => Infinity
  readonly say = (verdict: Verdict): void => {
    this.verdict = verdict
    for (const gate of [...this.gates]) gate.say(verdict)
  }
  join(gate: HealthGate<C>): void {
    this.gates.add(gate)
    gate.say(this.verdict)
  }
  /** Whether that was the last one. */
  leave(gate: HealthGate<C>): boolean {
    this.gates.delete(gate)
    if (this.gates.size > 0) return false
    this.task.stop()
    return true
  }
}

/** What decides whether one connection lends. */
export class HealthGate<C> implements Gate, Subject<C> {
  verdict: Verdict = unknown
  private readonly live: LiveConnection<C>
  private readonly judged: (verdict: Verdict) => void
  private readonly checks: HealthChecks<C>
  private stopped = false
  private task: Task | undefined = undefined
  /** Ends a time without a verdict. */
  private patience: Task | undefined = undefined
  /** A verdict that waits for its turn. */
  private held: Verdict | undefined = undefined
  private holding: Task | undefined = undefined
  private changes = maxChanges
  private changedAt: number
  /** Who waits for a permit, or for news of the limit. */
  private waiting: ReadonlyArray<() => void> = nobody

  constructor(live: LiveConnection<C>, judged: (verdict: Verdict) => void, checks: HealthChecks<C>) {
    this.live = live
    this.judged = judged
    this.checks = checks
    this.changedAt = checks.options.now()
  }

  get connection(): C {
    return this.live.connection
  }
  get endpoint(): Endpoint {
    return this.live.endpoint
  }
  get id(): string {
    return this.live.id
  }
  get state(): HealthState {
    return stateOf(this.verdict)
  }

  start(): void {
    const { health, run } = this.checks.options
    this.wait()
    if (health.per === "Endpoint") return this.checks.join(this)
    this.task = new Task()
    this.task.start(run, checking(this.checks.check, this))
  }

  stop(): void {
    if (this.stopped) return
    this.stopped = true
    this.task?.stop()
    this.patience?.stop()
    this.holding?.stop()
    if (this.checks.options.health.per === "Endpoint") this.checks.leave(this)
  }

  readonly say = (given: Verdict): void => {
    if (this.stopped) return
    const verdict = cut(given)
    this.held = undefined
    const next = stateOf(verdict)
    const worse = this.live.healthy && !lends(next)
    if (next !== this.state && !worse && !this.mayChange()) {
      this.held = verdict
      return this.hold()
    }
    this.become(verdict, next)
  }

  readonly limit = (): number => this.live.session.limit()

  get permit(): Effect.Effect<void, never, Scope.Scope> {
    const taken = Effect.acquireRelease(
      Effect.sync(() => {
        this.live.reserved++
      }),
      () => Effect.sync(() => this.release())
    )
    return Effect.andThen(
      taken,
      Effect.suspend(() => this.when(() => this.live.inFlight + this.live.reserved <= this.limit()))
    )
  }

  get squeezed(): Effect.Effect<void> {
    return Effect.suspend(() => this.when(() => this.limit() < 2))
  }

  /** A permit is free, or the limit has changed. */
  heed(): void {
    for (const look of this.waiting) look()
  }

  private release(): void {
    this.live.reserved--
    // Whoever waits for a permit may have it.
    this.live.owner.changedAt(this.live)
  }

  private when(holds: () => boolean): Effect.Effect<void> {
    const turn = Effect.callback<void>((resume) => {
      const look = () => {
        if (!holds()) return
        forget()
        resume(Effect.void)
      }
      const forget = () => {
        this.waiting = this.waiting.filter((l) => l !== look)
      }
      this.waiting = [...this.waiting, look]
      look()
      return Effect.sync(forget)
    })
    // Whoever says so is in the middle of a pick, or of a release.
    return holds() ? Effect.void : Effect.andThen(turn, Effect.yieldNow)
  }

  private become(verdict: Verdict, next: HealthState): void {
    const was = this.state
    const before = this.verdict
    this.verdict = verdict
    if (next !== "Unknown") {
      this.patience?.stop()
      this.patience = undefined
    }
    if (was === next && said(before) === said(verdict)) return
    this.live.healthy = lends(next)
    if (next === "Unknown" && was !== next) this.wait()
    if (was !== next) this.tell(was, next, said(verdict))
    this.judged(verdict)
  }

  private tell(was: HealthState, health: HealthState, text: string | undefined): void {
    const { endpoint, id } = this.live
    this.checks.options.publish({
      _tag: "HealthChanged",
      endpoint: name(endpoint),
      connection: id,
      was,
      health,
      said: text
    })
  }

  /** No verdict for too long is a bad one. */
  private wait(): void {
    const { health, run } = this.checks.options
    const late: Verdict = { _tag: "Unhealthy", said: `no verdict within ${health.withinMillis} ms` }
    this.patience?.stop()
    this.patience = new Task()
    this.patience.start(
      run,
      Effect.delay(
        Effect.sync(() => this.become(late, "Unhealthy")),
        health.withinMillis
      )
    )
  }

  private mayChange(): boolean {
    const now = this.checks.options.now()
    this.changes = Math.min(maxChanges, this.changes + (now - this.changedAt) / changeMillis)
    this.changedAt = now
    if (this.changes < 1) return false
    this.changes--
    return true
  }

  private hold(): void {
    if (this.holding !== undefined) return
    this.holding = new Task()
    const due = Effect.sync(() => {
      this.holding = undefined
      if (this.held !== undefined) this.say(this.held)
    })
    this.holding.start(this.checks.options.run, Effect.delay(due, Math.ceil((1 - this.changes) * changeMillis)))
  }
}
