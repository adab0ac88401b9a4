import * as grpc from "@grpc/grpc-js"
import { Effect, type Scope } from "effect"
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2"
import * as net from "node:net"
import { EchoService } from "../../generated/echo.ts"
import type { Dice } from "../core/prng.ts"
import { afterTurns, MomentServer } from "./FlowMoments.ts"

/** What becomes of an accepted connection: served, served late, never greeted, hung up on, reset. */
type Manners = "serve" | "slow" | "silent" | "rude" | "abrupt"

/** What a server can be made to do. All but the first two last for some turns. */
const faults = ["drop", "goaway", "refuse", "refuse", "slow", "slow", "silent", "rude", "abrupt"] as const

/** What happened, in words that moments wait for. */
export type Signal = (what: string) => void

/** Node loses a socket that it resets while it ends it: such a one is destroyed. */
const reset = (socket: net.Socket): void => void (socket.writableEnded ? socket.destroy() : socket.resetAndDestroy())

/** grpc-js does not hand out its HTTP/2 servers. */
interface Internals {
  readonly http2Servers: Map<NodeJS.EventEmitter, unknown>
}

/** A server on one port that misbehaves as it is told, whose calls and sockets are counted. */
export class InterruptServer {
  port = 0
  accepted = 0
  readonly sockets = new Set<net.Socket>()
  readonly calls = new MomentServer()
  private manners: Manners = "serve"
  private readonly sessions = new Set<ServerHttp2Session>()
  private readonly grpc = new grpc.Server()
  private readonly injector: ReturnType<grpc.Server["createConnectionInjector"]>
  private listener: net.Server | undefined = undefined
  private healed = 0
  private closed = false
  private readonly signal: Signal

  constructor(signal: Signal) {
    this.signal = signal
    const { chat, echo, put, upload, watch } = this.calls
    this.grpc.addService(EchoService, { chat, echo, put, upload, watch })
    this.injector = this.grpc.createConnectionInjector(grpc.ServerCredentials.createInsecure())
    for (const one of (this.grpc as unknown as Internals).http2Servers.keys()) {
      one.on("session", (session: ServerHttp2Session) => {
        this.sessions.add(session)
        session.on("error", () => {})
        session.on("close", () => this.sessions.delete(session))
        signal("session")
      })
      one.on("stream", (stream: ServerHttp2Stream) => {
        this.calls.streamed(stream)
        signal("stream")
      })
    }
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** What is left of clients here. */
  get left() {
    return { sockets: this.sockets.size, sessions: this.sessions.size, streams: this.calls.streams }
  }

  /** Listens, on the same port each time. Somebody else may have it for a moment: then it tries again. */
  readonly listen: Effect.Effect<void> = Effect.callback((resume) => {
    const open = (): void => {
      if (this.closed || this.listener !== undefined) return resume(Effect.void)
      const listener = net.createServer((socket) => this.connected(socket))
      this.listener = listener
      listener.once("error", () => {
        this.listener = undefined
        afterTurns(10, open)
      })
      listener.listen(this.port, "127.0.0.1", () => {
        const bound = listener.address()
        if (bound !== null) this.port = (bound as net.AddressInfo).port
        resume(Effect.void)
      })
    }
    open()
  })

  /** Does something bad, for a while where it can be undone. */
  misbehave(dice: Dice): void {
    const fault = dice.oneOf(faults)
    const turns = 5 + dice.below(60)
    const cut = dice.chance(0.75) ? reset : (socket: net.Socket) => void socket.destroy()
    if (fault === "goaway") {
      for (const session of this.sessions) session.close()
    } else if (fault === "drop") {
      for (const socket of this.sockets) cut(socket)
    } else {
      if (fault === "refuse") this.unlisten()
      else this.manners = fault
      // Without this only those would notice who have no connection yet.
      for (const socket of this.sockets) reset(socket)
      const at = ++this.healed
      afterTurns(turns, () => {
        if (at === this.healed) Effect.runFork(this.heal)
      })
    }
  }

  /** Well again. */
  readonly heal: Effect.Effect<void> = Effect.suspend(() => {
    this.healed++
    this.manners = "serve"
    return this.listen
  })

  /** Cuts every connection. */
  drop(): void {
    for (const socket of this.sockets) reset(socket)
  }

  close(): void {
    this.closed = true
    this.healed++
    this.unlisten()
    this.injector.destroy()
    this.drop()
    this.grpc.forceShutdown()
  }

  private unlisten(): void {
    this.listener?.close()
    this.listener = undefined
  }

  private connected(socket: net.Socket): void {
    this.accepted++
    this.sockets.add(socket)
    socket.on("error", () => {})
    socket.on("close", () => this.sockets.delete(socket))
    this.signal("accepted")
    switch (this.manners) {
      case "rude":
        return void socket.resume().end()
      case "abrupt":
        return reset(socket)
      case "silent":
        return void socket.resume()
      case "slow":
        // The greeting is read when there is somebody to read it.
        return afterTurns(20, () => {
          if (!socket.destroyed) this.injector.injectConnection(socket)
        })
      default:
        this.injector.injectConnection(socket)
    }
  }
}

/** A server that is gone when the scope closes. */
export const make = (signal: Signal): Effect.Effect<InterruptServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tap(
      Effect.sync(() => new InterruptServer(signal)),
      (server) => server.listen
    ),
    (server) => Effect.sync(() => server.close())
  )
