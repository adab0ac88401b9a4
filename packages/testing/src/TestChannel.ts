/**
 * A channel without sockets: handlers in the place of servers.
 *
 * Programs under test keep their clients; only the layer below them changes. Calls are recorded, deadlines hold under
 * `TestClock`, and messages go through the real codecs. There is no pool, no queue and no retry below: what is tested is
 * the program. Put middleware such as `Retry.layer()` on top where it belongs to the test.
 */
import * as Call from "@hawser/grpc/Call"
import * as Channel from "@hawser/grpc/Channel"
import * as Deadline from "@hawser/grpc/Deadline"
import * as Metadata from "@hawser/grpc/Metadata"
import { kindOf } from "@hawser/grpc/Method"
import * as RpcError from "@hawser/grpc/RpcError"
import { Issues } from "@hawser/core/OptionsError"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** A gRPC status as a handler may say it: `{ _tag: "NotFound" }`. What is left out is filled in. */
export interface Status {
  readonly _tag: RpcError.Tag
  readonly details?: string | undefined
  /** Trailers that come with it. */
  readonly metadata?: Metadata.Metadata | undefined
}

/** A message with headers and trailers; made by `reply`. */
export class TestReply<out O> {
  readonly message: O
  readonly headers: Metadata.Metadata
  readonly trailers: Metadata.Metadata
  constructor(message: O, headers: Metadata.Metadata, trailers: Metadata.Metadata) {
    this.message = message
    this.headers = headers
    this.trailers = trailers
  }
}

/** An answer with headers and trailers, for handlers. */
export const reply = <O>(
  message: O,
  options?: { readonly headers?: Metadata.Metadata | undefined; readonly trailers?: Metadata.Metadata | undefined }
): TestReply<O> => new TestReply(message, options?.headers ?? Metadata.empty, options?.trailers ?? Metadata.empty)

/**
 * What stands in the place of a server's method.
 *
 * **Details**: a failure is what the server answers. A handler that throws or dies is a server that crashes: the call
 * fails with `Internal`, and the defect is the `cause`.
 */
export interface Handler<in I, out O> {
  (input: I, call: Call.Call<unknown, unknown>): Effect.Effect<O | TestReply<O>, RpcError.RpcError | Status>
}

/** Handlers by path: `/package.Service/Method`. */
export interface Handlers {
  // eslint-disable-next-line typescript/no-explicit-any -- paths carry no types: a handler says what it takes
  readonly [path: `/${string}/${string}`]: Handler<any, unknown>
}

/** Handlers for the unary methods of a definition, each optional. */
export type ServiceHandlers<S> = {
  readonly [K in keyof S as S[K] extends Unary ? K : never]?: Handler<RequestOf<S[K]>, ResponseOf<S[K]>> | undefined
}

interface Unary {
  readonly requestStream: false
  readonly responseStream: false
}

type RequestOf<D> = D extends { readonly requestDeserialize: (bytes: Buffer) => infer I }
  ? I
  : D extends { readonly requestSerialize: (value: infer I) => Uint8Array }
    ? I
    : never

type ResponseOf<D> = D extends { readonly responseSerialize: (value: infer O) => Uint8Array }
  ? O
  : D extends { readonly responseDeserialize: (bytes: Buffer) => infer O }
    ? O
    : never

/** Options of a test channel. */
export interface TestChannelOptions {
  /** For calls that name no timeout. Default: none. Timeouts of calls and of `Deadline.within` always hold. */
  readonly deadline?: Duration.Input | undefined
}

/** The calls that a test channel has seen. */
export interface TestChannel {
  /** In the order in which they began; the last 10,000. */
  readonly calls: Effect.Effect<ReadonlyArray<Call.Call<unknown, unknown>>>
}

/** The calls that a test channel has seen, as a service beside `Channel`. */
export const TestChannel: Context.Service<TestChannel, TestChannel> = Context.Service<TestChannel, TestChannel>(
  "hawser/testing/TestChannel"
)

const maxCalls = 10_000

/**
 * The calls so far, in the order in which they began; the last 10,000.
 *
 * **Details**: needs the layer to be merged into the test (`Layer.provideMerge`), not only provided to the client.
 */
export const calls: Effect.Effect<ReadonlyArray<Call.Call<unknown, unknown>>, never, TestChannel> = TestChannel.use(
  (self) => self.calls
)

/**
 * A channel whose methods are found by path. A path without a handler is `Unimplemented`.
 *
 * **Details**: the request is encoded, so that a codec that can't take it shows, and the handler gets the value itself.
 * `layerService` sends messages through both codecs.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, type Method } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const layer = TestChannel.layer({ "/demo.Greeter/SayHello": (name: string) => Effect.succeed(`hello ${name}`) })
 * const method: Method.Method<string, string> = {
 *   path: "/demo.Greeter/SayHello",
 *   kind: "unary",
 *   idempotency: "Unknown",
 *   encode: (text) => Buffer.from(text),
 *   decode: (bytes) => Buffer.from(bytes).toString()
 * }
 * const program = Effect.gen(function*() {
 *   const channel = yield* Channel.Channel
 *   const { message } = yield* channel.unary(Call.make(method, "ada"))
 *   const seen = yield* TestChannel.calls
 *   return [message, seen.length]
 * })
 * await Effect.runPromise(Effect.provide(program, layer)) // => ["hello ada", 1]
 * ```
 */
export const layer = (
  handlers: Handlers,
  options?: TestChannelOptions | undefined
): Layer.Layer<Channel.Channel | TestChannel> =>
  fromServers(
    new Map(Object.entries(handlers).map(([path, handler]) => [path, { handler, codec: undefined }])),
    options
  )

/**
 * A channel for a service definition: handlers by the definition's own names, each with its types. A method without a
 * handler is `Unimplemented`.
 *
 * **Details**: requests and answers pass through the definition's codecs both ways, as on a wire: what a codec drops is
 * gone, and one that throws is an `Internal`. Names that the definition does not have are refused by the types; where
 * those were bypassed, the layer is a defect with an `OptionsError`.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const text = { serialize: (value: string) => Buffer.from(value), deserialize: (bytes: Buffer) => bytes.toString() }
 * const GreeterService = {
 *   sayHello: {
 *     path: "/demo.Greeter/SayHello",
 *     requestStream: false,
 *     responseStream: false,
 *     requestSerialize: text.serialize,
 *     requestDeserialize: text.deserialize,
 *     responseSerialize: text.serialize,
 *     responseDeserialize: text.deserialize
 *   }
 * } as const
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const layer = Greeter.layer.pipe(Layer.provide(TestChannel.layerService(GreeterService, {
 *   sayHello: (name) => name === "" ? Effect.fail({ _tag: "InvalidArgument" }) : Effect.succeed(`hello ${name}`)
 * })))
 * const program = Greeter.use((greeter) => greeter.sayHello("")).pipe(
 *   Effect.catchReason("RpcError", "InvalidArgument", () => Effect.succeed("who?"))
 * )
 * await Effect.runPromise(Effect.provide(program, layer)) // => "who?"
 * ```
 */
export const layerService = <const S extends object>(
  definition: S,
  handlers: ServiceHandlers<S>,
  options?: TestChannelOptions | undefined
): Layer.Layer<Channel.Channel | TestChannel> =>
  Layer.unwrap(
    Effect.sync(() => {
      const issues = new Issues()
      const servers = new Map<string, Server>()
      const codecs = new Map(Object.entries<Codec>(definition as {}).filter(([, one]) => kindOf(one) === "unary"))
      const known = `one of ${[...codecs.keys()].join(", ")}`
      for (const [name, handler] of Object.entries<Handler<never, unknown> | undefined>(handlers)) {
        const codec = codecs.get(name)
        issues.check(codec !== undefined, `handlers.${name}`, known, name)
        if (codec !== undefined && handler !== undefined) servers.set(codec.path, { handler, codec })
      }
      issues.throwIfAny()
      return fromServers(servers, options)
    })
  )

interface Codec {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestDeserialize?: ((bytes: Buffer) => unknown) | undefined
  readonly responseSerialize?: ((value: unknown) => Uint8Array) | undefined
}

interface Server {
  readonly handler: Handler<never, unknown>
  readonly codec: Codec | undefined
}

const fromServers = (
  servers: ReadonlyMap<string, Server>,
  options: TestChannelOptions | undefined
): Layer.Layer<Channel.Channel | TestChannel> =>
  Layer.effectContext(
    Effect.sync(() => {
      const seen: Array<Call.Call<unknown, unknown>> = []
      const record = (call: Call.Call<unknown, unknown>): void => {
        if (seen.length === maxCalls) seen.shift()
        seen.push(call)
      }
      const channel = Channel.make({
        unary: <I, O>(call: Call.Call<I, O>) =>
          Effect.suspend(() => {
            const problem = Metadata.problem(call.metadata)
            if (problem !== undefined) return fail(call, { _tag: "InvalidArgument", details: problem }, "NotSent")
            return serve(call, servers.get(call.method.path), record)
          })
      }).pipe(Deadline.withDefault(options?.deadline ?? Call.none))
      return Context.make(Channel.Channel, channel as Channel.Channel).pipe(
        Context.add(TestChannel, { calls: Effect.sync(() => [...seen]) })
      )
    })
  )

const serve = <I, O>(
  call: Call.Call<I, O>,
  server: Server | undefined,
  record: (call: Call.Call<unknown, unknown>) => void
): Effect.Effect<Call.Reply<O>, RpcError.RpcError> => {
  const { decode, encode } = call.method
  const bytes = attempt(() => asBuffer(encode(call.input)))
  if ("defect" in bytes) return fail(call, internal("encode the request", bytes.defect), "NotSent", bytes.defect)
  const { requestDeserialize, responseSerialize } = server?.codec ?? {}
  const input = attempt(() => (requestDeserialize === undefined ? call.input : requestDeserialize(bytes.value)))
  const received = { ...call, input: "defect" in input ? call.input : input.value } as Call.Call<unknown, unknown>
  record(received)
  if (server === undefined) return fail(call, { _tag: "Unimplemented", details: "no handler for this method" })
  if ("defect" in input) return fail(call, internal("decode the request", input.defect), "Answered", input.defect)
  const answer = Effect.matchCauseEffect(
    Effect.suspend(() => server.handler(input.value as never, received)),
    {
      onFailure: (cause): Effect.Effect<Call.Reply<O>, RpcError.RpcError> => failed(call, cause),
      onSuccess: (value) => {
        const { headers, message, trailers } = value instanceof TestReply ? value : reply(value)
        const out = attempt(() =>
          responseSerialize === undefined ? message : decode(asBuffer(responseSerialize(message)))
        )
        return "defect" in out
          ? fail(call, internal("send the answer through its codec", out.defect), "Answered", out.defect)
          : Effect.succeed({ message: out.value as O, headers, trailers, connection: "test#1" })
      }
    }
  )
  if (call.deadline === undefined || call.deadline === Infinity) return answer
  const { deadline } = call
  return Effect.withFiber((fiber) =>
    Effect.timeoutOrElse(answer, {
      duration: Math.max(0, deadline - Deadline.nowUnsafe(fiber)),
      orElse: () => fail(call, { _tag: "DeadlineExceeded", details: "Deadline exceeded" }, "MaybeProcessed")
    })
  )
}

const failed = <I, O>(
  call: Call.Call<I, O>,
  cause: Cause.Cause<RpcError.RpcError | Status>
): Effect.Effect<never, RpcError.RpcError> => {
  if (Cause.hasInterrupts(cause)) return Effect.failCause(cause as Cause.Cause<never>)
  const defect = cause.reasons.find(Cause.isDieReason)
  if (defect !== undefined) return fail(call, internal("handle the call", defect.defect), "Answered", defect.defect)
  const { error } = cause.reasons.find(Cause.isFailReason)!
  return RpcError.isRpcError(error) ? Effect.fail(error) : fail(call, error)
}

const fail = <I, O>(
  call: Call.Call<I, O>,
  { _tag, details = "", metadata }: Status,
  progress: RpcError.Progress = "Answered",
  cause?: unknown
): Effect.Effect<never, RpcError.RpcError> => {
  const by = progress === "Answered" ? "Server" : "Us"
  const reason: RpcError.RpcReason =
    _tag === "DeadlineExceeded"
      ? { _tag, details, phase: "Sent", by }
      : _tag === "ResourceExhausted"
        ? { _tag, details, by }
        : _tag === "Unavailable"
          ? { _tag, details, connect: undefined }
          : { _tag, details }
  const at = progress === "NotSent" ? {} : { endpoint: "test", connection: "test#1" }
  return Effect.fail(
    RpcError.of(call.method.path, reason, progress, { attempts: call.attempt, metadata, cause, ...at })
  )
}

const internal = (what: string, defect: unknown): Status => ({
  _tag: "Internal",
  details: `could not ${what}: ${defect instanceof Error ? defect.message : String(defect)}`
})

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const attempt = <A>(f: () => A): { readonly value: A } | { readonly defect: unknown } => {
  try {
    return { value: f() }
  } catch (defect) {
    return { defect }
  }
}
