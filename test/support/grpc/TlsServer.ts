import * as grpc from "@grpc/grpc-js"
import { Effect, type Scope } from "effect"
import * as net from "node:net"
import * as tls from "node:tls"
import { type EchoReply, type EchoRequest, EchoService } from "../../generated/echo.ts"
import { StreamServer } from "./StreamServer.ts"
import * as TcpServer from "./TcpServer.ts"
import type { Identity } from "./TlsCertificates.ts"

/** What a server shows, and whom it lets in. */
export interface TlsServerOptions {
  readonly identity: Identity
  /** Signers of clients; left out: clients need no certificate. */
  readonly clients?: string
}

/** A server of all four kinds of call over TLS, and what reached it. */
export interface TlsServer {
  readonly port: number
  /** The authorities that calls named, in order. */
  readonly authorities: ReadonlyArray<string>
}

/** Starts one, for as long as the scope lives. */
export const make = ({ clients, identity }: TlsServerOptions): Effect.Effect<TlsServer, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly server: grpc.Server; readonly port: number; readonly authorities: Array<string> }>(
        (resume) => {
          const server = new grpc.Server()
          const authorities: Array<string> = []
          const streams = new StreamServer("over TLS")
          const noted =
            <Args extends ReadonlyArray<never>>(handler: (call: never, ...args: Args) => void) =>
            (call: { readonly getHost: () => string }, ...args: Args): void => {
              authorities.push(call.getHost())
              handler(call as never, ...args)
            }
          server.addService(EchoService as unknown as grpc.ServiceDefinition, {
            echo: noted((call: grpc.ServerUnaryCall<EchoRequest, EchoReply>, answer: grpc.sendUnaryData<EchoReply>) =>
              answer(null, { id: call.request.id, payload: call.request.payload, server: "over TLS" })
            ),
            put: () => {},
            watch: noted(streams.watch),
            upload: noted(streams.upload as never),
            chat: noted(streams.chat)
          })
          const credentials = grpc.ServerCredentials.createSsl(
            clients === undefined ? null : Buffer.from(clients),
            [{ cert_chain: Buffer.from(identity.cert), private_key: Buffer.from(identity.key) }],
            clients !== undefined
          )
          server.bindAsync("127.0.0.1:0", credentials, (error, port) =>
            resume(error === null ? Effect.succeed({ server, port, authorities }) : Effect.die(error))
          )
        }
      ),
      ({ server }) => Effect.sync(() => server.forceShutdown())
    ),
    ({ authorities, port }) => ({ authorities, port })
  )

/** What a server of TLS without gRPC does with a connection, and what it has decrypted. */
export interface BareServer {
  readonly port: number
  readonly decrypted: () => string
}

/** A server of TLS that leaves each secured connection to `manners`. */
export const bare = (
  options: tls.TlsOptions,
  manners: TcpServer.Manners = TcpServer.silent
): Effect.Effect<BareServer, never, Scope.Scope> =>
  Effect.suspend(() => {
    const seen: Array<Buffer> = []
    const open = new Set<net.Socket>()
    const server = tls.createServer(options, (socket) => {
      socket.on("data", (chunk: Buffer) => seen.push(chunk))
      socket.on("error", () => {})
      manners(socket)
    })
    server.on("connection", (socket) => {
      open.add(socket)
      socket.on("close", () => open.delete(socket))
    })
    return Effect.acquireRelease(
      Effect.callback<BareServer>((resume) => {
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as net.AddressInfo
          resume(Effect.succeed({ port, decrypted: () => Buffer.concat(seen).toString("latin1") }))
        })
      }),
      () =>
        Effect.callback<void>((resume) => {
          for (const socket of open) socket.destroy()
          server.close(() => resume(Effect.void))
        })
    )
  })

/** Answers the first bytes with a TLS alert: what a server says that does not like the client. */
export const alerting =
  (alert: number): TcpServer.Manners =>
  (socket) =>
    void socket.once("data", () => socket.end(Buffer.from([21, 3, 3, 0, 2, 2, alert])))

/** Somebody on the path to a server, who sees every byte that the client sends. */
export interface Observer {
  readonly address: string
  readonly accepted: () => number
  /** What the client has sent, byte for byte. */
  readonly sent: () => Buffer
  /** The kinds of TLS records that the client has sent; `undefined` when they are none. */
  readonly records: () => ReadonlyArray<string> | undefined
}

const kinds: Readonly<Record<number, string>> = {
  20: "ChangeCipherSpec",
  21: "Alert",
  22: "Handshake",
  23: "Encrypted"
}

/** Puts an observer before a port. */
export const observe = (port: number): Effect.Effect<Observer, never, Scope.Scope> =>
  Effect.suspend(() => {
    const streams: Array<Array<Buffer>> = []
    const manners: TcpServer.Manners = (socket) => {
      const stream: Array<Buffer> = []
      streams.push(stream)
      const onward = net.connect(port, "127.0.0.1")
      for (const one of [socket, onward]) one.setNoDelay(true)
      const end = () => {
        socket.destroy()
        onward.destroy()
      }
      socket.on("data", (chunk: Buffer) => stream.push(chunk))
      socket.pipe(onward)
      onward.pipe(socket)
      onward.on("error", end)
      onward.on("close", end)
      socket.on("close", end)
    }
    return Effect.map(TcpServer.make(manners), (server) => ({
      address: server.address,
      accepted: () => server.accepted,
      sent: () => Buffer.concat(streams.flat()),
      records: () => {
        const out: Array<string> = []
        for (const stream of streams) {
          const bytes = Buffer.concat(stream)
          for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
            const kind = kinds[bytes[at]!]
            if (kind === undefined || at + 5 > bytes.length || bytes[at + 1] !== 3) return undefined
            out.push(kind)
          }
        }
        return out
      }
    }))
  })
