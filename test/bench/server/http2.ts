/**
 * The same server as `go/main.go` over node:http2, for machines without Go. It may itself be the bottleneck.
 */
import * as http2 from "node:http2"
import { type AddressInfo, createServer } from "node:net"
import * as readline from "node:readline"
import { parseArgs } from "node:util"

const messagesPerWatch = 1_000

const { values } = parseArgs({
  options: { streams: { type: "string", default: "0" }, listeners: { type: "string", default: "1" } }
})
let delay = 0
/** The status that the handler ends with. */
let fail = 0
const streams = Number(values.streams)
const listeners = Number(values.listeners)

let moved = performance.now()
let runningMillis = 0
/** How long so many were running since the last reading. */
let at = new Float64Array(4096)
let running = 0
let maxRunning = 0
let calls = 0
let accepted = 0

const pass = (): void => {
  const now = performance.now()
  runningMillis += running * (now - moved)
  at[running]! += now - moved
  moved = now
}

const median = (): number => {
  const total = at.reduce((sum, millis) => sum + millis, 0)
  let n = 0
  for (let below = at[0]!; below * 2 < total && n < at.length - 1; below += at[n]!) n++
  at = new Float64Array(4096)
  return n
}

const move = (by: 1 | -1): void => {
  pass()
  running += by
  if (by < 0) calls++
  else if (running > maxRunning) maxRunning = running
}

const headers = { ":status": 200, "content-type": "application/grpc+proto" }
const server = http2.createServer(streams > 0 ? { settings: { maxConcurrentStreams: streams } } : {})
server.on("stream", (stream, { ":path": path }) => {
  const chunks: Array<Buffer> = []
  let counted = false
  let timer: NodeJS.Timeout | undefined
  const leave = (): void => {
    clearTimeout(timer)
    if (counted) move(-1)
    counted = false
  }
  const answer = (): void => {
    leave()
    if (stream.destroyed) return
    if (fail > 0) return stream.respond({ ...headers, "grpc-status": String(fail) }, { endStream: true })
    stream.respond(headers, { waitForTrailers: true })
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
    const message = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    if (path?.endsWith("/Watch") !== true) return void stream.end(message)
    let left = messagesPerWatch
    const write = (): void => {
      while (left-- > 0) if (!stream.write(message)) return void stream.once("drain", write)
      stream.end()
    }
    write()
  }
  stream.on("error", () => {})
  stream.on("close", leave)
  stream.on("data", (chunk: Buffer) => chunks.push(chunk))
  stream.on("end", () => {
    counted = true
    move(1)
    if (delay > 0) timer = setTimeout(answer, delay)
    else answer()
  })
})
const listen = (): Promise<number> =>
  new Promise((resolve) => {
    const listener = createServer((socket) => {
      accepted++
      server.emit("connection", socket)
    })
    listener.listen(0, "127.0.0.1", () => resolve((listener.address() as AddressInfo).port))
  })
const ports = await Promise.all(Array.from({ length: listeners }, listen))
console.log(JSON.stringify({ ports }))

const lines = readline.createInterface({ input: process.stdin })
lines.on("line", (line) => {
  if (line.startsWith("delay ")) delay = Number(line.slice(6))
  if (line.startsWith("fail ")) fail = Number(line.slice(5))
  pass()
  const medianRunning = median()
  console.log(JSON.stringify({ atMillis: moved, runningMillis, medianRunning, running, maxRunning, calls, accepted }))
})
lines.on("close", () => process.exit(0))
