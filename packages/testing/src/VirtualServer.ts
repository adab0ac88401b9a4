/**
 * A gRPC server on the virtual network: handlers in the place of methods, and every manner good or bad.
 *
 * It counts what it saw, which is the truth that a client's own figures are compared with. It can be killed, started
 * again, frozen and sent away; what its handlers do in virtual time goes on while it is frozen, only nobody hears of it.
 */
import { Issues, OptionsError, type OptionsIssue } from "@hawser/core/OptionsError"
import { millisOf } from "@hawser/grpc/Deadline"
import * as Target from "@hawser/grpc/Target"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { ClientFrame, ServerFrame } from "./Frame.ts"
import { HealthState, served } from "./Health.ts"
import type { Felt, Host, Listener, Security } from "./Host.ts"
import { good, type Manners, nothing, type Seen } from "./Manners.ts"
import type { Network } from "./Network.ts"
import type { Route, Routes } from "./Route.ts"
import { type ConnectionOwner, type GoAwayOptions, ServerConnection } from "./ServerConnection.ts"
import type { Socket } from "./Socket.ts"
import type { Timers } from "./Timers.ts"

/** What a server needs. */
export interface VirtualServerOptions {
  /** Where it listens: `10.0.0.1:50051`. */
  readonly address: string
  readonly routes: Routes
  /** MAX_CONCURRENT_STREAMS; default: none stated. */
  readonly maxStreams?: number | undefined
  /** What it shows to whoever connects. Default `Plaintext`. */
  readonly security?: Security | undefined
  /** A connection as old as this is sent away in order. Default: never. */
  readonly maxConnectionAge?: Duration.Input | undefined
  /** Whether it has `grpc.health.v1` beside its routes. Default: it has. */
  readonly health?: boolean | undefined
}

/** What is wrong with an address that a server is to listen at. A client must come to the same one. */
export const addressIssues = (path: string, address: string): ReadonlyArray<OptionsIssue> => {
  const issues = new Issues()
  const target = Result.getOrUndefined(Target.parse(String(address)))
  const [endpoint, ...others] = target?.endpoints ?? []
  const ok = endpoint?.addresses[0] === address && others.length === 0
  issues.check(ok, path, "HOST:PORT, [IPv6]:PORT or unix:PATH", address)
  return issues.list
}

/** Everything else that is wrong with the options of a server. */
export const issues = ({
  maxConnectionAge,
  maxStreams
}: Pick<VirtualServerOptions, "maxConnectionAge" | "maxStreams">): ReadonlyArray<OptionsIssue> => {
  const issues = new Issues()
  const limit = maxStreams === undefined || (Number.isInteger(maxStreams) && maxStreams >= 0 && maxStreams < 2 ** 32)
  issues.check(limit, "maxStreams", "an integer from 0 to 4294967295", maxStreams)
  const age = maxConnectionAge === undefined || millisOf(maxConnectionAge) > 0
  issues.check(age, "maxConnectionAge", "a duration above 0", maxConnectionAge)
  return issues.list
}

/** A gRPC server on the virtual network. */
export class VirtualServer implements ConnectionOwner, Listener {
  readonly host: Host
  readonly timers: Timers
  readonly routes: Routes
  readonly security: Security
  readonly manners: Manners
  readonly seen: Seen = nothing()
  /** What it says of its health. Itself (`""`) and the services of its routes are `Serving` until they are set otherwise. */
  readonly health: HealthState
  readonly connections = new Set<ServerConnection>()
  private readonly maxConnectionAge: number
  private readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  private closed = false

  constructor(
    host: Host,
    timers: Timers,
    options: VirtualServerOptions,
    fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  ) {
    this.host = host
    this.timers = timers
    this.health = new HealthState(["", ...Array.from(options.routes.keys(), (path) => path.split("/")[1]!)])
    this.routes = options.health === false ? options.routes : withHealth(options.routes, this.health)
    this.security = options.security ?? "Plaintext"
    this.manners = good(options.maxStreams)
    this.maxConnectionAge = millisOf(options.maxConnectionAge ?? Infinity)
    this.fork = fork
  }

  get address(): string {
    return this.host.address
  }
  /** Whether it is running. */
  get up(): boolean {
    return this.host.listener === this
  }

  accept(socket: Socket<unknown, unknown>): void {
    const connection = new ServerConnection(socket as Socket<ClientFrame, ServerFrame>, this)
    this.connections.add(connection)
    if (this.maxConnectionAge < Infinity) {
      const cancel = this.timers.after(this.maxConnectionAge, () => connection.goAway())
      this.ages.set(connection, cancel)
    }
  }
  private readonly ages = new Map<ServerConnection, () => void>()

  run(effect: Effect.Effect<void>): Fiber.Fiber<void> {
    return this.fork(effect)
  }
  felt(felt: Felt): void {
    this.host.felt(felt)
  }
  connectionEnded(connection: ServerConnection): void {
    this.connections.delete(connection)
    this.ages.get(connection)?.()
    this.ages.delete(connection)
  }

  /** Ends the process: connections break, connects are refused. */
  kill(): void {
    if (!this.up) return
    this.host.listener = undefined
    for (const connection of [...this.connections]) {
      this.felt("killed")
      connection.reset()
    }
  }

  /** Starts it again, unless its scope is closed or somebody else has taken its place. */
  start(): void {
    if (!this.closed && this.host.listener === undefined) this.host.listener = this
  }

  /** Ends it for good. */
  close(): void {
    this.closed = true
    this.kill()
  }

  /** Says goodbye to every client. */
  goAway(options: GoAwayOptions = {}): void {
    for (const connection of [...this.connections]) {
      this.felt(options.abrupt === true ? "goaway with a last id" : "goaway")
      connection.goAway(options)
    }
  }

  /** Resets every stream that is open, with a code of RST_STREAM. */
  resetStreams(code: number): void {
    for (const connection of [...this.connections]) connection.resetStreams(code)
  }

  /** Tells every client the limit that holds now, where it is not the one that they know. */
  tellLimit(): void {
    const { maxStreams } = this.manners
    for (const connection of this.connections) {
      if (connection.limit === maxStreams) continue
      if (maxStreams === 0) this.felt("limit 0")
      else if (maxStreams < connection.limit) this.felt("limit lowered")
      connection.settings()
    }
  }
}

const withHealth = (routes: Routes, health: HealthState): Routes =>
  new Map([...served(health).map(({ path, ...route }) => [path, route as Route] as const), ...routes])

/** Starts a server, for as long as the scope is open. Fails where somebody listens already, or options break a rule. */
export const make = (
  network: Network,
  options: VirtualServerOptions
): Effect.Effect<VirtualServer, OptionsError, Scope.Scope> =>
  Effect.gen(function* () {
    const broken = [...addressIssues("address", options.address), ...issues(options)]
    if (broken.length > 0) return yield* new OptionsError({ issues: broken })
    const run = yield* FiberSet.makeRuntime<never, void, never>()
    const server = new VirtualServer(network.host(options.address), network.timers, options, run)
    yield* network.listen(options.address, server)
    yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
    return server
  })
