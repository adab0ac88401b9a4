import { Effect, type Scope } from "effect"
import * as http2 from "node:http2"
import type { AddressInfo, Socket } from "node:net"
import { Watched } from "./eventually.ts"

/** One stream as the server has it. */
export interface ServerStream {
  readonly stream: http2.ServerHttp2Stream
  readonly session: http2.ServerHttp2Session
  readonly headers: http2.IncomingHttpHeaders
  /** The code with which the client reset it; `undefined` while it is open, 0 where it ended well. */
  rst: number | undefined
  /** Headers only. */
  readonly open: () => void
  /** One message with these bytes; headers too unless they were sent. */
  readonly message: (bytes?: Uint8Array) => void
  /** Trailers; headers and no message too unless they were sent. */
  readonly end: (status?: string, trailers?: http2.OutgoingHttpHeaders) => void
  /** Everything in one header block, without headers before it. */
  readonly trailersOnly: (status: string, message?: string, more?: http2.OutgoingHttpHeaders) => void
  /** A whole answer of HTTP that knows nothing of gRPC. */
  readonly page: (status: number, body: string) => void
  readonly reset: (code: number) => void
}

/** What the server does with a stream. Called when its headers have come. */
export type Script = (stream: ServerStream) => void

/** Answers with an empty message. */
export const polite: Script = (s) => {
  s.message()
  s.end()
}

/** A server of HTTP/2 that does to each stream what its script says. */
export class Http2Server {
  port = 0
  script: Script
  readonly streams: Array<ServerStream> = []
  readonly sockets = new Set<Socket>()
  readonly sessions = new Set<http2.ServerHttp2Session>()
  accepted = 0
  acknowledged = 0
  readonly watched = new Watched()
  private readonly server: http2.Http2Server

  constructor(script: Script, settings: http2.Settings) {
    this.script = script
    this.server = http2.createServer({ settings })
    this.server.on("connection", (socket) => {
      this.accepted++
      this.sockets.add(socket)
      socket.on("close", () => {
        this.sockets.delete(socket)
        this.watched.changed()
      })
      this.watched.changed()
    })
    this.server.on("session", (session) => {
      this.sessions.add(session)
      session.once("localSettings", () => {
        this.acknowledged++
        this.watched.changed()
      })
      session.on("close", () => this.sessions.delete(session))
      session.on("error", () => {})
    })
    this.server.on("stream", (stream, headers) => this.started(stream, headers))
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  readonly listen: Effect.Effect<void> = Effect.callback((resume) => {
    this.server.listen(0, "127.0.0.1", () => {
      this.port = (this.server.address() as AddressInfo).port
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
      () => ({
        accepted: this.accepted,
        acknowledged: this.acknowledged,
        streams: this.streams.length,
        rst: this.streams.map((s) => s.rst),
        sockets: this.sockets.size
      })
    )
  }

  private started(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    let opened = false
    const open = (more: http2.OutgoingHttpHeaders = {}) => {
      if (opened) return
      opened = true
      stream.respond({ ":status": 200, "content-type": "application/grpc", ...more }, { waitForTrailers: true })
    }
    const one: ServerStream = {
      stream,
      session: stream.session as http2.ServerHttp2Session,
      headers,
      rst: undefined,
      open,
      message: (bytes = new Uint8Array()) => {
        open()
        const prefix = Buffer.alloc(5)
        prefix.writeUInt32BE(bytes.length, 1)
        stream.write(Buffer.concat([prefix, bytes]))
      },
      end: (status = "0", trailers = {}) => {
        open()
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status, ...trailers }))
        stream.end()
      },
      trailersOnly: (status, message, more = {}) =>
        stream.respond(
          {
            ":status": 200,
            "content-type": "application/grpc",
            "grpc-status": status,
            ...(message === undefined ? {} : { "grpc-message": message }),
            ...more
          },
          { endStream: true }
        ),
      page: (status, body) => {
        stream.respond({ ":status": status, "content-type": "text/html" })
        stream.end(body)
      },
      reset: (code) => stream.close(code)
    }
    stream.on("error", () => {})
    stream.on("close", () => {
      one.rst = stream.rstCode ?? 0
      this.watched.changed()
    })
    stream.resume()
    this.streams.push(one)
    this.script(one)
    this.watched.changed()
  }
}

/** A server that is gone when the scope closes. */
export const make = (
  script: Script = polite,
  settings: http2.Settings = {}
): Effect.Effect<Http2Server, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tap(
      Effect.sync(() => new Http2Server(script, settings)),
      (server) => server.listen
    ),
    (server) => server.close
  )
