/**
 * One connection of gRPC over the virtual network, from the server's greeting to its end.
 *
 * It stands where the adapter to grpc-js stands; everything above it, from the pool to the client, is the real code.
 */
import { ConnectError } from "@hawser/core/ConnectError"
import type { Session } from "@hawser/core/Session"
import type { CallListener, Connection, StartOptions, Wire } from "@hawser/grpc/Connection"
import * as Metadata from "@hawser/grpc/Metadata"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { ClientStream, type StreamOwner } from "./ClientStream.ts"
import { type ClientFrame, codes, type ServerFrame } from "./Frame.ts"
import type { Socket, SocketEnd, SocketListener } from "./Socket.ts"
import type { Timers } from "./Timers.ts"

/** Assumed until the peer says more, as grpc-js does. */
const assumedLimit = 100

const deadWire: Wire = { send: () => {}, end: () => {}, read: () => {}, cancel: () => {} }

/** One connection, from the server's SETTINGS to its end. */
export class VirtualConnection implements Session<Connection>, Connection, StreamOwner, SocketListener<ServerFrame> {
  readonly connection: Connection = this
  readonly peer: string
  readonly timers: Timers
  /** The streams that are open on the wire. */
  readonly streams = new Map<number, ClientStream>()
  /** How often it was closed by its owner: once, in the end. For tests. */
  closings = 0
  private readonly socket: Socket<ServerFrame, ClientFrame>
  private readonly waiting = new Set<ClientStream>()
  private readonly pings = new Map<number, () => void>()
  private pinged = 0
  private readonly greeted = Deferred.makeUnsafe<void, ConnectError>()
  private end: ConnectError | undefined = undefined
  private listener: (() => void) | undefined = undefined
  private allowed = assumedLimit
  private nextStream = 1
  private over = false
  private lastHeard: number

  constructor(peer: string, socket: Socket<ServerFrame, ClientFrame>, timers: Timers) {
    this.peer = peer
    this.socket = socket
    this.timers = timers
    this.lastHeard = timers.now()
    socket.listen(this)
  }

  /** Ends when the peer has greeted. */
  get ready(): Effect.Effect<void, ConnectError> {
    return Deferred.await(this.greeted)
  }
  ended(): ConnectError | undefined {
    return this.end
  }
  limit(): number {
    return this.over ? 0 : this.allowed
  }
  heardAt(): number {
    return this.lastHeard
  }
  /** Whether it was greeted and has not ended. For tests. */
  get isOpen(): boolean {
    return Deferred.isDoneUnsafe(this.greeted) && !this.over
  }
  /** Whether somebody listens. For tests. */
  get listened(): boolean {
    return this.listener !== undefined
  }
  listen(listener: (() => void) | undefined): void {
    this.listener = listener
  }

  ping(answered: () => void): boolean {
    if (this.over) return false
    this.pings.set(++this.pinged, answered)
    this.socket.send({ _tag: "Ping", id: this.pinged }, 8)
    return true
  }

  start(options: StartOptions, listener: CallListener): Wire {
    if (this.over) {
      this.timers.soon(() => listener.onStatus(14, "The connection has ended", Metadata.empty, "NotSent"))
      return deadWire
    }
    const stream = new ClientStream(options, listener, this)
    // As Node does: above the limit of the peer it waits, unseen.
    this.waiting.add(stream)
    this.admit()
    return stream
  }

  send(frame: ClientFrame, bytes: number): void {
    this.socket.send(frame, bytes)
  }

  onFrame(frame: ServerFrame): void {
    this.lastHeard = this.timers.now()
    switch (frame._tag) {
      case "Settings":
        this.allowed = frame.maxStreams
        this.socket.send({ _tag: "SettingsAck" }, 0)
        Deferred.doneUnsafe(this.greeted, Effect.void)
        this.admit()
        return this.changed()
      case "Ping":
        return this.socket.send({ _tag: "PingAck" }, 8)
      case "PingAck": {
        const answered = this.pings.get(frame.id)
        this.pings.delete(frame.id)
        return answered?.()
      }
      case "GoAway":
        return this.goAway(frame.lastStream, frame.code, frame.debug)
      default:
        return this.streams.get(frame.stream)?.onFrame(frame)
    }
  }

  onEnd(how: SocketEnd): void {
    // Without a goodbye it is broken, however orderly.
    this.finish(Deferred.isDoneUnsafe(this.greeted) ? "Reset" : how)
    for (const stream of this.all()) stream.dropped(how)
  }

  streamEnded(stream: ClientStream): void {
    this.waiting.delete(stream)
    this.streams.delete(stream.id)
    this.admit()
    this.closeIfDone()
  }

  /** Closes it; what still runs fails. */
  close(details = "Connection closed"): Effect.Effect<void> {
    return Effect.sync(() => {
      this.closings++
      this.finish("Closed")
      for (const stream of this.all()) stream.abort(14, details)
      this.socket.close()
    })
  }

  private goAway(lastStream: number, code: number, debug: string | undefined): void {
    this.finish(code === codes.enhanceYourCalm && debug === "too_many_pings" ? "TooManyPings" : "Closed")
    for (const stream of this.all()) {
      // Node destroys its session at a goodbye with an error: what the server knows ends with the rest.
      if (code !== codes.noError) stream.broken(code)
      else if (stream.id === 0 || stream.id > lastStream) stream.refused()
    }
    this.closeIfDone()
  }

  private all(): ReadonlyArray<ClientStream> {
    return [...this.streams.values(), ...this.waiting]
  }

  private admit(): void {
    for (const stream of this.waiting) {
      if (this.streams.size >= this.allowed) return
      this.waiting.delete(stream)
      const id = this.nextStream
      this.nextStream += 2
      this.streams.set(id, stream)
      stream.open(id)
    }
  }

  private finish(how: SocketEnd | "TooManyPings"): void {
    if (this.over) return
    this.over = true
    const error = new ConnectError({ reason: { _tag: how }, endpoint: this.peer })
    Deferred.doneUnsafe(this.greeted, Effect.fail(error))
    this.end = error
    this.changed()
  }

  private closeIfDone(): void {
    if (this.over && this.streams.size === 0 && this.waiting.size === 0) this.socket.close()
  }

  private changed(): void {
    this.listener?.()
  }
}
