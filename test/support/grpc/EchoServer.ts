import * as grpc from "@grpc/grpc-js"
import { Effect, type Scope } from "effect"
import type { ServerHttp2Session } from "node:http2"
import type { Socket } from "node:net"
import { type EchoReply, type EchoRequest, EchoService, type PutReply, type PutRequest } from "../../generated/echo.ts"
import { Watched } from "./eventually.ts"

/** One call as the server has it. */
export interface ServerCall {
  readonly method: "echo" | "put"
  readonly id: string
  readonly metadata: grpc.Metadata
  cancelled: boolean
  /** Answers with the payload. */
  readonly answer: () => void
  readonly fail: (code: number, details?: string, metadata?: grpc.Metadata) => void
  readonly sendHeaders: () => void
}

/** What a server does with a call that it has started. */
export type Behaviour = (call: ServerCall) => void

/** Answers, or fails with the code that the request asks for, after the delay that it asks for. */
export const obedient =
  (request: { readonly delayMillis: number; readonly failCode: number }): Behaviour =>
  (call) => {
    const act = () => (request.failCode === 0 ? call.answer() : call.fail(request.failCode, "as asked"))
    if (request.delayMillis === 0) act()
    else setTimeout(act, request.delayMillis)
  }

/** Keeps every call until the test answers it. */
export const holding: Behaviour = () => {}

export interface EchoServerOptions {
  readonly name?: string
  readonly port?: number
  /** Where it listens. Default 127.0.0.1. */
  readonly host?: string
  readonly credentials?: grpc.ServerCredentials
  readonly maxStreams?: number
  readonly behaviour?: Behaviour
}

/** A grpc-js server on a free loopback port that counts what reaches it. */
export class EchoServer {
  readonly name: string
  port = 0
  /** Replaces what requests ask for. */
  behaviour: Behaviour | undefined
  /** Calls that were started here, all of them in order. */
  readonly calls: Array<ServerCall> = []
  running = 0
  /** The most that ran at once, over all connections. */
  max = 0
  cancelled = 0
  /** TCP connections accepted so far. */
  accepted = 0
  readonly sockets = new Set<Socket>()
  readonly sessions = new Set<ServerHttp2Session>()
  /** HTTP/2 sessions whose SETTINGS the client acknowledged: connections that became usable. */
  acknowledged = 0
  readonly watched = new Watched()
  private readonly server: grpc.Server
  private readonly options: EchoServerOptions

  constructor(options: EchoServerOptions) {
    this.options = options
    this.name = options.name ?? "server"
    this.behaviour = options.behaviour
    this.server = new grpc.Server(
      options.maxStreams === undefined ? {} : { "grpc.max_concurrent_streams": options.maxStreams }
    )
    this.server.addService(EchoService as unknown as grpc.ServiceDefinition, {
      echo: (call: grpc.ServerUnaryCall<EchoRequest, EchoReply>, callback: grpc.sendUnaryData<EchoReply>) =>
        this.start("echo", call, callback, () => ({
          id: call.request.id,
          payload: call.request.payload,
          server: this.name
        })),
      put: (call: grpc.ServerUnaryCall<PutRequest, PutReply>, callback: grpc.sendUnaryData<PutReply>) =>
        this.start("put", call, callback, () => ({ id: call.request.id, server: this.name })),
      watch: () => {},
      upload: () => {},
      chat: () => {}
    })
  }

  get address(): string {
    return `${this.options.host ?? "127.0.0.1"}:${this.port}`
  }

  readonly listen: Effect.Effect<void> = Effect.callback((resume) => {
    const { credentials = grpc.ServerCredentials.createInsecure(), host = "127.0.0.1", port = 0 } = this.options
    this.server.bindAsync(`${host}:${port}`, credentials, (error, bound) => {
      if (error !== null) return resume(Effect.die(error))
      this.port = bound
      for (const server of (this.server as unknown as Internals).http2Servers.keys()) {
        server.on("connection", (socket) => this.connected(socket as Socket))
        server.on("session", (session) => this.opened(session as ServerHttp2Session))
      }
      resume(Effect.void)
    })
  })

  /** Waits until the server has seen what the test needs it to have seen. */
  until(what: string, ok: (self: this) => boolean): Effect.Effect<void> {
    return this.watched.until(
      `${what} at ${this.name}`,
      () => ok(this),
      () => this.counts()
    )
  }

  /** Cuts every connection as a reset, and goes on listening. */
  drop(): void {
    for (const socket of this.sockets) socket.resetAndDestroy()
  }

  /** Says goodbye on every connection, as grpc-js does for age: calls in flight may end, new ones must go elsewhere. */
  goaway(): void {
    for (const session of this.sessions) session.close()
  }

  /** Ends at once: what runs is cut, the port is closed. */
  kill(): void {
    this.server.forceShutdown()
  }

  counts(): Record<string, number> {
    const { accepted, acknowledged, cancelled, max, running } = this
    return { accepted, acknowledged, cancelled, max, running, started: this.calls.length, sockets: this.sockets.size }
  }

  private connected(socket: Socket): void {
    this.accepted++
    this.sockets.add(socket)
    socket.on("close", () => {
      this.sockets.delete(socket)
      this.watched.changed()
    })
    this.watched.changed()
  }

  private opened(session: ServerHttp2Session): void {
    this.sessions.add(session)
    session.once("localSettings", () => {
      this.acknowledged++
      this.watched.changed()
    })
    session.on("close", () => this.sessions.delete(session))
    session.on("error", () => {})
  }

  private start<I, O>(
    method: "echo" | "put",
    call: grpc.ServerUnaryCall<I & Obeyed, O>,
    callback: grpc.sendUnaryData<O>,
    reply: () => O
  ): void {
    this.running++
    this.max = Math.max(this.max, this.running)
    let over = false
    const end = (f: () => void) => {
      if (over) return
      over = true
      this.running--
      f()
      this.watched.changed()
    }
    const one: ServerCall = {
      method,
      id: call.request.id,
      metadata: call.metadata,
      cancelled: false,
      answer: () => end(() => callback(null, reply())),
      fail: (code, details = "", metadata) =>
        end(() => callback({ code, details, ...(metadata === undefined ? {} : { metadata }) })),
      sendHeaders: () => call.sendMetadata(new grpc.Metadata())
    }
    call.on("cancelled", () =>
      end(() => {
        one.cancelled = true
        this.cancelled++
      })
    )
    this.calls.push(one)
    const behaviour = this.behaviour ?? obedient(call.request)
    behaviour(one)
    this.watched.changed()
  }
}

interface Obeyed {
  readonly id: string
  readonly delayMillis: number
  readonly failCode: number
}

/** grpc-js hands out neither its HTTP/2 servers nor their sessions. */
interface Internals {
  readonly http2Servers: Map<NodeJS.EventEmitter, unknown>
}

/** A server that is gone when the scope closes. */
export const make = (options: EchoServerOptions = {}): Effect.Effect<EchoServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tap(
      Effect.sync(() => new EchoServer(options)),
      (server) => server.listen
    ),
    (server) => Effect.sync(() => server.kill())
  )
