/**
 * What a script of the cross-check sees of a network, whichever it is: servers that do as they are told, and a client
 * whose calls are written down.
 */
import { type ConnectError, Event } from "@hawser/core"
import { Channel, Client, Credentials, Grpc, type GrpcOptions, type Metadata, type RpcError } from "@hawser/grpc"
import type { CallListener, Transport as Service } from "@hawser/grpc/Connection"
import { Transport } from "@hawser/grpc/Transport"
import { Cause, Context, Effect, Exit, Layer, Schedule, type Scope, Stream } from "effect"

/** One call as a server has it. What comes after its end is not sent. */
export interface Handled {
  /** Messages that have come. */
  readonly received: number
  /** Whether the client has said that no more will come. */
  readonly halfClosed: boolean
  /** Whether the client or the line gave it up. */
  readonly cancelled: boolean
  /** Whether it has ended on the server's side, in any way. */
  readonly over: boolean
  /** Headers, unless they were sent. */
  readonly headers: () => void
  /** A message of so many bytes, after the headers. */
  readonly message: (bytes?: number) => void
  /** Trailers, alone where no headers were sent. */
  readonly status: (code: number, details?: string) => void
  /** RST_STREAM. */
  readonly reset: (code: number) => void
  /** So many messages of so many bytes, as fast as the client takes them, and OK. */
  readonly flood: (messages: number, bytes: number) => void
}

/** How a server is set up. */
export interface ServerOptions {
  /** What it does with a call: from the first request on, or from the headers on where there may be many. */
  readonly onCall?: ((call: Handled) => void) | undefined
  /** Whether its calls may have many requests. */
  readonly requests?: boolean
  /** MAX_CONCURRENT_STREAMS. */
  readonly limit?: number
  /** Accepts, and never greets. */
  readonly mute?: boolean
}

/** A server of a script. */
export interface Server {
  readonly address: string
  readonly calls: ReadonlyArray<Handled>
  readonly accepted: number
  /** Connections that are open. */
  readonly open: number
  /** Messages that `flood` has handed over. */
  readonly flooded: number
  /** Breaks every connection. */
  readonly cut: () => void
  /** Closes every connection, whatever is in flight. */
  readonly hangUp: () => void
  readonly stop: Effect.Effect<void>
  readonly start: Effect.Effect<void>
  /** Says goodbye: in order, or at once and above a stream. */
  readonly goAway: (last?: number, code?: number) => void
  /** Changes MAX_CONCURRENT_STREAMS. */
  readonly limit: (streams: number) => void
}

/** A network, virtual or real. */
export interface Peer {
  readonly transport: Service
  readonly serve: (options?: ServerOptions) => Effect.Effect<Server, never, Scope.Scope>
  /** An address where nobody listens. */
  readonly nowhere: Effect.Effect<string>
  readonly until: (what: string, ok: () => boolean) => Effect.Effect<void>
}

/** What an attempt was told by its connection. */
export interface Heard {
  headers: ReadonlyArray<string> | undefined
  messages: number
  status: string | undefined
}

/** How a call ended for its caller. */
export interface Ended {
  readonly messages: number
  readonly how: string
}

const method = <Req extends boolean, Res extends boolean>(name: string, requestStream: Req, responseStream: Res) => ({
  path: `/hawser.test.Cross/${name}`,
  requestStream,
  responseStream,
  requestSerialize: (bytes: Buffer): Buffer => bytes,
  requestDeserialize: (bytes: Buffer): Buffer => bytes,
  responseSerialize: (bytes: Buffer): Buffer => bytes,
  responseDeserialize: (bytes: Buffer): Buffer => bytes
})

/** Bytes in all four ways. */
export const definition = {
  unary: method("Unary", false, false),
  download: method("Download", false, true),
  upload: method("Upload", true, false),
  chat: method("Chat", true, true)
} as const

/** A client, and everything that it was told. */
export interface CrossClient {
  readonly calls: Client.Client<typeof definition>
  readonly cluster: Grpc.GrpcCluster
  /** Attempts that came as far as a connection, in order. */
  readonly heard: ReadonlyArray<Heard>
  readonly events: ReadonlyArray<string>
}

/** Names that real servers add to their headers, and that nothing here depends on. */
const added = new Set(["date", "grpc-accept-encoding", "grpc-encoding"])
const names = (metadata: Metadata.Metadata | undefined): ReadonlyArray<string> =>
  Array.from(metadata?.entries ?? [], ([name]) => name).filter((name) => !added.has(name))

const watch = (transport: Service, heard: Array<Heard>): Service => ({
  connector: (options) =>
    Effect.map(transport.connector(options), (connector) => (endpoint) => {
      const listen = (listener: CallListener): CallListener => {
        const one: Heard = { headers: undefined, messages: 0, status: undefined }
        heard.push(one)
        return {
          onHeaders: (metadata) => {
            one.headers = names(metadata)
            listener.onHeaders(metadata)
          },
          onMessage: (bytes) => {
            one.messages++
            listener.onMessage(bytes)
          },
          onStatus: (code, details, metadata, progress) => {
            // Once, or the second one shows.
            const before = one.status === undefined ? "" : `${one.status}, then `
            // What follows says how long it took, and where.
            const text = details.replace(/^(Deadline exceeded) after .*/, "$1")
            one.status = `${before}${code} "${text}" [${names(metadata).join()}] ${progress}`
            listener.onStatus(code, details, metadata, progress)
          }
        }
      }
      return Effect.map(connector(endpoint), (session) => ({
        connection: {
          peer: session.connection.peer,
          start: (options, listener) => session.connection.start(options, listen(listener))
        },
        limit: () => session.limit(),
        heardAt: () => session.heardAt(),
        ended: () => session.ended(),
        listen: (listener: (() => void) | undefined) => session.listen(listener)
      }))
    })
})

const told = (event: Event.Event): ReadonlyArray<string> => {
  switch (event._tag) {
    case "Connecting":
    case "Closed":
      return [`${event._tag} ${event.why}`]
    case "ConnectFailed":
    case "Disconnected":
      return [`${event._tag} ${event.error.reason._tag}`]
    case "Drained":
      return []
    default:
      return [event._tag]
  }
}

/** A client of some servers: no retry, no silence detection, and one dial, unless it is said otherwise. */
export const client = (
  peer: Pick<Peer, "transport">,
  addresses: ReadonlyArray<string>,
  options: Partial<GrpcOptions.GrpcOptions> = {}
): Effect.Effect<CrossClient, never, Scope.Scope> =>
  Effect.gen(function* () {
    const heard: Array<Heard> = []
    const events: Array<string> = []
    const bus: Event.Events = {
      publish: ({ event }) => void events.push(...told(event)),
      listen: () => Effect.void
    }
    const layer = Grpc.layer({
      target: `ipv4:${addresses.join(",")}`,
      credentials: Credentials.insecure,
      retry: false,
      silence: false,
      reconnect: Schedule.spaced("1 hour"),
      drain: 0,
      ...options
    })
    const context = yield* Layer.build(layer).pipe(
      Effect.provideService(Event.Events, bus),
      Effect.provideService(Transport, watch(peer.transport, heard)),
      Effect.orDie
    )
    const channel = Context.get(context, Channel.Channel)
    return {
      calls: Client.make(definition, channel),
      cluster: Context.get(context, Grpc.GrpcCluster),
      heard,
      events
    }
  })

const failed = (error: RpcError.RpcError): string => {
  const { attempts, progress, reason } = error
  const facts = [
    ...("phase" in reason ? [`in ${reason.phase}`] : []),
    ...("by" in reason ? [`by ${reason.by}`] : []),
    ...("connect" in reason && reason.connect !== undefined ? [`for ${tag(reason.connect)}`] : []),
    ...(attempts > 1 ? [`attempt ${attempts}`] : []),
    ...(error.metadata === undefined || error.metadata.size === 0 ? [] : [`with ${names(error.metadata).join()}`])
  ]
  return [progress, reason._tag, ...facts].join(" ")
}

const tag = (error: ConnectError.ConnectError): string => error.reason._tag

/** How a call with one answer ends. */
export const one = (call: Effect.Effect<unknown, unknown>): Effect.Effect<Ended> => many(Stream.fromEffect(call))

/** How a call with many answers ends. */
export const many = (call: Stream.Stream<unknown, unknown>, seen = () => {}): Effect.Effect<Ended> =>
  Effect.suspend(() => {
    let messages = 0
    return Stream.runForEach(call, () =>
      Effect.sync(() => {
        messages++
        seen()
      })
    ).pipe(
      Effect.exit,
      Effect.map((exit) => ({ messages, how: Exit.isSuccess(exit) ? "ok" : ended(exit.cause) }))
    )
  })

const ended = (cause: Cause.Cause<unknown>): string => {
  const error = cause.reasons.find(Cause.isFailReason)?.error
  if (error === undefined) return Cause.hasInterruptsOnly(cause) ? "interrupted" : `died: ${Cause.squash(cause)}`
  return isOurs(error) ? failed(error) : `failed with ${String(error)}`
}

const isOurs = (error: unknown): error is RpcError.RpcError =>
  typeof error === "object" && error !== null && "progress" in error
