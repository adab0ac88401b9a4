/**
 * Typed clients from generated service definitions.
 *
 * A client is an object with one function for each method of the definition. Calling one builds a call and hands it to
 * the channel, and nothing more: no generator, no span, no validation where there are no options.
 */
import type { OptionsIssue } from "@hawser/core/OptionsError"
import { Issues, OptionsError, show } from "@hawser/core/OptionsError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Call from "./Call.ts"
import * as Channel from "./Channel.ts"
import type { Client, MethodNames } from "./ClientMethod.ts"
import * as Deadline from "./Deadline.ts"
import * as Metadata from "./Metadata.ts"
import * as Method from "./Method.ts"
import * as RpcError from "./RpcError.ts"

export type {
  BidiStreamingMethod,
  Client,
  ClientMethod,
  ClientStreamingMethod,
  MethodNames,
  ServerStreamingMethod,
  UnaryMethod,
  UnaryNames
} from "./ClientMethod.ts"

/** What can be said about a service beyond its definition. */
export interface ClientOptions<S> {
  /**
   * Methods that may be called again although the server may have acted on them. For definitions that do not carry
   * `option idempotency_level`, as those of ts-proto.
   */
  readonly idempotent?: ReadonlyArray<MethodNames<S>> | undefined
}

/**
 * A client over a channel.
 *
 * **When to use**: `Service` is the same as a layer; this is for channels at hand, and for tests.
 *
 * **Details**: throws an `OptionsError` for a name in `idempotent` that the definition does not have, which the types
 * rule out. A method that is already declared idempotent in the definition stays so.
 *
 * **Example** (One call)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Channel, Client, Metadata } from "@hawser/grpc"
 *
 * const Greeter = {
 *   sayHello: {
 *     path: "/demo.Greeter/SayHello",
 *     requestStream: false,
 *     responseStream: false,
 *     requestSerialize: (name: string) => Buffer.from(name),
 *     responseDeserialize: (bytes: Buffer) => `hello ${bytes}`
 *   }
 * } as const
 * const channel = Channel.make({
 *   unary: ({ input, method }) => {
 *     const message = method.decode(method.encode(input))
 *     return Effect.succeed({ message, headers: Metadata.empty, trailers: Metadata.empty, connection: "here#1" })
 *   }
 * })
 * const greeter = Client.make(Greeter, channel)
 * Effect.runSync(greeter.sayHello("ada")) // => "hello ada"
 * Effect.runSync(greeter.sayHello.reply("ada")).connection // => "here#1"
 * ```
 */
export const make = <const S extends object, E, R>(
  definition: S,
  channel: Channel.Channel.With<E, R>,
  options?: ClientOptions<S> | undefined
): Client<S, E, R> => {
  const out: Record<string, unknown> = Object.create(null)
  for (const [name, method] of methodsOf(definition, options)) {
    out[name] = methods[method.kind](channel as never, method as never)
  }
  return out as Client<S, E, R>
}

const methodsOf = <S extends object>(
  definition: S,
  options: ClientOptions<S> | undefined
): ReadonlyMap<string, Method.Method<unknown, unknown>> => {
  const issues = new Issues()
  const idempotent = (options?.idempotent ?? []) as ReadonlyArray<string>
  const methods = new Map<string, Method.Method<unknown, unknown>>()
  for (const [name, one] of Object.entries(definition)) {
    if (!isDefinition(one)) issues.check(false, `definition.${name}`, "a grpc-js method definition", typeof one)
    else {
      methods.set(name, Method.fromDefinition(one, idempotent.includes(name) ? "Idempotent" : undefined))
    }
  }
  const known = `one of ${[...methods.keys()].join(", ")}`
  idempotent.forEach((name, i) => issues.check(methods.has(name), `idempotent[${i}]`, known, name))
  issues.throwIfAny()
  return methods
}

const isDefinition = (u: unknown): u is Method.Definition<unknown, unknown> => {
  if (typeof u !== "object" || u === null) return false
  const { path, requestStream, responseStream, requestSerialize, responseDeserialize } = u as Record<string, unknown>
  return (
    typeof path === "string" &&
    typeof requestStream === "boolean" &&
    typeof responseStream === "boolean" &&
    typeof requestSerialize === "function" &&
    typeof responseDeserialize === "function"
  )
}

const messageOf = <O>(reply: Call.Reply<O>): O => reply.message
const messagesOf = <O, E, R>(replies: Call.Replies<O, E, R>): Stream.Stream<O, E, R> => replies.messages

type Sender<I, A, E, R> = (call: Call.Call<I, never>) => Effect.Effect<A, E, R>

/** A call of one request, made from what the caller said. */
const one =
  <I, A, E, R>(send: Sender<I, A, E, R>, method: Method.Method<I, never>) =>
  (input: I, options?: Call.CallOptions): Effect.Effect<A, E | RpcError.RpcError, R> =>
    options === undefined ? send(Call.make(method, input)) : withOptions(send, Call.make(method, input), options)

/** A call of many requests. */
const many =
  <I, A, E, R>(send: Sender<I, A, E, R>, method: Method.Method<I, never>) =>
  (requests: Stream.Stream<I, unknown>, options?: Call.CallOptions): Effect.Effect<A, E | RpcError.RpcError, R> =>
    withOptions(send, Call.make(method, undefined as I, { requests }), options ?? {})

type AnyChannel = Channel.Channel.With<unknown, unknown>
type AnyMethod = Method.Method<unknown, never>

const answer = (reply: (...args: Array<never>) => Effect.Effect<Call.Reply<unknown>, unknown, unknown>) =>
  Object.assign((...args: Array<never>) => Effect.map(reply(...args), messageOf), { reply })
const answers = (replies: (...args: Array<never>) => Effect.Effect<Call.Replies<unknown, unknown>, unknown, unknown>) =>
  Object.assign((...args: Array<never>) => Stream.unwrap(Effect.map(replies(...args), messagesOf)), { replies })

/** How a client calls each kind of method. The exact types are those of `ClientMethod`. */
const methods: Record<Method.Kind, (channel: AnyChannel, method: AnyMethod) => unknown> = {
  unary: ({ unary }, method) => answer(one(unary as never, method)),
  clientStreaming: ({ unary }, method) => answer(many(unary as never, method) as never),
  serverStreaming: ({ stream }, method) => answers(one(stream as never, method)),
  bidiStreaming: ({ stream }, method) => answers(many(stream as never, method) as never)
}

const withOptions = <I, A, E, R>(
  send: Sender<I, A, E, R>,
  call: Call.Call<I, never>,
  options: Call.CallOptions
): Effect.Effect<A, E | RpcError.RpcError, R> => {
  const read = readOptions(options)
  if (read.issues.length > 0) return Effect.fail(invalid(call.method.path, read.issues))
  const { millis, call: said } = read
  if (millis === undefined) return send({ ...call, ...said })
  // The moment is fixed when the call runs, so that an effect that is run twice has its time twice.
  return Effect.withFiber((fiber) => send({ ...call, ...said, deadline: Deadline.nowUnsafe(fiber) + millis }))
}

type Said = Partial<Pick<Call.Call<unknown, unknown>, "metadata" | "waitForReady" | "affinity" | "priority">>

interface Read {
  readonly issues: ReadonlyArray<OptionsIssue>
  readonly millis: number | undefined
  readonly call: Said
}

const readOptions = (options: Call.CallOptions): Read => {
  const issues: Array<OptionsIssue> = []
  const call: { -readonly [K in keyof Said]: Said[K] } = {}
  let millis: number | undefined
  const fail = (path: string, rule: string, value: unknown) => issues.push({ path, rule, value: show(value) })
  for (const key of Object.keys(options)) {
    const value: unknown = options[key as keyof Call.CallOptions]
    if (value === undefined) continue
    switch (key) {
      case "timeout":
        millis = value === Deadline.none ? Infinity : Deadline.millisOf(value)
        if (value !== Deadline.none && !Deadline.isMillis(millis)) fail(key, Deadline.rule, value)
        break
      case "metadata":
        if (typeof value !== "object" || value === null) fail(key, "metadata, or an object of values", typeof value)
        else {
          call.metadata = Metadata.isMetadata(value) ? value : Metadata.fromRecord(value as Record<string, string>)
          issues.push(...call.metadata.issues)
        }
        break
      case "waitForReady":
        if (typeof value === "boolean") call.waitForReady = value
        else fail(key, "true or false", value)
        break
      case "affinity":
        call.affinity = typeof value === "string" ? { key: value, hard: false } : (value as Said["affinity"])
        if (!isAffinity(call.affinity)) fail(key, "a key that is not empty, or { key, hard }", value)
        break
      case "priority":
        if (value === 0 || value === 1 || value === 2) call.priority = value
        else fail(key, "0, 1 or 2", value)
        break
      default:
        fail(key, "one of metadata, timeout, waitForReady, affinity, priority", key)
    }
  }
  return { issues, millis, call }
}

const isAffinity = (u: unknown): boolean => {
  const { key, hard } = (u ?? {}) as { key?: unknown; hard?: unknown }
  return typeof key === "string" && key !== "" && typeof hard === "boolean"
}

const invalid = (method: string, issues: ReadonlyArray<OptionsIssue>): RpcError.RpcError => {
  const error = new OptionsError({ issues })
  const details = error.message.replaceAll("\n", "; ")
  return RpcError.of(method, { _tag: "InvalidArgument", details }, "NotSent", { attempts: 0, cause: error })
}

/** The class that `Service` makes: a context key with the client as its service, and a layer. */
export interface ServiceClass<in out Self, in out Id extends string, S> extends Context.ServiceClass<
  Self,
  Id,
  Client<S>
> {
  /** The client over the channel of another layer. */
  readonly layer: Layer.Layer<Self, never, Channel.Channel>
}

/**
 * A client as a service, with a layer over any channel.
 *
 * **Details**: one layer value, one client; the channel comes from `Grpc.layer`, or from a test. The layer can't fail:
 * names in `idempotent` are checked by the types. Where those were bypassed, it is a defect with an `OptionsError`.
 *
 * **Example** (A service and its layer)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Channel, Client, Metadata } from "@hawser/grpc"
 *
 * const GreeterService = {
 *   sayHello: {
 *     path: "/demo.Greeter/SayHello",
 *     requestStream: false,
 *     responseStream: false,
 *     requestSerialize: (name: string) => Buffer.from(name),
 *     responseDeserialize: (bytes: Buffer) => `hello ${bytes}`
 *   }
 * } as const
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService, { idempotent: ["sayHello"] }) {}
 *
 * const channel = Channel.make({
 *   unary: ({ input, method }) => {
 *     const message = method.decode(method.encode(input))
 *     return Effect.succeed({ message, headers: Metadata.empty, trailers: Metadata.empty, connection: "here#1" })
 *   }
 * })
 * const program = Greeter.use((greeter) => greeter.sayHello("ada")).pipe(
 *   Effect.provide(Greeter.layer.pipe(Layer.provide(Layer.succeed(Channel.Channel, channel))))
 * )
 * Effect.runSync(program) // => "hello ada"
 * ```
 */
export const Service =
  <Self>() =>
  <const Id extends string, const S extends object>(
    id: Id,
    definition: S,
    options?: ClientOptions<S> | undefined
  ): ServiceClass<Self, Id, S> => {
    const tag = Context.Service<Self, Client<S>>()(id)
    const layer = Layer.effect(
      tag,
      Effect.map(Channel.Channel, (channel) => make(definition, channel, options))
    )
    return Object.assign(tag, { layer })
  }
