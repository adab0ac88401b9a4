import { Effect, type Scope } from "effect"
import * as net from "node:net"
import { Watched } from "./eventually.ts"

/** What is done with an accepted connection. */
export type Manners = (socket: net.Socket) => void

/** Accepts, reads, and never says a word. */
export const silent: Manners = (socket) => void socket.resume()
/** Accepts and hangs up. */
export const rude: Manners = (socket) => void socket.resume().end()
/** Answers whatever comes with something that is no HTTP/2. */
export const babbling: Manners = (socket) =>
  void socket.once("data", () => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"))

/** A listener of plain TCP that counts. */
export class TcpServer {
  port = 0
  accepted = 0
  readonly sockets = new Set<net.Socket>()
  readonly watched = new Watched()
  private readonly server: net.Server

  constructor(manners: Manners) {
    this.server = net.createServer((socket) => {
      this.accepted++
      this.sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => {
        this.sockets.delete(socket)
        this.watched.changed()
      })
      manners(socket)
      this.watched.changed()
    })
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  readonly listen: Effect.Effect<void> = Effect.callback((resume) => {
    this.server.listen(0, "127.0.0.1", () => {
      this.port = (this.server.address() as net.AddressInfo).port
      resume(Effect.void)
    })
  })

  readonly close: Effect.Effect<void> = Effect.callback((resume) => {
    for (const socket of this.sockets) socket.destroy()
    this.server.close(() => resume(Effect.void))
  })

  until(what: string, ok: (self: this) => boolean): Effect.Effect<void> {
    return this.watched.until(
      what,
      () => ok(this),
      () => ({ accepted: this.accepted, sockets: this.sockets.size })
    )
  }
}

/** A listener that is gone when the scope closes. */
export const make = (manners: Manners): Effect.Effect<TcpServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tap(
      Effect.sync(() => new TcpServer(manners)),
      (server) => server.listen
    ),
    (server) => server.close
  )

/** The address of a port on which nobody listens: it was free a moment ago. */
export const refused: Effect.Effect<string> = Effect.scoped(Effect.map(make(silent), (server) => server.address))
