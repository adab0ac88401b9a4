import { type ConnectError, Event } from "@hawser/core"
import { Channel, Client, type RpcError } from "@hawser/grpc"
import type { CallListener, Connection, StartOptions, Transport as Service, Wire } from "@hawser/grpc/Connection"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import * as GrpcJs from "@hawser/grpc/GrpcJs"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import { Transport } from "@hawser/grpc/Transport"
import { Context, Effect, Layer, type Scope } from "effect"
import { type EchoRequest, EchoService } from "../../generated/echo.ts"
import { Watched } from "./eventually.ts"

/** What a test says of its client. Plaintext and no retries unless it says so. */
export interface ClientOptions extends Partial<GrpcOptions> {
  readonly endpoints?: ReadonlyArray<string>
  readonly transport?: Service
}

/** Calls between `Connection.start` and their end, by connection. */
export class Gauge {
  readonly connections: Array<{ readonly connection: Connection; running: number; max: number; started: number }> = []
  /** Called right after each start. */
  onStart: ((running: number) => void) | undefined = undefined
  /** How many calls had response headers. */
  headers = 0
  /** Called after each of them. */
  onHeaders: (() => void) | undefined = undefined

  get running(): number {
    return this.connections.reduce((n, c) => n + c.running, 0)
  }

  /** The most that ever ran at once on one connection. */
  get max(): number {
    return Math.max(0, ...this.connections.map((c) => c.max))
  }

  watch(connection: Connection): Connection {
    const counts = { connection, running: 0, max: 0, started: 0 }
    this.connections.push(counts)
    return {
      peer: connection.peer,
      start: (options: StartOptions, listener: CallListener): Wire => {
        let over = false
        const end = () => {
          if (!over) counts.running--
          over = true
        }
        counts.started++
        counts.running++
        counts.max = Math.max(counts.max, counts.running)
        const wire = connection.start(options, {
          onHeaders: (metadata) => {
            this.headers++
            listener.onHeaders(metadata)
            this.onHeaders?.()
          },
          onMessage: (bytes) => listener.onMessage(bytes),
          onStatus: (code, details, metadata, progress) => {
            end()
            listener.onStatus(code, details, metadata, progress)
          }
        })
        this.onStart?.(counts.running)
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
}

/** The transport, seen through a gauge. */
const gauged = (transport: Service, gauge: Gauge): Service => ({
  connector: (options) =>
    Effect.map(
      transport.connector(options),
      (connector) => (endpoint) =>
        Effect.map(connector(endpoint), (session) => ({
          connection: gauge.watch(session.connection),
          limit: () => session.limit(),
          heardAt: () => session.heardAt(),
          ended: () => session.ended(),
          ping: (answered: () => void) => session.ping?.(answered) === true,
          listen: (listener: (() => void) | undefined) => session.listen(listener)
        }))
    )
})

/** A client, and everything that can be seen of it. */
export interface TestClient {
  readonly channel: Channel.Channel
  readonly cluster: Grpc.GrpcCluster
  readonly echo: Client.Client<typeof EchoService>
  readonly gauge: Gauge
  /** Every event so far, in order. */
  readonly events: ReadonlyArray<Event.Event>
  readonly count: (tag: Event.Event["_tag"]) => number
  /** Waits for an event that has happened or will. */
  readonly until: (what: string, ok: () => boolean) => Effect.Effect<void>
}

/** Builds `Grpc.layer` in the scope of the test. */
export const make = (options: ClientOptions): Effect.Effect<TestClient, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { endpoints = [], transport = GrpcJs.make(), ...rest } = options
    const seen: Array<Event.Event> = []
    const watched = new Watched()
    const gauge = new Gauge()
    const bus: Event.Events = {
      publish: ({ event }) => {
        seen.push(event)
        watched.changed()
      },
      listen: () => Effect.void
    }
    const layer = Grpc.layer({
      target: `ipv4:${endpoints.join(",")}`,
      credentials: Credentials.insecure,
      retry: false,
      ...rest
    })
    const context = yield* Layer.build(layer).pipe(
      Effect.provideService(Event.Events, bus),
      Effect.provideService(Transport, gauged(transport, gauge)),
      Effect.orDie
    )
    const channel = Context.get(context, Channel.Channel)
    return {
      channel,
      cluster: Context.get(context, Grpc.GrpcCluster),
      echo: Client.make(EchoService, channel, { idempotent: ["echo"] }),
      gauge,
      events: seen,
      count: (tag) => seen.filter((event) => event._tag === tag).length,
      until: (what, ok) => watched.until(what, ok, () => seen.slice(-20).map((event) => event._tag))
    }
  })

/** A request; what it leaves out is empty. */
export const request = (fields: Partial<EchoRequest> = {}): EchoRequest => ({
  id: "",
  payload: Buffer.alloc(0),
  delayMillis: 0,
  failCode: 0,
  ...fields
})

/** The error of a call that must fail, without its answer. */
export const failure = <A>(call: Effect.Effect<A, RpcError.RpcError>): Effect.Effect<RpcError.RpcError> =>
  Effect.flatMap(Effect.result(call), (result) =>
    result._tag === "Failure" ? Effect.succeed(result.failure) : Effect.die(new Error("the call succeeded"))
  )

/** The connect error behind an error, if there is one. */
export const connectReason = (error: RpcError.RpcError): ConnectError.ConnectReason | undefined =>
  error.reason._tag === "Unavailable" ? error.reason.connect?.reason : undefined
