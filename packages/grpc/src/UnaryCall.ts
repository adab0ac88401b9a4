/**
 * One request, one answer: the cheapest call there is.
 */
import * as Effect from "effect/Effect"
import { BridgeCall, type BridgeOptions } from "./BridgeCall.ts"
import type { Call, Reply } from "./Call.ts"
import type { Wire } from "./Connection.ts"
import * as Metadata from "./Metadata.ts"
import type { RpcError } from "./RpcError.ts"
import * as Thrown from "./ThrownError.ts"

/** Ends the effect of a call. */
export type Resume<O> = (effect: Effect.Effect<Reply<O>, RpcError>) => void

/** Sends one request and gives its answer, in one asynchronous step. */
export const send = <I, O>(call: Call<I, O>, options: BridgeOptions): Effect.Effect<Reply<O>, RpcError> =>
  Effect.callback<Reply<O>, RpcError>((resume) => {
    const unary = new UnaryCall<I, O>(call, options, resume)
    unary.begin()
    return Effect.sync(() => unary.interrupt())
  })

/** Larger requests are encoded anew after the queue: a thousand that wait would keep a thousand copies of theirs. */
const keptBytes = 4_096

/** One request on its way to its answer. */
export class UnaryCall<I, O> extends BridgeCall<I, O> {
  protected readonly resume: Resume<O>
  private bytes: Uint8Array | undefined = undefined
  private answer: Uint8Array | undefined = undefined

  constructor(call: Call<I, O>, options: BridgeOptions, resume: Resume<O>) {
    super(call, options)
    this.resume = resume
  }

  get method(): string {
    return this.path
  }

  /** Encodes first: a request that can't be sent takes no permit. */
  begin(): void {
    this.bytes = this.encode(this.call.input)
    if (this.bytes === undefined) return
    this.borrow()
    if (this.isWaiting && this.bytes !== undefined && this.bytes.length > keptBytes) this.bytes = undefined
  }

  onMessage(bytes: Uint8Array): void {
    if (this.done) return
    if (this.answer === undefined) {
      this.answer = bytes
      // A second message would keep the status back for ever, were it not asked for.
      this.wire?.read()
      return
    }
    this.stop({ _tag: "Internal", details: "The server sent more than one message" }, "Answered", {}, "Success")
  }

  protected started(wire: Wire): void {
    const bytes = this.bytes ?? this.encode(this.call.input)
    // What could be encoded once can't be any more: the call has ended.
    if (bytes === undefined) return
    wire.send(bytes)
    wire.end()
    wire.read()
    this.bytes = undefined
  }

  protected override incomplete(): string | undefined {
    return this.answer === undefined ? "" : undefined
  }

  protected succeeded(trailers: Metadata.Metadata): void {
    let message: O
    try {
      message = this.call.method.decode(this.answer!)
    } catch (thrown) {
      const cause = Thrown.of("response deserializer", thrown)
      return this.fail({ _tag: "Internal", details: "The response deserializer threw" }, "Answered", { cause })
    }
    const headers = this.headers ?? Metadata.empty
    this.replied({ message, headers, trailers, connection: this.lease!.id })
  }

  /** The call has its answer. */
  protected replied(reply: Reply<O>): void {
    this.resume(Effect.succeed(reply))
  }

  protected failed(error: RpcError): void {
    this.resume(Effect.fail(error))
  }
}
