/** Real sockets as a peer of the cross-check. */
import * as GrpcJs from "@hawser/grpc/GrpcJs"
import { Effect, type Scope } from "effect"
import * as net from "node:net"
import type { Peer, Server, ServerOptions } from "./CrossPeer.ts"
import { type RealCall, RealConnection, type RealOwner } from "./CrossPeerHttp2.ts"
import { eventually } from "./eventually.ts"
import * as TcpServer from "./TcpServer.ts"

class Real implements Server, RealOwner {
  readonly calls: Array<RealCall> = []
  accepted = 0
  flooded = 0
  most: number
  readonly eager: boolean
  private port = 0
  private server: net.Server | undefined = undefined
  private readonly sockets = new Set<net.Socket>()
  private readonly connections = new Set<RealConnection>()
  private readonly options: ServerOptions

  constructor(options: ServerOptions) {
    this.options = options
    this.most = options.limit ?? Infinity
    this.eager = options.requests === true
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }
  get open(): number {
    return this.sockets.size
  }
  begun(call: RealCall): void {
    this.calls.push(call)
    this.options.onCall?.(call)
  }
  cut(): void {
    for (const socket of this.sockets) socket.resetAndDestroy()
  }
  hangUp(): void {
    for (const socket of this.sockets) socket.end()
  }
  goAway(last?: number, code = 0): void {
    for (const connection of this.connections) connection.goAway(last, code)
  }
  limit(streams: number): void {
    this.most = streams
    for (const connection of this.connections) connection.settings(streams)
  }

  readonly start: Effect.Effect<void> = Effect.callback((resume) => {
    this.server = net.createServer((socket) => this.accept(socket))
    this.server.listen(this.port, "127.0.0.1", () => {
      this.port = (this.server!.address() as net.AddressInfo).port
      resume(Effect.void)
    })
  })
  readonly stop: Effect.Effect<void> = Effect.callback((resume) => {
    this.server!.close(() => resume(Effect.void))
    this.cut()
  })

  private accept(socket: net.Socket): void {
    this.accepted++
    this.sockets.add(socket)
    socket.setNoDelay(true)
    socket.on("error", () => {})
    socket.on("close", () => this.sockets.delete(socket))
    if (this.options.mute === true) return void socket.resume()
    const connection = new RealConnection(socket, this)
    this.connections.add(connection)
    socket.on("close", () => this.connections.delete(connection))
  }
}

const serve = (options: ServerOptions = {}): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tap(
      Effect.sync(() => new Real(options)),
      (server) => server.start
    ),
    (server) => server.stop
  )

/** Plays a program on real sockets. */
export const run = <A>(program: (peer: Peer) => Effect.Effect<A, never, Scope.Scope>): Promise<A> =>
  Effect.runPromise(
    Effect.scoped(
      program({
        transport: GrpcJs.make(),
        serve,
        nowhere: TcpServer.refused,
        until: (what, ok) => eventually(what, ok)
      })
    )
  )
