/**
 * What a server says about an error beyond its status: the details of `google.rpc.Status`, as typed values.
 *
 * Servers send them in the trailers, under `grpc-status-details-bin`; the types are those of
 * google/rpc/error_details.proto. They come from outside: what can't be read is no error, and of a type that is not known
 * here the bytes are kept.
 */
import type { Shape } from "./Protobuf.ts"
import { read } from "./Protobuf.ts"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Channel from "./Channel.ts"
import { isRpcError, of, type RpcError } from "./RpcError.ts"

/** The trailer that carries the details. */
const key = "grpc-status-details-bin"

/** Why it failed, in words for programs. */
export interface ErrorInfo {
  readonly _tag: "ErrorInfo"
  /** `API_DISABLED` */
  readonly reason: string
  /** Whose reason: `googleapis.com` */
  readonly domain: string
  /** Without a prototype. */
  readonly metadata: Readonly<Record<string, string>>
}

/** When to try again. */
export interface RetryInfo {
  readonly _tag: "RetryInfo"
  /** Milliseconds, with a fraction; `undefined` where the server names no delay. */
  readonly retryDelayMillis: number | undefined
}

/** Where in the server it failed. */
export interface DebugInfo {
  readonly _tag: "DebugInfo"
  readonly stackEntries: ReadonlyArray<string>
  readonly detail: string
}

/** A quota that was exceeded. */
export interface QuotaViolation {
  /** Whose quota: `clientip:10.0.0.1` */
  readonly subject: string
  readonly description: string
  readonly apiService: string
  readonly quotaMetric: string
  readonly quotaId: string
  /** Without a prototype. */
  readonly quotaDimensions: Readonly<Record<string, string>>
  readonly quotaValue: bigint
  readonly futureQuotaValue: bigint | undefined
}

/** Which quotas were exceeded. */
export interface QuotaFailure {
  readonly _tag: "QuotaFailure"
  readonly violations: ReadonlyArray<QuotaViolation>
}

/** Which conditions must hold first. */
export interface PreconditionFailure {
  readonly _tag: "PreconditionFailure"
  readonly violations: ReadonlyArray<{ readonly type: string; readonly subject: string; readonly description: string }>
}

/** A field of the request that is wrong. */
export interface FieldViolation {
  /** `address.street` */
  readonly field: string
  readonly description: string
  readonly reason: string
  readonly localizedMessage: { readonly locale: string; readonly message: string } | undefined
}

/** What is wrong with the request. */
export interface BadRequest {
  readonly _tag: "BadRequest"
  readonly fieldViolations: ReadonlyArray<FieldViolation>
}

/** By what the server's operators find the request. */
export interface RequestInfo {
  readonly _tag: "RequestInfo"
  readonly requestId: string
  readonly servingData: string
}

/** What was being accessed. */
export interface ResourceInfo {
  readonly _tag: "ResourceInfo"
  readonly resourceType: string
  readonly resourceName: string
  readonly owner: string
  readonly description: string
}

/** Where to read on. */
export interface Help {
  readonly _tag: "Help"
  readonly links: ReadonlyArray<{ readonly description: string; readonly url: string }>
}

/** A text that may be shown to users. */
export interface LocalizedMessage {
  readonly _tag: "LocalizedMessage"
  /** `de-CH` */
  readonly locale: string
  readonly message: string
}

/** A detail of another type, or one whose bytes are not well formed. */
export interface Other {
  readonly _tag: "Other"
  /** `type.googleapis.com/shop.v1.OutOfStock` */
  readonly typeUrl: string
  readonly bytes: Uint8Array
}

/** One detail. */
export type Detail =
  | ErrorInfo
  | RetryInfo
  | DebugInfo
  | QuotaFailure
  | PreconditionFailure
  | BadRequest
  | RequestInfo
  | ResourceInfo
  | Help
  | LocalizedMessage
  | Other

/** A `google.rpc.Status`. */
export interface RichStatus {
  readonly code: number
  readonly message: string
  readonly details: ReadonlyArray<Detail>
}

/**
 * More bytes than these are not read. Servers rarely get so many through: header blocks of 8 to 16 KiB are common limits.
 *
 * ```ts import.meta.vitest
 * import { RichError } from "@hawser/grpc"
 *
 * RichError.decode(new Uint8Array(RichError.maxBytes + 1)) // => undefined
 * ```
 */
export const maxBytes = 65_536

const localized: Shape = { 1: ["locale", "text"], 2: ["message", "text"] }
const shapes: Readonly<Record<Exclude<Detail["_tag"], "Other">, Shape>> = {
  ErrorInfo: { 1: ["reason", "text"], 2: ["domain", "text"], 3: ["metadata", "map"] },
  RetryInfo: { 1: ["retryDelay", { one: { 1: ["seconds", "integer"], 2: ["nanos", "integer"] } }] },
  DebugInfo: { 1: ["stackEntries", { each: "text" }], 2: ["detail", "text"] },
  QuotaFailure: {
    1: [
      "violations",
      {
        each: {
          1: ["subject", "text"],
          2: ["description", "text"],
          3: ["apiService", "text"],
          4: ["quotaMetric", "text"],
          5: ["quotaId", "text"],
          6: ["quotaDimensions", "map"],
          7: ["quotaValue", "integer"],
          8: ["futureQuotaValue", "optional integer"]
        }
      }
    ]
  },
  PreconditionFailure: {
    1: ["violations", { each: { 1: ["type", "text"], 2: ["subject", "text"], 3: ["description", "text"] } }]
  },
  BadRequest: {
    1: [
      "fieldViolations",
      {
        each: {
          1: ["field", "text"],
          2: ["description", "text"],
          3: ["reason", "text"],
          4: ["localizedMessage", { one: localized }]
        }
      }
    ]
  },
  RequestInfo: { 1: ["requestId", "text"], 2: ["servingData", "text"] },
  ResourceInfo: {
    1: ["resourceType", "text"],
    2: ["resourceName", "text"],
    3: ["owner", "text"],
    4: ["description", "text"]
  },
  Help: { 1: ["links", { each: { 1: ["description", "text"], 2: ["url", "text"] } }] },
  LocalizedMessage: localized
}

const statusShape: Shape = {
  1: ["code", "integer"],
  2: ["message", "text"],
  3: ["details", { each: { 1: ["typeUrl", "text"], 2: ["bytes", "bytes"] } }]
}

/**
 * Reads a `google.rpc.Status`; `undefined` where the bytes are none, or more than `maxBytes`.
 *
 * ```ts import.meta.vitest
 * import { RichError } from "@hawser/grpc"
 *
 * RichError.decode(Buffer.from("080512026e6f", "hex")) // => { code: 5, message: "no", details: [] }
 * RichError.decode(Buffer.from("0805ff", "hex")) // => undefined
 * ```
 */
export const decode = (bytes: Uint8Array): RichStatus | undefined => {
  const found = bytes.length > maxBytes ? undefined : (read(bytes, statusShape) as Raw | undefined)
  return found === undefined ? undefined : { ...found, code: int32(found.code), details: found.details.map(detailOf) }
}

interface Raw {
  readonly code: bigint
  readonly message: string
  readonly details: ReadonlyArray<Omit<Other, "_tag">>
}

const int32 = (value: bigint): number => Number(BigInt.asIntN(32, value))

const detailOf = ({ bytes, typeUrl }: Raw["details"][number]): Detail => {
  // The part after the last slash is the type, whoever's URL is before it.
  const name = typeUrl.slice(typeUrl.lastIndexOf("/") + 1)
  const _tag = name.startsWith("google.rpc.") ? name.slice("google.rpc.".length) : ""
  const shape = Object.hasOwn(shapes, _tag) ? shapes[_tag as keyof typeof shapes] : undefined
  const fields = shape === undefined ? undefined : read(bytes, shape)
  if (fields === undefined) return { _tag: "Other", typeUrl, bytes }
  if (_tag !== "RetryInfo") return { _tag, ...fields } as Detail
  const delay = fields["retryDelay"] as { readonly seconds: bigint; readonly nanos: bigint } | undefined
  const millis = delay === undefined ? undefined : Number(delay.seconds) * 1000 + int32(delay.nanos) / 1e6
  return { _tag, retryDelayMillis: millis }
}

/**
 * The whole status that came with an error; `undefined` where there is none, or none that can be read.
 *
 * **Gotchas**: its `code` and `message` are the server's second word on them. Those of the error itself decide.
 *
 * ```ts import.meta.vitest
 * import { Metadata, RichError, RpcError } from "@hawser/grpc"
 *
 * const metadata = Metadata.received(Object.entries<Uint8Array>, {
 *   "grpc-status-details-bin": Buffer.from("080512026e6f", "hex")
 * })
 * const error = RpcError.of("/demo.Shop/Buy", { _tag: "NotFound", details: "no" }, "Answered", { metadata })
 * RichError.status(error)?.message // => "no"
 * ```
 */
export const status = (error: RpcError): RichStatus | undefined => {
  const bytes = error.metadata?.get(key)
  return bytes instanceof Uint8Array ? decode(bytes) : undefined
}

/**
 * The details that came with an error, in the server's order; none where there are none.
 *
 * **Example** (What is wrong with the request)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Metadata, RichError } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * // google.rpc.Status with a google.rpc.BadRequest, as another service sent it.
 * const metadata = Metadata.received(Object.entries<Uint8Array>, {
 *   "grpc-status-details-bin": Buffer.from(
 *     "08031a3f0a29747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e42616452657175657374" +
 *       "12120a100a046e616d65120869732065" + "6d707479",
 *     "hex"
 *   )
 * })
 * const layer = Greeter.layer.pipe(Layer.provide(TestChannel.layerService(GreeterService, {
 *   sayHello: () => Effect.fail({ _tag: "InvalidArgument", metadata })
 * })))
 * const program = Greeter.use((greeter) => greeter.sayHello({ name: "" })).pipe(
 *   Effect.flip,
 *   Effect.map((error) => RichError.details(error)),
 *   Effect.provide(layer)
 * )
 * const [detail] = await Effect.runPromise(program)
 * const fields = detail?._tag === "BadRequest" ? detail.fieldViolations.map(({ field }) => field) : []
 * fields // => ["name"]
 * ```
 */
export const details = (error: RpcError): ReadonlyArray<Detail> => status(error)?.details ?? []

/**
 * The first detail of a kind; `undefined` where there is none.
 *
 * ```ts import.meta.vitest
 * import { RichError, RpcError } from "@hawser/grpc"
 *
 * const error = RpcError.of("/demo.Shop/Buy", { _tag: "Unavailable", details: "", connect: undefined }, "Answered")
 * RichError.find(error, "RetryInfo")?.retryDelayMillis // => undefined
 * ```
 */
export const find = <Tag extends Detail["_tag"]>(
  error: RpcError,
  tag: Tag
): Extract<Detail, { readonly _tag: Tag }> | undefined =>
  details(error).find((detail): detail is Extract<Detail, { readonly _tag: Tag }> => detail._tag === tag)

/** So much of the details is put into words. */
const mostWords = 200

/** What of the details may be read by whoever reads logs: reasons, delays and names of fields, and no descriptions. */
const wordsOf = (error: RpcError): string =>
  details(error)
    .flatMap((detail) => {
      if (detail._tag === "ErrorInfo") return [`${detail.reason} of ${detail.domain}`]
      if (detail._tag === "BadRequest") return [`wrong: ${detail.fieldViolations.map(({ field }) => field).join(", ")}`]
      if (detail._tag !== "RetryInfo" || detail.retryDelayMillis === undefined) return []
      return [`try again in ${detail.retryDelayMillis} ms`]
    })
    .join("; ")
    .slice(0, mostWords)

/**
 * Middleware that puts the details of errors into their words: the reason of an `ErrorInfo`, the delay of a `RetryInfo`, the
 * fields of a `BadRequest`.
 *
 * **When to use**: where errors are read by people, and not by programs: those ask `find`.
 *
 * **Details**: descriptions, metadata and messages are left out, since they may repeat what was sent. At most 200
 * characters. It costs a call that succeeds nothing.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, Metadata, RichError, RpcError } from "@hawser/grpc"
 *
 * // google.rpc.Status with a google.rpc.RetryInfo of half a second.
 * const bytes = Buffer.from(
 *   "080e1a340a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e5265747279496e666f" +
 *     "12080a061080cab5ee01",
 *   "hex"
 * )
 * const metadata = Metadata.received(Object.entries<Uint8Array>, { "grpc-status-details-bin": bytes })
 * const channel = Channel.make<RpcError.RpcError>({
 *   unary: ({ method }) => {
 *     const reason = { _tag: "Unavailable", details: "busy", connect: undefined } as const
 *     return Effect.fail(RpcError.of(method.path, reason, "Answered", { metadata }))
 *   }
 * }).pipe(RichError.intercept)
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const error = Effect.runSync(Effect.flip(channel.unary(call)))
 * error.reason.details // => "busy (try again in 500 ms)"
 * ```
 */
export const intercept = <R>(self: Channel.Channel.With<RpcError, R>): Channel.Channel.With<RpcError, R> =>
  Channel.mapError(self, (error) => {
    const words = isRpcError(error) ? wordsOf(error) : ""
    if (words === "") return error
    const said = error.reason.details
    const reason = { ...error.reason, details: said === "" ? words : `${said} (${words})` }
    return of(error.method, reason, error.progress, error)
  })

/**
 * The details of errors in their words, as a layer over another layer's channel.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Call, Channel, RichError } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const poor = TestChannel.layer({ "/demo.Shop/Buy": () => Effect.fail({ _tag: "NotFound", details: "no tea" }) })
 * const layer = Layer.provide(RichError.layer, poor)
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Shop/Buy", kind: "unary", idempotency: "Unknown", ...codec }, "tea")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer), Effect.flip)
 * const { reason } = await Effect.runPromise(program)
 * reason.details // => "no tea"
 * ```
 */
export const layer: Layer.Layer<Channel.Channel, never, Channel.Channel> = Layer.effect(
  Channel.Channel,
  Effect.map(Channel.Channel, (channel) => intercept(channel))
)
