/**
 * One id for all that a request causes: in the calls that it makes, in their logs, and on the servers that they reach.
 *
 * An id that came in with a request goes out with its calls; a call without one gets a new id. The attempts of a call have
 * the same one, so this belongs above retry.
 */
import { Issues } from "@hawser/core/OptionsError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import * as Random from "effect/Random"
import type { Call } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as Metadata from "./Metadata.ts"

const TypeId = "~hawser/RequestId"

/** How calls are given their ids. */
export interface RequestId {
  readonly [TypeId]: typeof TypeId
  readonly key: string
  /** Makes an id from chance alone. */
  readonly generate: (random: Random.Random) => string
}

/** What `make` takes. */
export interface RequestIdOptions {
  /** The metadata key; lower-case text. Default `x-request-id`. */
  readonly key?: string | undefined
  /**
   * Makes an id: printable ASCII, 1 to 128 characters, or else the default takes its place. Default: 32 hexadecimal digits
   * from `Random`.
   */
  readonly generate?: ((random: Random.Random) => string) | undefined
}

/**
 * The id of the request that is being worked on; `undefined` outside of one. Set by `within`.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { RequestId } from "@hawser/grpc"
 *
 * Effect.runSync(Effect.service(RequestId.Current)) // => undefined
 * Effect.runSync(RequestId.within(Effect.service(RequestId.Current), "7f3a")) // => "7f3a"
 * ```
 */
export const Current: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "hawser/RequestId/Current",
  { defaultValue: () => undefined }
)

/**
 * Runs an effect for a request: the calls that it makes carry this id.
 *
 * **When to use**: in a server's handler, with the id that the request came with.
 *
 * **Details**: `undefined` is no id. One that can't be sent, or is longer than 128 characters, is not taken over: it came
 * from outside, and must not fail the calls.
 */
export const within: {
  (id: string | undefined): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, id: string | undefined): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, id: string | undefined) => Effect.provideService(self, Current, id))

const known: ReadonlySet<string> = new Set(["key", "generate"])
const legal = (id: unknown): id is string => typeof id === "string" && /^[!-~](?:[ -~]{0,126}[!-~])?$/.test(id)

/**
 * Makes a policy; throws an `OptionsError` for a key that can't be sent.
 *
 * ```ts import.meta.vitest
 * import { RequestId } from "@hawser/grpc"
 *
 * RequestId.make().key // => "x-request-id"
 * RequestId.isRequestId(RequestId.make({ key: "x-correlation-id" })) // => true
 * ```
 */
export const make = (options: RequestIdOptions = {}): RequestId => {
  const { key = "x-request-id", generate = hex } = options
  const issues = new Issues()
  const sendable =
    typeof key === "string" && !key.endsWith("-bin") && Metadata.fromEntries([[key, "a"]]).issues.length === 0
  issues.check(sendable, "key", "a metadata key for text, in lower case", key)
  issues.check(typeof generate === "function", "generate", "a function", generate)
  for (const name of Object.keys(options)) issues.check(known.has(name), name, "one of key, generate", name)
  issues.throwIfAny()
  return { [TypeId]: TypeId, key, generate }
}

/** Whether a value is a policy of `make`. */
export const isRequestId = (u: unknown): u is RequestId => hasProperty(u, TypeId)

const hex = (random: Random.Random): string => {
  let id = ""
  while (id.length < 32) {
    id += Math.floor(random.nextDoubleUnsafe() * 0x1_0000_0000)
      .toString(16)
      .padStart(8, "0")
  }
  return id
}

/**
 * Middleware that gives each call its id: the one that it has already, or `Current`, or a new one.
 *
 * **Gotchas**: below retry, each attempt would get an id of its own.
 *
 * ```ts import.meta.vitest
 * import { Effect, Random } from "effect"
 * import { Call, Channel, RequestId } from "@hawser/grpc"
 *
 * const base = Channel.make({ unary: (call) => Effect.die(call.metadata?.get("x-request-id")) })
 * const channel = base.pipe(RequestId.intercept(RequestId.make()))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const sent = Effect.catchDefect(channel.unary(call), Effect.succeed)
 * Effect.runSync(RequestId.within(sent, "7f3a")) // => "7f3a"
 * Effect.runSync(Random.withSeed(sent, "seed")) // => "30c9c8ece5980e695b33f519c962d078"
 * ```
 */
export const intercept =
  ({ generate, key }: RequestId) =>
  <E, R>(self: Channel.Channel.With<E, R>): Channel.Channel.With<E, R> => {
    const identify = <I, O, A>(call: Call<I, O>, next: (call: Call<I, O>) => Effect.Effect<A, E, R>) =>
      Effect.withFiber((fiber): Effect.Effect<A, E, R> => {
        if (call.metadata?.get(key) !== undefined) return next(call)
        const current = fiber.getRef(Current)
        const random = fiber.getRef(Random.Random)
        const made = legal(current) ? current : generate(random)
        const id = legal(made) ? made : hex(random)
        return next({ ...call, metadata: Metadata.set(call.metadata ?? Metadata.empty, key, id) })
      })
    return Channel.intercept(self, identify)
  }

/**
 * Ids as a layer over another layer's channel.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Call, Channel, RequestId } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const server = TestChannel.layer({
 *   "/demo.Greeter/SayHello": (_: string, { metadata }) => Effect.succeed(String(metadata?.get("x-request-id")))
 * })
 * const layer = Layer.provide(RequestId.layer(), server)
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(
 *   RequestId.within("7f3a"),
 *   Effect.provide(layer)
 * )
 * const { message } = await Effect.runPromise(program)
 * message // => "7f3a"
 * ```
 */
export const layer = (policy: RequestId = make()): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => intercept(policy)(channel))
  )
