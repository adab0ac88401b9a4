/** Channels and methods for tests of middleware. */
import { Call, Channel, Metadata, type Method, RpcError } from "@hawser/grpc"
import { Effect } from "effect"

export const method = (idempotency: Method.Idempotency = "Unknown"): Method.Method<string, string, "unary"> => ({
  path: "/demo.Greeter/SayHello",
  kind: "unary",
  idempotency,
  encode: (text) => new TextEncoder().encode(text),
  decode: (bytes) => new TextDecoder().decode(bytes)
})

export const call = (
  options?: Partial<Call.Call<string, string>> & { readonly idempotency?: Method.Idempotency }
): Call.Call<string, string> => {
  const { idempotency, ...rest } = options ?? {}
  return Call.make<string, string>(method(idempotency), "ada", rest)
}

export const reply = <I, O>({ input, method }: Call.Call<I, O>, connection = "a:1#1"): Call.Reply<O> => ({
  message: method.decode(method.encode(input)),
  headers: Metadata.empty,
  trailers: Metadata.empty,
  connection
})

/** What a scripted channel does next: answer, fail, or run an effect first. */
export type Step = "ok" | RpcError.RpcError | Effect.Effect<"ok", RpcError.RpcError>

/** A channel that follows a script and keeps what it was sent. The last step repeats. */
export const scripted = (...steps: ReadonlyArray<Step>) => {
  const seen: Array<Call.Call<unknown, unknown>> = []
  const channel: Channel.Channel = Channel.make({
    unary: <I, O>(call: Call.Call<I, O>) =>
      Effect.suspend(() => {
        const step = steps[Math.min(seen.length, steps.length - 1)] ?? "ok"
        seen.push(call as unknown as Call.Call<unknown, unknown>)
        if (step === "ok") return Effect.succeed(reply(call))
        return RpcError.isRpcError(step) ? Effect.fail(step) : Effect.as(step, reply(call))
      })
  })
  return { channel, seen }
}

export const unavailable = (progress: RpcError.Progress, facts?: RpcError.Facts, details = "lost"): RpcError.RpcError =>
  RpcError.of(method().path, { _tag: "Unavailable", details, connect: undefined }, progress, facts)
