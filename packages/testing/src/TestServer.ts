/**
 * A gRPC server in this process, on real sockets: handlers in the place of methods.
 *
 * For what only a network shows: connections that are lost and come back, TLS, flow control, health checks. What needs no
 * network is tested faster by `TestChannel`. When its scope closes, nothing is left: no socket, timer or fiber.
 */
import { Issues, OptionsError } from "@hawser/core/OptionsError"
import type * as Call from "@hawser/grpc/Call"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { ServiceHandlers } from "./Handler.ts"
import * as Health from "./Health.ts"
import * as Route from "./Route.ts"
import { type CallOwner, type Served, serve } from "./TestServerCall.ts"
import { server, type TestServerOptions, TestServerSockets } from "./TestServerSockets.ts"

export type {
  /** Options of a test server. */
  TestServerOptions,
  /** What a server shows over TLS. */
  TestServerTls
} from "./TestServerSockets.ts"

/** A gRPC server in this process. */
export interface TestServer {
  /** `127.0.0.1:50051`. Stays the same over `restart`. */
  readonly address: string
  /** The calls that reached the server, health checks left out, in the order in which they began; the last 10,000. */
  readonly calls: Effect.Effect<ReadonlyArray<Call.Call<unknown, unknown>>>
  /** What handlers and codecs threw; the last 10,000. */
  readonly defects: Effect.Effect<ReadonlyArray<unknown>>
  /** Changes what `grpc.health.v1` says of a service; `""` is the server as a whole. */
  readonly setHealth: (service: string, status: Health.ServingStatus) => Effect.Effect<void>
  /** What it says of its health, how, and how many watch. */
  readonly health: Health.HealthState
  /**
   * Ends as a killed process does: connections close, connects are refused. Completes when all handlers have ended, and
   * clients in this process have seen it.
   */
  readonly kill: Effect.Effect<void>
  /** Listens on the same port again, after a `kill` if it has not been killed. */
  readonly restart: Effect.Effect<void>
}

/**
 * The server of a test.
 *
 * **Example** (A health check that fails)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { TestServer } from "@hawser/testing"
 * import { HealthService } from "@hawser/testing/Health"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Health extends Client.Service<Health>()("app/Health", HealthService) {}
 *
 * const channel = Layer.unwrap(TestServer.TestServer.use(({ address }) =>
 *   Effect.succeed(Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure }))))
 *
 * const program = Effect.gen(function*() {
 *   const health = yield* Health
 *   const before = yield* health.check({ service: "demo.Greeter" })
 *   yield* TestServer.setHealth("demo.Greeter", "NotServing")
 *   const after = yield* health.check({ service: "demo.Greeter" })
 *   return [before.status, after.status]
 * })
 * const layer = Health.layer.pipe(Layer.provide(channel), Layer.provideMerge(TestServer.layer(GreeterService, {})))
 * await Effect.runPromise(Effect.provide(program, layer)) // => ["Serving", "NotServing"]
 * ```
 */
export const TestServer: Context.Service<TestServer, TestServer> = Context.Service<TestServer, TestServer>(
  "hawser/testing/TestServer"
)

/** Where the server listens: `127.0.0.1:50051`. */
export const address: Effect.Effect<string, never, TestServer> = Effect.map(TestServer, (self) => self.address)

/** The calls that reached the server, health checks left out, in the order in which they began; the last 10,000. */
export const calls: Effect.Effect<ReadonlyArray<Call.Call<unknown, unknown>>, never, TestServer> = TestServer.use(
  (self) => self.calls
)

/** What handlers and codecs threw; the last 10,000. Empty where all is well. */
export const defects: Effect.Effect<ReadonlyArray<unknown>, never, TestServer> = TestServer.use((self) => self.defects)

/** Changes what `grpc.health.v1` says of a service; `""` is the server as a whole. */
export const setHealth = (service: string, status: Health.ServingStatus): Effect.Effect<void, never, TestServer> =>
  TestServer.use((self) => self.setHealth(service, status))

/**
 * Ends as a killed process does: connections close, connects are refused. Completes when all handlers have ended, and
 * clients in this process have seen it.
 */
export const kill: Effect.Effect<void, never, TestServer> = TestServer.use((self) => self.kill)

/** Listens on the same port again, after a `kill` if it has not been killed. */
export const restart: Effect.Effect<void, never, TestServer> = TestServer.use((self) => self.restart)

const maxRecords = 10_000

const push = <A>(list: Array<A>, one: A): void => {
  if (list.length === maxRecords) list.shift()
  list.push(one)
}

/**
 * Starts a server for as long as the scope is open.
 *
 * **Details**: as `layer`.
 *
 * **Example** (A server with a bug)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { TestServer } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const program = Effect.gen(function*() {
 *   const server = yield* TestServer.make(GreeterService, {
 *     sayHello: ({ name }) => Effect.sync(() => ({ text: JSON.parse(name) }))
 *   })
 *   const channel = Grpc.layer({ target: `ipv4:${server.address}`, credentials: Credentials.insecure })
 *   const { reason } = yield* Greeter.use((greeter) => Effect.flip(greeter.sayHello({ name: "Ada" }))).pipe(
 *     Effect.provide(Greeter.layer.pipe(Layer.provide(channel)))
 *   )
 *   const [defect] = yield* Effect.provideService(TestServer.defects, TestServer.TestServer, server)
 *   return [reason._tag, defect instanceof SyntaxError]
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["Internal", true]
 * ```
 */
export const make = <const S extends object>(
  definition: S,
  handlers: ServiceHandlers<S>,
  options: TestServerOptions = {}
): Effect.Effect<TestServer, OptionsError, Scope.Scope> =>
  Effect.gen(function* () {
    const methods = yield* check(definition, handlers, options)
    const fibers = yield* FiberSet.make<void>()
    const run = yield* FiberSet.runtime(fibers)()
    const seen: Array<Call.Call<unknown, unknown>> = []
    const thrown: Array<unknown> = []
    const owner: CallOwner = {
      run,
      record: (call) => push(seen, call),
      defect: (defect) => push(thrown, defect)
    }
    const health = new Health.HealthState(["", ...methods.map(({ path }) => path.split("/")[1]!)])
    const accept = yield* server(options, (server) => {
      for (const method of methods) serve(server, method, owner)
      const unseen = { ...owner, record: () => {} }
      for (const method of Health.served(health)) serve(server, method, unseen)
    })
    const sockets = new TestServerSockets(accept)
    let closed = false
    const end = Effect.andThen(sockets.close, FiberSet.clear(fibers))
    const start = Effect.suspend(() =>
      closed ? Effect.die(new Error("the scope of this server is closed")) : sockets.listen
    )
    // One at a time, and whole: half of a restart would leave a listener behind.
    const alone = Semaphore.makeUnsafe(1).withPermit
    yield* Effect.acquireRelease(start, () =>
      alone(
        Effect.suspend(() => {
          closed = true
          return end
        })
      )
    )
    return {
      address: sockets.address,
      calls: Effect.sync(() => [...seen]),
      defects: Effect.sync(() => [...thrown]),
      health,
      setHealth: (service, status) => Effect.sync(() => health.set(service, status)),
      kill: alone(Effect.uninterruptible(end)),
      restart: alone(Effect.uninterruptible(Effect.andThen(end, start)))
    }
  })

/**
 * A server of one service on a free port of the loopback, with `grpc.health.v1` beside it.
 *
 * **Details**: handlers are those of `TestChannel.layerService`, by the definition's own names; a method without one is
 * `Unimplemented`. The deadline of a call is the ambient one of its handler (`Deadline.remaining`), and calls that the
 * handler makes keep to it. A handler is interrupted when its client cancels or has gone, and when the deadline has passed.
 * One that throws or dies answers `Internal`, and so does a codec; see `defects`. The server as a whole and the services
 * of the definition are `Serving` until `setHealth` says otherwise. Fails with an `OptionsError` for handlers that the
 * definition does not have and for options that break a rule.
 *
 * **Gotchas**: sockets live in real time: use `it.live`, or keep clocks of the test out of what waits for the network.
 *
 * **Example** (A server that comes back)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc } from "@hawser/grpc"
 * import { TestServer } from "@hawser/testing"
 *
 * const text = { serialize: (value: string) => Buffer.from(value), deserialize: (bytes: Buffer) => bytes.toString() }
 * const GreeterService = {
 *   sayHello: {
 *     path: "/demo.Greeter/SayHello",
 *     requestStream: false,
 *     responseStream: false,
 *     requestSerialize: text.serialize,
 *     requestDeserialize: text.deserialize,
 *     responseSerialize: text.serialize,
 *     responseDeserialize: text.deserialize
 *   }
 * } as const
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService, { idempotent: ["sayHello"] }) {}
 *
 * const server = TestServer.layer(GreeterService, { sayHello: (name) => Effect.succeed(`hello ${name}`) })
 * const channel = Layer.unwrap(Effect.map(TestServer.address, (address) =>
 *   Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })))
 *
 * const program = Effect.gen(function*() {
 *   const greeter = yield* Greeter
 *   const first = yield* greeter.sayHello("ada")
 *   yield* TestServer.kill
 *   yield* TestServer.restart
 *   const second = yield* greeter.sayHello("bob", { waitForReady: true })
 *   return [first, second, (yield* TestServer.calls).length]
 * })
 * const layer = Greeter.layer.pipe(Layer.provide(channel), Layer.provideMerge(server))
 * await Effect.runPromise(Effect.provide(program, layer)) // => ["hello ada", "hello bob", 2]
 * ```
 */
export const layer = <const S extends object>(
  definition: S,
  handlers: ServiceHandlers<S>,
  options?: TestServerOptions | undefined
): Layer.Layer<TestServer, OptionsError> => Layer.effect(TestServer, make(definition, handlers, options))

const check = (definition: object, handlers: object, options: TestServerOptions) =>
  Effect.suspend(() => {
    const issues = new Issues()
    const { maxStreams, tls } = options
    const ok = maxStreams === undefined || (Number.isInteger(maxStreams) && maxStreams > 0 && maxStreams < 2 ** 31)
    issues.check(ok, "maxStreams", "an integer above 0", maxStreams)
    const identity = tls === undefined || tls.cert !== undefined || tls.key !== undefined
    issues.check(identity, "tls.cert", "the certificate of the server", undefined)
    const ofTls = tls === undefined ? [] : Credentials.issues(Credentials.tls(tls))
    const list = [
      ...Route.issues(definition, handlers),
      ...issues.list,
      ...ofTls.map((i) => ({ ...i, path: i.path.replace("credentials", "tls") }))
    ]
    if (list.length > 0) return Effect.fail(new OptionsError({ issues: list }))
    const given = handlers as Readonly<Record<string, Served["handler"]>>
    const methods = Object.entries<Served>(definition as {})
    return Effect.succeed(methods.map(([name, method]): Served => ({ ...method, handler: given[name] })))
  })
