import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Client, Credentials, Grpc, type GrpcOptions } from "@hawser/grpc"
import { Effect, Layer, Redacted, Stream } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import * as http from "node:http"
import * as http2 from "node:http2"
import { type AddressInfo, connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { EchoService } from "../generated/echo.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as StreamServer from "../support/grpc/StreamServer.ts"

class Echo extends Client.Service<Echo>()("test/Echo", EchoService) {}

const through = (target: string, options: Partial<GrpcOptions.GrpcOptions> = {}) =>
  Effect.provide(Echo.layer.pipe(Layer.provide(Grpc.layer({ target, credentials: Credentials.insecure, ...options }))))

const large = { id: "x", payload: Buffer.alloc(200_000, "hawser"), delayMillis: 0, failCode: 0 }

/** An echo on a socket of this machine. */
const onPath = Effect.acquireRelease(
  Effect.callback<{ readonly server: grpc.Server; readonly folder: string; readonly path: string }>((resume) => {
    const folder = mkdtempSync(join(tmpdir(), "hawser-"))
    const path = join(folder, "echo.sock")
    const server = new grpc.Server()
    server.addService(
      { echo: EchoService.echo },
      {
        echo: (call: grpc.ServerUnaryCall<typeof large, unknown>, reply: grpc.sendUnaryData<unknown>) =>
          reply(null, { id: call.request.id, payload: call.request.payload, server: "here" })
      }
    )
    server.bindAsync(`unix:${path}`, grpc.ServerCredentials.createInsecure(), () =>
      resume(Effect.succeed({ server, folder, path }))
    )
  }),
  ({ server, folder }) =>
    Effect.sync(() => {
      server.forceShutdown()
      rmSync(folder, { recursive: true, force: true })
    })
)

/** Sees what a client sends first: its SETTINGS, and the headers and size of one request. */
const observer = Effect.acquireRelease(
  Effect.callback<{
    readonly server: http2.Http2Server
    readonly address: string
    readonly seen: { window?: number; encoding?: unknown; bytes: number }
  }>((resume) => {
    const seen: { window?: number; encoding?: unknown; bytes: number } = { bytes: 0 }
    const server = http2.createServer()
    server.on("session", (session) => {
      session.on("remoteSettings", (settings) => {
        if (settings.initialWindowSize !== undefined) seen.window = settings.initialWindowSize
      })
    })
    server.on("stream", (stream, headers) => {
      seen.encoding = headers["grpc-encoding"]
      stream.on("data", (chunk: Buffer) => (seen.bytes += chunk.length))
      stream.on("end", () => {
        stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "5" }, { endStream: true })
      })
    })
    server.listen(0, "127.0.0.1", () =>
      resume(Effect.succeed({ server, seen, address: `127.0.0.1:${(server.address() as AddressInfo).port}` }))
    )
  }),
  ({ server }) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
)

/** A proxy that knows one password, and counts the tunnels that it opened. */
const proxy = Effect.acquireRelease(
  Effect.callback<{ readonly server: http.Server; readonly address: string; readonly tunnels: Array<string> }>(
    (resume) => {
      const tunnels: Array<string> = []
      const server = http.createServer()
      server.on("connect", (request: http.IncomingMessage, socket: Socket, head: Buffer) => {
        socket.on("error", () => {})
        if (request.headers["proxy-authorization"] !== `Basic ${Buffer.from("ada:secret").toString("base64")}`) {
          return socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        }
        tunnels.push(request.url!)
        const [host, port] = request.url!.split(":")
        const upstream = connect(Number(port), host)
        upstream.on("error", () => socket.destroy())
        upstream.on("close", () => socket.destroy())
        socket.on("close", () => upstream.destroy())
        upstream.on("connect", () => {
          socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
          upstream.write(head)
          upstream.pipe(socket)
          socket.pipe(upstream)
        })
        return undefined
      })
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({ server, tunnels, address: `127.0.0.1:${(server.address() as AddressInfo).port}` }))
      )
    }
  ),
  ({ server }) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
)

describe("transport", () => {
  it.live("goes through an HTTP proxy when told to, and leaves nothing there", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const { address, tunnels } = yield* proxy
        const request = { id: "w", count: 3, delayMillis: 0, payload: Buffer.alloc(0), failCode: 0 }
        const call = Echo.use((echo) => Stream.runCollect(echo.watch(request)))
        const credentials = Redacted.make("ada:secret")
        const found = yield* call.pipe(through(`ipv4:${server.address}`, { proxy: { address, credentials } }))
        assert.strictEqual(found.length, 3)
        assert.deepStrictEqual(tunnels, [server.address])
        const wrong = { address, credentials: Redacted.make("ada:wrong") }
        const error = yield* Effect.flip(call.pipe(through(`ipv4:${server.address}`, { proxy: wrong })))
        assert.strictEqual(error._tag === "RpcError" && error.reason._tag, "Unavailable")
        assert.strictEqual(error._tag === "RpcError" && error.endpoint, server.address)
      })
    )
  )

  it.live("serves over a socket of this machine, and says so when nobody is there", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { path } = yield* onPath
        const reply = yield* Echo.use((echo) => echo.echo.reply(large)).pipe(through(`unix:${path}`))
        assert.strictEqual(reply.message.payload.length, large.payload.length)
        assert.strictEqual(reply.connection, `unix:${path}#1`)
        const error = yield* Effect.flip(Echo.use((echo) => echo.echo(large)).pipe(through(`unix:${path}.not`)))
        assert.strictEqual(error._tag === "RpcError" && error.reason._tag, "Unavailable")
      })
    )
  )

  it.live.each(["gzip", "deflate"] as const)("compresses requests with %s when told to", (compression) =>
    leavesNothing(
      Effect.gen(function* () {
        const { address, seen } = yield* observer
        const call = Effect.exit(Echo.use((echo) => echo.echo(large)))
        yield* call.pipe(through(`ipv4:${address}`, { compression }))
        assert.strictEqual(seen.encoding, compression)
        assert.isBelow(seen.bytes, 20_000)
        seen.bytes = 0
        yield* call.pipe(through(`ipv4:${address}`))
        assert.isAbove(seen.bytes, 200_000)
      })
    )
  )

  it.live("a compressed answer above the limit is refused", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* StreamServer.make()
        const request = { id: "w", count: 1, delayMillis: 0, payload: Buffer.alloc(300_000), failCode: 0 }
        const error = yield* Echo.use((echo) => Stream.runDrain(echo.watch(request))).pipe(
          through(`ipv4:${server.address}`, { maxReceiveBytes: 100_000, compression: "gzip" }),
          Effect.flip
        )
        assert.strictEqual(error._tag === "RpcError" && error.reason._tag, "ResourceExhausted")
      })
    )
  )

  it.live("tells peers how far ahead they may send", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { address, seen } = yield* observer
        const call = Effect.exit(Echo.use((echo) => echo.echo(large)))
        yield* call.pipe(through(`ipv4:${address}`, { flowControlWindow: 1_000_000 }))
        yield* eventually(
          "said",
          () => seen.window === 1_000_000,
          () => seen
        )
      })
    )
  )
})
