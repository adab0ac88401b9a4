import type { Socket } from "node:net"
import type { Manners } from "./TcpServer.ts"

/** What can be sent by hand: frames that Node does not send. */
export interface FrameWriter {
  readonly goaway: (lastStreamId: number, code: number) => void
  readonly rst: (stream: number, code: number) => void
  /** A whole answer: headers, an empty message, trailers. */
  readonly answer: (stream: number) => void
  /** As `answer`, for the bytes of many at once: one write, so that the client reads them in one turn. */
  readonly together: (write: () => void) => void
}

const type = { data: 0, headers: 1, rst: 3, settings: 4, ping: 6, goaway: 7 } as const

const frame = (kind: number, flags: number, stream: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = kind
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

const numbers = (...values: Array<number>): Buffer => {
  const out = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => out.writeUInt32BE(value, i * 4))
  return out
}

// HPACK: literal without indexing, new name.
const field = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)])
const okHeaders = Buffer.concat([Buffer.from([0x88]), field("content-type", "application/grpc")])
const okTrailers = field("grpc-status", "0")

/**
 * A peer that speaks just enough HTTP/2 to send frames by hand: it greets, and calls `onCall` with each new stream. Node
 * itself can't say GOAWAY with a last stream id of 0, nor put an answer and a GOAWAY into one segment.
 */
export const byHand = (onCall: (stream: number, writer: FrameWriter, connection: number) => void): Manners => {
  let connections = 0
  return (socket: Socket) => {
    const connection = ++connections
    let held: Array<Buffer> | undefined
    const write = (bytes: Buffer) => {
      if (held === undefined) socket.write(bytes)
      else held.push(bytes)
    }
    const writer: FrameWriter = {
      goaway: (last, code) => write(frame(type.goaway, 0, 0, numbers(last, code))),
      rst: (stream, code) => write(frame(type.rst, 0, stream, numbers(code))),
      answer: (stream) => {
        write(frame(type.headers, 4, stream, okHeaders))
        write(frame(type.data, 0, stream, Buffer.alloc(5)))
        write(frame(type.headers, 5, stream, okTrailers))
      },
      together: (writes) => {
        held = []
        writes()
        const all = Buffer.concat(held)
        held = undefined
        socket.write(all)
      }
    }
    let read: Buffer = Buffer.alloc(0)
    let greeted = false
    write(frame(type.settings, 0, 0, Buffer.alloc(0)))
    socket.on("data", (chunk: Buffer) => {
      read = Buffer.concat([read, chunk])
      if (!greeted) {
        if (read.length < 24) return
        greeted = true
        read = read.subarray(24)
      }
      while (read.length >= 9) {
        const length = read.readUIntBE(0, 3)
        if (read.length < 9 + length) return
        const [kind, flags] = [read[3]!, read[4]!]
        const stream = read.readUInt32BE(5)
        const payload = Buffer.from(read.subarray(9, 9 + length))
        read = read.subarray(9 + length)
        if (kind === type.settings && flags === 0) write(frame(type.settings, 1, 0, Buffer.alloc(0)))
        else if (kind === type.ping && flags === 0) write(frame(type.ping, 1, 0, payload))
        else if (kind === type.headers) onCall(stream, writer, connection)
      }
    })
  }
}

/** Says hello and goodbye in one segment. */
export const farewell: Manners = (socket) => {
  socket.resume()
  socket.write(Buffer.concat([frame(type.settings, 0, 0, Buffer.alloc(0)), frame(type.goaway, 0, 0, numbers(0, 0))]))
}
