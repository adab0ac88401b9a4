/**
 * A network that follows a script: dials that open late, never or not at all, and connections that break on command.
 *
 * It stands in for the connector of a protocol of your own below `Cluster.make`. Time is the `Clock`'s, so that under
 * `TestClock` nothing happens before the test says so.
 */
import { ConnectError, type ConnectReason } from "@hawser/core/ConnectError"
import type { Endpoint } from "@hawser/core/Endpoint"
import type { Connector, Session } from "@hawser/core/Session"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"

/** What a dial comes to: at once, or `after` some time. */
export type Answer =
  | { readonly _tag: "Open"; readonly after?: Duration.Input | undefined; readonly limit?: number | undefined }
  | {
      readonly _tag: "Refuse"
      readonly after?: Duration.Input | undefined
      readonly reason?: ConnectReason | undefined
    }
  /** Nothing, until the test opens or fails it by hand. */
  | { readonly _tag: "Hang" }
  /** A bug of the connector. */
  | { readonly _tag: "Die"; readonly after?: Duration.Input | undefined; readonly defect: unknown }

/** What a test connector needs. */
export interface TestConnectorOptions<C> {
  /** The connection that borrowers get; `session.run` makes its work subject to what happens to the connection. */
  readonly connection: (session: TestSession<unknown>) => C
  /** What each dial comes to. Default: it opens at once. */
  readonly script?: ((dial: TestDial<C>) => Answer) | undefined
  /** Leases per connection, where the answer names none. Default 100. */
  readonly limit?: number | undefined
}

const maxDials = 10_000

/**
 * One connection, and what a test does to it.
 *
 * **Example** (A frozen peer answers late, a lost one never)
 *
 * ```ts import.meta.vitest
 * import { Effect, Fiber } from "effect"
 * import { Endpoint } from "@hawser/core"
 * import { TestConnector } from "@hawser/testing"
 *
 * // Stands for a client of your protocol.
 * const client = (session: TestConnector.TestSession<unknown>) => ({ ping: session.run(Effect.succeed("pong")) })
 *
 * const program = Effect.gen(function*() {
 *   const connector = yield* TestConnector.make({ connection: client })
 *   const { connection } = yield* connector.connect(Endpoint.makeUnsafe({ addresses: ["a:1"] }))
 *   const session = connector.sessions()[0]!
 *   session.freeze()
 *   const ping = yield* Effect.forkChild(connection.ping, { startImmediately: true })
 *   const early = ping.pollUnsafe()
 *   session.thaw()
 *   const late = yield* Fiber.join(ping)
 *   session.lose()
 *   const { reason } = yield* Effect.flip(connection.ping)
 *   return [early, late, reason._tag]
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => [undefined, "pong", "Reset"]
 * ```
 */
export class TestSession<C> implements Session<C> {
  readonly connection: C
  readonly endpoint: Endpoint
  /** Its scope was closed: nothing runs on it any more. */
  closed = false
  /** How many of its works are running. */
  running = 0
  private most: number
  private over = false
  private frozenAt: number | undefined = undefined
  private listener: (() => void) | undefined = undefined
  private end: ConnectError | undefined = undefined
  private readonly lost = Deferred.makeUnsafe<never, ConnectError>()
  private readonly thawed = Latch.makeUnsafe(true)
  private readonly now: () => number

  constructor(endpoint: Endpoint, limit: number, now: () => number, connection: (session: TestSession<unknown>) => C) {
    this.endpoint = endpoint
    this.most = limit
    this.now = now
    this.connection = connection(this)
  }

  limit(): number {
    return this.over ? 0 : this.most
  }
  /** A peer that is not frozen is heard all the time. */
  heardAt(): number {
    return this.frozenAt ?? this.now()
  }
  ended(): ConnectError | undefined {
    return this.end
  }
  listen(listener: (() => void) | undefined): void {
    this.listener = listener
  }

  /** Work on this connection: its answer waits while the connection is frozen, and it fails when the connection breaks. */
  run<A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E | ConnectError, R> {
    const answered = Effect.flatMap(Effect.exit(work), (exit) => Effect.andThen(this.thawed.await, exit))
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        this.running++
      }),
      () => Effect.raceFirst(Deferred.await(this.lost), answered),
      () =>
        Effect.sync(() => {
          this.running--
        })
    )
  }

  /** The peer allows so many leases from now on. */
  setLimit(limit: number): void {
    this.most = limit
    this.tell()
  }
  /** The peer says goodbye: no new lease, what runs may end. */
  goAway(): void {
    this.finish({ _tag: "Closed" })
  }
  /** The connection breaks, with all that runs on it. */
  lose(): void {
    this.finish({ _tag: "Reset" })
    this.cut({ _tag: "Reset" })
  }
  /** The peer says nothing any more, and its kernel goes on. */
  freeze(): void {
    this.frozenAt ??= this.now()
    this.thawed.closeUnsafe()
  }
  /** It speaks again, and what it kept back arrives. */
  thaw(): void {
    this.frozenAt = undefined
    this.thawed.openUnsafe()
  }
  /** What the scope does. */
  close(): void {
    this.closed = true
    this.over = true
    this.cut({ _tag: "Closed" })
  }

  private finish(reason: ConnectReason): void {
    if (this.over) return
    this.over = true
    this.end = this.error(reason)
    this.tell()
  }
  private cut(reason: ConnectReason): void {
    Deferred.doneUnsafe(this.lost, Exit.fail(this.error(reason)))
  }
  private error(reason: ConnectReason): ConnectError {
    return new ConnectError({ reason, endpoint: this.endpoint.addresses[0] })
  }
  private tell(): void {
    this.listener?.()
  }
}

/**
 * One dial, from start to end.
 *
 * **Example** (A dial that the test ends)
 *
 * ```ts import.meta.vitest
 * import { Effect, Fiber } from "effect"
 * import { Endpoint } from "@hawser/core"
 * import { TestConnector } from "@hawser/testing"
 *
 * const show = <C>({ endpoint, number, state }: TestConnector.TestDial<C>) =>
 *   `${number} ${endpoint.addresses[0]} ${state}`
 *
 * const program = Effect.gen(function*() {
 *   const connector = yield* TestConnector.make({ connection: () => "socket", script: () => ({ _tag: "Hang" }) })
 *   const fiber = yield* Effect.forkChild(connector.connect(Endpoint.makeUnsafe({ addresses: ["a:1"] })))
 *   const dial = yield* connector.dialled(1)
 *   const before = show(dial)
 *   dial.open()
 *   const { connection } = yield* Fiber.join(fiber)
 *   return [before, show(dial), connection]
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["1 a:1 Pending", "1 a:1 Open", "socket"]
 * ```
 */
export class TestDial<C> {
  readonly endpoint: Endpoint
  /** 1 for the first one of the connector. */
  readonly number: number
  /** Monotonic milliseconds. */
  readonly startedAt: number
  state: "Pending" | "Open" | "Failed" | "Interrupted" = "Pending"
  /** The connection that it opened. */
  session: TestSession<C> | undefined = undefined
  private readonly outcome = Deferred.makeUnsafe<TestSession<C>, ConnectError>()
  private readonly make: (endpoint: Endpoint, limit: number | undefined) => TestSession<C>

  constructor(
    endpoint: Endpoint,
    number: number,
    startedAt: number,
    make: (endpoint: Endpoint, limit: number | undefined) => TestSession<C>
  ) {
    this.endpoint = endpoint
    this.number = number
    this.startedAt = startedAt
    this.make = make
  }

  /** Opens the connection. Throws where the dial is over, as it is after a timeout. */
  open(limit?: number | undefined): TestSession<C> {
    this.settle("Open")
    this.session = this.make(this.endpoint, limit)
    Deferred.doneUnsafe(this.outcome, Exit.succeed(this.session))
    return this.session
  }
  /** Fails the dial; `Refused` where nothing else is said. Throws where the dial is over. */
  fail(reason: ConnectReason = { _tag: "Refused" }): void {
    this.settle("Failed")
    Deferred.doneUnsafe(this.outcome, Exit.fail(new ConnectError({ reason, endpoint: this.endpoint.addresses[0] })))
  }
  /** A bug of the connector. Throws where the dial is over. */
  die(defect: unknown): void {
    this.settle("Failed")
    Deferred.doneUnsafe(this.outcome, Exit.die(defect))
  }

  /** The dial itself. */
  run(answer: Answer) {
    const after = "after" in answer ? answer.after : undefined
    const scripted = Effect.sync(() => this.follow(answer))
    return Effect.addFinalizer(() => Effect.sync(() => this.session?.close())).pipe(
      Effect.andThen(after === undefined ? scripted : Effect.void),
      Effect.andThen(
        after === undefined
          ? Deferred.await(this.outcome)
          : Effect.raceFirst(
              Deferred.await(this.outcome),
              Effect.sleep(after).pipe(Effect.andThen(scripted), Effect.andThen(Effect.never))
            )
      ),
      Effect.onInterrupt(() =>
        Effect.sync(() => {
          if (this.state === "Pending") this.state = "Interrupted"
        })
      )
    )
  }

  private follow(answer: Answer): void {
    if (this.state !== "Pending") return
    if (answer._tag === "Open") this.open(answer.limit)
    else if (answer._tag === "Refuse") this.fail(answer.reason)
    else if (answer._tag === "Die") this.die(answer.defect)
  }
  private settle(state: "Open" | "Failed"): void {
    if (this.state !== "Pending") throw new Error(`dial ${this.number} is over: ${this.state}`)
    this.state = state
  }
}

/** A connector that follows a script, and what it has seen. */
export interface TestConnector<C> {
  /** For `Cluster.make`. */
  readonly connect: Connector<C>
  /** In the order in which they began; the last 10,000. */
  readonly dials: ReadonlyArray<TestDial<C>>
  /** The connections that are open now, oldest first. */
  readonly sessions: () => ReadonlyArray<TestSession<C>>
  /** Waits until so many dials have begun, and answers with the last of these. */
  readonly dialled: (count: number) => Effect.Effect<TestDial<C>>
}

/**
 * Makes a connector that follows a script.
 *
 * **Example** (A pool that survives the loss of its connection)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Cluster, Endpoint } from "@hawser/core"
 * import { TestConnector } from "@hawser/testing"
 *
 * const program = Effect.gen(function*() {
 *   const connector = yield* TestConnector.make({
 *     connection: (session) => ({ ping: session.run(Effect.succeed("pong")) }),
 *     script: ({ number }) => number === 1 ? { _tag: "Open" } : { _tag: "Open", after: "50 millis" }
 *   })
 *   const cluster = yield* Cluster.make({
 *     target: "example",
 *     endpoints: [Endpoint.makeUnsafe({ addresses: ["a:1"] })],
 *     connector: connector.connect
 *   })
 *   const ping = cluster.use((lease) => Effect.map(lease.connection.ping, (text) => `${text} from ${lease.id}`))
 *   const first = yield* ping
 *   connector.sessions()[0]?.lose()
 *   yield* connector.dialled(2)
 *   yield* TestClock.adjust("50 millis")
 *   return [first, yield* ping]
 * })
 * await Effect.runPromise(Effect.provide(Effect.scoped(program), TestClock.layer())) // => ["pong from a:1#1", "pong from a:1#2"]
 * ```
 */
export const make = <C>(options: TestConnectorOptions<C>): Effect.Effect<TestConnector<C>> =>
  Effect.map(Clock.Clock, (clock) => {
    const { connection, limit: usual = 100, script = () => ({ _tag: "Open" }) as const } = options
    const now = () => monotonicMillis(clock)
    const dials: Array<TestDial<C>> = []
    const waiting = new Set<() => void>()
    let count = 0
    const session = (endpoint: Endpoint, limit = usual) => new TestSession(endpoint, limit, now, connection)
    return {
      dials,
      sessions: () => dials.flatMap(({ session }) => (session === undefined || session.closed ? [] : [session])),
      connect: (endpoint) =>
        Effect.suspend(() => {
          const dial = new TestDial(endpoint, ++count, now(), session)
          if (dials.length === maxDials) dials.shift()
          dials.push(dial)
          const answer = script(dial)
          for (const look of waiting) look()
          return dial.run(answer)
        }),
      dialled: (wanted) =>
        Effect.callback((resume) => {
          const look = () => {
            const dial = dials.find(({ number }) => number === wanted)
            if (dial === undefined) return
            waiting.delete(look)
            resume(Effect.succeed(dial))
          }
          waiting.add(look)
          look()
          return Effect.sync(() => waiting.delete(look))
        })
    }
  })
