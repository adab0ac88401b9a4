/** HTTP/2 by hand, as a server of the cross-check speaks it: it does what it is told, frame by frame, and counts. */
import type { Socket } from "node:net"
import type { Handled } from "./CrossPeer.ts"
import * as frames from "./PeersWire.ts"

const windowBytes = 65_535
const mostFrameBytes = 16_384
const everyStream = 2_147_483_647
const prefaceBytes = 24

/** What a connection needs of its server. */
export interface RealOwner {
  /** MAX_CONCURRENT_STREAMS. */
  readonly most: number
  /** Whether a call begins with its headers, not with its first request. */
  readonly eager: boolean
  flooded: number
  begun(call: RealCall): void
}

/** One call as the server by hand has it. */
export class RealCall implements Handled {
  received = 0
  halfClosed = false
  cancelled = false
  over = false
  window = windowBytes
  begun = false
  readonly id: number
  private readonly connection: RealConnection
  private greeted = false
  private read: Buffer = Buffer.alloc(0)
  private queue: Buffer = Buffer.alloc(0)
  private left = 0
  private size = 0
  /** What comes when all is sent. */
  private last: (() => void) | undefined = undefined

  constructor(id: number, connection: RealConnection) {
    this.id = id
    this.connection = connection
  }

  headers(): void {
    if (this.over || this.greeted) return
    this.greeted = true
    this.connection.write(frames.headers(this.id, frames.open()))
  }
  message(bytes = 0): void {
    this.headers()
    this.queue = Buffer.concat([this.queue, frames.message(Buffer.alloc(bytes))])
    this.pump()
  }
  status(code: number, details = ""): void {
    this.last = () => this.trailers(code, details)
    this.pump()
  }
  private trailers(code: number, details: string): void {
    const fields: frames.Fields = [
      ["grpc-status", String(code)],
      ["grpc-message", details]
    ]
    this.connection.write(frames.headers(this.id, this.greeted ? fields : frames.open(...fields), true))
    this.end()
  }
  reset(code: number): void {
    if (this.over) return
    this.connection.write(frames.rst(this.id, code))
    this.end()
  }
  flood(messages: number, bytes: number): void {
    this.left = messages
    this.size = bytes
    this.headers()
    this.status(0)
  }

  /** The client or the line gave it up. */
  cancel(): void {
    if (this.over) return
    this.cancelled = true
    this.end()
  }
  /** Nothing more comes or goes. */
  end(): void {
    this.over = true
    this.connection.ended(this)
  }

  /** Requests, in pieces as they come. */
  data(bytes: Buffer): void {
    this.read = Buffer.concat([this.read, bytes])
    while (this.read.length >= 5 && this.read.length >= 5 + this.read.readUInt32BE(1)) {
      this.read = this.read.subarray(5 + this.read.readUInt32BE(1))
      this.received++
    }
  }

  /** Sends what there is room for. */
  pump(): void {
    while (!this.over && this.window > 0 && this.connection.window > 0) {
      if (this.queue.length === 0) {
        if (this.left === 0) break
        this.left--
        this.queue = frames.message(Buffer.alloc(this.size))
        this.connection.server.flooded++
      }
      const part = this.queue.subarray(0, Math.min(this.window, this.connection.window, mostFrameBytes))
      this.queue = this.queue.subarray(part.length)
      this.window -= part.length
      this.connection.window -= part.length
      this.connection.write(frames.data(this.id, part))
    }
    if (!this.over && this.queue.length === 0 && this.left === 0) this.last?.()
  }
}

/** One connection of a server by hand. */
export class RealConnection {
  window = windowBytes
  readonly server: RealOwner
  readonly streams = new Map<number, RealCall>()
  private readonly socket: Socket
  private bytes: Buffer = Buffer.alloc(0)
  private greeted = false
  private last = 0
  private told: number
  private leaving = false

  constructor(socket: Socket, server: RealOwner) {
    this.socket = socket
    this.server = server
    this.told = server.most
    this.settings(this.told)
    socket.on("data", (chunk: Buffer) => this.feed(chunk))
    socket.on("close", () => {
      for (const call of this.streams.values()) call.cancel()
    })
  }

  write(bytes: Buffer): void {
    if (this.socket.writable) this.socket.write(bytes)
  }
  settings(most: number): void {
    this.told = most
    this.write(most === Infinity ? frames.settings() : frames.settings([3, most]))
  }
  ended(call: RealCall): void {
    this.streams.delete(call.id)
    this.leaveIfDone()
  }
  goAway(last: number | undefined, code: number): void {
    if (last === undefined) {
      this.write(frames.goaway(everyStream, code))
      return this.write(frames.frame(frames.kind.ping, 0, 0, Buffer.alloc(8)))
    }
    this.leaving = true
    this.write(frames.goaway(last, code))
    for (const call of this.streams.values()) if (call.id > last) call.end()
    this.leaveIfDone()
  }

  private leaveIfDone(): void {
    if (this.leaving && this.streams.size === 0) this.socket.end()
  }

  private feed(chunk: Buffer): void {
    this.bytes = Buffer.concat([this.bytes, chunk])
    if (!this.greeted) {
      if (this.bytes.length < prefaceBytes) return
      this.greeted = true
      this.bytes = this.bytes.subarray(prefaceBytes)
    }
    while (this.bytes.length >= 9) {
      const length = this.bytes.readUIntBE(0, 3)
      if (this.bytes.length < 9 + length) return
      const head = this.bytes
      this.bytes = this.bytes.subarray(9 + length)
      this.take(head[3]!, head[4]!, head.readUInt32BE(5), head.subarray(9, 9 + length))
    }
  }

  private take(type: number, flags: number, id: number, payload: Buffer): void {
    const { flag, frame, kind, numbers } = frames
    const call = this.streams.get(id)
    const ack = (flags & flag.ack) !== 0
    switch (type) {
      case kind.settings:
        return ack ? undefined : this.write(frame(kind.settings, flag.ack, 0))
      case kind.ping:
        // What the client had sent before it knew has arrived by now.
        return ack ? this.goAway(this.last, 0) : this.write(frame(kind.ping, flag.ack, 0, payload))
      case kind.headers:
        return this.open(id, (flags & flag.endStream) !== 0)
      case kind.rst:
        return call?.cancel()
      case kind.window:
        if (id === 0) this.window += payload.readUInt32BE(0)
        else if (call !== undefined) call.window += payload.readUInt32BE(0)
        for (const each of this.streams.values()) each.pump()
        return
      case kind.data:
        if (payload.length > 0) {
          this.write(frame(kind.window, 0, 0, numbers(payload.length)))
          if (call !== undefined) this.write(frame(kind.window, 0, id, numbers(payload.length)))
        }
        if (call === undefined) return
        call.data(payload)
        if ((flags & flag.endStream) !== 0) call.halfClosed = true
        if (!call.begun && call.received > 0) this.begin(call)
    }
  }

  private open(id: number, ended: boolean): void {
    // What the last goodbye did not name the client sends elsewhere.
    if (this.leaving) return
    if (this.streams.size >= this.told) return this.write(frames.rst(id, 7))
    this.last = id
    const call = new RealCall(id, this)
    call.halfClosed = ended
    this.streams.set(id, call)
    if (this.server.eager) this.begin(call)
  }

  private begin(call: RealCall): void {
    call.begun = true
    this.server.begun(call)
  }
}
