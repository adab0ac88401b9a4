/**
 * One single-use connection after another to one endpoint.
 *
 * It dials with a timeout of its own, waits out failures on a Schedule that is measured from the start of the attempt,
 * and starts that Schedule afresh only when a connection has proved itself: it lasted, or it answered. A server that
 * accepts and closes is therefore not dialled in a spin. A connection that ends takes no more borrows at once; what is in
 * flight on it runs on, and it is closed after the last one.
 *
 * A fiber is there only while it dials or waits out a failure: most of the time, most connections of a large cluster are
 * idle, and cost what they hold.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Child } from "./Child.ts"
import { ConnectError, ofCause, timedOut } from "./ConnectError.ts"
import type { Connectivity } from "./Connectivity.ts"
import type { Demand } from "./Demand.ts"
import { type Endpoint, name } from "./Endpoint.ts"
import type { CloseReason, DialReason } from "./Event.ts"
import type { Verdict } from "./Health.ts"
import { type Lease, Pending, type Refusal } from "./Lease.ts"
import { LiveConnection, type LiveOwner } from "./LiveConnection.ts"
import * as Reconnect from "./Reconnect.ts"
import type { SubchannelOptions } from "./SubchannelOptions.ts"
import { snapshotOf } from "./SubchannelSnapshot.ts"
import type { Snapshot } from "./Upstream.ts"

/** A connection that lasted this long has proved itself. */
const provenMillis = 10_000
const none: ReadonlyArray<never> = []

/**
 * One single-use connection after another to one endpoint.
 *
 * **Example** (An endpoint that turns the first connection away)
 *
 * ```ts import.meta.vitest
 * import { Duration, Effect, FiberSet, Schedule } from "effect"
 * import { TestClock } from "effect/testing"
 * import { ConnectError, Demand, Endpoint, Estimate, Subchannel } from "@hawser/core"
 *
 * const program = Effect.gen(function*() {
 *   let dials = 0
 *   const session = {
 *     connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *   }
 *   const refused = new ConnectError.ConnectError({ reason: { _tag: "Refused" } })
 *   const subchannel = new Subchannel.Subchannel(Endpoint.makeUnsafe({ addresses: ["a:1"] }), "Demand", {
 *     connector: () => Effect.suspend(() => ++dials === 1 ? Effect.fail(refused) : Effect.succeed(session)),
 *     connectTimeout: Duration.seconds(20),
 *     reconnect: Schedule.spaced("1 second"),
 *     maxStreams: Infinity,
 *     methods: new Estimate.MethodEstimates(),
 *     now: () => 0,
 *     publish: () => {},
 *     run: yield* FiberSet.makeRuntime<never, void, never>(),
 *     nextId: () => dials
 *   })
 *   subchannel.start()
 *   subchannel.connectivity() // => "TransientFailure"
 *   subchannel.lease(Demand.make()) // => { _tag: "Failing", error: refused }
 *   yield* TestClock.adjust("1 second")
 *   subchannel.connectivity() // => "Ready"
 *   subchannel.snapshot().name // => "a:1#2"
 * })
 * await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(TestClock.layer())))
 * ```
 */
export class Subchannel<C> extends Child<C, ConnectError> implements LiveOwner<C> {
  // First what each borrow looks at, as in a LiveConnection.
  /** The connection that lends, or that is put aside for silence. */
  current: LiveConnection<C> | undefined = undefined
  /** Ended before it had answered, and has borrows in flight: it may prove itself yet. */
  private unproven: LiveConnection<C> | undefined = undefined
  private state: Connectivity = "Connecting"
  readonly endpoint: Endpoint
  /** Ended connections with borrows still in flight. */
  draining: ReadonlyArray<LiveConnection<C>> = none
  lastError: ConnectError | undefined = undefined
  /** How long the last successful dial took; not that of a replacement, whose server may have had to wake up first. */
  connectMillis: number | undefined = undefined
  private dialling: DialReason
  /** Dials or waits. */
  private fiber: Fiber.Fiber<void> | undefined = undefined
  private startedAt = 0
  private reconnect: Reconnect.Reconnect | undefined = undefined
  private readonly options: SubchannelOptions<C>

  constructor(endpoint: Endpoint, why: DialReason, options: SubchannelOptions<C>) {
    super()
    this.endpoint = endpoint
    this.dialling = why
    this.options = options
  }

  /** Starts dialling. Once. */
  start(): void {
    const fiber = this.options.run(this.attempts())
    // It may have been Ready at once, and lost at once.
    if (this.current === undefined) this.fiber ??= fiber
    // Retired from within: there was no fiber to interrupt yet.
    if (this.state === "Shutdown") fiber.interruptUnsafe()
  }

  lease(demand: Demand, now?: number): Lease<C> | Refusal<ConnectError> {
    const current = this.current
    if (current !== undefined && current.lends) return current.lease(demand, now)
    if (this.state === "Shutdown") {
      return { _tag: "Closed", error: new ConnectError({ reason: { _tag: "Closed" }, endpoint: name(this.endpoint) }) }
    }
    return this.state === "TransientFailure" && this.lastError !== undefined
      ? { _tag: "Failing", error: this.lastError }
      : Pending
  }
  connectivity(): Connectivity {
    return this.state
  }
  protected override aside(): boolean {
    return this.current?.barred === true
  }
  override penalised(): boolean {
    return this.current?.quarantinedAt !== undefined
  }
  load(): number {
    let n = this.current?.inFlight ?? 0
    for (const live of this.draining) n += live.inFlight
    return n
  }
  override oldestSince(): number {
    return this.current?.oldest?.startedAt ?? Infinity
  }
  snapshot(): Snapshot {
    return snapshotOf(this)
  }

  /** Its connection must show that it is still there before it lends again. */
  doubt(): void {
    if (this.current === undefined) return
    this.current.doubted = true
    this.move("Connecting")
  }

  /** It has shown it. */
  trust(live: LiveConnection<C>): void {
    live.doubted = false
    this.judged(live, live.gate?.verdict)
  }

  /** A connection is dead, although it does not say so: what runs on it fails now. A redial waits for `redialMillis` only. */
  abandon(live: LiveConnection<C>, error: ConnectError, redialMillis: number): void {
    live.redialMillis = redialMillis
    this.lost(live, error)
    this.options.run(this.shut(live, error))
  }

  /** Lends no more and dials no more. Borrows in flight run on; the last one closes. */
  retire(why: CloseReason): void {
    if (this.state === "Shutdown") return
    this.move("Shutdown")
    this.fiber?.interruptUnsafe()
    const live = this.current
    if (live === undefined) return
    this.current = undefined
    this.options.publish({ _tag: "Closed", endpoint: name(this.endpoint), connection: live.id, why })
    this.end(live)
  }

  /** Closes every connection now. What still runs on them fails. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.retire("Drain")
      return Effect.andThen(
        this.fiber === undefined ? Effect.void : Fiber.interrupt(this.fiber),
        Effect.forEach(this.draining, (live) => this.shut(live), { discard: true })
      )
    })
  }

  returned(live: LiveConnection<C>): void {
    if (!live.lending && live === this.current) {
      // Broken, and at once no longer Ready: else whoever is woken sees a full pool, and opens one connection more.
      this.lost(live, new ConnectError({ reason: { _tag: "Reset" }, endpoint: name(this.endpoint) }))
      return
    }
    if (live === this.unproven && live.answered > 0) this.proven()
    if (!live.lending && live.inFlight === 0 && this.draining.includes(live)) this.options.run(this.shut(live))
    return this.state === "Shutdown" ? this.changed() : this.freed()
  }

  changedAt(live: LiveConnection<C>): void {
    const error = live === this.current ? live.session.ended() : undefined
    if (error !== undefined) return this.lost(live, error)
    this.changed()
  }

  private move(to: Connectivity): void {
    if (this.state === "Shutdown") return
    this.state = to
    this.changed()
  }

  /** No more borrows on this connection; closed once nothing is in flight on it. */
  private end(live: LiveConnection<C>): void {
    live.lending = false
    this.draining = [...this.draining, live]
    // Gives back what its probes hold, of which others hear.
    live.gate?.stop()
    if (live.inFlight === 0) this.options.run(this.shut(live))
  }

  private shut(live: LiveConnection<C>, why?: ConnectError): Effect.Effect<void> {
    // As a whole: an interrupt between the two halves would leave the connection open for ever.
    return Effect.uninterruptible(
      Effect.suspend(() => {
        if (!this.draining.includes(live)) return Effect.void
        const rest = this.draining.filter((l) => l !== live)
        this.draining = rest.length === 0 ? none : rest
        live.unfollow()
        return Scope.close(live.scope, why === undefined ? Exit.void : Exit.fail(why))
      })
    )
  }

  /** Dials once. A connection that is not handed over is closed. */
  private dial(): Effect.Effect<void, ConnectError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen({ self: this }, function* () {
        const { connectTimeout, connector, nextId, now } = this.options
        const endpoint = this.endpoint
        const scope = yield* Scope.make()
        const orElse = () => Effect.fail(timedOut(connectTimeout, name(endpoint)))
        const dialled = Scope.provide(connector(endpoint), scope)
        const exit = yield* Effect.exit(restore(Effect.timeoutOrElse(dialled, { duration: connectTimeout, orElse })))
        if (Exit.isFailure(exit)) {
          yield* Scope.close(scope, exit)
          return yield* Effect.failCause(exit.cause)
        }
        if (this.state === "Shutdown") {
          // Retired in the turn in which the dial came to its end.
          yield* Scope.close(scope, Exit.void)
          return yield* Effect.interrupt
        }
        const session = exit.value
        const id = `${name(endpoint)}#${nextId()}`
        const live = new LiveConnection({ ...this.options, endpoint, id, session, scope, owner: this })
        live.follow()
        this.ready(live, Math.max(0, now() - this.startedAt))
        // It had ended before anybody listened.
        const error = session.ended()
        if (error !== undefined) this.lost(live, error)
      })
    )
  }

  private ready(live: LiveConnection<C>, millis: number): void {
    this.fiber = undefined
    this.current = live
    this.lastError = undefined
    if (this.dialling !== "Replace") this.connectMillis = Math.ceil(millis)
    this.options.publish({ _tag: "Connected", endpoint: name(this.endpoint), connection: live.id, millis })
    const { health } = this.options
    if (health === undefined) return this.move("Ready")
    health.watch(live, (verdict) => this.judged(live, verdict))
    if (!live.healthy) this.judged(live, live.gate!.verdict)
  }

  /** The health check has spoken. */
  private judged(live: LiveConnection<C>, verdict: Verdict | undefined): void {
    if (live !== this.current || !live.lending) return
    if (live.healthy) {
      this.lastError = undefined
      return this.move(live.doubted ? "Connecting" : "Ready")
    }
    if (verdict?._tag !== "Unhealthy") return this.move("Connecting")
    const { cause, said } = verdict
    this.lastError = new ConnectError({ reason: { _tag: "Unhealthy", said }, endpoint: name(this.endpoint), cause })
    this.move("TransientFailure")
  }

  private lost(live: LiveConnection<C>, error: ConnectError): void {
    if (live !== this.current) return
    this.current = undefined
    this.lastError = error
    const { id, inFlight } = live
    this.options.publish({ _tag: "Disconnected", endpoint: name(this.endpoint), connection: id, error, inFlight })
    this.end(live)
    this.move("Connecting")
    if (this.state !== "Shutdown") this.fiber = this.options.run(this.recover(live, error))
  }

  /** The connection that said goodbye has answered after all: nobody waits for longer. */
  private proven(): void {
    this.unproven = this.reconnect = undefined
    this.fiber?.interruptUnsafe()
    this.move("Connecting")
    if (this.state !== "Shutdown") this.fiber = this.options.run(this.attempts())
  }

  /** What follows a loss: another connection, at once or after a while. */
  private recover(live: LiveConnection<C>, error: ConnectError): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      // Nobody dials in the middle of the news, and an answer that came with it still counts.
      yield* Effect.yieldNow
      const lasted = this.options.now() - live.openedAt >= provenMillis
      const { redialMillis } = live
      if (error.reason._tag === "TooManyPings") {
        // However good it was: whoever is dialled again at once is asked again as soon.
        if (lasted) this.reconnect = undefined
        yield* this.backOff(error, true)
      } else if (redialMillis !== undefined || live.doubted) yield* Effect.sleep(redialMillis ?? 0)
      else if (live.answered > 0 || lasted) this.reconnect = undefined
      else yield* this.backOff(error, true, live)
      yield* this.attempts()
    })
  }

  /** Dials until a connection is Ready. */
  private attempts(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { now, publish } = this.options
      const endpoint = name(this.endpoint)
      while (this.state !== "Shutdown") {
        this.startedAt = Math.ceil(now())
        publish({ _tag: "Connecting", endpoint, why: this.dialling })
        const exit = yield* Effect.exit(this.dial())
        this.dialling = "Reconnect"
        if (Exit.isSuccess(exit) || this.connectivity() === "Shutdown") return
        yield* this.backOff(ofCause(exit.cause, endpoint), false)
      }
    })
  }

  /** Waits out what is left of the delay since the attempt began. `lost`: it had succeeded, but came to nothing. */
  private backOff(error: ConnectError, lost: boolean, live?: LiveConnection<C>): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      this.unproven = live
      const { now, publish } = this.options
      const reconnect = (this.reconnect ??= new Reconnect.Reconnect(this.options.reconnect))
      const delay = yield* reconnect.delay(now(), error, lost)
      const wait = Math.max(0, delay - (now() - this.startedAt))
      this.lastError = error
      publish({ _tag: "ConnectFailed", endpoint: name(this.endpoint), error, retryInMillis: wait })
      // One such loss may be bad luck, and who waits for the next connection goes on waiting.
      if (!lost || reconnect.unproven > 1) this.move("TransientFailure")
      yield* Effect.sleep(wait)
      this.unproven = undefined
    })
  }
}
