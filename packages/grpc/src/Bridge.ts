/**
 * From a call to the wire, in one object and one asynchronous step.
 *
 * The object is the borrow in the queue and the listener on the wire, inside one `Effect.callback`. So there is no moment
 * between permit and call, an interrupt at any time leaves the queue or cancels the call and returns the permit, and a
 * status is classified where it arrives. It sends once: retrying is the work of others.
 */
import type { Borrow, Waiting } from "@hawser/core/Borrow"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Affinity, Priority } from "@hawser/core/Demand"
import { name } from "@hawser/core/Endpoint"
import type { Lease } from "@hawser/core/Lease"
import type { Outcome } from "@hawser/core/Outcome"
import * as Effect from "effect/Effect"
import type { Call, Reply } from "./Call.ts"
import * as Channel from "./Channel.ts"
import type { CallListener, Connection, StartOptions, Wire } from "./Connection.ts"
import * as Metadata from "./Metadata.ts"
import { type Facts, of, type Phase, type Progress, type RpcError, type RpcReason } from "./RpcError.ts"
import * as Status from "./Status.ts"

/** What the bridge needs. */
export interface BridgeOptions {
  readonly borrowUnsafe: (borrow: Borrow<Connection, ConnectError>) => Waiting | undefined
  /** The longest request, in bytes. */
  readonly maxSendBytes: number
  /** Monotonic milliseconds. */
  readonly now: () => number
}

/** The innermost channel: borrows a connection and sends. */
export const make = (options: BridgeOptions): Channel.Channel =>
  Channel.make({
    unary: <I, O>(call: Call<I, O>) =>
      Effect.callback<Reply<O>, RpcError>((resume) => {
        const unary = new UnaryCall<I, O>(call, options, resume)
        unary.begin()
        return Effect.sync(() => unary.interrupt())
      })
  })

class UnaryCall<I, O> implements Borrow<Connection, ConnectError>, StartOptions, CallListener {
  private readonly call: Call<I, O>
  private readonly options: BridgeOptions
  private readonly resume: (effect: Effect.Effect<Reply<O>, RpcError>) => void
  private bytes: Uint8Array | undefined = undefined
  private place: Waiting | undefined = undefined
  private queuedAt = -1
  private lease: Lease<Connection> | undefined = undefined
  private wire: Wire | undefined = undefined
  private headers: Metadata.Metadata | undefined = undefined
  private answer: Uint8Array | undefined = undefined
  private done = false

  constructor(call: Call<I, O>, options: BridgeOptions, resume: (effect: Effect.Effect<Reply<O>, RpcError>) => void) {
    this.call = call
    this.options = options
    this.resume = resume
  }

  get priority(): Priority {
    return this.call.priority
  }
  get deadline(): number {
    return this.call.deadline ?? Infinity
  }
  get waitForReady(): boolean {
    return this.call.waitForReady
  }
  get affinity(): Affinity | undefined {
    return this.call.affinity
  }
  get method(): string {
    return this.call.method.path
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

  /** Encodes first: a request that can't be sent takes no permit. */
  begin(): void {
    // Middleware may have set it: a header that Node refuses would cost the connection, and the calls of others.
    const problem = Metadata.problem(this.call.metadata)
    if (problem !== undefined) return this.fail({ _tag: "InvalidArgument", details: problem }, "NotSent")
    let bytes: Uint8Array
    try {
      bytes = this.call.method.encode(this.call.input)
    } catch (cause) {
      return this.fail({ _tag: "Internal", details: "The request serializer threw" }, "NotSent", { cause })
    }
    const { borrowUnsafe, maxSendBytes, now } = this.options
    if (bytes.length > maxSendBytes) {
      const details = `The request has ${bytes.length} bytes, more than maxSendBytes allows (${maxSendBytes})`
      return this.fail({ _tag: "ResourceExhausted", details, by: "Us" }, "NotSent")
    }
    this.bytes = bytes
    const place = borrowUnsafe(this)
    if (place !== undefined) {
      this.place = place
      this.queuedAt = now()
    }
  }

  granted(lease: Lease<Connection>): void {
    this.place = undefined
    this.lease = lease
    try {
      const wire = lease.connection.start(this, this)
      this.wire = wire
      wire.send(this.bytes!)
      wire.read()
    } catch (cause) {
      // Not the caller's fault and not a status: the connection can't be trusted any more.
      this.release("Broken")
      this.fail({ _tag: "Unavailable", details: "The call could not be started", connect: undefined }, "NotSent", {
        cause
      })
    }
    this.bytes = undefined
  }

  refused(error: ConnectError): void {
    this.place = undefined
    const endpoint = error.endpoint === undefined ? {} : { endpoint: error.endpoint }
    this.fail(refusal(error), "NotSent", { cause: error, ...endpoint })
  }

  /** The path is given up. Ends what retry would send again; anything else runs on. */
  lost(): void {
    if (this.done || this.call.resend?.(this.call) !== true) return
    this.wire?.cancel()
    this.release("Neutral")
    this.fail({ _tag: "Unavailable", details: Status.pathGivenUp, connect: undefined }, "MaybeProcessed")
  }

  /** The fiber was interrupted: cancels, and gives back what it holds. */
  interrupt(): void {
    if (this.done) return
    this.done = true
    this.place?.leave()
    // Before the permit goes to the next: the peer must never see more streams than it allows.
    this.wire?.cancel()
    this.release("Neutral")
  }

  onHeaders(metadata: Metadata.Metadata): void {
    this.headers = metadata
  }

  onMessage(bytes: Uint8Array): void {
    if (this.done) return
    if (this.answer === undefined) {
      this.answer = bytes
      // A second message would keep the status back for ever, were it not asked for.
      this.wire?.read()
      return
    }
    this.wire?.cancel()
    this.release("Success")
    this.fail({ _tag: "Internal", details: "The server sent more than one message" }, "Answered")
  }

  onStatus(code: number, details: string, trailers: Metadata.Metadata, progress: Progress): void {
    if (this.done) return
    if (code === 0 && this.answer !== undefined) {
      this.release("Success")
      return this.succeed(this.answer, trailers)
    }
    const phase: Phase = progress === "NotSent" ? "Connecting" : this.headers === undefined ? "Sent" : "Receiving"
    const reason = Status.reason(code, details, trailers, progress, false, phase)
    this.release(Status.outcome(reason, progress, "Server"))
    this.fail(reason, progress, { metadata: trailers })
  }

  private succeed(bytes: Uint8Array, trailers: Metadata.Metadata): void {
    let message: O
    try {
      message = this.call.method.decode(bytes)
    } catch (cause) {
      return this.fail({ _tag: "Internal", details: "The response deserializer threw" }, "Answered", { cause })
    }
    this.done = true
    const headers = this.headers ?? Metadata.empty
    this.resume(Effect.succeed({ message, headers, trailers, connection: this.lease!.id }))
  }

  /** The lease stays known: the answer says whose it was. */
  private release(outcome: Outcome): void {
    this.lease?.release(outcome)
  }

  private fail(reason: RpcReason, progress: Progress, facts: Facts = {}): void {
    this.done = true
    const { lease, queuedAt } = this
    const waited = queuedAt < 0 ? 0 : (lease === undefined ? this.options.now() : lease.startedAt) - queuedAt
    this.resume(
      Effect.fail(
        of(this.method, reason, progress, {
          attempts: this.call.attempt,
          endpoint: lease === undefined ? undefined : name(lease.endpoint),
          connection: lease?.id,
          waitedMillis: Math.max(0, waited),
          ...facts
        })
      )
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
