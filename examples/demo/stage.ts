/** The three servers, and what can be done to them. */
import * as Effect from "effect/Effect"
import type { ClientName } from "./echo.ts"
import type { FromServer, FromSilent, ServerConfig, ToServer, ToSilent } from "./messages.ts"
import { type Child, type ChildFailed, Processes } from "./processes.ts"

export const serverNames = ["a", "b", "c"] as const
export type ServerName = (typeof serverNames)[number]

export interface Server {
  readonly name: ServerName
  readonly port: number
  readonly address: string
  /** In a word, for the screen. */
  readonly state: string
}

type Act = Effect.Effect<void, ChildFailed>

export interface Stage {
  readonly servers: () => ReadonlyArray<Server>
  readonly inFlight: (name: ServerName) => Effect.Effect<Readonly<Record<ClientName, number>>, ChildFailed>
  readonly kill: (name: ServerName) => Act
  /** On its old port, in place of whatever is there. */
  readonly start: (name: ServerName) => Act
  readonly freeze: (name: ServerName) => Act
  readonly thaw: (name: ServerName) => Act
  readonly slow: (name: ServerName, millis: number) => Act
  /** The outer effect starts the listener, the inner one kills the server and lets the listener have its port. */
  readonly silence: (name: ServerName) => Effect.Effect<Act, ChildFailed>
}

const usualMillis = 5

interface Actor {
  readonly name: ServerName
  readonly port: number
  state: string
  server: Child<ToServer, FromServer>
  /** Whoever has the port. */
  occupant: { readonly kill: Effect.Effect<void> }
}

export const makeStage: Effect.Effect<Stage, ChildFailed, Processes> = Effect.gen(function* () {
  const processes = yield* Processes

  const serve = Effect.fnUntraced(function* (name: ServerName, port: number) {
    const config: ServerConfig = { port, millis: usualMillis }
    const server = yield* processes.start<ToServer, FromServer>(`server ${name}`, "./server.ts", config)
    return { server, port: (yield* server.hear("listening")).port }
  })

  const actors = new Map<ServerName, Actor>()
  yield* Effect.forEach(
    serverNames,
    (name) =>
      Effect.map(serve(name, 0), ({ server, port }) =>
        actors.set(name, { name, port, server, state: "up", occupant: server })
      ),
    { concurrency: "unbounded", discard: true }
  )
  const actor = (name: ServerName): Actor => actors.get(name)!
  const become = (name: ServerName, state: string) => Effect.sync(() => void (actor(name).state = state))

  return {
    servers: () =>
      serverNames.map((name) => {
        const { port, state } = actor(name)
        return { name, port, address: `127.0.0.1:${port}`, state }
      }),
    inFlight: (name) => Effect.map(actor(name).server.ask({ tag: "count" }, "count"), (answer) => answer.inFlight),
    kill: (name) => Effect.andThen(actor(name).server.kill, become(name, "killed")),
    start: Effect.fnUntraced(function* (name) {
      yield* actor(name).occupant.kill
      yield* become(name, "starting")
      const { server } = yield* serve(name, actor(name).port)
      Object.assign(actor(name), { server, occupant: server, state: "up" })
    }),
    freeze: (name) => Effect.andThen(actor(name).server.signal("SIGSTOP"), become(name, "frozen")),
    thaw: (name) => Effect.andThen(actor(name).server.signal("SIGCONT"), become(name, "up")),
    slow: (name, millis) =>
      Effect.andThen(
        actor(name).server.ask({ tag: "latency", millis }, "latency"),
        become(name, millis === usualMillis ? "up" : "slow")
      ),
    silence: (name) =>
      processes.start<ToSilent, FromSilent>("the silent listener", "./silent.ts").pipe(
        Effect.tap((silent) => silent.hear("ready")),
        Effect.map((silent) =>
          Effect.gen(function* () {
            yield* actor(name).server.kill
            yield* silent.ask({ tag: "listen", port: actor(name).port }, "listening")
            Object.assign(actor(name), { occupant: silent, state: "silent" })
          })
        )
      )
  }
})
