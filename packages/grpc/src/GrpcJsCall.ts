/**
 * One call on a grpc-js channel: the listener that grpc-js calls, and the wire that the bridge holds.
 *
 * `Channel.createCall` with a listener of our own costs a fifth less than the generated client, which captures a stack and
 * builds an emitter for each call.
 */
import * as grpc from "@grpc/grpc-js"
import type { CallListener, Wire } from "./Connection.ts"
import type { StreamLimit } from "./GrpcJsSettings.ts"
import * as Metadata from "./Metadata.ts"
import * as Status from "./Status.ts"

/** More than the filters of grpc-js 1.14 take from start to send (2). */
const filterTurns = 8

type GrpcCall = ReturnType<grpc.Channel["createCall"]>

/** Who is told of the end of a call. */
export interface CallOwner {
  readonly limits: StreamLimit
  /** Whether the connection has ended, or is about to. */
  ended(): unknown
  /** It has its status. */
  callEnded(call: GrpcJsCall): void
}

/** One call on a grpc-js channel. */
export class GrpcJsCall implements Wire {
  /** The calls beside it on its connection. */
  prev: GrpcJsCall | undefined = undefined
  next: GrpcJsCall | undefined = undefined
  private readonly call: GrpcCall
  private readonly owner: CallOwner
  /** Let go of at the end: Node keeps what belongs to a stream until it collects its old space. */
  private listener: CallListener | undefined
  private headers: Metadata.Metadata | undefined = undefined
  private written: (() => void) | undefined = undefined
  private started = false
  private done = false

  constructor(call: GrpcCall, owner: CallOwner, listener: CallListener) {
    this.call = call
    this.owner = owner
    this.listener = listener
  }

  start(metadata: grpc.Metadata): void {
    this.call.start(metadata, this)
  }

  send(bytes: Uint8Array, written?: () => void): void {
    const message = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    // The first write tells whether the stream was let in at all.
    if (!this.started) {
      this.started = true
      this.written = this.owner.limits.writing(bytes.length)
    }
    const first = this.written
    const callback = written === undefined || first === undefined ? (written ?? first) : () => (first(), written())
    this.call.sendMessageWithContext(callback === undefined ? noContext : { callback }, message)
  }
  end(): void {
    this.call.halfClose()
  }
  read(): void {
    this.call.startRead()
  }
  cancel(): void {
    this.abort(grpc.status.CANCELLED, "Cancelled on client")
  }
  /** Ends it with a status of ours. */
  abort(code: grpc.status, details: string): void {
    if (this.done) return
    this.call.cancelWithStatus(code, details)
    if (!this.sent) this.bury(code, details)
  }
  /** Whether it was handed to a connection. */
  private get sent(): boolean {
    return this.call.getAuthContext() !== null
  }

  /**
   * grpc-js sends a call that has ended before its metadata went through the filters, and nobody would ever end that one.
   * Ended again in each of the microtasks that the filters take, it stays unsent.
   */
  private bury(code: grpc.status, details: string, turns = filterTurns): void {
    queueMicrotask(() => {
      this.call.cancelWithStatus(code, details)
      if (turns > 1) this.bury(code, details, turns - 1)
    })
  }

  onReceiveMetadata(metadata: grpc.Metadata): void {
    this.headers = received(metadata)
    this.listener?.onHeaders(this.headers)
  }
  onReceiveMessage(message: unknown): void {
    this.listener?.onMessage(message as Uint8Array)
  }
  onReceiveStatus(status: grpc.StatusObject): void {
    const { listener } = this
    if (this.done || listener === undefined) return
    this.done = true
    if (this.started) this.owner.limits.ended(this.written)
    this.owner.callEnded(this)
    const metadata = received(status.metadata)
    const { code, details } = status
    // Its deadline had passed at its start.
    if (code !== 0 && !this.sent) this.bury(code, details)
    const progress = code === 0 ? "Answered" : this.progress(code, details, metadata)
    this.listener = this.headers = this.written = undefined
    const goaway = progress === "Refused" && this.owner.ended() !== undefined
    listener.onStatus(code, goaway ? Status.refusedByGoaway : details, metadata, progress)
  }

  private progress(code: number, details: string, metadata: Metadata.Metadata) {
    return Status.progressOf({
      sent: this.sent,
      headersSeen: this.headers !== undefined,
      code,
      details,
      metadataEmpty: metadata.size === 0,
      grpcContentType: Status.isGrpc(this.headers) || Status.isGrpc(metadata)
    })
  }
}

const noContext = {}

/**
 * What one call sends. grpc-js copies it twice on its way out, so that retries of its own can start from a clean one; those
 * are switched off, and the copies cost more than all that Hawser does for a call.
 */
class Outgoing extends grpc.Metadata {
  override clone(): this {
    return this
  }
}

/** Our metadata as grpc-js's, for one call. */
export const toGrpcJs = (metadata: Metadata.Metadata | undefined, attempt: number): grpc.Metadata => {
  const out = new Outgoing()
  if (metadata !== undefined) {
    for (const [key, value] of metadata.entries) out.add(key, typeof value === "string" ? value : Buffer.from(value))
  }
  if (attempt > 1) out.set("grpc-previous-rpc-attempts", String(attempt - 1))
  return out
}

const received = (metadata: grpc.Metadata): Metadata.Metadata => Metadata.received(entries, metadata)

function* entries(metadata: grpc.Metadata): Generator<Metadata.Entry> {
  for (const key of Object.keys(metadata.getMap())) {
    for (const value of metadata.get(key)) yield [key, value]
  }
}
