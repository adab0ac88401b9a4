/** Servers, as the conductor has them. */
import { Effect, type Scope } from "effect"
import type { Namespace } from "./namespaces.ts"
import type { FromServer, ServerConfig, ServerCounts, ToServer } from "./messages.ts"
import { type Child, type ChildFailed, fork } from "./processes.ts"

/** A server in a process of its own. */
export interface Server {
  readonly name: string
  /** `HOST:PORT` */
  readonly address: string
  readonly host: string
  readonly port: number
  readonly child: Child<ToServer, FromServer>
  readonly set: (manners: Omit<ToServer & { tag: "set" }, "tag">) => Effect.Effect<void, ChildFailed>
  readonly count: Effect.Effect<ServerCounts, ChildFailed>
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  readonly kill: Effect.Effect<void>
}

export interface ServerOptions extends Partial<ServerConfig> {
  readonly namespace?: Namespace | undefined
}

/** Starts one and waits until it listens. */
export const start = (options: ServerOptions = {}): Effect.Effect<Server, ChildFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const { namespace, ...rest } = options
    const config: ServerConfig = { name: "s1", host: "127.0.0.1", port: 0, delayMillis: 2, ...rest }
    const child = yield* fork<ToServer, FromServer>(config.name, "./server.ts", config, { namespace: namespace?.name })
    const { port } = yield* child.hear("listening")
    return {
      name: config.name,
      address: `${config.host}:${port}`,
      host: config.host,
      port,
      child,
      set: (manners) => Effect.asVoid(child.ask({ tag: "set", ...manners }, "done")),
      count: Effect.map(child.ask({ tag: "count" }, "count"), ({ counts }) => counts),
      freeze: child.signal("SIGSTOP"),
      thaw: child.signal("SIGCONT"),
      kill: child.kill
    }
  })

/**
 * Starts some, named s1, s2, …; in a namespace each has an address of its own: 127.0.0.11, 127.0.0.12, … (127.0.0.1 is the
 * client's).
 */
export const startMany = (
  n: number,
  options: ServerOptions = {}
): Effect.Effect<ReadonlyArray<Server>, ChildFailed, Scope.Scope> =>
  Effect.forEach(
    Array.from({ length: n }, (_, i) => i + 1),
    (i) =>
      start({
        name: `s${i}`,
        ...(options.namespace === undefined ? {} : { host: `127.0.0.${10 + i}`, port: 50_051 }),
        ...options
      }),
    { concurrency: 4 }
  )

/** A target of all of them. */
export const targetOf = (servers: ReadonlyArray<{ readonly address: string }>): string =>
  `ipv4:${servers.map(({ address }) => address).join(",")}`

/** The delays of the slowest server since the last time, as their 99th percentile. */
export const lag = (servers: ReadonlyArray<Server>): Effect.Effect<number, ChildFailed> =>
  Effect.map(
    Effect.forEach(servers, ({ count }) => count),
    (counts) => Math.max(...counts.map(({ lagP99 }) => lagP99))
  )
