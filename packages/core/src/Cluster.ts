/**
 * Endpoints, pools, balancer and the one wait queue, as programs use them.
 *
 * A cluster is terminal: it can't be put below a balancer, so a call is never bound to an endpoint before there is a
 * permit for it. Closing its scope drains it; nothing is left afterwards, no socket, timer, fiber or listener.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Backoff from "./Backoff.ts"
import { Balancer } from "./Balancer.ts"
import type { Borrow, Waiting } from "./Borrow.ts"
import * as Bracket from "./Bracket.ts"
import type { ClusterOptions } from "./ClusterOptions.ts"
import * as Options from "./ClusterOptions.ts"
import { ConnectError } from "./ConnectError.ts"
import type { Demand } from "./Demand.ts"
import * as Drain from "./Drain.ts"
import type { DrainReport } from "./DrainReport.ts"
import { MethodEstimates } from "./Estimate.ts"
import { type Envelope, type Event, Events } from "./Event.ts"
import * as EventLog from "./EventLog.ts"
import * as Gauges from "./Gauges.ts"
import { count as countHealth, type HealthStats } from "./HealthStats.ts"
import { HealthChecks, type HealthChecksOptions } from "./HealthGate.ts"
import { Heartbeat } from "./Heartbeat.ts"
import type { Lease, Refusal } from "./Lease.ts"
import { Members } from "./Members.ts"
import type { OptionsError } from "./OptionsError.ts"
import * as Outlier from "./Outlier.ts"
import * as PeakEwma from "./PeakEwma.ts"
import { Pings } from "./Pings.ts"
import { periodMillis, Pulse } from "./Pulse.ts"
import * as Race from "./Race.ts"
import * as Ready from "./Ready.ts"
import type { Resolver } from "./Resolver.ts"
import * as Rotation from "./Rotation.ts"
import { Silence } from "./Silence.ts"
import { monotonicMillis } from "./Time.ts"
import type { Snapshot } from "./Upstream.ts"
import { WaitQueue } from "./WaitQueue.ts"

export type { ClusterOptions } from "./ClusterOptions.ts"

/** The whole tree, and who waits. */
export interface ClusterSnapshot {
  readonly target: string
  readonly waiting: number
  readonly health: HealthStats
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
   * Succeeds when `count` endpoints (with `l4`: connections) are Ready; 1 by default. Fails with `NoEndpoints` for a count that is no integer from 1 on,
   * or more than a fixed set has, and with `Closed` once the cluster drains. It waits out failures, and for what a resolver
   * may still find: bound it with `Effect.timeout`.
   */
  readonly awaitReady: (count?: number) => Effect.Effect<void, E>
  /** Refuses new borrows at once, fails the queued ones, lets the rest finish, then closes. Scope close does this too. */
  readonly drain: Effect.Effect<DrainReport>
  readonly snapshot: Effect.Effect<ClusterSnapshot>
  /** Ends a hard affinity: the next borrow of the key is bound anew. Answers whether there was one. */
  readonly unbind: (key: string) => Effect.Effect<boolean>
  /** How many wait now. For gauges: read when scraped. */
  readonly waitingUnsafe: () => number
  /**
   * For how many milliseconds of the time since then, in monotonic ones, this process itself did not run: its event loop was
   * busy, or it was stopped. Within the last minute; 0 where that does not exceed what timers are always late.
   */
  readonly stalledUnsafe: (sinceMillis: number) => number
  /** From now on. A reader that falls behind by more than 1,024 loses the oldest; the gap in `seq` says how many. */
  readonly events: Stream.Stream<Envelope>
}

/** How often a pool is asked whether it needs all of its connections. */
const shrinkEveryMillis = 60_000

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
  const checked = yield* Options.check(options)
  const { target } = options
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const log = EventLog.make(target, clock, yield* Events)
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  // Whoever reads the clock may be the first one to run after a freeze.
  const now = () => heartbeat.seen(monotonicMillis(clock))
  const heartbeat: Heartbeat = new Heartbeat({
    now: () => monotonicMillis(clock),
    wall: () => clock.currentTimeMillisUnsafe(),
    run,
    steady: checked.keepalive?.withoutCalls === true,
    beat: (at) => pings.tick(at),
    thawed: (frozenMillis, at) => {
      publish({ _tag: "Thawed", frozenMillis })
      pings.thawed(at)
    }
  })
  const methods = new MethodEstimates()
  const fixed = Options.fixed(options.endpoints)
  const possible = fixed === undefined ? undefined : fixed.length * (checked.l4 ? checked.max : 1)
  let refresh: (() => void) | undefined
  const publish = (event: Event): void => {
    log.publish(event)
    if (event._tag === "Disconnected" && event.error.reason._tag === "TooManyPings") {
      pings.complained(event.endpoint, now())
    }
    // Whoever can't be reached may have moved.
    if (refresh !== undefined && (event._tag === "ConnectFailed" || event._tag === "Disconnected")) refresh()
  }
  let connections = 0
  // Until the first answer there may be somebody.
  let nobody: ConnectError | undefined
  const balancer = new Balancer<C, ConnectError>({
    policy: options.policy ?? PeakEwma.policy,
    slowStart: checked.slowStart,
    outlier: options.outlier ?? (yield* Outlier.Default),
    random: () => random.nextDoubleUnsafe(),
    now,
    publish,
    empty: () => nobody
  })
  const silence =
    checked.silenceMillis === undefined
      ? undefined
      : new Silence<C, ConnectError>({ atLeastMillis: checked.silenceMillis, balancer, methods, publish })
  const members = new Members<C>({
    target,
    pool: {
      ...checked,
      lifetime: () => Rotation.lifetime(checked.maxAgeMillis, random.nextDoubleUnsafe),
      connector: Race.addresses(options.connector),
      reconnect: options.reconnect ?? Backoff.connection,
      methods,
      now,
      publish,
      run,
      health: healthChecks(options, { now, publish, run }),
      nextId: () => ++connections
    },
    l4: checked.l4,
    balancer,
    silence,
    publish,
    answered: (error) => {
      nobody = error
    }
  })
  const queue = new WaitQueue<C, ConnectError>({
    upstream: balancer,
    errors: queueErrors,
    maxWaiters: checked.maxWaiters,
    maxWaitMillis: checked.maxWaitMillis,
    now,
    publish,
    run
  })
  const pings = new Pings<C>({
    keepalive: checked.keepalive,
    pools: () => members.all(),
    stalled: (since, at) => heartbeat.stalledMillis(since, at),
    random: () => random.nextDoubleUnsafe(),
    hurry: () => queue.waiting > 0,
    publish,
    run,
    wake: () => pulse.wake()
  })
  const pulse = new Pulse({
    now,
    run,
    // Who waits will be granted without a new borrow that would start it again.
    busy: () => {
      const on = queue.waiting > 0 || members.load() > 0 || silence?.busy() === true || pings.busy() || balancer.busy()
      if (!on) heartbeat.rests()
      return on
    },
    woken: () => heartbeat.used(periodMillis),
    tick: (at, deafMillis) => {
      heartbeat.at(at)
      pings.tick(at)
      members.tick(at)
      silence?.tick(at, deafMillis)
      balancer.tick(at, deafMillis)
    }
  })
  const borrowUnsafe = (borrow: Borrow<C, ConnectError>): Waiting | undefined => {
    pulse.wake()
    return queue.borrow(borrow)
  }
  const stats = () => countHealth(members.pools.map((pool) => pool.connectivity()))
  const drain = Drain.make({ members, balancer, queue, within: checked.drain, publish, now })
  yield* Effect.addFinalizer(() => Effect.asVoid(drain))
  yield* Gauges.register(target, {
    waiting: () => queue.waiting,
    inFlight: () => members.load(),
    ejected: () => balancer.ejection.count,
    connections: () => members.pools.reduce((n, pool) => n + pool.connections().length, 0),
    health: stats,
    lagMillis: () => Math.round(heartbeat.lagMillis(now())),
    tooManyPings: () => pings.complaints
  })
  heartbeat.start()
  const every = (millis: number, act: () => void) =>
    run(Effect.forever(Effect.andThen(Effect.sleep(millis), Effect.sync(act))))
  every(shrinkEveryMillis, () => members.shrink())
  if (checked.maxAgeMillis < Infinity) every(Rotation.everyMillis(checked.maxAgeMillis), () => members.tick(now()))
  if (fixed !== undefined) members.fix(fixed)
  else {
    const watch = yield* (options.endpoints as Resolver).open
    refresh = watch.refresh
    run(Stream.runForEach(watch.updates, (update) => Effect.sync(() => members.resolved(update))))
  }
  return {
    use: (f, demand) => Bracket.use(borrowUnsafe, f, demand),
    get: (demand) => Bracket.get(borrowUnsafe, demand),
    borrowUnsafe,
    awaitReady: (count = 1) => Ready.awaitReady(balancer, target, count, possible),
    drain,
    snapshot: Effect.sync(() => ({ target, waiting: queue.waiting, health: stats(), root: balancer.snapshot() })),
    unbind: (key) => Effect.sync(() => members.unbind(key)),
    waitingUnsafe: () => queue.waiting,
    stalledUnsafe: (since) => heartbeat.stalledMillis(since, monotonicMillis(clock)),
    events: log.stream,
    pipe() {
      return pipeArguments(this, arguments)
    }
  }
})

const healthChecks = <C>(
  { health = false, target }: ClusterOptions<C>,
  parts: Omit<HealthChecksOptions<C>, "health" | "target">
): HealthChecks<C> | undefined => (health === false ? undefined : new HealthChecks({ ...parts, health, target }))

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
