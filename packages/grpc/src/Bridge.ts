/**
 * From a call to the wire, in one object.
 *
 * The object is the borrow in the queue and the listener on the wire. So there is no moment between permit and call, an
 * interrupt at any time leaves the queue or cancels the call and returns the permit, and a status is classified where it
 * arrives. It sends once: retrying is the work of others.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { BridgeOptions } from "./BridgeCall.ts"
import type { Call, Replies, Reply } from "./Call.ts"
import * as Channel from "./Channel.ts"
import { of, type RpcError } from "./RpcError.ts"
import * as StreamCall from "./StreamCall.ts"
import * as UnaryCall from "./UnaryCall.ts"

/**
 * The innermost channel: borrows a connection and sends.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { ConnectError } from "@hawser/core"
 * import { Bridge, Call } from "@hawser/grpc"
 *
 * // A queue that is full.
 * const full = new ConnectError.ConnectError({
 *   reason: { _tag: "Saturated", by: "QueueLength", waiting: 9, on: "Permit" }
 * })
 * const channel = Bridge.make({ borrowUnsafe: (call) => void call.refused(full), maxSendBytes: 1_024, now: () => 0 })
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const { progress, reason } = Effect.runSync(Effect.flip(channel.unary(call)))
 * reason._tag // => "ResourceExhausted"
 * progress // => "NotSent"
 * ```
 */
export const make = (options: BridgeOptions): Channel.Channel =>
  Channel.make<RpcError>({
    unary: (call) =>
      call.method.kind === "unary"
        ? UnaryCall.send(call, options)
        : Effect.scoped(Effect.flatMap(StreamCall.open(call, options), (replies) => single(call, replies))),
    stream: (call) => StreamCall.open(call, options)
  })

/** The one answer to a stream of requests. */
const single = <I, O>(call: Call<I, O>, replies: Replies<O, RpcError>): Effect.Effect<Reply<O>, RpcError> =>
  Effect.flatMap(Stream.runCollect(Stream.take(replies.messages, 2)), (messages) => {
    const { connection, headers } = replies
    const wrong = (details: string) =>
      of(call.method.path, { _tag: "Internal", details }, "Answered", { connection, committed: true })
    if (messages.length > 1) return Effect.fail(wrong("The server sent more than one message"))
    if (messages.length < 1) return Effect.fail(wrong("Status OK without an answer"))
    return Effect.map(replies.trailers, (trailers) => ({ message: messages[0]!, headers, trailers, connection }))
  })
