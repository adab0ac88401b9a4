import type { Socket } from "node:net"
import type { Manners } from "./TcpServer.ts"

/** The kinds of frames of HTTP/2. */
export const kind = {
  data: 0,
  headers: 1,
  rst: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9
} as const

/** The flags of frames that are used here. */
export const flag = { ack: 1, endStream: 1, endHeaders: 4 } as const

/** One frame, right or wrong. */
export const frame = (kind: number, flags: number, stream: number, payload: Uint8Array = none): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = kind
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

const none = Buffer.alloc(0)

/** Numbers of 32 bits. */
export const numbers = (...values: ReadonlyArray<number>): Buffer => {
  const out = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => out.writeUInt32BE(value, i * 4))
  return out
}

/** SETTINGS with these identifiers and values. */
export const settings = (...pairs: ReadonlyArray<readonly [id: number, value: number]>): Buffer =>
  frame(
    kind.settings,
    0,
    0,
    Buffer.concat(pairs.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), numbers(value)])))
  )

/** GOAWAY. */
export const goaway = (last: number, code: number): Buffer => frame(kind.goaway, 0, 0, numbers(last, code))

/** RST_STREAM. */
export const rst = (stream: number, code: number): Buffer => frame(kind.rst, 0, stream, numbers(code))

/** Names and values, in order; a name may come twice. */
export type Fields = ReadonlyArray<readonly [name: string, value: string]>

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value, "latin1")
  const length = bytes.length
  // An integer of HPACK with a prefix of 7 bits.
  const prefix: Array<number> = length < 127 ? [length] : [127]
  if (length >= 127) {
    let rest = length - 127
    for (; rest >= 128; rest = Math.floor(rest / 128)) prefix.push((rest % 128) + 128)
    prefix.push(rest)
  }
  return Buffer.concat([Buffer.from(prefix), bytes])
}

/** A header block: literals without indexing. */
export const block = (fields: Fields): Buffer =>
  Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]))

/** HEADERS in one frame. */
export const headers = (stream: number, fields: Fields, end = false): Buffer =>
  frame(kind.headers, flag.endHeaders | (end ? flag.endStream : 0), stream, block(fields))

/** DATA, in as many frames as it takes. */
export const data = (stream: number, bytes: Uint8Array, end = false): Buffer => {
  const most = 16_384
  const parts: Array<Buffer> = []
  for (let at = 0; at === 0 || at < bytes.length; at += most) {
    const last = at + most >= bytes.length
    parts.push(frame(kind.data, last && end ? flag.endStream : 0, stream, bytes.subarray(at, at + most)))
  }
  return Buffer.concat(parts)
}

/** A message of gRPC with its prefix: what the prefix says may be untrue. */
export const message = (bytes: Uint8Array = none, says: { compressed?: number; length?: number } = {}): Buffer => {
  const prefix = Buffer.alloc(5)
  prefix[0] = says.compressed ?? 0
  prefix.writeUInt32BE(says.length ?? bytes.length, 1)
  return Buffer.concat([prefix, bytes])
}

/** Response headers as they should be, and more. */
export const open = (...more: Fields): Fields => [[":status", "200"], ["content-type", "application/grpc"], ...more]

/** One answer of a peer. What is left out is not sent, and without trailers the stream stays open. */
export interface Answer {
  readonly head?: Fields
  readonly body?: Uint8Array
  readonly tail?: Fields
  /** The last frame before the trailers ends the stream. */
  readonly ends?: boolean
}

/** The frames of an answer. */
export const answer = (stream: number, { body, ends = false, head, tail }: Answer): Buffer =>
  Buffer.concat([
    ...(head === undefined ? [] : [headers(stream, head, ends && body === undefined)]),
    ...(body === undefined ? [] : [data(stream, body, ends)]),
    ...(tail === undefined ? [] : [headers(stream, tail, true)])
  ])

/** The answer of a good server: one empty message, and OK. */
export const good: Answer = { head: open(), body: message(), tail: [["grpc-status", "0"]] }

/** How a peer sends its bytes. */
export type Sender = (socket: Socket) => (bytes: Buffer) => void

/** At once. */
export const plainly: Sender = (socket) => (bytes) => {
  if (socket.writable) socket.write(bytes)
}

/** The first so many bytes, and then the end of the connection. */
export const cutAfter =
  (most: number): Sender =>
  (socket) => {
    let left = most
    if (left === 0) socket.end()
    return (bytes) => {
      if (left === 0 || !socket.writable) return
      const part = bytes.subarray(0, left)
      left -= part.length
      if (left === 0) socket.end(part)
      else socket.write(part)
    }
  }

/** One byte in each turn. */
export const drip: Sender = (socket) => {
  let queue: Buffer = none
  let running = false
  socket.setNoDelay(true)
  const next = () => {
    running = queue.length > 0 && socket.writable
    if (!running) return
    socket.write(queue.subarray(0, 1))
    queue = queue.subarray(1)
    setImmediate(next)
  }
  return (bytes) => {
    queue = Buffer.concat([queue, bytes])
    if (!running) next()
  }
}

/** What a peer says at first, how it sends, and what it does with a call. */
export interface Speech {
  readonly greeting?: Buffer
  readonly sender?: Sender
  readonly onCall?: (stream: number, send: (bytes: Buffer) => void, socket: Socket) => void
}

/** A peer that speaks HTTP/2 by hand: it greets, acknowledges SETTINGS and PINGs, and does as it likes with a call. */
export const talking =
  ({ greeting = settings(), onCall = () => {}, sender = plainly }: Speech): Manners =>
  (socket) => {
    const send = sender(socket)
    let read: Buffer = none
    let greeted = false
    send(greeting)
    socket.on("data", (chunk: Buffer) => {
      read = read.length === 0 ? chunk : Buffer.concat([read, chunk])
      if (!greeted) {
        if (read.length < 24) return
        greeted = true
        read = read.subarray(24)
      }
      while (read.length >= 9) {
        const length = read.readUIntBE(0, 3)
        if (read.length < 9 + length) return
        const [type, flags] = [read[3]!, read[4]!]
        const stream = read.readUInt32BE(5)
        const payload = Buffer.from(read.subarray(9, 9 + length))
        read = read.subarray(9 + length)
        if (type === kind.settings && (flags & flag.ack) === 0) send(frame(kind.settings, flag.ack, 0))
        else if (type === kind.ping && (flags & flag.ack) === 0) send(frame(kind.ping, flag.ack, 0, payload))
        else if (type === kind.headers) onCall(stream, send, socket)
      }
    })
  }

/** Answers every call with this. */
export const answering = (one: Answer): Manners => talking({ onCall: (stream, send) => send(answer(stream, one)) })

/** Sends the same bytes again and again, as fast as they are taken, until the connection ends. */
export const flood = (socket: Socket, bytes: Buffer): void => {
  const go = () => {
    if (!socket.writable) return
    if (socket.write(bytes)) setImmediate(go)
    else socket.once("drain", go)
  }
  go()
}
