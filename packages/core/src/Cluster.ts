/**
 * Endpoints, pools, balancer and the one wait queue, as programs use them.
 *
 * A cluster is terminal: it can't be put below a balancer, so a call is never bound to an endpoint before there is a
 * permit for it. Closing its scope drains it; nothing is left afterwards, no socket, timer, fiber or listener.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Random from "effect/Random"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Backoff from "./Backoff.ts"
import { Balancer } from "./Balancer.ts"
import type { Borrow, Waiting } from "./Borrow.ts"
import * as Bracket from "./Bracket.ts"
import { ConnectError } from "./ConnectError.ts"
import type { Demand } from "./Demand.ts"
import * as Drain from "./Drain.ts"
import type { DrainReport } from "./DrainReport.ts"
import { type Endpoint, sameConnection } from "./Endpoint.ts"
import { MethodEstimates } from "./Estimate.ts"
import { type Envelope, Events } from "./Event.ts"
import * as EventLog from "./EventLog.ts"
import * as Gauges from "./Gauges.ts"
import type { Lease, Refusal } from "./Lease.ts"
import { Issues, type OptionsError } from "./OptionsError.ts"
import * as PeakEwma from "./PeakEwma.ts"
import type { Policy } from "./Policy.ts"
import { Pool } from "./Pool.ts"
import { Pulse } from "./Pulse.ts"
import * as Race from "./Race.ts"
import * as Ready from "./Ready.ts"
import type { Connector } from "./Session.ts"
import { Silence } from "./Silence.ts"
import { monotonicMillis } from "./Time.ts"
import type { Snapshot } from "./Upstream.ts"
import { WaitQueue } from "./WaitQueue.ts"

/** The whole tree, and who waits. */
export interface ClusterSnapshot {
  readonly target: string
  readonly waiting: number
  readonly root: Snapshot
}

/** An upstream with the one wait queue: first come first served per priority, bound late, bounded in number and time. */
export interface Cluster<out C, out E> extends Pipeable {
  /**
   * Borrows while one effect runs. The outcome is `Success`, `Failure`, and `Neutral` for an interrupt.
   *
   * **Details**: fails with what the last dial failed with, unless the demand waits for Ready; `Saturated` when the queue
   * is full or the time in it is over; `NoEndpoints`; `Closed` once the cluster drains.
   */
  readonly use: <A, E2, R>(
    f: (lease: Lease<C>) => Effect.Effect<A, E2, R>,
    demand?: Partial<Demand>
  ) => Effect.Effect<A, E | E2, R>
  /** Borrows for the lifetime of a scope; fails as `use` does. */
  readonly get: (demand?: Partial<Demand>) => Effect.Effect<Lease<C>, E, Scope.Scope>
  /** Answers the borrow before returning, or returns its place in the queue. What protocols call. */
  readonly borrowUnsafe: (borrow: Borrow<C, E>) => Waiting | undefined
  /**
   * Succeeds when `count` endpoints are Ready; 1 by default. Fails with `NoEndpoints` for a count that is not from 1 to the
   * number of endpoints, and with `Closed` once the cluster drains. It waits out failures: bound it with `Effect.timeout`.
   */
  readonly awaitReady: (count?: number) => Effect.Effect<void, E>
  /** Refuses new borrows at once, fails the queued ones, lets the rest finish, then closes. Scope close does this too. */
  readonly drain: Effect.Effect<DrainReport>
  readonly snapshot: Effect.Effect<ClusterSnapshot>
  /** How many wait now. For gauges: read when scraped. */
  readonly waitingUnsafe: () => number
  /** From now on. A reader that falls behind by more than 1,024 loses the oldest; the gap in `seq` says how many. */
  readonly events: Stream.Stream<Envelope>
}

/** What a cluster needs. Durations are `Duration.Input`; `OptionsError` lists all that break a rule. */
export interface ClusterOptions<C> {
  /** Its name in events, gauges and errors. */
  readonly target: string
  /** None twice. Without any, every borrow fails with `NoEndpoints`. */
  readonly endpoints: ReadonlyArray<Endpoint>
  readonly connector: Connector<C>
  /** Default `PeakEwma.policy`. */
  readonly policy?: Policy | undefined
  /** Connections per endpoint that are kept; 0 to 100, default 1. With 0 the first borrow dials. */
  readonly min?: number | undefined
  /** Connections per endpoint at most; 1 to 100 and at least `min`, default 4 or, if that is more, `min`. */
  readonly max?: number | undefined
  /** Borrows per connection at most, beside the limit of the session; 1 to 1,000,000, default none. */
  readonly maxStreams?: number | undefined
  /** Per attempt; 1 ms to 24 days, default 20 s (connection-backoff.md). */
  readonly connectTimeout?: Duration.Input | undefined
  /** Between attempts; default `Backoff.connection`. */
  readonly reconnect?: Schedule.Schedule<unknown, ConnectError> | undefined
  /** Waiters at most; 0 to 1,000,000, default 1,000. With 0 nobody waits. */
  readonly maxWaiters?: number | undefined
  /** How long one may wait; 1 ms to 24 days, default 30 s. An earlier deadline of the borrow holds. */
  readonly maxWait?: Duration.Input | undefined
  /** `false`, or the shortest silence that counts; 50 ms to 24 days, default 200 ms. */
  readonly silence?: { readonly atLeast: Duration.Input } | false | undefined
  /** How long borrows may go on when the cluster is drained; 0 to 24 days, default 30 s. */
  readonly drain?: Duration.Input | undefined
}

/** How often a pool is asked whether it needs all of its connections. */
const shrinkEvery = Duration.minutes(1)

/**
 * Makes a cluster and dials the minimum. Fails with an `OptionsError` before anything is dialled.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, Endpoint } from "@hawser/core"
 *
 * const program = Effect.scoped(Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "example",
 *     endpoints: [Endpoint.makeUnsafe({ addresses: ["a:1"] })],
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 1, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   return yield* cluster.use((lease) => Effect.succeed(`${lease.connection} of ${lease.id}`))
 * }))
 * await Effect.runPromise(program) // => "socket of a:1#1"
 * ```
 */
export const make = Effect.fnUntraced(function* <C>(
  options: ClusterOptions<C>
): Effect.fn.Return<Cluster<C, ConnectError>, OptionsError, Scope.Scope> {
  const checked = yield* check(options)
  const { target } = options
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const log = EventLog.make(target, clock, yield* Events)
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  const now = () => monotonicMillis(clock)
  const methods = new MethodEstimates()
  let connections = 0
  const poolOptions = {
    ...checked,
    connector: Race.addresses(options.connector),
    reconnect: options.reconnect ?? Backoff.connection,
    methods,
    now,
    publish: log.publish,
    run,
    nextId: () => ++connections
  }
  const pools = options.endpoints.map((endpoint) => new Pool<C>(endpoint, poolOptions))
  const balancer = new Balancer<C, ConnectError>({
    policy: options.policy ?? PeakEwma.policy,
    upstreams: pools,
    random: () => random.nextDoubleUnsafe(),
    now,
    publish: log.publish,
    empty: () => new ConnectError({ reason: { _tag: "NoEndpoints", target } })
  })
  const queue = new WaitQueue<C, ConnectError>({
    upstream: balancer,
    errors: queueErrors,
    maxWaiters: checked.maxWaiters,
    maxWaitMillis: checked.maxWaitMillis,
    now,
    publish: log.publish,
    run
  })
  const silence =
    checked.silenceMillis === undefined
      ? undefined
      : new Silence<C, ConnectError>({
          atLeastMillis: checked.silenceMillis,
          pools,
          balancer,
          methods,
          publish: log.publish
        })
  const pulse = new Pulse({
    now,
    run,
    // Who waits will be granted without a new borrow that would start it again.
    busy: () => balancer.load() > 0 || queue.waiting > 0 || silence?.busy() === true,
    tick: (at, deafMillis) => {
      silence?.tick(at, deafMillis)
      balancer.tick(at)
    }
  })
  const borrowUnsafe = (borrow: Borrow<C, ConnectError>): Waiting | undefined => {
    pulse.wake()
    return queue.borrow(borrow)
  }
  const drain = Drain.make({ pools, balancer, queue, within: checked.drain, publish: log.publish, now })
  yield* Effect.addFinalizer(() => Effect.asVoid(drain))
  yield* Gauges.register(target, {
    waiting: () => queue.waiting,
    inFlight: () => balancer.load(),
    connections: () => pools.reduce((n, pool) => n + pool.connections().length, 0)
  })
  run(
    Effect.forever(
      Effect.andThen(
        Effect.sleep(shrinkEvery),
        Effect.sync(() => {
          for (const pool of pools) pool.shrink()
        })
      )
    )
  )
  for (const pool of pools) pool.start()
  return {
    use: (f, demand) => Bracket.use(borrowUnsafe, f, demand),
    get: (demand) => Bracket.get(borrowUnsafe, demand),
    borrowUnsafe,
    awaitReady: (count = 1) => Ready.awaitReady(balancer, target, count),
    drain,
    snapshot: Effect.sync(() => ({ target, waiting: queue.waiting, root: balancer.snapshot() })),
    waitingUnsafe: () => queue.waiting,
    events: log.stream,
    pipe() {
      return pipeArguments(this, arguments)
    }
  }
})

const queueErrors = {
  full: (waiting: number) => saturated("QueueLength", waiting, { _tag: "Full" }),
  expired: (waiting: number, last: Refusal<ConnectError>) => saturated("QueueTime", waiting, last),
  closed: () => new ConnectError({ reason: { _tag: "Closed" } })
}

const saturated = (by: "QueueLength" | "QueueTime", waiting: number, last: Refusal<ConnectError>): ConnectError =>
  new ConnectError({
    reason: { _tag: "Saturated", by, waiting, on: last._tag === "Full" ? "Permit" : "Connection" },
    ...(last._tag === "Failing" ? { cause: last.error } : {})
  })

const check = <C>(options: ClusterOptions<C>) =>
  Effect.try({
    try: () => {
      const issues = new Issues()
      const {
        endpoints,
        max = Math.min(100, Math.max(4, options.min ?? 1)),
        maxStreams = Infinity,
        maxWaiters = 1_000,
        min = 1
      } = options
      const millis = (path: string, input: Duration.Input, min: number) => {
        let value = NaN
        try {
          value = Duration.toMillis(Duration.fromInputUnsafe(input))
        } catch {
          // reported below
        }
        issues.check(value >= min && value <= 2_147_483_647, path, `a duration from ${min} ms to 24 days`, input)
        return value
      }
      const count = (path: string, value: number, least: number, most: number) =>
        issues.check(
          Number.isInteger(value) && value >= least && value <= most,
          path,
          `an integer from ${least} to ${most}`,
          value
        )
      const possible = [count("min", min, 0, 100), count("max", max, 1, 100)]
      if (!possible.includes(false)) issues.check(max >= min, "max", "at least `min`", max)
      if (maxStreams !== Infinity) count("maxStreams", maxStreams, 1, 1_000_000)
      count("maxWaiters", maxWaiters, 0, 1_000_000)
      endpoints.forEach((e, i) =>
        issues.check(
          endpoints.findIndex((other) => sameConnection(e, other)) === i,
          `endpoints[${i}]`,
          "an endpoint that is not listed twice",
          e.addresses
        )
      )
      const connectTimeout = Duration.millis(millis("connectTimeout", options.connectTimeout ?? "20 seconds", 1))
      const maxWaitMillis = millis("maxWait", options.maxWait ?? "30 seconds", 1)
      const drain = Duration.millis(millis("drain", options.drain ?? "30 seconds", 0))
      const silenceMillis =
        options.silence === false ? undefined : millis("silence.atLeast", options.silence?.atLeast ?? "200 millis", 50)
      issues.throwIfAny()
      return { min, max, maxStreams, maxWaiters, connectTimeout, maxWaitMillis, drain, silenceMillis }
    },
    catch: (e) => e as OptionsError
  })
