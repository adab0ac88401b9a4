/**
 * Spans for calls and for their attempts, and the trace that goes on in the server.
 *
 * A call has a span, and each of its attempts has one below it: a retry shows as a second attempt, and what a call waited
 * for as the time before the first. Attributes are those of OpenTelemetry's conventions for RPC. Spans are made only where
 * a tracer records them; where none does, the trace that came in is passed on all the same.
 */
import { Issues } from "@hawser/core/OptionsError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import { hasProperty } from "effect/Predicate"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import type { Call } from "./Call.ts"
import { type End, endpointOf, observe, type Observed, wordsOf } from "./CallObserver.ts"
import * as Channel from "./Channel.ts"
import * as Metadata from "./Metadata.ts"
import * as RpcError from "./RpcError.ts"

const TypeId = "~hawser/CallTracing"

/** A metadata key by which servers learn of the trace. */
export type Propagation = "traceparent" | "grpc-trace-bin"

/** How calls are traced. */
export interface CallTracing {
  readonly [TypeId]: typeof TypeId
  readonly propagation: ReadonlyArray<Propagation>
}

/** What `make` takes. */
export interface CallTracingOptions {
  /**
   * How servers are told: `traceparent` (W3C) is what OpenTelemetry reads, `grpc-trace-bin` what OpenCensus does. Default
   * `["traceparent"]`; `[]`: not at all.
   */
  readonly propagation?: ReadonlyArray<Propagation> | undefined
}

const keys: ReadonlySet<unknown> = new Set<Propagation>(["traceparent", "grpc-trace-bin"])

/**
 * Makes a policy; throws an `OptionsError` for keys that are not known.
 *
 * ```ts import.meta.vitest
 * import { CallTracing } from "@hawser/grpc"
 *
 * CallTracing.make().propagation // => ["traceparent"]
 * CallTracing.isCallTracing(CallTracing.make({ propagation: ["traceparent", "grpc-trace-bin"] })) // => true
 * ```
 */
export const make = (options: CallTracingOptions = {}): CallTracing => {
  const { propagation = ["traceparent"] } = options
  const issues = new Issues()
  const legal = Array.isArray(propagation) && propagation.every((key) => keys.has(key))
  issues.check(legal, "propagation", "a list of traceparent and grpc-trace-bin", propagation)
  for (const name of Object.keys(options)) issues.check(name === "propagation", name, "propagation", name)
  issues.throwIfAny()
  return { [TypeId]: TypeId, propagation: [...new Set(propagation)] }
}

/** Whether a value is a policy of `make`. */
export const isCallTracing = (u: unknown): u is CallTracing => hasProperty(u, TypeId)

// The span of a call, on its way to its attempts.
const parentKey: unique symbol = Symbol.for("hawser/CallTracing/parent")
interface Traced {
  readonly [parentKey]?: Tracer.Span | undefined
}

/**
 * Middleware with a span for each call. Belongs outermost: it sees everything that a call waits for.
 *
 * **Details**: the span is named after the method and of kind `client`; at its end it has `rpc.status_code`, and
 * `server.address` and `server.port` of the endpoint that had the call last. What it failed with is recorded without
 * metadata, causes, and the server's own words, any of which may repeat a secret.
 *
 * **Gotchas**: servers are told of the trace by the attempts: it needs `perAttempt` below.
 */
export const perCall = (policy: CallTracing) => traced(policy, "call")

/**
 * Middleware with a span for each attempt, below that of `perCall`, or of whatever else is around. Belongs innermost: what
 * servers are told is the span of the attempt.
 *
 * **Details**: `previous-rpc-attempts` counts from 0, as in gRFC A72. A trace that the call's own metadata names is
 * replaced.
 *
 * ```ts import.meta.vitest
 * import { Effect, Tracer } from "effect"
 * import { Call, CallTracing, Channel, Retry, RpcError } from "@hawser/grpc"
 *
 * const names: Array<string> = []
 * const tracer = Tracer.make({
 *   span: (options) => {
 *     names.push(options.name)
 *     return new Tracer.NativeSpan(options)
 *   }
 * })
 * const tracing = CallTracing.make()
 * const channel = Channel.make({
 *   unary: ({ method }) =>
 *     Effect.fail(RpcError.of(method.path, { _tag: "Unavailable", details: "", connect: undefined }, "Refused"))
 * }).pipe(CallTracing.perAttempt(tracing), Retry.intercept(Retry.make({ maxAttempts: 2 })), CallTracing.perCall(tracing))
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * Effect.runSync(Effect.withTracer(Effect.flip(channel.unary(call)), tracer))
 * names // => ["demo.Greeter/SayHello", "Attempt demo.Greeter/SayHello", "Attempt demo.Greeter/SayHello"]
 * ```
 */
export const perAttempt = (policy: CallTracing) => traced(policy, "attempt")

/**
 * Middleware with a span for each call, which is also what servers are told of: for a channel whose inside can't be
 * reached.
 *
 * ```ts import.meta.vitest
 * import { Effect, Tracer } from "effect"
 * import { Call, CallTracing, Channel } from "@hawser/grpc"
 *
 * const base = Channel.make({ unary: ({ metadata }) => Effect.die(metadata?.get("traceparent")) })
 * const channel = base.pipe(CallTracing.intercept(CallTracing.make()))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * // No tracer records anything here: what came in goes on.
 * const incoming = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
 * const sent = channel.unary(call).pipe(Effect.withParentSpan(incoming), Effect.catchDefect(Effect.succeed))
 * Effect.runSync(sent) // => "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
 * ```
 */
export const intercept = (policy: CallTracing) => traced(policy, "both")

const traced = ({ propagation }: CallTracing, place: "call" | "attempt" | "both") => {
  const tells = place !== "call" && propagation.length > 0
  return observe((call, fiber) => {
    const { span: current, tracer } = fiber.cache
    const own = (call as Traced)[parentKey]
    // Most programs record nothing most of the time: that must cost nothing.
    const recorded = tracer !== undefined && tracer !== Tracer.nativeTracer
    if (!recorded && own === undefined && current === undefined) return call
    const around = own ?? propagated(current)
    const span = begin(fiber, place === "attempt" ? `Attempt ${nameOf(call)}` : nameOf(call), around)
    if (span === undefined) return tells && around !== undefined ? tell(call, propagation, around) : call
    span.attribute("rpc.system.name", "grpc")
    span.attribute("rpc.method", nameOf(call))
    if (place === "attempt") span.attribute("previous-rpc-attempts", call.attempt - 1)
    const below = tells ? tell(call, propagation, span) : ({ ...call, [parentKey]: span } as typeof call)
    return new CallSpan(below, span, fiber)
  })
}

/** `demo.Greeter/SayHello` */
const nameOf = <I, O>({ method: { path } }: Call<I, O>): string => (path.startsWith("/") ? path.slice(1) : path)

/** A span that the trace is to go through. */
const propagated = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined => {
  if (span === undefined || !Context.get(span.annotations, Tracer.DisablePropagation)) return span
  return span._tag === "Span" ? propagated(Option.getOrUndefined(span.parent)) : undefined
}

/** As `Effect.makeSpan`, without an effect of its own; none where nothing records it. */
const begin = (
  fiber: Fiber.Fiber<unknown, unknown>,
  name: string,
  parent: Tracer.AnySpan | undefined
): Tracer.Span | undefined => {
  const { tracer, tracerEnabled } = fiber.cache
  if (tracer === undefined || tracer === Tracer.nativeTracer || !tracerEnabled || parent?.sampled === false) {
    return undefined
  }
  const level = fiber.getRef(Tracer.MinimumTraceLevel)
  const links = fiber.getRef(References.TracerSpanLinks)
  const span = tracer.span({
    name,
    parent: Option.fromUndefinedOr(parent),
    annotations: Context.empty(),
    links: links.length === 0 ? [] : [...links],
    startTime: timeOf(fiber),
    kind: "client",
    root: false,
    sampled: level === "All" || !LogLevel.isGreaterThan(level, fiber.getRef(Tracer.CurrentTraceLevel))
  })
  const annotations = fiber.getRef(References.TracerSpanAnnotations)
  for (const key in annotations) span.attribute(key, annotations[key])
  return span
}

const timeOf = (fiber: Fiber.Fiber<unknown, unknown>): bigint =>
  fiber.getRef(References.TracerTimingEnabled) ? fiber.getRef(Clock.Clock).currentTimeNanosUnsafe() : 0n

class CallSpan<I, O> implements Observed<I, O> {
  readonly call: Call<I, O>
  private readonly span: Tracer.Span
  private readonly fiber: Fiber.Fiber<unknown, unknown>
  constructor(call: Call<I, O>, span: Tracer.Span, fiber: Fiber.Fiber<unknown, unknown>) {
    this.call = call
    this.span = span
    this.fiber = fiber
  }
  ended(end: End): undefined {
    const { span } = this
    const status = RpcError.statusNames[end.code]!
    span.attribute("rpc.status_code", status)
    if (end.code !== 0) span.attribute("error.type", status)
    const endpoint = endpointOf(end)
    if (endpoint !== undefined) {
      const { address, port } = addressOf(endpoint)
      span.attribute("server.address", address)
      if (port !== undefined) span.attribute("server.port", port)
    }
    span.end(timeOf(this.fiber), exitOf(end, this.call.method.path))
  }
}

/** What exporters print: without metadata and causes. */
const exitOf = ({ code, error, interrupted }: End, path: string): Exit.Exit<void, RpcError.RpcError> => {
  if (code === 0) return Exit.void
  if (interrupted) return Exit.interrupt()
  const { attempts, committed, connection, endpoint, progress, waitedMillis } = error ?? unseen
  const details = error === undefined ? "" : wordsOf(error)
  // The fields that some reasons have beside these are of no use to exporters.
  const reason = { _tag: RpcError.tagOf(code)!, details } as RpcError.RpcReason
  return Exit.fail(RpcError.of(path, reason, progress, { attempts, connection, endpoint, waitedMillis, committed }))
}

const unseen: RpcError.Facts & Pick<RpcError.RpcError, "progress"> = { progress: "MaybeProcessed" }

interface Address {
  readonly address: string
  readonly port: number | undefined
}

const addresses = new Map<string, Address>()

const addressOf = (endpoint: string): Address => {
  const found = addresses.get(endpoint)
  if (found !== undefined) return found
  const [, host, bare, port] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(endpoint) ?? []
  const address = host ?? bare
  const made = address === undefined ? { address: endpoint, port: undefined } : { address, port: Number(port) }
  // Endpoints come and go: those that went are not kept for ever.
  if (addresses.size >= 1_000) addresses.clear()
  addresses.set(endpoint, made)
  return made
}

const ids = /^(?!0+$)(?:[0-9a-f]{16}){1,2}$/

/** The call, with the span in its metadata. Ids that are not W3C's can't be told. */
const tell = <I, O>(call: Call<I, O>, propagation: ReadonlyArray<Propagation>, span: Tracer.AnySpan): Call<I, O> => {
  const { metadata } = call
  // What can't be sent fails further down, as it is.
  if (metadata !== undefined && metadata.issues.length > 0) return call
  const { sampled, spanId } = span
  if (!ids.test(span.traceId) || spanId.length !== 16 || !ids.test(spanId)) return call
  const traceId = span.traceId.padStart(32, "0")
  const entries: Array<Metadata.Entry> = []
  for (const entry of metadata?.entries ?? []) if (!propagation.includes(entry[0] as Propagation)) entries.push(entry)
  for (const key of propagation) {
    entries.push([key, key === "traceparent" ? text(traceId, spanId, sampled) : binary(traceId, spanId, sampled)])
  }
  // Known to be legal, and `grpc-` is a prefix that callers may not use.
  return { ...call, metadata: Metadata.received(itself, entries) }
}

const itself = (entries: ReadonlyArray<Metadata.Entry>): ReadonlyArray<Metadata.Entry> => entries

const text = (traceId: string, spanId: string, sampled: boolean): string =>
  `00-${traceId}-${spanId}-0${sampled ? 1 : 0}`

/** Version 0, then field 0: the trace, 1: the span, 2: its flags. */
const binary = (traceId: string, spanId: string, sampled: boolean): Uint8Array =>
  Buffer.from(`0000${traceId}01${spanId}020${sampled ? 1 : 0}`, "hex")

/**
 * Spans of calls as a layer over another layer's channel, as `intercept` makes them.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer, Tracer } from "effect"
 * import { Call, CallTracing, Channel } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const server = TestChannel.layer({ "/demo.Greeter/SayHello": (name: string) => Effect.succeed(`hello ${name}`) })
 * const layer = Layer.provide(CallTracing.layer(), server)
 *
 * const spans: Array<Tracer.Span> = []
 * const tracer = Tracer.make({
 *   span: (options) => {
 *     const span = new Tracer.NativeSpan(options)
 *     spans.push(span)
 *     return span
 *   }
 * })
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer))
 * await Effect.runPromise(Effect.withTracer(program, tracer))
 * const pairs = [...spans[0]!.attributes]
 * pairs.slice(0, 2) // => [["rpc.system.name", "grpc"], ["rpc.method", "demo.Greeter/SayHello"]]
 * pairs.slice(2) // => [["rpc.status_code", "OK"], ["server.address", "test"]]
 * ```
 */
export const layer = (policy: CallTracing = make()): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => intercept(policy)(channel))
  )
