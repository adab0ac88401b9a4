/**
 * What every call on its way to the wire has in common: its demand in the queue, its lease, its end.
 *
 * One object is the borrow in the queue and the listener on the wire. It ends once, whatever comes first: a status, an
 * interrupt, a lost path, a refusal. At its end it has left the queue or given its permit back.
 */
import type { Borrow, Waiting } from "@hawser/core/Borrow"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Affinity, Priority } from "@hawser/core/Demand"
import { name } from "@hawser/core/Endpoint"
import type { Lease, LoadReport } from "@hawser/core/Lease"
import type { Outcome } from "@hawser/core/Outcome"
import type { Call } from "./Call.ts"
import type { CallListener, Connection, StartOptions, Wire } from "./Connection.ts"
import * as Metadata from "./Metadata.ts"
import * as Orca from "./Orca.ts"
import { type Facts, of, type Phase, type Progress, type RpcError, type RpcReason } from "./RpcError.ts"
import * as Status from "./Status.ts"
import * as Thrown from "./ThrownError.ts"

/** What the bridge needs. */
export interface BridgeOptions {
  readonly borrowUnsafe: (borrow: Borrow<Connection, ConnectError>) => Waiting | undefined
  /** The longest request, in bytes. */
  readonly maxSendBytes: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Whether somebody wants to know what backends report of their load. Default `false`. */
  readonly reports?: boolean | undefined
  /** For how many milliseconds of the time since then this process itself did not run. Default: it is not known. */
  readonly stalled?: ((since: number) => number) | undefined
}

/** What a stall of this process may explain, if it was a tenth of the call's time or more. */
const stalls: ReadonlySet<string> = new Set(["DeadlineExceeded", "Unavailable"])
const relevantShare = 10

/** A call between its channel and its wire. */
export abstract class BridgeCall<I, O> implements Borrow<Connection, ConnectError>, StartOptions, CallListener {
  protected readonly call: Call<I, O>
  protected readonly options: BridgeOptions
  protected lease: Lease<Connection> | undefined = undefined
  protected wire: Wire | undefined = undefined
  protected headers: Metadata.Metadata | undefined = undefined
  protected done = false
  private place: Waiting | undefined = undefined
  private queuedAt = -1

  constructor(call: Call<I, O>, options: BridgeOptions) {
    this.call = call
    this.options = options
  }

  get priority(): Priority {
    return this.call.priority
  }
  get deadline(): number {
    return this.call.deadline ?? Infinity
  }
  get now(): number | undefined {
    return this.lease?.startedAt
  }
  get waitForReady(): boolean {
    return this.call.waitForReady === true
  }
  get waitUntil(): number | undefined {
    return this.call.waitUntil
  }
  get affinity(): Affinity | undefined {
    return this.call.affinity
  }
  get path(): string {
    return this.call.method.path
  }
  get metadata(): Metadata.Metadata | undefined {
    return this.call.metadata
  }
  get attempt(): number {
    return this.call.attempt
  }
  get avoid(): ReadonlySet<string> | undefined {
    return this.call.avoid
  }
  /** Key of the latency estimate; streams have none. */
  abstract get method(): string | undefined

  abstract onMessage(bytes: Uint8Array): void
  /** The call is on the wire. */
  protected abstract started(wire: Wire): void
  /** The call has ended well, with its permit given back. */
  protected abstract succeeded(trailers: Metadata.Metadata): void
  /** The call has failed. */
  protected abstract failed(error: RpcError): void

  /** Takes a permit, or a place in the queue. */
  protected borrow(): void {
    // Middleware may have set it: a header that Node refuses would cost the connection, and the calls of others.
    const problem = Metadata.problem(this.metadata)
    if (problem !== undefined) return this.fail({ _tag: "InvalidArgument", details: problem }, "NotSent")
    const place = this.options.borrowUnsafe(this)
    if (place === undefined) return
    this.place = place
    this.queuedAt = this.options.now()
  }

  /** Whether it has a place in the queue. */
  protected get isWaiting(): boolean {
    return this.place !== undefined
  }

  /** The bytes of a request; `undefined` when the call has failed for it. */
  protected encode(input: I): Uint8Array | undefined {
    const progress: Progress = this.wire === undefined ? "NotSent" : "MaybeProcessed"
    let bytes: Uint8Array
    try {
      bytes = this.call.method.encode(input)
    } catch (thrown) {
      const cause = Thrown.of("request serializer", thrown)
      this.stop({ _tag: "Internal", details: "The request serializer threw" }, progress, { cause })
      return undefined
    }
    const { maxSendBytes } = this.options
    if (bytes.length <= maxSendBytes) return bytes
    const details = `The request has ${bytes.length} bytes, more than maxSendBytes allows (${maxSendBytes})`
    this.stop({ _tag: "ResourceExhausted", details, by: "Us" }, progress)
    return undefined
  }

  granted(lease: Lease<Connection>): void {
    this.place = undefined
    this.lease = lease
    this.call.picked?.(name(lease.endpoint), lease.id)
    try {
      this.wire = lease.connection.start(this, this)
      this.started(this.wire)
    } catch (thrown) {
      // Not the caller's fault and not a status: the connection can't be trusted any more.
      lease.release("Broken")
      const reason = { _tag: "Unavailable", details: "The call could not be started", connect: undefined } as const
      this.fail(reason, "NotSent", { cause: Thrown.of("connection", thrown) })
    }
  }

  refused(error: ConnectError): void {
    const endpoint = error.endpoint === undefined ? {} : { endpoint: error.endpoint }
    this.fail(refusal(error), "NotSent", { cause: error, ...endpoint })
  }

  /** The path is given up. Ends what retry would send again; anything else runs on. */
  lost(): void {
    if (this.done || this.isCommitted || !this.isResendable()) return
    this.stop({ _tag: "Unavailable", details: Status.pathGivenUp, connect: undefined }, "MaybeProcessed")
  }

  /** Whether it would be sent again now. */
  protected isResendable(): boolean {
    return this.call.resend?.(this.call) === true
  }

  /** Gives the call up: leaves the queue, or cancels and returns the permit. */
  interrupt(): void {
    if (this.done) return
    this.done = true
    this.place?.leave()
    // Before the permit goes to the next: the peer must never see more streams than it allows.
    this.wire?.cancel()
    this.lease?.release("Neutral")
  }

  onHeaders(metadata: Metadata.Metadata): void {
    this.headers = metadata
    const { committed } = this.call
    if (committed !== undefined && !this.done && this.isCommitted) committed()
  }

  /** Whether the headers of a gRPC server came. A status that comes alone has none, and a page of HTML is no answer. */
  protected get isCommitted(): boolean {
    return this.headers !== undefined && Status.isGrpc(this.headers)
  }

  onStatus(code: number, details: string, trailers: Metadata.Metadata, progress: Progress): void {
    if (this.done) return
    const problem = code === 0 ? this.incomplete() : undefined
    if (code === 0 && problem === undefined) {
      this.done = true
      this.lease?.release("Success", this.reported(trailers))
      return this.succeeded(trailers)
    }
    const phase: Phase = progress === "NotSent" ? "Connecting" : this.headers === undefined ? "Sent" : "Receiving"
    const reason = Status.reason(code, problem ?? details, trailers, progress, false, phase)
    const stalledMillis = this.stalledMillis(reason)
    // A deadline that passed mostly while we did not listen says nothing about the server.
    const ours = reason._tag === "DeadlineExceeded" && stalledMillis * 2 >= this.options.now() - this.lease!.startedAt
    this.lease?.release(
      ours && stalledMillis > 0 ? "Neutral" : Status.outcome(reason, progress, "Server"),
      this.reported(trailers)
    )
    this.fail(reason, progress, { metadata: trailers, stalledMillis })
  }

  private reported(trailers: Metadata.Metadata): LoadReport | undefined {
    return this.options.reports === true ? Orca.read(trailers) : undefined
  }

  /** What is missing from an answer that ends with OK. */
  protected incomplete(): string | undefined {
    return undefined
  }

  /** Ends the call from this side, because of a fault of this side or of the answer. */
  protected stop(reason: RpcReason, progress: Progress, facts?: Facts, outcome: Outcome = "Neutral"): void {
    if (this.done) return
    this.place?.leave()
    this.wire?.cancel()
    this.lease?.release(outcome)
    this.fail(reason, progress, facts)
  }

  /** How long this process did not run while the call did, where that may explain its end. */
  private stalledMillis(reason: RpcReason): number {
    const { lease, queuedAt } = this
    const since = queuedAt >= 0 ? queuedAt : lease?.startedAt
    if (since === undefined || !stalls.has(reason._tag) || ("by" in reason && reason.by === "Server")) return 0
    const millis = this.options.stalled?.(since) ?? 0
    return millis * relevantShare >= this.options.now() - since ? Math.round(millis) : 0
  }

  protected fail(reason: RpcReason, progress: Progress, facts: Facts = {}): void {
    this.done = true
    const { lease, queuedAt } = this
    const waited = queuedAt < 0 ? 0 : (lease === undefined ? this.options.now() : lease.startedAt) - queuedAt
    this.failed(
      of(this.path, reason, progress, {
        attempts: this.call.attempt,
        endpoint: lease === undefined ? undefined : name(lease.endpoint),
        connection: lease?.id,
        waitedMillis: Math.max(0, waited),
        committed: this.isCommitted,
        stalledMillis: facts.stalledMillis ?? this.stalledMillis(reason),
        ...facts
      })
    )
  }
}

/** Our own refusals, as reasons. */
const refusal = (error: ConnectError): RpcReason => {
  const { reason } = error
  if (reason._tag !== "Saturated") return { _tag: "Unavailable", details: error.message, connect: error }
  if (reason.by === "QueueLength") return { _tag: "ResourceExhausted", details: error.message, by: "Us" }
  const phase: Phase = reason.on === "Permit" ? "Queued" : "Connecting"
  return { _tag: "DeadlineExceeded", details: error.message, phase, by: "Us" }
}
