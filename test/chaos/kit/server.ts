/** Child: an echo server of grpc-js that counts what reaches it and does to its connections what it is told. */
import * as grpc from "@grpc/grpc-js"
import type { Http2Server, ServerHttp2Session } from "node:http2"
import type { Socket } from "node:net"
import { type EchoReply, type EchoRequest, EchoService, type PutReply, type PutRequest } from "../../generated/echo.ts"
import type { WatchReply, WatchRequest } from "../../generated/echo.ts"
import { cert, key } from "../../support/grpc/certificate.ts"
import { HealthService } from "./health.ts"
import { Lag } from "./lag.ts"
import type { FromServer, ServerConfig, ToServer } from "./messages.ts"

const config = JSON.parse(process.argv[2]!) as ServerConfig
const tell = (message: FromServer) => process.send!(message)
const { goawayAfter, host, maxStreams, name } = config

let { delayMillis } = config
let failCode = 0
let failShare = 1
const counts = { started: 0, ended: 0, cancelled: 0, running: 0, maxRunning: 0, accepted: 0 }
const sockets = new Set<Socket>()
const sessions = new Set<ServerHttp2Session>()
const health = new HealthService(config.health)
const lag = new Lag()

interface Asked {
  readonly delayMillis: number
  readonly failCode: number
}

const unary =
  <I extends Asked, O>(reply: (request: I) => O): grpc.handleUnaryCall<I, O> =>
  (call, callback) => {
    counts.started++
    counts.running++
    counts.maxRunning = Math.max(counts.maxRunning, counts.running)
    let over = false
    const end = (f?: () => void) => {
      if (over) return
      over = true
      counts.running--
      counts.ended++
      f?.()
    }
    const answer = () =>
      end(() => {
        const ours = Math.random() < failShare ? failCode : 0
        const code = call.request.failCode === 0 ? ours : call.request.failCode
        if (code === 0) callback(null, reply(call.request))
        else callback({ code, details: "as asked" })
      })
    call.on("cancelled", () => {
      counts.cancelled++
      end()
    })
    const millis = call.request.delayMillis === 0 ? delayMillis : call.request.delayMillis
    if (millis === 0) answer()
    else setTimeout(answer, millis)
  }

const server = new grpc.Server(maxStreams === undefined ? {} : { "grpc.max_concurrent_streams": maxStreams })
server.addService(EchoService as unknown as grpc.ServiceDefinition, {
  echo: unary<EchoRequest, EchoReply>(({ id, payload }) => ({ id, payload, server: name })),
  put: unary<PutRequest, PutReply>(({ id }) => ({ id, server: name })),
  watch: (call: grpc.ServerWritableStream<WatchRequest, WatchReply>) => {
    let index = 0
    const timer = setInterval(() => {
      call.write({ index: index++, payload: Buffer.alloc(0), server: name })
    }, call.request.delayMillis)
    call.on("cancelled", () => clearInterval(timer))
  },
  upload: () => {},
  chat: () => {}
})
if (config.health !== undefined) server.addService(health.definition, health.handlers)

const opened = (session: ServerHttp2Session) => {
  sessions.add(session)
  let calls = 0
  session.on("close", () => sessions.delete(session))
  session.on("error", () => {})
  if (goawayAfter === undefined) return
  // GOAWAY(NO_ERROR) with the last stream: what is under way ends, and so does the connection after it.
  session.on("stream", (stream) =>
    stream.on("close", () => {
      if (++calls === goawayAfter) session.close()
    })
  )
}

const connected = (socket: Socket) => {
  counts.accepted++
  sockets.add(socket)
  socket.on("close", () => sockets.delete(socket))
}

// grpc-js hands out neither its HTTP/2 servers nor their sessions.
interface Internals {
  readonly http2Servers: Map<Http2Server, unknown>
}

const credentials =
  config.tls === true
    ? grpc.ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(cert), private_key: Buffer.from(key) }])
    : grpc.ServerCredentials.createInsecure()

// A port whose owner was killed a moment ago may take a while to be free.
const listen = (): void =>
  server.bindAsync(`${host}:${config.port}`, credentials, (error, port) => {
    if (error !== null) {
      setTimeout(listen, 20)
      return
    }
    for (const http2 of (server as unknown as Internals).http2Servers.keys()) {
      http2.on("connection", connected)
      http2.on("session", opened)
    }
    tell({ tag: "listening", port })
  })

process.on("message", (message: ToServer) => {
  switch (message.tag) {
    case "set":
      delayMillis = message.delayMillis ?? delayMillis
      failCode = message.failCode ?? failCode
      failShare = message.failShare ?? 1
      if (message.health !== undefined) health.become(message.health)
      return tell({ tag: "done" })
    case "count":
      tell({ tag: "count", counts: { ...counts, sockets: sockets.size, lagP99: lag.p99(), ...health.counts() } })
      counts.maxRunning = counts.running
      lag.reset()
      return
    case "goaway":
      for (const session of sessions) session.goaway(message.code, undefined, Buffer.from(message.text))
      return tell({ tag: "done" })
    case "reset":
      for (const socket of sockets) socket.resetAndDestroy()
      return tell({ tag: "done" })
  }
})
process.on("disconnect", () => process.exit())
listen()
