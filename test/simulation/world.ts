/** One seeded run: everything that can happen to a borrow, on the real core over a scripted network, in virtual time. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Backoff from "@hawser/core/Backoff"
import * as Cluster from "@hawser/core/Cluster"
import type { ConnectError } from "@hawser/core/ConnectError"
import { make as makeDemand } from "@hawser/core/Demand"
import { Events } from "@hawser/core/Event"
import type { Lease } from "@hawser/core/Lease"
import type { LiveConnection } from "@hawser/core/LiveConnection"
import type { Member } from "@hawser/core/Member"
import * as PeakEwma from "@hawser/core/PeakEwma"
import type { Policy } from "@hawser/core/Policy"
import { Pool } from "@hawser/core/Pool"
import { monotonicMillis } from "@hawser/core/Time"
import { counted, type Sleeps } from "../support/core/CountingClock.ts"
import { endpoint, settle } from "../support/core/parts.ts"
import { Dice } from "../support/core/prng.ts"
import { QueueWatch, watch } from "../support/core/QueueWatch.ts"
import { Recorder } from "../support/core/Recorder.ts"
import { ScriptedConnector } from "../support/core/ScriptedConnector.ts"
import type { ScriptedSession } from "../support/core/ScriptedSession.ts"
import { SeededScheduler } from "../support/core/SeededScheduler.ts"
import { answers } from "./dials.ts"
import { outcomeOf, problemsOf } from "./events.ts"
import * as Moving from "./moving.ts"
import { type Call, type Rules, rules } from "./borrowers.ts"

const maxWaitMillis = 500
const borrows = 32

const scenario = Effect.fnUntraced(function* (seed: number, scheduler: SeededScheduler, broken: Partial<Rules>) {
  const { get, unary, use } = { ...rules, ...broken }
  const dice = new Dice(seed * 7 + 1)
  const clock = yield* Clock.Clock
  const now = () => monotonicMillis(clock)
  const problems = new Set<string>()
  const counts: Record<string, number> = {}
  const count = (name: string) => {
    counts[name] = (counts[name] ?? 0) + 1
  }
  const sleeps: Sleeps = { now: 0 }
  let picked: ReadonlyArray<Member<ScriptedSession, ConnectError>> = []
  const recorder = new Recorder((event) => {
    if (event._tag === "PickSet" && event.ready.length === 0) picked = []
  })

  let calm = false
  const limit = 1 + dice.below(3)
  // In some runs connections fall silent, and time passes faster.
  const silent = dice.chance(0.3)
  const connector = new ScriptedConnector(
    clock,
    answers(dice, limit, () => calm)
  )

  // The cluster, and windows into it.
  const pools: Array<Pool<ScriptedSession>> = []
  const { start } = Pool.prototype
  Pool.prototype.start = function () {
    pools.push(this as Pool<ScriptedSession>)
    start.call(this)
  }
  const policy: Policy = {
    name: "watched",
    picker: (members, random) => {
      picked = members as unknown as typeof picked
      return PeakEwma.policy.picker(members, random)
    }
  }
  const queue = new QueueWatch(problems, now, maxWaitMillis)
  const unwatch = watch(queue)
  const scope = yield* Scope.make()
  const all = [endpoint("a", ...(dice.chance(0.3) ? ["a2"] : [])), endpoint("b"), endpoint("c")]
  // In some runs endpoints come and go, with priorities that change, and in some each connection is a member.
  const moving = dice.chance(0.4) ? yield* Moving.make(all, dice) : undefined
  const l4 = dice.chance(0.2)
  if (moving !== undefined) yield* moving.change
  const cluster = yield* Cluster.make<ScriptedSession>({
    target: "race",
    endpoints: moving?.resolver ?? all,
    l4,
    maxAge: dice.chance(0.3) ? 100 + dice.below(400) : Infinity,
    connector: connector.connect,
    policy,
    min: Math.max(l4 ? 1 : 0, dice.below(3)),
    max: 2,
    connectTimeout: 300,
    reconnect: Backoff.exponential({ initial: 10, multiplier: 2, max: 100 }),
    maxWaiters: 20,
    maxWait: maxWaitMillis,
    silence: silent ? { atLeast: 50 } : false,
    drain: 20 + dice.below(100)
  }).pipe(Scope.provide(scope), Effect.provideService(Events, recorder), (make) => counted(sleeps, make))

  // What holds after each step.
  const checkPermits = (live: LiveConnection<ScriptedSession>) => {
    const { calls, mostAllowed } = live.connection
    if (live.inFlight < 0 || live.inFlight > mostAllowed) problems.add("I-1 permits")
    if (calls.size > live.inFlight) problems.add("I-1 more on the wire than permits")
  }
  scheduler.check = () => {
    for (const pool of pools) {
      if (pool.subchannels.length > 3) problems.add("more connections than the maximum and one")
      for (const { current, draining } of pool.subchannels) {
        if (current !== undefined) checkPermits(current)
        for (const live of draining) checkPermits(live)
      }
    }
    if (queue.waiting !== cluster.waitingUnsafe()) problems.add("the queue counts wrongly")
    if (queue.waiting > 0) {
      for (const member of picked) {
        const pool = member.upstream as Pool<ScriptedSession>
        const lends = (live: LiveConnection<ScriptedSession>) =>
          live.hasRoom() && (live.quarantinedAt !== undefined) === pool.penalised()
        if (pool.connectivity() === "Ready" && pool.connections().some(lends)) {
          problems.add("I-6 a free permit and a waiter")
        }
      }
    }
  }
  const pass = (millis: number) =>
    Effect.tap(TestClock.adjust(millis), () => Effect.sync(() => queue.checkTimes(silent ? 205 : 45)))

  // The borrowers.
  const note = (exit: Exit.Exit<unknown, unknown>) => {
    const what = outcomeOf(exit)
    if (what.startsWith("defect")) problems.add(what)
    else count(what)
  }
  const wired = (lease: Lease<ScriptedSession>): Effect.Effect<void> =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const token = { cut: () => {} }
        lease.connection.start(token)
        return token
      }),
      () => Effect.sleep(10 + dice.below(90)),
      (token) =>
        Effect.sync(() => {
          lease.connection.stop(token)
          if (dice.chance(0.1)) lease.release("Success")
        })
    )
  const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
  const calls = new Set<Call>()
  const demand = () =>
    makeDemand({
      priority: dice.chance(0.1) ? 0 : dice.chance(0.8) ? 1 : 2,
      deadline: dice.chance(0.3) ? now() + 20 + dice.below(300) : Infinity,
      method: dice.chance(0.5) ? "m" : undefined,
      affinity: dice.chance(0.2) ? { key: String(dice.below(3)), hard: false } : undefined,
      waitForReady: false
    })
  const work = (): Effect.Effect<unknown, unknown> => {
    const kind = dice.below(3)
    if (kind === 0) return unary(cluster, demand(), calls, problems)
    if (kind === 1) return use(cluster, wired, demand())
    return Effect.scoped(Effect.flatMap(get(cluster, demand()), wired))
  }
  const finish = (p: number) => {
    for (const call of calls) {
      if (dice.chance(p)) call.finish(dice.chance(0.2) ? "Failure" : "Success", dice.chance(0.2))
    }
  }

  // What goes wrong.
  const closing: Array<Fiber.Fiber<unknown, unknown>> = []
  const end = dice.chance(0.35) ? dice.below(borrows) : borrows
  const trouble = Effect.fnUntraced(function* (i: number) {
    if (dice.chance(0.25)) (dice.chance(0.5) ? fibers.at(-1)! : dice.oneOf(fibers)).interruptUnsafe()
    if (moving !== undefined && dice.chance(0.3)) yield* moving.change
    const { sessions } = connector
    if (sessions.length > 0) {
      if (dice.chance(0.1)) dice.oneOf(sessions).lose()
      if (dice.chance(0.1)) dice.oneOf(sessions).goAway()
      if (dice.chance(0.1)) dice.oneOf(sessions).setLimit(dice.below(4))
      if (dice.chance(silent ? 0.3 : 0.05)) dice.oneOf(sessions).frozen = true
      if (dice.chance(0.1)) dice.oneOf(sessions).thaw(now())
      if (dice.chance(0.2)) dice.oneOf(sessions).heard = now()
    }
    if (i === end) {
      count(dice.chance(0.5) ? "closed early" : "drained early")
      closing.push(
        yield* Effect.forkChild(dice.chance(0.5) ? Scope.close(scope, Exit.void) : Effect.asVoid(cluster.drain))
      )
    }
  })
  for (let i = 0; i < borrows; i++) {
    const fiber = yield* Effect.forkChild(
      Effect.onExit(work(), (exit) => Effect.sync(() => note(exit))),
      {
        startImmediately: dice.chance(0.5)
      }
    )
    fibers.push(fiber)
    if (dice.chance(0.3)) yield* Effect.yieldNow
    if (dice.chance(0.3)) yield* pass(dice.below(silent ? 200 : 40))
    finish(0.2)
    yield* trouble(i)
  }

  // The storm is over: everybody must get an answer, and everything must be given back.
  calm = true
  if (moving !== undefined) yield* moving.restore
  for (const session of connector.sessions) session.thaw(now())
  const settled = () => fibers.every((fiber) => fiber.pollUnsafe() !== undefined)
  for (let round = 0; round < 100 && !settled(); round++) {
    yield* pass(20)
    finish(1)
    yield* Effect.yieldNow
  }
  if (!settled()) problems.add(`I-9 ${fibers.filter((f) => f.pollUnsafe() === undefined).length} never settled`)
  const { root } = yield* cluster.snapshot
  if (settled() && root.inFlight !== 0) problems.add(`I-2 ${root.inFlight} permits not given back`)
  closing.push(yield* Effect.forkChild(Scope.close(scope, Exit.void)))
  const closed = () => closing.every((fiber) => fiber.pollUnsafe() !== undefined)
  for (let round = 0; round < 20 && !closed(); round++) {
    yield* pass(20)
    yield* Effect.yieldNow
  }
  yield* Fiber.interruptAll(fibers)
  yield* settle

  if (!closed()) problems.add("I-10 does not close")
  if (pools.some((pool) => pool.connectivity() !== "Shutdown")) problems.add("I-10 a pool is not shut down")
  const open = connector.opened - connector.closed
  if (open !== 0) problems.add(`I-10 ${open} connections left open`)
  if (connector.pending.length > 0 || cluster.waitingUnsafe() > 0 || queue.waiting > 0) {
    problems.add("I-10 dials or waiters left")
  }
  if (sleeps.now > 0) problems.add(`I-10 ${sleeps.now} timers left`)
  for (const { session } of connector.dials) {
    if (session?.exceeded === true) problems.add("I-1 wire over the limit")
    if (session?.heeded === true) problems.add("I-10 listeners left")
  }
  for (const pool of pools) if (pool.all().some((s) => s.load() !== 0)) problems.add("I-10 permits left")
  const after = yield* Effect.exit(cluster.use(() => Effect.void))
  if (Exit.isSuccess(after)) problems.add("I-10 lends after the end")
  problemsOf(recorder.envelopes, moving !== undefined ? [] : ["a", "b", "c"]).forEach((problem) =>
    problems.add(problem)
  )
  for (const event of recorder.events) count(event._tag)
  unwatch()
  Pool.prototype.start = start
  scheduler.check = () => {}
  return { problems: [...problems], counts, hash: scheduler.hash, steps: scheduler.steps }
})

/** Runs one seed. */
export const run = (seed: number, broken: Partial<Rules> = {}) => {
  const scheduler = new SeededScheduler(seed)
  return Effect.runPromise(
    scenario(seed, scheduler, broken).pipe(
      Random.withSeed(seed),
      Effect.provide(TestClock.layer()),
      Effect.provideService(Scheduler.Scheduler, scheduler)
    )
  )
}
