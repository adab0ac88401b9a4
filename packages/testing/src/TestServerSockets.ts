/**
 * The listener of a test server, and every socket that it has accepted.
 *
 * A listener of its own, so that killing the server closes what grpc-js would not: sockets that are still without a
 * session.
 */
import * as grpc from "@grpc/grpc-js"
import { OptionsError } from "@hawser/core/OptionsError"
import type { Pem } from "@hawser/grpc/Credentials"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as net from "node:net"

const host = "127.0.0.1"

/** What a server shows over TLS. */
export interface TestServerTls {
  /** Its certificate, with its chain: PEM. */
  readonly cert: Pem
  /** The private key of `cert`, without a passphrase: PEM. */
  readonly key: Pem
  /** Certificates that sign clients. With it, a client needs one. */
  readonly ca?: Pem | undefined
}

/** Options of a test server. */
export interface TestServerOptions {
  /** Default: plaintext. */
  readonly tls?: TestServerTls | undefined
  /** Calls at once on one connection: MAX_CONCURRENT_STREAMS, an integer above 0. Default: none stated. */
  readonly maxStreams?: number | undefined
}

/** A grpc-js server without a port: it is given its connections. */
export const server = (
  { maxStreams, tls }: TestServerOptions,
  register: (server: grpc.Server) => void
): Effect.Effect<(socket: net.Socket) => void, OptionsError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.try({
        try: () => {
          const server = new grpc.Server({
            "grpc.enable_channelz": 0,
            ...(maxStreams === undefined ? {} : { "grpc.max_concurrent_streams": maxStreams })
          })
          register(server)
          const credentials =
            tls === undefined
              ? grpc.ServerCredentials.createInsecure()
              : grpc.ServerCredentials.createSsl(
                  tls.ca === undefined ? null : Buffer.from(tls.ca),
                  [{ cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }],
                  tls.ca !== undefined
                )
          return { server, injector: server.createConnectionInjector(credentials) }
        },
        // What OpenSSL refuses although it parses, such as a key that is too short.
        catch: (error) =>
          new OptionsError({ issues: [{ path: "tls", rule: "what OpenSSL accepts", value: (error as Error).message }] })
      }),
      ({ server }) => Effect.sync(() => server.forceShutdown())
    ),
    ({ injector }) =>
      (socket) =>
        injector.injectConnection(socket)
  )

/** The listener of a test server, and every socket that it has accepted. */
export class TestServerSockets {
  /** The port of the first `listen`, which the others take again. */
  port = 0
  private listener: net.Server | undefined = undefined
  private readonly sockets = new Set<net.Socket>()
  private readonly accept: (socket: net.Socket) => void

  constructor(accept: (socket: net.Socket) => void) {
    this.accept = accept
  }

  get address(): string {
    return `${host}:${this.port}`
  }

  /** Listens. Dies where another process has taken the port in the meantime. */
  readonly listen: Effect.Effect<void> = Effect.callback((resume) => {
    const listener = net.createServer((socket) => {
      this.sockets.add(socket)
      socket.on("close", () => this.sockets.delete(socket))
      socket.on("error", () => {})
      this.accept(socket)
    })
    listener.on("error", (error) => resume(Effect.die(error)))
    listener.listen(this.port, host, () => {
      this.listener = listener
      this.port = (listener.address() as net.AddressInfo).port
      resume(Effect.void)
    })
  })

  /** Closes the listener and every socket, as the kernel does for a process that is gone. */
  readonly close: Effect.Effect<void> = Effect.callback((resume) => {
    const { listener } = this
    this.listener = undefined
    if (listener === undefined) return resume(Effect.void)
    // Waits for the sockets, too.
    listener.close(() => noticed(() => resume(Effect.void)))
    for (const socket of this.sockets) socket.destroy()
  })
}

/** More turns of the event loop than clients in this process need to see that their sockets have ended (3). */
const turns = 10

const noticed = (then: () => void, left = turns): void =>
  void setImmediate(left === 1 ? then : () => noticed(then, left - 1))
