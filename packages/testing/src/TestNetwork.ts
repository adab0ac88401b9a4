/**
 * The virtual network as a layer: what a program that calls gRPC is tested on when its network misbehaves.
 *
 * Everything above the wire is the real code: pool, balancer, silence detection, deadlines, retries. Under `TestClock`
 * time passes only where the test says so.
 */
import { Issues, OptionsError, type OptionsIssue } from "@hawser/core/OptionsError"
import { DnsService } from "@hawser/grpc/Dns"
import { Transport } from "@hawser/grpc/Transport"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { ServiceHandlers } from "./Handler.ts"
import type { Security } from "./Host.ts"
import * as Net from "./Network.ts"
import * as Route from "./Route.ts"
import type { VirtualConnection } from "./VirtualConnection.ts"
import * as VirtualDns from "./VirtualDns.ts"
import * as VirtualServer from "./VirtualServer.ts"
import * as VirtualTransport from "./VirtualTransport.ts"

export type {
  /** What a name stands for: addresses, or why there are none. */
  Answer,
  /** The network below: its hosts and names, `tap` and `observe`. */
  Network
} from "./Network.ts"
export type {
  /** What a server saw. */
  Seen
} from "./Manners.ts"
export type {
  /** The client's end of a connection. */
  VirtualConnection
} from "./VirtualConnection.ts"
export type {
  /** A server of the network, and what it saw. */
  VirtualServer
} from "./VirtualServer.ts"

/** A network, its servers, and the connections that were made on it. For tests that look closer than `server` does. */
export interface TestNetwork {
  readonly network: Net.Network
  /** Every server by its address. */
  readonly servers: ReadonlyMap<string, VirtualServer.VirtualServer>
  /** The clients' ends of every connection, in the order in which they were made. */
  readonly connections: ReadonlyArray<VirtualConnection>
  /** Starts a server, for as long as the scope is open. */
  readonly serve: (
    options: VirtualServer.VirtualServerOptions
  ) => Effect.Effect<VirtualServer.VirtualServer, OptionsError, Scope.Scope>
}

/** The network of a test. */
export const TestNetwork: Context.Service<TestNetwork, TestNetwork> = Context.Service<TestNetwork, TestNetwork>(
  "hawser/testing/TestNetwork"
)

/**
 * Makes an empty network, for as long as the scope is open.
 *
 * **When to use**: where a test builds its layers itself. `layer` and `layerService` are made of it.
 *
 * **Example** (What goes over the wire)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const address = "10.0.0.1:50051"
 * const wire: Array<string> = []
 * const program = Effect.gen(function*() {
 *   const net = yield* TestNetwork.make
 *   net.network.tap = (to, packet) => {
 *     if (to === address && packet._tag === "Frame") wire.push((packet.frame as { readonly _tag: string })._tag)
 *   }
 *   const handlers = { sayHello: () => Effect.succeed({ text: "Hello!" }) }
 *   const server = TestNetwork.serve(GreeterService, handlers, { address })
 *   yield* Effect.provideService(server, TestNetwork.TestNetwork, net)
 *   const client = Greeter.layer.pipe(
 *     Layer.provide(Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })),
 *     Layer.provide(TestNetwork.layerOf(net))
 *   )
 *   yield* Effect.provide(Greeter.use((greeter) => greeter.sayHello({ name: "Ada" })), client)
 * })
 * await Effect.runPromise(Effect.scoped(program))
 * wire.slice(0, 4) // => ["SettingsAck", "Headers", "Data", "End"]
 * ```
 */
export const make: Effect.Effect<TestNetwork, never, Scope.Scope> = Effect.gen(function* () {
  const network = yield* Net.make
  const servers = new Map<string, VirtualServer.VirtualServer>()
  const connections: Array<VirtualConnection> = []
  return {
    network,
    servers,
    connections,
    serve: (options) =>
      Effect.tap(VirtualServer.make(network, options), (server) =>
        Effect.acquireRelease(
          Effect.sync(() => servers.set(server.address, server)),
          () =>
            Effect.sync(() => {
              // Another one may have taken the place of one that was killed.
              if (servers.get(server.address) === server) servers.delete(server.address)
            })
        )
      )
  }
})

/** The transport of a network. */
const transport = (self: TestNetwork) =>
  VirtualTransport.make(self.network, (connection) => {
    ;(self.connections as Array<VirtualConnection>).push(connection)
  })

/** A layer of a network that was made by hand. */
export const layerOf = (self: TestNetwork): Layer.Layer<TestNetwork> => Layer.succeedContext(contextOf(self))

const contextOf = (self: TestNetwork): Context.Context<TestNetwork> =>
  Context.make(TestNetwork, self).pipe(
    Context.add(Transport, transport(self)),
    Context.add(DnsService, VirtualDns.make(self.network))
  )

/**
 * An empty network, and the `Transport` and `DnsService` that make `Grpc.layer` use it. Servers come with `serve`.
 *
 * **Gotchas**: both are read when `Grpc.layer` is built: provide this to that layer
 * (`Layer.provideMerge(TestNetwork.layer)`), not to the program.
 */
export const layer: Layer.Layer<TestNetwork> = Layer.effectContext(Effect.map(make, contextOf))

/** How a server runs. */
export interface ServerOptions {
  /** MAX_CONCURRENT_STREAMS; default: none stated. */
  readonly maxStreams?: number | undefined
  /** What it shows to whoever connects. Default `Plaintext`. */
  readonly security?: Security | undefined
  /** A connection as old as this is sent away in order. Default: never. */
  readonly maxConnectionAge?: Duration.Input | undefined
  /** Whether it has `grpc.health.v1` beside its methods: see `server.health`. Default: it has. */
  readonly health?: boolean | undefined
}

/** Where and how servers of `layerService` run. */
export interface ServiceOptions extends ServerOptions {
  /** One server at each: `10.0.0.1:50051`. */
  readonly addresses: ReadonlyArray<string>
}

/** Where and how a server of `serve` runs. */
export interface ServeOptions extends ServerOptions {
  /** `10.0.0.1:50051`. */
  readonly address: string
}

/**
 * A network with one service on some servers, whose handlers are the same.
 *
 * **Details**: handlers are those of `TestChannel.layerService`: by the definition's own names, and a method without one is
 * `Unimplemented`. Messages pass through the codecs. Fails with an `OptionsError` that lists everything that is wrong with
 * addresses, options and names of handlers.
 *
 * **Gotchas**: provide it to `Grpc.layer`, as `layer`. Lines have no latency until `Faults.latency` says so, but every frame
 * takes a turn of the scheduler.
 *
 * **Example** (One of two servers is stopped)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { Faults, TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService, { idempotent: ["sayHello"] }) {}
 *
 * const addresses = ["10.0.0.1:50051", "10.0.0.2:50051"] as const
 * const layer = Greeter.layer.pipe(
 *   Layer.provide(Grpc.layer({ target: `ipv4:${addresses}`, credentials: Credentials.insecure })),
 *   Layer.provideMerge(
 *     TestNetwork.layerService(
 *       GreeterService,
 *       { sayHello: ({ name }) => Effect.succeed({ text: `Hello, ${name}!` }) },
 *       { addresses }
 *     )
 *   )
 * )
 * const program = Effect.gen(function*() {
 *   yield* Faults.inject(Faults.kill(addresses[0]))
 *   const { text } = yield* Greeter.use((greeter) => greeter.sayHello({ name: "Ada" }))
 *   const { seen } = yield* TestNetwork.server(addresses[1])
 *   return [text, seen.completed]
 * })
 * await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(layer))) // => ["Hello, Ada!", 1]
 * ```
 */
export const layerService = <const S extends object>(
  definition: S,
  handlers: ServiceHandlers<S>,
  options: ServiceOptions
): Layer.Layer<TestNetwork, OptionsError> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const { addresses, ...how } = options
      const issues = new Issues()
      issues.check(addresses.length > 0, "addresses", "at least one address", addresses)
      issues.check(new Set(addresses).size === addresses.length, "addresses", "each address once", addresses)
      yield* legal([
        ...issues.list,
        ...Route.issues(definition, handlers),
        ...addresses.flatMap((address, i) => VirtualServer.addressIssues(`addresses[${i}]`, address)),
        ...VirtualServer.issues(how)
      ])
      const self = yield* make
      const routes = Route.ofService(definition, handlers)
      for (const address of addresses) yield* self.serve({ ...how, address, routes })
      return contextOf(self)
    })
  )

/**
 * Starts a server on the network, for as long as the scope is open: one with handlers of its own, or one that comes late.
 *
 * **Details**: as `layerService`. The address is free again when the scope is closed, or the server killed.
 *
 * **Example** (A server that comes late)
 *
 * ```ts import.meta.vitest
 * import { Effect, Fiber, Layer } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const address = "10.0.0.1:50051"
 * const layer = Greeter.layer.pipe(
 *   Layer.provide(Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })),
 *   Layer.provideMerge(TestNetwork.layer),
 *   Layer.provideMerge(TestClock.layer())
 * )
 * const program = Effect.gen(function*() {
 *   const greeter = yield* Greeter
 *   const call = yield* Effect.forkChild(greeter.sayHello({ name: "Ada" }, { waitForReady: true }))
 *   yield* TestClock.adjust("5 seconds")
 *   const handlers = { sayHello: () => Effect.succeed({ text: "Sorry, I am late." }) }
 *   yield* TestNetwork.serve(GreeterService, handlers, { address })
 *   yield* TestClock.adjust("5 seconds")
 *   return (yield* Fiber.join(call)).text
 * })
 * await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(layer))) // => "Sorry, I am late."
 * ```
 */
export const serve = <const S extends object>(
  definition: S,
  handlers: ServiceHandlers<S>,
  options: ServeOptions
): Effect.Effect<VirtualServer.VirtualServer, OptionsError, TestNetwork | Scope.Scope> =>
  Effect.gen(function* () {
    yield* legal([
      ...Route.issues(definition, handlers),
      ...VirtualServer.addressIssues("address", options.address),
      ...VirtualServer.issues(options)
    ])
    const self = yield* TestNetwork
    return yield* self.serve({ ...options, routes: Route.ofService(definition, handlers) })
  })

/** The server at an address, and what it saw (`server.seen`). Fails with an `OptionsError` that names those there are. */
export const server = (address: string): Effect.Effect<VirtualServer.VirtualServer, OptionsError, TestNetwork> =>
  Effect.flatMap(TestNetwork, ({ servers }) => {
    const found = servers.get(address)
    return found === undefined ? Effect.fail(Net.noServer(servers, address)) : Effect.succeed(found)
  })

/**
 * From now on a name stands for these addresses, or fails in this way. Clients notice when they look again.
 *
 * **Details**: addresses come without a port; the client's own is used. Records of a service say their port themselves.
 * `Faults.resolve` does so for a time.
 *
 * **Example** (A target by name)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const network = TestNetwork.layerService(
 *   GreeterService,
 *   { sayHello: () => Effect.succeed({ text: "Hello!" }) },
 *   { addresses: ["10.0.0.1:50051"] }
 * )
 * const named = Layer.effectDiscard(TestNetwork.name("greeter", ["10.0.0.1"]))
 * const layer = Greeter.layer.pipe(
 *   Layer.provide(Grpc.layer({ target: "dns:///greeter:50051", credentials: Credentials.insecure })),
 *   Layer.provide(named),
 *   Layer.provide(network)
 * )
 * const program = Greeter.use((greeter) => greeter.sayHello({ name: "Ada" }, { waitForReady: true }))
 * await Effect.runPromise(Effect.provide(program, layer)) // => { text: "Hello!" }
 * ```
 */
export const name = (name: string, answer: Net.Answer): Effect.Effect<void, never, TestNetwork> =>
  Effect.map(TestNetwork, ({ network }) => network.name(name, answer))

/** So many turns without a packet, and whoever had something to say without time passing has said it. */
const quietTurns = 20
/** Where it never gets quiet. */
const maxTurns = 10_000

/**
 * Lets everything happen that takes no time.
 *
 * **When to use**: between the start of a call and `TestClock.adjust`. That waits for what time has woken, but not for what
 * was begun just before: a call that is on its way through a network without latency would be passed by time.
 *
 * **Example** (A call gets to its handler, which takes a second)
 *
 * ```ts import.meta.vitest
 * import { Clock, Effect, Fiber, Layer } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const address = "10.0.0.1:50051"
 * const handlers = { sayHello: () => Effect.delay(Effect.succeed({ text: "Hello!" }), "1 second") }
 * const layer = Greeter.layer.pipe(
 *   Layer.provide(Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })),
 *   Layer.provideMerge(TestNetwork.layerService(GreeterService, handlers, { addresses: [address] })),
 *   Layer.provideMerge(TestClock.layer())
 * )
 * const program = Effect.gen(function*() {
 *   const greeter = yield* Greeter
 *   const call = yield* Effect.forkChild(greeter.sayHello({ name: "Ada" }))
 *   yield* TestNetwork.settle
 *   yield* TestClock.adjust("1 second")
 *   yield* Fiber.join(call)
 *   return yield* Clock.currentTimeMillis
 * })
 * await Effect.runPromise(Effect.provide(program, layer)) // => 1000
 * ```
 */
export const settle: Effect.Effect<void, never, TestNetwork> = Effect.flatMap(TestNetwork, ({ network }) =>
  Effect.suspend(() => {
    let before = network.arrived
    let quiet = 0
    let turns = 0
    return Effect.whileLoop({
      while: () => quiet < quietTurns && turns++ < maxTurns,
      body: () => Effect.yieldNow,
      step: () => {
        quiet = network.arrived === before ? quiet + 1 : 0
        before = network.arrived
      }
    })
  })
)

const legal = (issues: ReadonlyArray<OptionsIssue>): Effect.Effect<void, OptionsError> =>
  issues.length === 0 ? Effect.void : Effect.fail(new OptionsError({ issues }))
