/**
 * Interrupts at any moment of a client's life, on real sockets, while servers drop, refuse, stall and restart: in the
 * queue, during a dial, on the wire, at the end of a call, while a layer is built, drained or closed. Nothing is left.
 *
 * `HAWSER_INTERRUPTS=10000 npx vitest run test/integration/interrupts.test.ts` draws so many; a round that fails says with
 * which `HAWSER_SEED` it is the first one. `HAWSER_VERBOSE=1` prints what was met.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Metric, Scope } from "effect"
import { Dice } from "../support/core/prng.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import { build, options, Seen } from "../support/grpc/InterruptClient.ts"
import { Balancers, Fibers, handles, heap, Timers } from "../support/grpc/InterruptLeft.ts"
import { Moment, Signals } from "../support/grpc/InterruptMoment.ts"
import { inSteps, interrupted, Tally, type World } from "../support/grpc/InterruptOperation.ts"
import * as InterruptServer from "../support/grpc/InterruptServer.ts"

const seed = Number(process.env["HAWSER_SEED"] ?? 20_261_204)
const interrupts = Number(process.env["HAWSER_INTERRUPTS"] ?? 1_000)
const perRound = 60
/** More at once than there are permits. */
const lanes = 12
/** The heap is weighed after so many interrupts. */
const perBatch = 1_000
const faultsPerOperation = 0.15

const none = { inFlight: 0, waiting: 0, onWire: 0 }
const noInsides = { calls: 0, listeners: 0, sockets: 0, watching: 0 }

const places = ["queued", "queued while somebody dials", "on the wire", "borrowing", "own", "draining or closing"]

class Figures {
  rounds = 0
  reconnects = 0
  fewestReconnects = Infinity
  clients = 0
  connections = 0
  accepted = 0
  timers = 0
  readonly heap: Array<number> = []
  readonly remembered: Array<number> = []
}

/** One client from its building to its end, with interrupts all over, and with each thing that is left counted. */
const round = Effect.fn(function* (seed: number, tally: Tally, figures: Figures, remember: (one: object) => void) {
  const dice = new Dice(seed)
  const signals = new Signals()
  const servers = [yield* InterruptServer.make(signals.say), yield* InterruptServer.make(signals.say)]
  const addresses = servers.map((server) => server.address)
  const balancers = yield* Effect.acquireRelease(
    Effect.sync(() => new Balancers()),
    (one) => Effect.sync(() => one.restore())
  )
  const fibers = new Fibers()
  const registry: Metric.MetricRegistry = new Map()
  const before = handles()
  const seen = new Seen(signals.say)
  const all = [seen]
  const life = Effect.gen(function* () {
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const client = yield* Effect.orDie(inSteps(Scope.provide(build(options(dice, addresses), seen), scope), dice))
    const world: World = { client, seen, signals, tally, options: (dice) => options(dice, addresses), all }
    // So that there is something to lose.
    const call = Effect.exit(client.echo.put({ id: "first", delayMillis: 0, failCode: 0 }, { waitForReady: true }))
    const answered = Effect.repeat(call, { until: Exit.isSuccess })
    yield* answered
    yield* Effect.forEach(
      Array.from({ length: perRound }, (_, i) => new Dice(seed + 1 + i)),
      (dice, i) =>
        Effect.andThen(
          Effect.sync(() => {
            if (dice.chance(faultsPerOperation)) dice.oneOf(servers).misbehave(dice)
          }),
          interrupted(dice, String(i), world)
        ),
      { concurrency: lanes, discard: true }
    )
    // Whoever told the last of them may not have come back yet.
    yield* Effect.yieldNow
    assert.deepStrictEqual(seen.held, none)
    for (const one of all) assert.deepStrictEqual(one.held, none)
    assert.strictEqual(tally.sources, 0)
    assert.strictEqual(balancers.listeners, 0, "somebody listens to a balancer")
    for (const server of servers) yield* server.heal
    // It has survived, and dials again as ever.
    yield* answered
    if (seen.reconnects === 0) {
      for (const server of servers) server.drop()
      yield* eventually("dialled again", () => seen.reconnects > 0)
      yield* answered
    }
    yield* eventually(
      "free of calls at the servers",
      () => servers.every(({ calls, left }) => calls.open.size === 0 && left.streams === 0),
      () => servers.map(({ left }) => left)
    )
    yield* ended(dice, world, scope)
    return world
  })
  const { client } = yield* life.pipe(
    Effect.provideService(Metric.FiberRuntimeMetrics, fibers),
    Effect.provideService(Metric.MetricRegistry, registry)
  )
  yield* eventually(
    "free of fibers",
    () => fibers.alive === 0,
    () => fibers.alive
  )
  assert.isAbove(fibers.started, perRound)
  const inside = () => all.map((one) => one.insides)
  yield* eventually(
    "free of sockets at the servers",
    () => servers.every(({ left }) => left.sockets === 0 && left.sessions === 0),
    () => [servers.map(({ left }) => left), inside(), handles(), before]
  )
  assert.deepStrictEqual(
    inside(),
    all.map(() => noInsides)
  )
  assert.strictEqual(balancers.listeners, 0, "somebody listens to a balancer that is closed")
  const gauges = Array.from(registry.values(), ({ id }) => id).filter((id) => id.startsWith("hawser.cluster"))
  assert.deepStrictEqual(gauges, [])
  const grown = () => Object.entries(handles()).filter(([key, n]) => n > before[key as keyof typeof before])
  yield* eventually("free of handles", () => grown().length === 0, grown)
  figures.rounds++
  figures.reconnects += seen.reconnects
  figures.fewestReconnects = Math.min(figures.fewestReconnects, seen.reconnects)
  figures.clients += all.length
  figures.connections += all.reduce((n, one) => n + one.connections.length, 0)
  figures.accepted += servers.reduce((n, server) => n + server.accepted, 0)
  remember(client.cluster)
  for (const one of all) one.connections.forEach(remember)
})

/** Drains and closes while calls run; whoever asks for it is interrupted, once and again. */
const ended = (dice: Dice, world: World, scope: Scope.Closeable) =>
  Effect.gen(function* () {
    const { client, seen, signals, tally } = world
    const more = yield* Effect.forEach([1, 2, 3, 4], () =>
      Effect.forkChild(Effect.exit(client.echo.put({ id: "last", delayMillis: dice.below(30), failCode: 0 })))
    )
    for (const ask of [client.cluster.drain, client.cluster.drain, Scope.close(scope, Exit.void)]) {
      const moment = new Moment(dice, signals)
      const fiber = yield* Effect.forkChild(inSteps(ask, dice))
      yield* Effect.callback<void>((resume) =>
        moment.when(() => {
          if (fiber.pollUnsafe() === undefined) {
            tally.landed++
            tally.meet("draining or closing")
          }
          fiber.interruptUnsafe()
          resume(Effect.void)
        })
      )
    }
    yield* Scope.close(scope, Exit.void)
    yield* eventually(
      "drained",
      () => seen.count("Drained") === 1,
      () => seen.counts
    )
    yield* Effect.forEach(more, (fiber) => eventually("answered", () => fiber.pollUnsafe() !== undefined))
    assert.deepStrictEqual(seen.held, none)
  })

describe("interrupts at any moment", () => {
  it.live(
    `leave nothing behind (${interrupts} interrupts, HAWSER_SEED=${seed})`,
    () =>
      leavesNothing(
        Effect.gen(function* () {
          const tally = new Tally()
          const figures = new Figures()
          const warnings: Array<Error> = []
          const warn = (warning: Error) => void warnings.push(warning)
          process.on("warning", warn)
          yield* Effect.addFinalizer(() => Effect.sync(() => process.off("warning", warn)))
          let at = seed
          for (let goal = 0; goal < interrupts;) {
            goal = Math.min(goal + perBatch, interrupts)
            const remembered: Array<WeakRef<object>> = []
            const timers = new Timers()
            while (tally.landed < goal) {
              const first = at
              yield* Effect.scoped(round(first, tally, figures, (one) => remembered.push(new WeakRef(one)))).pipe(
                Effect.onError(() =>
                  Effect.sync(() => {
                    timers.restore()
                    console.error(`failed: HAWSER_SEED=${first}`)
                  })
                )
              )
              at += perRound + 1
            }
            timers.restore()
            // grpc-js looks once more at each channel that has failed, a second later.
            yield* eventually(
              "free of timers",
              () => timers.pending.length === 0,
              () => timers.pending
            )
            timers.forget()
            figures.timers += timers.started
            figures.heap.push(heap())
            figures.remembered.push(remembered.filter((one) => one.deref() !== undefined).length)
          }
          if (process.env["HAWSER_VERBOSE"] !== undefined) console.log(figures, tally)
          assert.isAtLeast(figures.fewestReconnects, 1)
          assert.deepStrictEqual(
            figures.remembered.filter((n) => n > 0),
            [],
            "connections or clusters are held on to"
          )
          // What is learned and compiled once is there after the first batch.
          assert.isAtMost(figures.heap.at(-1)!, figures.heap[0]! + 10_000_000)
          for (const place of places) {
            const met = tally.met[place] ?? 0
            assert.isAbove(met, tally.landed / 200, `too few interrupts met one ${place} for the test to tell`)
          }
          assert.deepStrictEqual(warnings, [])
        })
      ),
    900_000
  )
})
