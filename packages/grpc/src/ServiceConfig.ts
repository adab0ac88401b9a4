/**
 * gRPC's service config: what the owner of a service wants its clients to do, as JSON.
 *
 * It is decoded as a whole, before anything is dialled: either every part of it is in order, or an `OptionsError` lists
 * all that is not, each with its path and with what to write instead. Nothing in it is ignored, as the word of gRFC A21
 * would have it for keys that nobody knows: those are misspelt, or stand where they have no effect.
 *
 * A subpath of its own, because `effect/Schema` takes long to load.
 */
import type { ConnectError } from "@hawser/core/ConnectError"
import { OptionsError } from "@hawser/core/OptionsError"
import type { OptionsIssue } from "@hawser/core/OptionsError"
import type { RetryThrottleOptions } from "@hawser/core/RetryThrottle"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import * as Result from "effect/Result"
import * as Channel from "./Channel.ts"
import type { RpcError } from "./RpcError.ts"
import type { Balancing } from "./ServiceConfigBalancing.ts"
import { decode, type HedgingPolicy, type MethodConfig, nothing } from "./ServiceConfigDecode.ts"
import type { RetryPolicy } from "./ServiceConfigDecode.ts"
import * as Dns from "./ServiceConfigDns.ts"
import * as Explain from "./ServiceConfigExplain.ts"
import * as File from "./ServiceConfigFile.ts"
import * as Json from "./ServiceConfigJson.ts"
import * as Middleware from "./ServiceConfigMiddleware.ts"

export type { Balancing, HedgingPolicy, MethodConfig, RetryPolicy }
export type { Explanation } from "./ServiceConfigExplain.ts"

const TypeId = "~hawser/ServiceConfig"

/** A service config that is in order. */
export interface ServiceConfig {
  readonly [TypeId]: typeof TypeId
  /**
   * What it says of a method, `/package.Service/Method`: by the method's own name, or that of its service, or the name
   * for all; only ever by one of them.
   */
  readonly forMethod: (path: string) => MethodConfig
  /** What `RetryThrottle.make` takes. One throttle is for one target. */
  readonly throttle: RetryThrottleOptions | undefined
  /** The first policy of its list that is known here. */
  readonly balancing: Balancing | undefined
  /** What is to be asked for its health: `""` is the whole server; without a name, nothing. */
  readonly healthCheck: { readonly serviceName: string | undefined } | undefined
  /** The largest of all methods: what a client must be able to send and to take. */
  readonly maxRequestBytes: number | undefined
  readonly maxResponseBytes: number | undefined
}

const settled = <A>(result: Result.Result<A, ReadonlyArray<OptionsIssue>>): Effect.Effect<A, OptionsError> =>
  Result.isSuccess(result) ? Effect.succeed(result.success) : Effect.fail(new OptionsError({ issues: result.failure }))

const fromValue = (value: unknown, at: string): Result.Result<ServiceConfig, ReadonlyArray<OptionsIssue>> =>
  Result.map(decode(value, at), (decoded): ServiceConfig => {
    const { methods, ...rest } = decoded
    const forMethod = (path: string): MethodConfig => {
      const full = path.startsWith("/") ? path : `/${path}`
      const service = full.slice(0, full.lastIndexOf("/") + 1)
      return methods.get(full) ?? methods.get(service) ?? methods.get("") ?? nothing
    }
    return { [TypeId]: TypeId, ...rest, forMethod }
  })

/**
 * Decodes a service config that is a value already; throws an `OptionsError` with everything that is wrong with it.
 *
 * **When to use**: for one that is written in code.
 *
 * **Details**: the rules are those of gRFC A6, A17, A21 and A24 and of `service_config.proto`; `docs/service-config.md` lists
 * them. Durations are protobuf's in JSON: `"0.5s"` is half a second.
 *
 * **Example** (The most specific name decides)
 *
 * ```ts import.meta.vitest
 * import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
 *
 * const config = ServiceConfig.make({
 *   methodConfig: [
 *     { name: [{}], timeout: "5s" },
 *     { name: [{ service: "shop.Cart" }], timeout: "0.5s", waitForReady: true },
 *     { name: [{ service: "shop.Cart", method: "Pay" }], timeout: "30s" }
 *   ]
 * })
 * config.forMethod("/shop.Cart/Add").timeoutMillis // => 500
 * config.forMethod("/shop.Cart/Pay").timeoutMillis // => 30_000
 * config.forMethod("/shop.Cart/Pay").waitForReady // => undefined
 * config.forMethod("/other.Service/Get").timeoutMillis // => 5_000
 * ```
 */
export const make = (value: unknown): ServiceConfig => {
  const decoded = fromValue(value, "service config")
  if (Result.isFailure(decoded)) throw new OptionsError({ issues: decoded.failure })
  return decoded.success
}

/**
 * Decodes a service config that is JSON.
 *
 * **Details**: of two equal keys `JSON.parse` drops the first; here they are a problem. At most 1,048,576 characters.
 *
 * **Example** (All problems at once, each with what to write instead)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
 *
 * const text = `{
 *   "methodConfig": [{ "name": [{ "service": "shop.Cart" }], "timeout": "500ms" }],
 *   "retryPolicy": { "maxAttempts": 3 }
 * }`
 * const error = Effect.runSync(Effect.flip(ServiceConfig.fromJson(text)))
 * const [first, second] = error.message.split("\n")
 * first // => 'retryPolicy: expected it in an entry of methodConfig: [{ "name": [{}], "retryPolicy": … }], got the key "retryPolicy"'
 * second // => 'methodConfig[0].timeout: expected a duration above 0s to 2073600s, such as "0.2s"; write "0.5s", got "500ms"'
 * ```
 */
export const fromJson = (text: string): Effect.Effect<ServiceConfig, OptionsError> =>
  Effect.suspend(() => {
    const read = Json.parse(text, "service config")
    if (Result.isFailure(read)) return settled(Result.fail(read.failure))
    const { repeated, value } = read.success
    const decoded = fromValue(value, "service config")
    if (repeated.length === 0) return settled(decoded)
    return settled(Result.fail([...repeated, ...(Result.isFailure(decoded) ? decoded.failure : [])]))
  })

/**
 * Decodes a service config that is a JSON file, in UTF-8. A file that can't be read is a problem like any other.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
 *
 * const error = await Effect.runPromise(Effect.flip(ServiceConfig.fromFile("no-such-file.json")))
 * error.issues[0]?.rule // => "a file of UTF-8 text"
 * ```
 */
export const fromFile = (path: string): Effect.Effect<ServiceConfig, OptionsError> =>
  Effect.flatMap(File.read(path), fromJson)

/**
 * The service config that a host publishes in DNS (gRFC A2); `undefined` where it publishes none, or none for this client.
 *
 * **Details**: asks once, for five seconds at most, for the TXT records of `_grpc_config.HOST`. Of the choices in a record
 * the first wins that is for this client: by `clientHostname`, `clientLanguage` (`"node"`) and `percentage`, for which each
 * choice draws anew. Only the one that wins is decoded (gRFC A21); all must have the form of choices. Nothing is looked up
 * for IP addresses and `localhost` (gRFC A10). It fails with a `ConnectError` where there was no answer. `Dns.DnsService` is who is asked.
 *
 * **Gotchas**: whoever may change those records may change the timeouts and retries of this client.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Dns } from "@hawser/grpc"
 * import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
 *
 * const record = 'grpc_config=[{"clientLanguage":["go"],"serviceConfig":{}},' +
 *   '{"serviceConfig":{"methodConfig":[{"name":[{}],"timeout":"2s"}]}}]'
 * const records = Dns.hosts({}, { "_grpc_config.greeter": ["v=spf1 -all", record] })
 * const program = Effect.provideService(ServiceConfig.fromDns("greeter"), Dns.DnsService, records)
 * const config = Effect.runSync(program)
 * config?.forMethod("/demo.Greeter/SayHello").timeoutMillis // => 2_000
 * ```
 */
export const fromDns = (
  host: string,
  options?: { readonly hostname?: string | undefined }
): Effect.Effect<ServiceConfig | undefined, OptionsError | ConnectError> =>
  Effect.flatMap(
    Dns.choose(host, options?.hostname),
    (chosen): Effect.Effect<ServiceConfig | undefined, OptionsError> =>
      chosen === undefined ? Effect.undefined : settled(Result.mapError(fromValue(chosen.value, ""), within(chosen.at)))
  )

const within = (at: string) => (issues: ReadonlyArray<OptionsIssue>) =>
  issues.map((issue) => ({ ...issue, path: issue.path === "" ? at : `${at}.${issue.path}` }))

/**
 * Whether a value is a service config. What only looks like one is none: nothing has checked it.
 *
 * ```ts import.meta.vitest
 * import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
 *
 * ServiceConfig.isServiceConfig(ServiceConfig.make({})) // => true
 * ServiceConfig.isServiceConfig({ methodConfig: [] }) // => false
 * ```
 */
export const isServiceConfig = (u: unknown): u is ServiceConfig => hasProperty(u, TypeId)

/**
 * What a call of a method will do, as data and in words.
 *
 * ```ts import.meta.vitest
 * import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
 *
 * const config = ServiceConfig.make({
 *   loadBalancingConfig: [{ grpclb: {} }, { round_robin: {} }],
 *   methodConfig: [{
 *     name: [{ service: "shop.Cart" }],
 *     timeout: "1.5s",
 *     retryPolicy: {
 *       maxAttempts: 4,
 *       initialBackoff: "0.1s",
 *       maxBackoff: "0.3s",
 *       backoffMultiplier: 2,
 *       retryableStatusCodes: ["UNAVAILABLE"]
 *     }
 *   }]
 * })
 * const { text, waitsMillis } = ServiceConfig.explain(config, "/shop.Cart/Add")
 * waitsMillis // => [100, 200, 300]
 * const [method, from, timeout] = text.split("\n")
 * method // => "/shop.Cart/Add"
 * from // => "  from: methodConfig[0].name[0], for its service"
 * timeout // => "  timeout: 1,500 ms, or the call's own if that is sooner"
 * ```
 */
export const explain = (config: ServiceConfig, method: string): Explain.Explanation =>
  Explain.explain(config, method, config.forMethod(method))

/**
 * Middleware that does to each call what a service config says of its method: timeout, `waitForReady`, retry or hedge with
 * the throttle, and the sizes of messages.
 *
 * **Details**: the deadline is the sooner of the call's own and `timeout`. Naming a method in a `retryPolicy` or a
 * `hedgingPolicy` declares that it may be sent again, idempotent or not. Every use has a throttle of its own, so use it once
 * for each target. Balancing and health concern connections, not calls.
 *
 * **Gotchas**: above whatever is to see attempts, and over a channel that does not retry by itself: attempts would multiply.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel } from "@hawser/grpc"
 * import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
 *
 * const config = ServiceConfig.make({ methodConfig: [{ name: [{ service: "demo.Greeter" }], waitForReady: true }] })
 * const base = Channel.make({ unary: ({ waitForReady }) => Effect.die(waitForReady) })
 * const channel = base.pipe(ServiceConfig.intercept(config))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * Effect.runSync(Effect.catchDefect(channel.unary(call), Effect.succeed)) // => true
 * ```
 */
export const intercept =
  (config: ServiceConfig) =>
  <R>(self: Channel.Channel.With<RpcError, R>): Channel.Channel.With<RpcError, R> =>
    Middleware.intercept(config, config.forMethod, self)

/**
 * A service config as a layer over another layer's channel.
 *
 * **When to use**: over `Grpc.layerBare`, a `Grpc.layer` with `retry: false`, or the channel of a test.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Call, Channel } from "@hawser/grpc"
 * import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
 * import { TestChannel } from "@hawser/testing"
 *
 * const retryPolicy = {
 *   maxAttempts: 3,
 *   initialBackoff: "0.001s",
 *   maxBackoff: "0.001s",
 *   backoffMultiplier: 1,
 *   retryableStatusCodes: ["ABORTED"]
 * }
 * const config = ServiceConfig.make({ methodConfig: [{ name: [{ service: "demo.Greeter" }], retryPolicy }] })
 * const flaky = TestChannel.layer({
 *   "/demo.Greeter/SayHello": (name: string, { attempt }) =>
 *     attempt < 3 ? Effect.fail({ _tag: "Aborted" }) : Effect.succeed(`hello ${name}`)
 * })
 * const layer = Layer.provide(ServiceConfig.layer(config), flaky)
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer))
 * const { message } = await Effect.runPromise(program)
 * message // => "hello ada"
 * ```
 */
export const layer = (config: ServiceConfig): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(Channel.Channel, Effect.map(Channel.Channel, intercept(config)))
