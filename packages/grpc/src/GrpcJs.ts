/**
 * Connections over `@grpc/grpc-js`: one channel, one dial, one socket.
 *
 * A grpc-js channel redials by itself, without a timeout and on a backoff of its own, shares sockets with other channels
 * and retries calls unseen. All of that is switched off or never reached here: each dial makes a channel of its own to one
 * address, the first exit from Ready is its end, and a redial is a new channel. Nothing outside the `GrpcJs*` modules and
 * `Credentials` knows grpc-js.
 */
import * as grpc from "@grpc/grpc-js"
import { ConnectError } from "@hawser/core/ConnectError"
import type { Endpoint } from "@hawser/core/Endpoint"
import * as Race from "@hawser/core/Race"
import type { Connector, Session } from "@hawser/core/Session"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { ClientHttp2Session } from "node:http2"
import type { CallListener, Connection, StartOptions, Transport, TransportOptions, Wire } from "./Connection.ts"
import * as Credentials from "./Credentials.ts"
import { type CallOwner, GrpcJsCall, toGrpcJs } from "./GrpcJsCall.ts"
import { channelOptions } from "./GrpcJsChannel.ts"
import * as Failure from "./GrpcJsFailure.ts"
import { at, lookup, target } from "./GrpcJsLookup.ts"
import * as Settings from "./GrpcJsSettings.ts"
import { DialSockets, seen } from "./GrpcJsSockets.ts"
import * as Metadata from "./Metadata.ts"

/** An orderly goodbye may take this long before the socket is destroyed. */
const goodbyeMillis = 100

/** Details of the adapter that only its tests change. */
export interface GrpcJsOptions {
  /** Whether to read the peer's SETTINGS where grpc-js keeps them; `false`: learn the limit from held-back writes. */
  readonly settings?: boolean | undefined
}

/**
 * The transport over grpc-js. Over TLS it takes only servers that agree to `h2` by ALPN.
 *
 * ```ts import.meta.vitest
 * import { Credentials, GrpcJs } from "@hawser/grpc"
 * import { Effect } from "effect"
 *
 * const credentials = Credentials.tls({ ca: "not PEM" })
 * const options = { credentials, authority: "greeter", maxReceiveBytes: 4_194_304, userAgent: "example" }
 * // Options are checked before any socket opens.
 * const error = Effect.runSync(Effect.flip(GrpcJs.make().connector(options)))
 * error.issues[0]?.path // => "credentials.ca"
 * ```
 */
export const make = (adapter: GrpcJsOptions = {}): Transport => ({
  connector: (options) =>
    Effect.map(Credentials.toGrpcJs(options.credentials), ({ credentials, channelOptions }) =>
      connector({ ...options, ...adapter }, credentials, channelOptions)
    )
})

type DialOptions = TransportOptions & GrpcJsOptions

/** What the dials of one connector have in common. */
interface Shared {
  readonly options: DialOptions
  readonly security: Failure.Security
  readonly credentials: grpc.ChannelCredentials
  /** The HTTP/2 sessions of this grpc-js can't be found, as far as is known: it has to send keepalive pings itself. */
  unseen: boolean
}

const connector = (
  options: DialOptions,
  credentials: grpc.ChannelCredentials,
  extra: grpc.ChannelOptions
): Connector<Connection> => {
  const { proxy } = options
  const security = Credentials.isInsecure(options.credentials)
    ? "Plaintext"
    : Credentials.isMutual(options.credentials)
      ? "Mutual"
      : "Tls"
  const shared: Shared = {
    options,
    security,
    credentials: seen(credentials, Failure.requireHttp2),
    unseen: options.settings === false
  }
  if (proxy === undefined) {
    const race = Race.addresses((endpoint) => dial(endpoint, endpoint.addresses[0], shared, extra))
    return (endpoint) => Effect.flatMap(lookup(endpoint.addresses[0]), (found) => race(at(endpoint, found)))
  }
  const creds = proxy.credentials === undefined ? {} : { "grpc.http_connect_creds": Redacted.value(proxy.credentials) }
  return (endpoint) => {
    const to = endpoint.addresses[0]
    const through = { ...extra, ...creds, "grpc.http_connect_target": `dns:${to}` }
    const race = Race.addresses((way) => dial(way, to, shared, through))
    return Effect.flatMap(lookup(proxy.address), (found) => race(at(endpoint, found)))
  }
}

/** Dials the endpoint's first address. `peer` is what it is called, which differs behind a proxy. */
const dial = (
  endpoint: Endpoint,
  peer: string,
  shared: Shared,
  extra: grpc.ChannelOptions
): Effect.Effect<Session<Connection>, ConnectError, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const scope = yield* Effect.scope
    const session = yield* Effect.uninterruptible(
      Effect.suspend(() => {
        const made = new GrpcJsSession(endpoint, peer, shared, extra, clock)
        return Effect.as(Scope.addFinalizerExit(scope, closing(made)), made)
      })
    )
    yield* session.ready
    return session
  })

// In place of `Effect.acquireRelease`, which keeps the context of the dial for the release.
const closing = (session: GrpcJsSession) => (exit: Exit.Exit<unknown, unknown>) => {
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  return session.close(error instanceof ConnectError ? error.message : "Connection closed")
}

const deadWire: Wire = { send: () => {}, end: () => {}, read: () => {}, cancel: () => {} }

/** One channel from dial to close. */
class GrpcJsSession implements Session<Connection>, Connection, CallOwner {
  readonly peer: string
  /** Known once it is Ready. */
  limits!: Settings.StreamLimit
  private readonly channel: grpc.Channel
  private readonly sockets = new DialSockets()
  /** The calls that run. Not a set: one that changes with each call keeps some of those that have ended. */
  private newest: GrpcJsCall | undefined = undefined
  private end: ConnectError | undefined = undefined
  private readonly clock: Clock.Clock
  private readonly shared: Shared
  private listener: (() => void) | undefined = undefined
  private wasReady = false
  private closed = false
  private receivedBytes = 0
  private lastHeard: number
  private http2: ClientHttp2Session | undefined = undefined
  /** The peer has said goodbye because it was pinged too often. */
  punished = false

  constructor(endpoint: Endpoint, peer: string, shared: Shared, extra: grpc.ChannelOptions, clock: Clock.Clock) {
    this.peer = peer
    this.shared = shared
    this.clock = clock
    this.lastHeard = this.now()
    const options = channelOptions(endpoint, shared.options, shared.unseen, extra)
    this.channel = new grpc.Channel(target(endpoint.addresses[0]), shared.credentials, options)
  }

  get connection(): Connection {
    return this
  }
  now(): number {
    return monotonicMillis(this.clock)
  }
  limit(): number {
    if (this.end !== undefined) return 0
    if (this.http2?.destroyed !== true) return this.limits.value()
    // Node says so turns later, and callers without a pause may keep it from ever saying so. Not from within a pick.
    queueMicrotask(() => this.gone())
    return 0
  }
  heardAt(): number {
    const { received } = this.sockets
    if (received !== this.receivedBytes) {
      this.receivedBytes = received
      this.lastHeard = this.now()
    }
    return this.lastHeard
  }
  ended(): ConnectError | undefined {
    return this.end
  }
  listen(listener: (() => void) | undefined): void {
    this.listener = listener
  }

  ping(answered: () => void): boolean {
    const { closed, http2 } = this
    return http2 !== undefined && !closed && Settings.ping(http2, this, answered)
  }

  start(options: StartOptions, listener: CallListener): Wire {
    if (this.end !== undefined) {
      process.nextTick(() =>
        listener.onStatus(grpc.status.UNAVAILABLE, "The connection has ended", Metadata.empty, "NotSent")
      )
      return deadWire
    }
    const { deadline: at, now = this.now() } = options
    const deadline = at === Infinity ? Infinity : Date.now() + Math.max(0, Math.ceil(at - now))
    const call = new GrpcJsCall(this.channel.createCall(options.path, deadline, null, null, null), this, listener)
    call.prev = this.newest
    if (this.newest !== undefined) this.newest.next = call
    else if (this.http2 !== undefined) Settings.onTooManyPings(this.http2, this)
    this.newest = call
    call.start(toGrpcJs(options.metadata, options.attempt))
    return call
  }

  callEnded(call: GrpcJsCall): void {
    if (call.prev !== undefined) call.prev.next = call.next
    if (call.next !== undefined) call.next.prev = call.prev
    else this.newest = call.prev
    call.prev = call.next = undefined
  }

  /** Dials, and ends when the channel is Ready. The first failure is final. */
  get ready(): Effect.Effect<void, ConnectError> {
    return Effect.callback((resume) => {
      // The socket's own error may come in the same turn, after this.
      const failed = () => void setImmediate(() => resume(Effect.fail(this.failure(this.sockets.error))))
      const look = (state: grpc.connectivityState): void => {
        switch (state) {
          case grpc.connectivityState.READY:
            // grpc-js says so a moment before it has the connection in its place.
            process.nextTick(() => {
              if (this.closed) return
              // Whoever says goodbye with his greeting is not dialled again here.
              if (this.channel.getConnectivityState(false) !== grpc.connectivityState.READY) return failed()
              this.opened()
              resume(Effect.void)
            })
            return
          case grpc.connectivityState.TRANSIENT_FAILURE:
            return failed()
          case grpc.connectivityState.SHUTDOWN:
            return
          default:
            this.channel.watchConnectivityState(state, Infinity, () => {
              if (!this.closed) look(this.channel.getConnectivityState(false))
            })
        }
      }
      this.sockets.watch(() => look(this.channel.getConnectivityState(true)))
    })
  }

  /** Closes everything; what still runs fails. */
  close(details: string): Effect.Effect<void> {
    return Effect.callback((resume) => {
      this.closed = true
      const running = this.newest !== undefined
      for (let call = this.newest; call !== undefined; call = call.prev) {
        call.abort(grpc.status.UNAVAILABLE, details)
      }
      if (this.end === undefined) {
        this.channel.close()
        this.finish(new ConnectError({ reason: { _tag: "Closed" }, endpoint: this.peer }))
      }
      const destroy = () => this.sockets.destroy(() => resume(Effect.void))
      if (running || !this.wasReady) return destroy()
      this.sockets.goodbye(goodbyeMillis, destroy)
    })
  }

  private opened(): void {
    this.wasReady = true
    this.sockets.unwatch()
    const session = this.shared.options.settings === false ? undefined : Settings.sessionOf(this.channel)
    this.http2 = session
    if (session === undefined) this.shared.unseen = true
    else {
      Settings.refusePushes(session)
    }
    this.limits =
      session === undefined
        ? Settings.learned(
            () => this.now(),
            () => this.heardAt()
          )
        : new Settings.Stated(session, this)
    this.channel.watchConnectivityState(grpc.connectivityState.READY, Infinity, () => {
      if (this.closed) return
      this.gone()
    })
  }

  /** It is no longer Ready. */
  private gone(): void {
    if (this.end !== undefined) return
    // What is sent runs on. What is not would make the channel dial again, unseen and without a timeout.
    this.channel.close()
    this.finish(this.failure(this.sockets.error ?? this.sockets.dropped))
  }

  private failure(error: unknown): ConnectError {
    if (this.punished) return new ConnectError({ reason: { _tag: "TooManyPings" }, endpoint: this.peer })
    const { sockets, shared, wasReady } = this
    return Failure.connectError(this.peer, error, { security: shared.security, ready: wasReady, begun: sockets.begun })
  }

  private finish(error: ConnectError): void {
    if (this.end !== undefined) return
    this.end = error
    this.changed()
  }

  changed(): void {
    this.listener?.()
  }
}
