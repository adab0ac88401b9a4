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
import * as Call from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as Deadline from "./Deadline.ts"
import * as Metadata from "./Metadata.ts"
import * as Method from "./Method.ts"
import * as RpcError from "./RpcError.ts"

/** The names of a definition's unary methods, as the definition has them. */
export type UnaryNames<S> = Extract<keyof UnaryMethods<S>, string>

type UnaryMethods<S> = {
  // Index signatures, as `grpc.ServiceDefinition` has one, are no methods.
  [K in keyof S as string extends K ? never : IsUnary<S[K]> extends true ? K : never]: unknown
}

type IsUnary<D> =
  Method.FromDefinition<D> extends Method.Method<infer _I, infer _O, infer K>
    ? [K] extends ["unary"]
      ? true
      : false
    : false

/** One unary method of a client. */
export interface UnaryMethod<in I, out O, out E = RpcError.RpcError, out R = never> {
  /** Calls it and gives the message of the answer. */
  (input: I, options?: Call.CallOptions): Effect.Effect<O, E | RpcError.RpcError, R>
  /** The same call with headers, trailers and who answered. */
  readonly reply: (input: I, options?: Call.CallOptions) => Effect.Effect<Call.Reply<O>, E | RpcError.RpcError, R>
}

/** What a method becomes in a client. */
export type ClientMethod<M, E = RpcError.RpcError, R = never> =
  M extends Method.Method<infer I, infer O, infer K> ? ([K] extends ["unary"] ? UnaryMethod<I, O, E, R> : never) : never

/**
 * A client of a service definition: its unary methods, under the names of the definition.
 *
 * **Gotchas**: streaming methods are absent, and so are methods whose type does not say that they are unary
 * (`requestStream: boolean`).
 */
export type Client<S, E = RpcError.RpcError, R = never> = {
  readonly [K in UnaryNames<S>]: ClientMethod<Method.FromDefinition<S[K]>, E, R>
}

/** What can be said about a service beyond its definition. */
export interface ClientOptions<S> {
  /**
   * Unary methods that may be sent again although the server may have acted on them. For definitions that do not carry
   * `option idempotency_level`, as those of ts-proto.
   */
  readonly idempotent?: ReadonlyArray<UnaryNames<S>> | undefined
}

/**
 * A client over a channel.
 *
 * **When to use**: `Service` is the same as a layer; this is for channels at hand, and for tests.
 *
 * **Details**: throws an `OptionsError` for a name in `idempotent` that is no unary method of the definition, which the
 * types rule out. A method that is already declared idempotent in the definition stays so.
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
  for (const [name, method] of methodsOf(definition, options)) out[name] = unary(channel, method)
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
    else if (Method.kindOf(one) === "unary") {
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

const unary = <I, O, E, R>(
  { unary: send }: Channel.Channel.With<E, R>,
  method: Method.Method<I, O>
): UnaryMethod<I, O, E, R> => {
  const reply = (input: I, options?: Call.CallOptions): Effect.Effect<Call.Reply<O>, E | RpcError.RpcError, R> =>
    options === undefined ? send(Call.make(method, input)) : withOptions(send, method, input, options)
  return Object.assign((input: I, options?: Call.CallOptions) => Effect.map(reply(input, options), messageOf<O>), {
    reply
  })
}

const withOptions = <I, O, E, R>(
  send: (call: Call.Call<I, O>) => Effect.Effect<Call.Reply<O>, E, R>,
  method: Method.Method<I, O>,
  input: I,
  options: Call.CallOptions
): Effect.Effect<Call.Reply<O>, E | RpcError.RpcError, R> => {
  const read = readOptions(options)
  if (read.issues.length > 0) return Effect.fail(invalid(method.path, read.issues))
  const { millis, call: said } = read
  if (millis === undefined) return send(Call.make(method, input, said))
  // The moment is fixed when the call runs, so that an effect that is run twice has its time twice.
  return Effect.withFiber((fiber) =>
    send(Call.make(method, input, { ...said, deadline: Deadline.nowUnsafe(fiber) + millis }))
  )
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
