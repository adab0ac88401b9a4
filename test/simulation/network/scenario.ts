/**
 * One run from its first server to its last check: the script is played, and the invariants of the client are watched.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { EndpointOptions } from "@hawser/core/Endpoint"
import { Events } from "@hawser/core/Event"
import * as Resolver from "@hawser/core/Resolver"
import * as Channel from "@hawser/grpc/Channel"
import * as Client from "@hawser/grpc/Client"
import { GrpcCluster } from "@hawser/grpc/Grpc"
import { Transport } from "@hawser/grpc/Transport"
import * as Faults from "@hawser/testing/Faults"
import type { World } from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import type { QueueWatch } from "../../support/core/QueueWatch.ts"
import { Recorder } from "../../support/core/Recorder.ts"
import { borrow, one, type TestClient } from "./calls.ts"
import { grpc } from "./client.ts"
import { address, toFault } from "./faults.ts"
import { HealthWatch } from "./healthWatch.ts"
import type { Ledger } from "./ledger.ts"
import { probe } from "./probe.ts"
import { calmAt, type MoveStep, type Script } from "./script.ts"
import { definition, routes } from "./service.ts"
import { slack } from "./settled.ts"
import { amplification, events, metrics } from "./totals.ts"
import type { Watch } from "./watch.ts"

/** I-10: an end takes no longer than calls may run on. */
const inTime = (end: Effect.Effect<void>, drain: number, world: World, ledger: Ledger): Effect.Effect<void> =>
  Effect.suspend(() => {
    const startedAt = world.clock.now
    return Effect.map(end, () => {
      const took = world.clock.now - startedAt
      if (took > drain + 1) ledger.problem(`I-10 the end took ${took} ms, ${drain} were allowed`)
    })
  })

/** Plays a script to its end. */
export const scenario = (script: Script, world: World, watch: Watch, queue: QueueWatch, ledger: Ledger) =>
  Effect.gen(function* () {
    const { settings, steps } = script
    const recorder = new Recorder((event) => world.note(event._tag))
    const net = yield* TestNetwork.make
    net.network.observe((felt, host) => ledger.felt(felt, host))
    net.network.tap = (to, packet) => {
      world.note(`${to} ${packet._tag === "Frame" ? (packet.frame as { _tag: string })._tag : packet.how}`)
    }
    const began = (id: number) => ledger.began.set(id, (ledger.began.get(id) ?? 0) + 1)
    for (let host = 0; host < settings.hosts; host++) {
      const server = yield* net.serve({
        address: address(host),
        routes: routes(began),
        maxStreams: settings.streams === 0 ? undefined : settings.streams
      })
      server.host.weather.latency = settings.latency
    }
    const health = new HealthWatch(ledger)
    watch.lent = (connection) => health.lent(connection)
    const transport = Layer.effect(
      Transport,
      Effect.map(Transport, (real) => health.over(real))
    )
    const sets = yield* Queue.unbounded<ReadonlyArray<EndpointOptions>>()
    const everybody = Array.from({ length: settings.hosts }, (_, host) => ({ host, weight: 1 }))
    const move = (hosts: MoveStep["hosts"]) =>
      Queue.offer(
        sets,
        hosts.map(({ host, weight }) => ({ addresses: [address(host)], weight }))
      )
    yield* move(everybody)
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(
      Layer.provide(
        grpc(settings, watch, ledger, Resolver.fromStream("moves", Stream.fromQueue(sets))),
        settings.health === "off" ? TestNetwork.layerOf(net) : Layer.provideMerge(transport, TestNetwork.layerOf(net))
      ),
      scope
    ).pipe(Effect.provideService(Events, recorder))
    const client: TestClient = Client.make(definition, Context.get(context, Channel.Channel))
    const cluster = Context.get(context, GrpcCluster)

    // I-3, I-6, I-9: while nothing is ready, nobody waits for what is there, and no connection is without an owner.
    ledger.idle = () => {
      queue.checkTimes(slack)
      if (queue.waiting !== cluster.waitingUnsafe()) ledger.problem("I-11 the queue counts wrongly")
      if (queue.unbound > 0 && watch.wasted()) ledger.problem("I-6 a free permit and a waiter")
      const open = net.network.all.reduce((n, host) => n + host.openClients, 0)
      if (queue.unbound > 0 && watch.lazy()) ledger.problem("I-6 a waiter, and a pool that may grow and does not")
      if (queue.impatient > 0 && watch.failing) ledger.problem("I-9 waits although every endpoint fails")
      watch.idle(world.clock.now)
      ledger.phases.idle()
      health.idle()
      if (open > watch.lives().length + watch.dialling()) ledger.problem("I-3 a connection without an owner")
    }
    ledger.phases.lends = () => net.connections.some((connection) => connection.isOpen) && watch.lends()
    queue.onRefused = (borrow, error) => {
      ledger.phases.refused(borrow)
      const { _tag } = (error as ConnectError).reason
      const ours = _tag === "Saturated" || (_tag === "Closed" && over)
      if (!ours && !borrow.waitForReady && !watch.failing) ledger.problem(`I-9 fails (${_tag}) although there is hope`)
    }
    let over = false
    const fibers: Array<Fiber.Fiber<void>> = []
    const troubles: Array<Fiber.Fiber<unknown, unknown>> = []
    let ended: Fiber.Fiber<void> | undefined
    for (const step of steps) {
      if (step.at > world.clock.now) yield* Effect.sleep(step.at - world.clock.now)
      switch (step._tag) {
        case "Call":
          fibers.push(yield* Effect.forkChild(one(step, client, world, watch, ledger, settings)))
          break
        case "Fault":
          world.note(`fault ${step.name} ${address(step.host)}`)
          ledger.arm(address(step.host))
          troubles.push(
            yield* Effect.forkChild(
              Effect.provideService(Faults.during(toFault(step), step.lasting), TestNetwork.TestNetwork, net)
            )
          )
          break
        case "Move":
          world.note(`move ${step.hosts.map(({ host }) => host).join()}`)
          yield* move(step.hosts)
          break
        case "Borrow":
          fibers.push(yield* Effect.forkChild(borrow(step, cluster, world, ledger)))
          break
        default:
          over = true
          ledger.operations++
          if (ledger.inFlight > 0) ledger.suffered("scope closed")
          ended = yield* Effect.forkChild(
            inTime(
              Effect.asVoid(step._tag === "Drain" ? cluster.drain : Scope.close(scope, Exit.void)),
              settings.drain,
              world,
              ledger
            )
          )
      }
    }
    // The storm is over: everybody gets an answer, and everything is given back.
    yield* Fiber.awaitAll(troubles)
    if (world.clock.now < calmAt) yield* Effect.sleep(calmAt - world.clock.now)
    yield* move(everybody)
    yield* world.named("all calls have ended", Fiber.awaitAll(fibers))
    // No answer waits for a hedge: whoever lost in the last moment gives back in that moment, when its turn comes. Time goes on
    // only when nothing is ready to run.
    if (settings.hedge > 0) yield* Effect.sleep(1)
    const { root, waiting } = yield* cluster.snapshot
    if (root.inFlight !== 0) ledger.problem(`I-2 ${root.inFlight} in flight after the last call`)
    if (waiting !== 0) ledger.problem(`I-10 ${waiting} wait after the last call`)
    if (ended !== undefined) yield* world.named("the early end", Fiber.await(ended))
    // Without a queue nobody waits for who has just come, or for what a health check holds.
    else if (settings.maxWaiters > 0) yield* probe(client, world, ledger)
    over = true
    yield* world.named("the scope closes", inTime(Scope.close(scope, Exit.void), settings.drain, world, ledger))
    const late = yield* Effect.exit(cluster.use(() => Effect.void))
    if (Exit.isSuccess(late)) ledger.problem("I-10 lends after the end")
    watch.closed()
    for (const [at, server] of net.servers) {
      if (server.seen.overTheLimit > 0) ledger.problem(`I-1 ${at} saw ${server.seen.overTheLimit} streams too many`)
    }
    const open = net.network.all.reduce((n, host) => n + host.openClients, 0)
    if (open > 0) ledger.problem(`I-10 ${open} sockets left`)
    for (const connection of net.connections) {
      if (connection.listened) ledger.problem("I-10 listeners left")
      if (connection.streams.size > 0) ledger.problem("I-10 streams left")
      if (connection.closings !== 1) ledger.problem(`I-15 a connection was closed ${connection.closings} times`)
    }
    if (queue.waiting > 0) ledger.problem("I-10 waiters left")
    events(recorder, ledger)
    amplification(script, world, ledger)
    metrics(script, yield* Metric.snapshot, ledger)
  }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
