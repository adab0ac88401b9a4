/**
 * What can go wrong on a network, as values.
 *
 * A fault says what and where; `inject` says when. They compose (`all`), are drawn (`oneOf`) and are repeated on any
 * `Schedule`, because an injected fault is an Effect like any other. Those that overlap may end in any order: what is left
 * of them holds. Arguments that break a rule are thrown as an `OptionsError` where the fault is made.
 */
import { Issues, OptionsError } from "@hawser/core/OptionsError"
import { millisOf } from "@hawser/grpc/Deadline"
import { codes as statusCodes, type Tag } from "@hawser/grpc/RpcError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { codes } from "./Frame.ts"
import type { HealthManner, HealthState, ServingStatus } from "./Health.ts"
import type { Direction, Host } from "./Host.ts"
import type { Manners } from "./Manners.ts"
import { type Answer, noServer } from "./Network.ts"
import type { GoAwayOptions } from "./ServerConnection.ts"
import { TestNetwork } from "./TestNetwork.ts"
import type { VirtualServer } from "./VirtualServer.ts"

/** Something that goes wrong. `begin` starts it and returns what ends it; it throws an `OptionsError` for what is not there. */
export interface Fault {
  readonly name: string
  readonly begin: (network: TestNetwork) => () => void
}

const broken = (path: string, rule: string, value: unknown): OptionsError => {
  const issues = new Issues()
  issues.check(false, path, rule, value)
  return new OptionsError({ issues: issues.list })
}

const onHost = (name: string, address: string, begin: (host: Host) => () => void): Fault => ({
  name: `${name} ${address}`,
  begin: ({ network }) => {
    const host = network.all.find((host) => host.address === address)
    if (host === undefined) throw network.unknown(address)
    return begin(host)
  }
})

const onServer = (name: string, address: string, begin: (server: VirtualServer) => () => void): Fault => ({
  name: `${name} ${address}`,
  begin: ({ servers }) => {
    const server = servers.get(address)
    if (server === undefined) throw noServer(servers, address)
    return begin(server)
  }
})

/** What things were before any fault, and the faults that hold now, the last one on top. */
const layered = new WeakMap<object, Map<PropertyKey, Array<{ readonly value: unknown }>>>()

/** Sets one thing of `on` until the end. Faults that overlap end in any order. */
const layer = <T>(on: object, key: PropertyKey, before: T, value: T, set: (value: T) => void): (() => void) => {
  const keys = layered.get(on) ?? new Map<PropertyKey, Array<{ readonly value: unknown }>>()
  layered.set(on, keys)
  const layers = keys.get(key) ?? [{ value: before }]
  keys.set(key, layers)
  const own = { value }
  const show = () => set(layers.at(-1)!.value as T)
  layers.push(own)
  show()
  return () => {
    layers.splice(layers.indexOf(own), 1)
    if (layers.length === 1) keys.delete(key)
    show()
  }
}

/** Sets a property until the end. */
const override = <T extends object, K extends keyof T>(on: T, key: K, value: T[K], changed = () => {}): (() => void) =>
  layer(on, key, on[key], value, (value) => {
    on[key] = value
    changed()
  })

const manner = <K extends keyof Manners>(name: string, address: string, key: K, value: Manners[K]): Fault =>
  onServer(name, address, ({ manners }) => override(manners, key, value))

const time = (path: string, input: Duration.Input): number => {
  const millis = millisOf(input)
  if (!(millis >= 0 && millis < Infinity)) throw broken(path, "a duration from 0 on, and not for ever", input)
  return millis
}

// ----------------------------------------------------------------------------------------------------------- connects

/**
 * Connects are refused although the server runs. Connections that are open stay.
 *
 * **Example** (What a client makes of a server that it can't connect to)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { Faults, Simulation, TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const address = "10.0.0.1:50051"
 * const layer = Greeter.layer.pipe(
 *   Layer.provide(Grpc.layer({
 *     target: `ipv4:${address}`,
 *     credentials: Credentials.insecure,
 *     connections: { connectTimeout: "1 second" }
 *   })),
 *   Layer.provideMerge(TestNetwork.layerService(
 *     GreeterService,
 *     { sayHello: ({ name }) => Effect.succeed({ text: `Hello, ${name}!` }) },
 *     { addresses: [address] }
 *   ))
 * )
 * const reasonUnder = (fault: Faults.Fault) =>
 *   Effect.gen(function*() {
 *     const greeter = yield* Greeter
 *     yield* Effect.sleep("11 seconds")
 *     // The connection that is open is broken; it is the next one that meets the fault.
 *     yield* Faults.inject(Faults.all(fault, Faults.cut(address)))
 *     yield* Effect.sleep("5 seconds")
 *     const { reason } = yield* Effect.flip(greeter.sayHello({ name: "Ada" }))
 *     return reason._tag === "Unavailable" ? reason.connect?.reason._tag : reason._tag
 *   }).pipe(Effect.scoped, Effect.provide(layer))
 * const faults = [
 *   Faults.refuse(address),
 *   Faults.blackHole(address),
 *   Faults.mute(address),
 *   Faults.slowSettings(address, "1 minute")
 * ]
 * const reasons: Array<unknown> = []
 * for (const fault of faults) {
 *   const { exit } = await Simulation.run({ seed: 1 }, () => reasonUnder(fault))
 *   reasons.push(exit._tag === "Success" ? exit.value : exit.cause)
 * }
 * reasons // => ["Refused", "TimedOut", "TimedOut", "TimedOut"]
 * ```
 */
export const refuse = (address: string): Fault =>
  onHost("refuse", address, (host) => {
    host.refusing++
    return () => {
      host.refusing--
    }
  })

/** Connects get no answer, as behind a firewall that drops. When it ends, those that still wait get through. */
export const blackHole = (address: string): Fault =>
  onHost("blackHole", address, (host) => {
    host.swallowing++
    return () => {
      host.swallowing--
      host.knock()
    }
  })

/** Connects are accepted, and nothing follows. */
export const mute = (address: string): Fault => manner("mute", address, "mute", true)

/** The server greets late. */
export const slowSettings = (address: string, by: Duration.Input): Fault =>
  manner("slowSettings", address, "settingsMillis", time("by", by))

// --------------------------------------------------------------------------------------------------------------- line

/** Every connection to the host breaks, now. */
export const cut = (address: string): Fault =>
  onHost("cut", address, (host) => {
    host.cut()
    return () => {}
  })

/** Nothing comes through, one way or both, and nobody is told: a half-open connection. What was sent arrives afterwards. */
export const silence = (address: string, direction: Direction = "both"): Fault =>
  onHost("silence", address, (host) => host.silence(direction))

/**
 * The connections that exist are forgotten on their way, as by a NAT, a firewall or a load balancer that was replaced:
 * nothing comes through on them, and nobody is told. Later ones work.
 *
 * **Example** (Found without a ping)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { Faults, Simulation, TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const address = "10.0.0.1:50051"
 * const layer = Greeter.layer.pipe(
 *   Layer.provide(Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })),
 *   Layer.provideMerge(TestNetwork.layerService(
 *     GreeterService,
 *     { sayHello: ({ name }) => Effect.succeed({ text: `Hello, ${name}!` }) },
 *     { addresses: [address] }
 *   ))
 * )
 * const program = Effect.gen(function*() {
 *   const greeter = yield* Greeter
 *   const hello = greeter.sayHello({ name: "Ada" }, { timeout: "1 second" })
 *   yield* hello
 *   yield* Faults.inject(Faults.forget(address))
 *   const lost = yield* Effect.flip(hello)
 *   const { text } = yield* hello
 *   return [lost.reason._tag, text]
 * }).pipe(Effect.scoped, Effect.provide(layer))
 * const { exit } = await Simulation.run({ seed: 1 }, () => program)
 * const seen = exit._tag === "Success" ? exit.value : exit.cause
 * seen // => ["DeadlineExceeded", "Hello, Ada!"]
 * ```
 */
export const forget = (address: string): Fault => onHost("forget", address, (host) => host.forget())

/**
 * Everything takes longer, each way; by up to `jitter` more, drawn for each frame. Those that overlap add up.
 *
 * **Example** (How long a call takes on a bad line)
 *
 * ```ts import.meta.vitest
 * import { Clock, Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { Faults, Simulation, TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const address = "10.0.0.1:50051"
 * const layer = Greeter.layer.pipe(
 *   Layer.provide(Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })),
 *   Layer.provideMerge(TestNetwork.layerService(
 *     GreeterService,
 *     { sayHello: ({ name }) => Effect.succeed({ text: `Hello, ${name}!` }) },
 *     { addresses: [address] }
 *   ))
 * )
 * const millisUnder = (fault: Faults.Fault) =>
 *   Effect.gen(function*() {
 *     const greeter = yield* Greeter
 *     yield* greeter.sayHello({ name: "Ada" })
 *     yield* Faults.inject(fault)
 *     const startedAt = yield* Clock.currentTimeMillis
 *     yield* greeter.sayHello({ name: "Ada" })
 *     return Math.round((yield* Clock.currentTimeMillis) - startedAt)
 *   }).pipe(Effect.scoped, Effect.provide(layer))
 * const faults = [
 *   Faults.latency(address, "10 millis"),
 *   Faults.bandwidth(address, 10_000),
 *   Faults.loss(address, 0.9)
 * ]
 * const millis: Array<unknown> = []
 * for (const fault of faults) {
 *   const { exit } = await Simulation.run({ seed: 1 }, () => millisUnder(fault))
 *   millis.push(exit._tag === "Success" ? exit.value : exit.cause)
 * }
 * millis.slice(0, 2) // => [20, 38]
 * Number(millis[2]) >= 200 // => true
 * ```
 */
export const latency = (address: string, by: Duration.Input, jitter: Duration.Input = 0): Fault => {
  const millis = time("by", by)
  const spread = time("jitter", jitter)
  return onHost("latency", address, ({ weather }) => {
    const add = (sign: 1 | -1) => {
      weather.latency = whole(weather.latency + sign * millis)
      weather.jitter = whole(weather.jitter + sign * spread)
    }
    add(1)
    return () => add(-1)
  })
}

/** To the nanosecond: what is added and taken away again leaves nothing. */
const whole = (millis: number): number => Math.round(millis * 1e6) / 1e6

/** Each frame is lost with this chance, 0 to 0.9, and sent again after 200 ms, 400 ms and so on: TCP loses nothing for good. */
export const loss = (address: string, chance: number): Fault => {
  if (!(chance >= 0 && chance <= 0.9)) throw broken("chance", "a number from 0 to 0.9", chance)
  return onHost("loss", address, ({ weather }) => override(weather, "loss", chance))
}

/** So many bytes per second, each way. */
export const bandwidth = (address: string, bytesPerSecond: number): Fault => {
  if (!(bytesPerSecond > 0)) throw broken("bytesPerSecond", "a number above 0", bytesPerSecond)
  return onHost("bandwidth", address, ({ weather }) => override(weather, "bandwidth", bytesPerSecond))
}

// ------------------------------------------------------------------------------------------------------------- server

/** The process is stopped: the system accepts for it, and nothing answers. What was sent is worked on afterwards. */
export const freeze = (address: string): Fault => onHost("freeze", address, (host) => host.freeze())

/** The process is killed. When the fault ends it is started again. */
export const kill = (address: string): Fault =>
  onServer("kill", address, (server) => {
    const count = (by: number): number => {
      const now = (kills.get(server) ?? 0) + by
      kills.set(server, now)
      return now
    }
    count(1)
    server.kill()
    return () => {
      if (count(-1) === 0) server.start()
    }
  })

/** How many faults keep a server down. */
const kills = new WeakMap<VirtualServer, number>()

/**
 * Says goodbye on every connection (GOAWAY), as a server does that is stopped in order. Nothing is lost. `abrupt`: with a
 * last stream id at once, so that calls on their way were never looked at, and may be sent again.
 *
 * **Example** (What a client makes of a server that is not well)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { Faults, Simulation, TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const address = "10.0.0.1:50051"
 * const layer = Greeter.layer.pipe(
 *   Layer.provide(Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure, retry: false })),
 *   Layer.provideMerge(TestNetwork.layerService(
 *     GreeterService,
 *     { sayHello: () => Effect.delay(Effect.succeed({ text: "Hello!" }), "1 second") },
 *     { addresses: [address] }
 *   ))
 * )
 * const callUnder = (fault: Faults.Fault) =>
 *   Effect.gen(function*() {
 *     const greeter = yield* Greeter
 *     // Some hold for what comes, others happen to what runs.
 *     yield* Effect.forkScoped(Effect.delay(Faults.during(fault, "2 seconds"), "1 millis"))
 *     const first = greeter.sayHello({ name: "Ada" })
 *     const second = Effect.delay(greeter.sayHello({ name: "Bob" }, { timeout: "3 seconds" }), "100 millis")
 *     return yield* Effect.all([first, second].map((call) => Effect.match(call, {
 *       onFailure: ({ progress, reason }) => `${reason._tag} ${progress}`,
 *       onSuccess: ({ text }) => text
 *     })), { concurrency: 2 })
 *   }).pipe(Effect.scoped, Effect.provide(layer))
 * const faults = [
 *   Faults.goAway(address),
 *   Faults.resetStreams(address),
 *   Faults.refuseStreams(address),
 *   Faults.limit(address, 0),
 *   Faults.failCalls(address, "ResourceExhausted")
 * ]
 * const outcomes: Array<unknown> = []
 * for (const fault of faults) {
 *   const { exit } = await Simulation.run({ seed: 1 }, () => callUnder(fault))
 *   outcomes.push(exit._tag === "Success" ? exit.value : exit.cause)
 * }
 * outcomes[0] // => ["Hello!", "Hello!"]
 * outcomes[1] // => ["Unavailable MaybeProcessed", "Hello!"]
 * outcomes[2] // => ["Hello!", "Unavailable Refused"]
 * // It waits, and has a place when the limit is lifted.
 * outcomes[3] // => ["Hello!", "Hello!"]
 * outcomes[4] // => ["Hello!", "ResourceExhausted Answered"]
 * ```
 */
export const goAway = (address: string, options?: GoAwayOptions): Fault =>
  onServer("goAway", address, (server) => {
    server.goAway(options)
    return () => {}
  })

/** Resets every stream that is open, with a code of RST_STREAM. Default: INTERNAL_ERROR. */
export const resetStreams = (address: string, code: number = codes.internalError): Fault =>
  onServer("resetStreams", address, (server) => {
    server.resetStreams(code)
    return () => {}
  })

/** Refuses every stream (REFUSED_STREAM). */
export const refuseStreams = (address: string): Fault => manner("refuseStreams", address, "refuseStreams", true)

/** Changes MAX_CONCURRENT_STREAMS; 0 allows none. When the fault ends the former one is told. */
export const limit = (address: string, maxStreams: number): Fault => {
  if (!(Number.isInteger(maxStreams) && maxStreams >= 0)) {
    throw broken("maxStreams", "an integer of 0 or more", maxStreams)
  }
  return onServer("limit", address, (server) =>
    override(server.manners, "maxStreams", maxStreams, () => server.tellLimit())
  )
}

/** Answers every call with a status, without headers. */
export const failCalls = (address: string, tag: Tag = "Unavailable", details = "injected"): Fault =>
  manner("failCalls", address, "failWith", { code: statusCodes[tag], details })

// ------------------------------------------------------------------------------------------------------------- health

/**
 * A server says of a service that it does not serve it. Default: of itself (`""`) and all of its services.
 *
 * **Example** (What a client with a health check makes of what servers say)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Credentials, Grpc, HealthCheck } from "@hawser/grpc"
 * import { Faults, Simulation, TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * const address = "10.0.0.1:50051"
 * const handlers = { sayHello: () => Effect.succeed({ text: "Hello!" }) }
 * const layer = Grpc.layer({
 *   target: `ipv4:${address}`,
 *   credentials: Credentials.insecure,
 *   health: HealthCheck.watch("demo.Greeter")
 * }).pipe(Layer.provideMerge(TestNetwork.layerService(GreeterService, handlers, { addresses: [address] })))
 * const statesUnder = (fault: Faults.Fault) =>
 *   Effect.gen(function*() {
 *     const cluster = yield* Grpc.GrpcCluster
 *     yield* cluster.awaitReady()
 *     yield* Effect.forkScoped(Faults.during(fault, "3 seconds"))
 *     yield* Effect.sleep("2.5 seconds")
 *     const { root } = yield* cluster.snapshot
 *     yield* Effect.sleep("10 seconds")
 *     return [root.connectivity, (yield* cluster.snapshot).root.connectivity]
 *   }).pipe(Effect.scoped, Effect.provide(layer))
 * const faults = [
 *   Faults.notServing(address),
 *   Faults.flapping(address, "1 second"),
 *   Faults.health(address, { _tag: "Fails", status: { _tag: "Unavailable" } }),
 *   // Who watches already notices nothing.
 *   Faults.health(address, "Hangs"),
 *   Faults.health(address, "Floods")
 * ]
 * const states: Array<unknown> = []
 * for (const fault of faults) {
 *   const { exit } = await Simulation.run({ seed: 1 }, () => statesUnder(fault))
 *   states.push(exit._tag === "Success" ? exit.value : exit.cause)
 * }
 * states[0] // => ["TransientFailure", "Ready"]
 * states[1] // => ["TransientFailure", "Ready"]
 * states[2] // => ["TransientFailure", "Ready"]
 * states[3] // => ["Ready", "Ready"]
 * states[4] // => ["Ready", "Ready"]
 * ```
 */
export const notServing = (address: string, service?: string | undefined): Fault =>
  onServer("notServing", address, ({ health }) => {
    const ends = said(health, service).map((name) => says(health, name, "NotServing"))
    return () => ends.forEach((end) => end())
  })

/** A server changes its mind about a service again and again, beginning with that it does not serve it. */
export const flapping = (address: string, every: Duration.Input, service?: string | undefined): Fault => {
  const millis = time("every", every)
  if (millis < 1) throw broken("every", "a duration of 1 ms at least", every)
  return onServer("flapping", address, ({ health, timers }) => {
    let end = () => {}
    let cancel = () => {}
    let down = false
    const turn = () => {
      down = !down
      const ends = down ? said(health, service).map((name) => says(health, name, "NotServing")) : []
      end()
      end = () => ends.forEach((end) => end())
      cancel = timers.after(millis, turn)
    }
    turn()
    return () => {
      cancel()
      end()
    }
  })
}

/** How a server answers questions about its health: not at all, with a status, or again and again. */
export const health = (address: string, manner: HealthManner): Fault =>
  onServer("health", address, ({ health }) => override(health, "manner", manner))

const said = (health: HealthState, service: string | undefined) => (service === undefined ? health.names : [service])

/** Of each service of each server, what it said before any fault, and what the faults say. */
const sayings = new WeakMap<HealthState, Map<string, object>>()

const says = (health: HealthState, service: string, status: ServingStatus): (() => void) => {
  const services = sayings.get(health) ?? new Map<string, object>()
  sayings.set(health, services)
  const key = services.get(service) ?? {}
  services.set(service, key)
  return layer(key, "status", health.get(service), status, (value) => health.set(service, value))
}

// -------------------------------------------------------------------------------------------------------------- names

/**
 * A name stands for something else, or for nothing. When the fault ends it stands for what it did.
 *
 * **Example** (A name that is lost, and a lookup that takes its time)
 *
 * ```ts import.meta.vitest
 * import { Clock, Effect } from "effect"
 * import { Faults, Simulation, TestNetwork } from "@hawser/testing"
 *
 * const { exit } = await Simulation.run({ seed: 1 }, () =>
 *   Effect.gen(function*() {
 *     const { network } = yield* TestNetwork.TestNetwork
 *     yield* TestNetwork.name("greeter", ["10.0.0.1"])
 *     yield* Faults.inject(Faults.slowLookups("1 second"))
 *     const lookup = Effect.match(network.lookup("greeter:50051"), {
 *       onFailure: ({ reason }) => reason._tag,
 *       onSuccess: ([address]) => address
 *     })
 *     const lost = yield* Effect.scoped(Effect.andThen(Faults.inject(Faults.resolve("greeter", "NotFound")), lookup))
 *     return [lost, yield* lookup, yield* Clock.currentTimeMillis]
 *   }).pipe(Effect.provide(TestNetwork.layer)))
 * const seen = exit._tag === "Success" ? exit.value : exit.cause
 * seen // => ["Resolution", "10.0.0.1:50051", 2000]
 * ```
 */
export const resolve = (name: string, answer: Answer): Fault => ({
  name: `resolve ${name}`,
  begin: ({ network }) =>
    layer<Answer | undefined>(network, `name ${name}`, network.answerOf(name), answer, (now) => network.name(name, now))
})

/** Every lookup takes so long. */
export const slowLookups = (by: Duration.Input): Fault => {
  const millis = time("by", by)
  return { name: "slowLookups", begin: ({ network }) => override(network, "lookupMillis", millis) }
}

// -------------------------------------------------------------------------------------------------------- composition

/** All of them, in this order; they end in the opposite one. */
export const all = (...faults: ReadonlyArray<Fault>): Fault => ({
  name: faults.map((fault) => fault.name).join(" + "),
  begin: (network) => {
    const ends: Array<() => void> = []
    try {
      for (const fault of faults) ends.push(fault.begin(network))
    } catch (error) {
      for (const end of ends.toReversed()) end()
      throw error
    }
    return () => {
      for (const end of ends.toReversed()) end()
    }
  }
})

/**
 * Draws one of them from `Random`.
 *
 * **Example** (Some trouble, again and again)
 *
 * ```ts import.meta.vitest
 * import { Effect, Random, Schedule } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Faults, TestNetwork } from "@hawser/testing"
 *
 * const address = "10.0.0.1:50051"
 * const drawn: Array<string> = []
 * const trouble = Faults.oneOf([Faults.cut(address), Faults.freeze(address), Faults.latency(address, "1 second")]).pipe(
 *   Effect.tap((fault) => Effect.sync(() => drawn.push(fault.name))),
 *   Effect.flatMap((fault) => Faults.during(fault, "1 second")),
 *   Effect.repeat(Schedule.spaced("10 seconds"))
 * )
 * const program = Effect.gen(function*() {
 *   yield* TestNetwork.serve({}, {}, { address })
 *   yield* Effect.forkScoped(trouble)
 *   yield* TestClock.adjust("25 seconds")
 * })
 * await Effect.runPromise(
 *   Effect.scoped(program).pipe(
 *     Effect.provide(TestNetwork.layer),
 *     Effect.provide(TestClock.layer()),
 *     Random.withSeed("any")
 *   )
 * )
 * drawn.length // => 3
 * ```
 */
export const oneOf = (faults: readonly [Fault, ...Array<Fault>]): Effect.Effect<Fault> =>
  Effect.map(Random.nextIntBetween(0, faults.length - 1), (i) => faults[i]!)

/**
 * Starts a fault, which ends with the scope.
 *
 * **Details**: fails with an `OptionsError` that names the hosts, or the servers, there are.
 *
 * **Example** (A server that is not there)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Faults, TestNetwork } from "@hawser/testing"
 *
 * const program = Effect.gen(function*() {
 *   yield* TestNetwork.serve({}, {}, { address: "10.0.0.1:50051" })
 *   return yield* Effect.flip(Faults.inject(Faults.kill("10.0.0.2:50051")))
 * })
 * const error = await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(TestNetwork.layer)))
 * error.message // => `address: expected a server: 10.0.0.1:50051, got "10.0.0.2:50051"`
 * ```
 */
export const inject = (fault: Fault): Effect.Effect<void, OptionsError, TestNetwork | Scope.Scope> =>
  Effect.flatMap(TestNetwork, (network) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.suspend(() => {
          try {
            return Effect.succeed(fault.begin(network))
          } catch (error) {
            return error instanceof OptionsError ? Effect.fail(error) : Effect.die(error)
          }
        }),
        (end) => Effect.sync(end)
      )
    )
  )

/**
 * Starts a fault and ends it after so long; or when it is interrupted. Repeat it on any `Schedule`.
 *
 * **Example** (A line that is silent for two seconds)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Faults, TestNetwork } from "@hawser/testing"
 *
 * const address = "10.0.0.1:50051"
 * const program = Effect.gen(function*() {
 *   const { host } = yield* TestNetwork.serve({}, {}, { address })
 *   yield* Effect.forkScoped(Faults.during(Faults.silence(address), "2 seconds"))
 *   yield* TestClock.adjust("1 second")
 *   const meanwhile = host.isSilent
 *   yield* TestClock.adjust("1 second")
 *   return [meanwhile, host.isSilent]
 * })
 * const layers = [TestNetwork.layer, TestClock.layer()] as const
 * await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(layers[0]), Effect.provide(layers[1]))) // => [true, false]
 * ```
 */
export const during = (fault: Fault, lasting: Duration.Input): Effect.Effect<void, OptionsError, TestNetwork> =>
  Effect.scoped(Effect.andThen(inject(fault), Effect.sleep(lasting)))
