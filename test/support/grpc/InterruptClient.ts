import { Event, type OptionsError } from "@hawser/core"
import { Channel, Client } from "@hawser/grpc"
import type { CallListener, Connection, StartOptions, Wire } from "@hawser/grpc/Connection"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import * as GrpcJs from "@hawser/grpc/GrpcJs"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import { Transport } from "@hawser/grpc/Transport"
import { Context, Effect, Layer, Schedule, type Scope } from "effect"
import { EchoService } from "../../generated/echo.ts"
import type { Dice } from "../core/prng.ts"
import type { Signal } from "./InterruptServer.ts"

/** Few permits, short waits and quick redials: everything is in short supply. */
export const options = (dice: Dice, addresses: ReadonlyArray<string>): GrpcOptions => {
  const min = dice.below(3)
  return {
    target: `ipv4:${addresses.join(",")}`,
    credentials: Credentials.insecure,
    connections: {
      min,
      max: Math.max(1, min) + dice.below(2),
      streamsPerConnection: 1 + dice.below(3),
      connectTimeout: dice.oneOf([10, 50, 200])
    },
    queue: { max: dice.oneOf([2, 100]), timeout: dice.oneOf([30, 300]) },
    deadline: dice.oneOf([100, 1_000]),
    reconnect: Schedule.spaced(1 + dice.below(10)),
    silence: dice.chance(0.5) ? false : { atLeast: 50 },
    drain: dice.oneOf([0, 5, 30]),
    ...(dice.chance(0.5) ? { retry: false } : {})
  }
}

/** What the adapter holds of a connection, along private paths. */
interface Insides {
  readonly calls: ReadonlySet<unknown> | undefined
  readonly listener: unknown
  readonly sockets: { readonly sockets: ReadonlyArray<unknown>; readonly watching: boolean }
}

/** What can be seen of one client, from before it is built until long after it is closed. */
export class Seen {
  readonly connections: Array<Connection> = []
  /** Operations with a call between its start on a connection and its end. */
  readonly onWire = new Set<string>()
  readonly counts: Record<string, number> = {}
  /** Dials after the first on each path. */
  reconnects = 0
  cluster: Grpc.GrpcCluster | undefined = undefined
  private readonly signal: Signal

  constructor(signal: Signal) {
    this.signal = signal
  }

  readonly publish = ({ event }: Event.Envelope): void => {
    this.counts[event._tag] = (this.counts[event._tag] ?? 0) + 1
    if (event._tag === "Connecting" && event.why === "Reconnect") this.reconnects++
    this.signal(event._tag)
  }

  count(tag: Event.Event["_tag"]): number {
    return this.counts[tag] ?? 0
  }
  get dialling(): number {
    return this.count("Connecting") - this.count("Connected") - this.count("ConnectFailed")
  }
  get waiting(): number {
    return this.cluster?.waitingUnsafe() ?? 0
  }
  get inFlight(): number {
    return this.cluster === undefined ? 0 : Effect.runSync(this.cluster.snapshot).root.inFlight
  }

  /** What calls hold. */
  get held() {
    return { inFlight: this.inFlight, waiting: this.waiting, onWire: this.onWire.size }
  }

  /** The connection as its borrowers have it. What happens on it is said before and after it is acted on. */
  watch(connection: Connection): Connection {
    this.connections.push(connection)
    const { onWire, signal } = this
    return {
      peer: connection.peer,
      start: (options: StartOptions, listener: CallListener): Wire => {
        const id = String(options.metadata?.get("operation"))
        const end = () => void onWire.delete(id)
        onWire.add(id)
        const wire = connection.start(options, {
          onHeaders: (metadata) => {
            signal("headers")
            listener.onHeaders(metadata)
          },
          onMessage: (bytes) => listener.onMessage(bytes),
          onStatus: (code, details, metadata, progress) => {
            signal("status")
            end()
            listener.onStatus(code, details, metadata, progress)
            signal("ended")
          }
        })
        // Never within the start itself, where nothing of a program runs.
        queueMicrotask(() => signal("started"))
        return {
          send: (bytes, written) => wire.send(bytes, written),
          end: () => wire.end(),
          read: () => wire.read(),
          cancel: () => {
            end()
            wire.cancel()
          }
        }
      }
    }
  }

  /** What connections hold; all of it once the client is closed. */
  get insides() {
    const sum = { calls: 0, listeners: 0, sockets: 0, watching: 0 }
    for (const one of this.connections) {
      const { calls, listener, sockets } = one as unknown as Insides
      sum.calls += calls?.size ?? 0
      sum.listeners += listener === undefined ? 0 : 1
      sum.sockets += sockets.sockets.length
      sum.watching += sockets.watching ? 1 : 0
    }
    return sum
  }
}

/** A client as programs have it, in the scope of whoever builds it. */
export interface InterruptClient {
  readonly cluster: Grpc.GrpcCluster
  readonly echo: Client.Client<typeof EchoService>
}

/** Builds `Grpc.layer`, seen through `seen`. */
export const build = (
  options: GrpcOptions,
  seen: Seen
): Effect.Effect<InterruptClient, OptionsError.OptionsError, Scope.Scope> => {
  const transport = GrpcJs.make()
  return Layer.build(Grpc.layer(options)).pipe(
    Effect.provideService(Event.Events, { publish: seen.publish, listen: () => Effect.void }),
    Effect.provideService(Transport, {
      connector: (all) =>
        Effect.map(
          transport.connector(all),
          (connector) => (endpoint) =>
            Effect.map(connector(endpoint), (session) => ({
              connection: seen.watch(session.connection),
              limit: () => session.limit(),
              heardAt: () => session.heardAt(),
              ended: () => session.ended(),
              listen: (listener: (() => void) | undefined) => session.listen(listener)
            }))
        )
    }),
    Effect.map((context) => {
      const cluster = Context.get(context, Grpc.GrpcCluster)
      seen.cluster = cluster
      return {
        cluster,
        echo: Client.make(EchoService, Context.get(context, Channel.Channel), { idempotent: ["echo"] })
      }
    })
  )
}
