/**
 * One call on a connection of the virtual network, with the manners of grpc-js 1.14.
 *
 * What grpc-js makes of frames is copied with its oddities, because the code above relies on them: a status that is OK
 * waits until the reader has asked for more than there is, a lost connection reads as `Connection dropped` without
 * metadata, a stream that the peer's limit holds up counts as sent. Tests against real servers keep the copy honest.
 */
import type { CallListener, StartOptions, Wire } from "@hawser/grpc/Connection"
import * as Metadata from "@hawser/grpc/Metadata"
import * as Status from "@hawser/grpc/Status"
import { type ClientFrame, codes, headerBytes, type ServerFrame, windowBytes } from "./Frame.ts"
import type { SocketEnd } from "./Socket.ts"
import type { Timers } from "./Timers.ts"

/** What a stream needs of its connection. */
export interface StreamOwner {
  readonly timers: Timers
  /** The stream is over on this side. */
  streamEnded(stream: ClientStream): void
  send(frame: ClientFrame, bytes: number): void
}

interface Write {
  readonly bytes: Uint8Array
  readonly written: (() => void) | undefined
}

/** A status before it is known how far the call got. */
interface Ending {
  readonly code: number
  readonly details: string
  readonly metadata: Metadata.Metadata
}

/** One call. */
export class ClientStream implements Wire {
  /** Its number on the wire; 0 while the peer's limit holds it up. */
  id = 0
  private readonly options: StartOptions
  private readonly listener: CallListener
  private readonly owner: StreamOwner
  private headers: Metadata.Metadata | undefined = undefined
  private readonly inbox: Array<Uint8Array> = []
  private reading = false
  private ending: Ending | undefined = undefined
  private over = false
  private readonly writes: Array<Write> = []
  private window = windowBytes
  private halfClosed = false
  private endSent = false
  private cancelTimer: (() => void) | undefined = undefined

  constructor(options: StartOptions, listener: CallListener, owner: StreamOwner) {
    this.options = options
    this.listener = listener
    this.owner = owner
    const { deadline } = options
    if (deadline === Infinity) return
    // Whole milliseconds, as grpc-js counts them.
    const wait = Math.max(0, Math.ceil(deadline - owner.timers.now()))
    this.cancelTimer = owner.timers.after(wait, () =>
      this.abort(4, `Deadline exceeded after ${(wait / 1000).toFixed(3)}s`)
    )
  }

  /** It has got its number: the peer hears of it. */
  open(id: number): void {
    this.id = id
    const { attempt, deadline, metadata, path } = this.options
    const timeout = Math.max(0, deadline - this.owner.timers.now())
    this.owner.send({ _tag: "Headers", stream: id, path, metadata, timeout, attempt }, headerBytes)
    this.flush()
  }

  send(bytes: Uint8Array, written?: () => void): void {
    this.writes.push({ bytes, written })
    this.flush()
  }
  end(): void {
    this.halfClosed = true
    this.flush()
  }
  read(): void {
    this.reading = true
    this.deliver()
  }
  cancel(): void {
    this.abort(1, "Cancelled on client")
  }

  /** Ends it with a status of this side. */
  abort(code: number, details: string): void {
    if (this.over) return
    if (this.id !== 0 && this.ending === undefined) {
      // Node ends what it writes before it resets: requests that were given up look complete for a moment.
      this.end()
      this.owner.send({ _tag: "Reset", stream: this.id, code: codes.cancel }, headerBytes)
    }
    this.finish({ code, details, metadata: Metadata.empty })
  }

  /** Ends it because its connection has ended. */
  dropped(how: SocketEnd): void {
    const details = how === "Reset" ? "read ECONNRESET" : "Connection dropped"
    this.finish({ code: 14, details, metadata: Metadata.empty })
  }
  /** Ends it because of a goodbye with an error, which Node takes for the end of all streams. */
  broken(code: number): void {
    if (code === codes.refusedStream) return this.refused()
    const why = ` triggered by internal client error: Session closed with error code ${code}`
    this.finish(ofReset(code, why))
  }
  /** Ends it because the peer says that it never looked at it. */
  refused(): void {
    this.finish({ code: 14, details: Status.refusedByGoaway, metadata: Metadata.empty })
  }

  /** What came for it. */
  onFrame(frame: Exclude<ServerFrame, { _tag: "Settings" | "GoAway" | "Ping" | "PingAck" }>): void {
    if (this.over) return
    switch (frame._tag) {
      case "Headers":
        this.headers = frame.metadata
        return this.listener.onHeaders(frame.metadata)
      case "Data":
        this.inbox.push(frame.bytes)
        return this.deliver()
      case "Trailers":
        this.ending = { code: frame.code, details: frame.details, metadata: frame.metadata }
        return this.deliver()
      case "Reset":
        return this.finish(ofReset(frame.code))
      case "WindowUpdate":
        this.window += frame.bytes
        return this.flush()
    }
  }

  /** Sends what the peer has room for. A message that has begun is sent whole. */
  private flush(): void {
    if (this.id === 0 || this.over) return
    while (this.window > 0) {
      const write = this.writes.shift()
      if (write === undefined) break
      this.window -= write.bytes.length
      this.owner.send({ _tag: "Data", stream: this.id, bytes: write.bytes }, write.bytes.length)
      if (write.written !== undefined) this.owner.timers.soon(write.written)
    }
    if (!this.halfClosed || this.endSent || this.writes.length > 0) return
    this.endSent = true
    this.owner.send({ _tag: "End", stream: this.id }, 0)
  }

  private deliver(): void {
    if (this.over) return
    const { ending } = this
    if (ending !== undefined && ending.code !== 0) return this.finish(ending)
    if (!this.reading) return
    const message = this.inbox.shift()
    if (message !== undefined) {
      this.reading = false
      this.owner.send({ _tag: "WindowUpdate", stream: this.id, bytes: message.length }, 0)
      // May ask for the next one at once.
      return this.listener.onMessage(message)
    }
    if (ending !== undefined) this.finish(ending)
  }

  private finish(ending: Ending): void {
    if (this.over) return
    this.over = true
    this.cancelTimer?.()
    this.cancelTimer = undefined
    const { written } = this.writes.length > 0 ? this.writes[0]! : { written: undefined }
    this.owner.streamEnded(this)
    const { code, details, metadata } = ending
    const progress =
      code === 0
        ? "Answered"
        : Status.progressOf({
            sent: true,
            headersSeen: this.headers !== undefined,
            code,
            details,
            metadataEmpty: metadata.size === 0,
            grpcContentType: Status.isGrpc(this.headers) || Status.isGrpc(metadata)
          })
    this.owner.timers.soon(() => {
      written?.()
      this.listener.onStatus(code, details, metadata, progress)
    })
  }
}

/** What grpc-js makes of RST_STREAM. */
const ofReset = (code: number, why = " (Internal server error)"): Ending => {
  const status = (code: number, details: string): Ending => ({ code, details, metadata: Metadata.empty })
  switch (code) {
    case codes.noError:
      return status(13, "Received RST_STREAM with code 0 (Call ended without gRPC status)")
    case codes.internalError:
      return status(13, `Received RST_STREAM with code 2${why}`)
    case codes.refusedStream:
      return status(14, Status.refused)
    case codes.cancel:
      return status(1, "Call cancelled")
    case codes.enhanceYourCalm:
      return status(8, "Bandwidth exhausted or memory limit exceeded")
    case codes.inadequateSecurity:
      return status(7, "Protocol not secure enough")
    default:
      return status(13, `Received RST_STREAM with code ${code}`)
  }
}
