/**
 * How a script of the cross-check is staged: servers, a client, what it does, and what everybody saw.
 *
 * A script returns what it saw on the way. What calls, connections and servers had to say is put beside it.
 */
import type { GrpcOptions } from "@hawser/grpc"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import {
  client as connect,
  type CrossClient,
  type Ended,
  type Handled,
  one,
  type Peer,
  type Server,
  type ServerOptions
} from "./CrossPeer.ts"

/** A script that can be played on any network. */
export interface Script {
  readonly name: string
  readonly play: (peer: Peer) => Effect.Effect<unknown>
}

/** What a script acts on. */
export interface Stage {
  readonly peer: Peer
  readonly server: Server
  readonly client: CrossClient
  readonly calls: CrossClient["calls"]
  readonly until: Peer["until"]
  /** Ends the client. */
  readonly close: Effect.Effect<void>
}

/** How a script's servers and its client are set up. */
export interface Setup extends ServerOptions {
  readonly client?: Partial<GrpcOptions.GrpcOptions>
  /** Servers beside the first, of the same kind. */
  readonly others?: number
}

const observed = (servers: ReadonlyArray<Server>, requests: boolean, client: CrossClient, saw: unknown) => {
  const calls = servers.flatMap((server) => server.calls)
  return {
    saw,
    heard: client.heard,
    events: client.events,
    accepted: servers.reduce((n, server) => n + server.accepted, 0),
    // The end of the only request may come with it or after it.
    begun: calls.map(({ cancelled, halfClosed, received }) => ({
      received,
      cancelled,
      ...(requests ? { halfClosed } : {})
    }))
  }
}

export const script = (
  name: string,
  setup: Setup | (() => Setup),
  act: (stage: Stage) => Effect.Effect<unknown, never, Scope.Scope>
): Script => ({
  name,
  play: (peer) =>
    Effect.scoped(
      Effect.gen(function* () {
        const { client: options, others = 0, ...rest } = typeof setup === "function" ? setup() : setup
        const servers = yield* Effect.forEach(Array.from({ length: others + 1 }), () => peer.serve(rest))
        const addresses = servers.map((server) => server.address)
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const client = yield* Scope.provide(connect(peer, addresses, options), scope)
        const [server] = servers as [Server]
        const close = Scope.close(scope, Exit.void)
        const saw = yield* act({ peer, server, client, calls: client.calls, until: peer.until, close })
        yield* close
        yield* peer.until("every status told", () => client.heard.every((one) => one.status !== undefined))
        yield* peer.until("every connection closed", () => servers.every((server) => server.open === 0))
        yield* peer.until("every call over", () => servers.every(({ calls }) => calls.every((call) => call.over)))
        return observed(servers, rest.requests === true, client, saw)
      })
    )
})

export const message = Buffer.from("request")
export const forever = Stream.never
export const some = (n: number) => Stream.fromIterable(Array.from({ length: n }, () => message))

/** Runs beside the script. */
export const start = (call: Effect.Effect<Ended>) => Effect.forkScoped(call, { startImmediately: true })

export const answer = (call: Handled) => {
  call.message()
  call.status(0)
}

/** What goes on while calls are in flight, after one that proved the connection. */
export const inFlight = (
  name: string,
  count: number,
  setup: Setup,
  act: (stage: Stage, fibers: ReadonlyArray<Fiber.Fiber<Ended>>) => Effect.Effect<unknown, never, Scope.Scope>
): Script =>
  script(name, { ...setup, client: { connections: { max: 1 }, ...setup.client } }, (stage) =>
    Effect.gen(function* () {
      const { calls, server, until } = stage
      const first = yield* start(one(calls.unary(message)))
      yield* until("the first begun", () => server.calls.length === 1)
      answer(server.calls[0]!)
      yield* Fiber.join(first)
      const fibers: Array<Fiber.Fiber<Ended>> = []
      for (let n = 0; n < count; n++) {
        fibers.push(yield* start(one(calls.unary(message))))
        yield* until(`${n + 1} in flight`, () => server.calls.length === n + 2)
      }
      const seen = yield* act(stage, fibers)
      const ended = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
      // Connected, and told to whom it concerns: what comes next is the end.
      yield* until("calm", () => {
        const count = (tag: string) => stage.client.events.filter((event) => event.startsWith(tag)).length
        const connected = count("Connected")
        const disconnected = count("Disconnected")
        return connected === disconnected + 1 && count("PickSet") >= connected + disconnected
      })
      return [seen, ended]
    })
  )
