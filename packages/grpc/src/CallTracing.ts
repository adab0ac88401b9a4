/**
 * Spans for calls and for their attempts, and the trace that goes on in the server.
 *
 * A call has a span, and each of its attempts has one below it: a retry shows as a second attempt, and what a call waited
 * for as the time before the first. Attributes are those of OpenTelemetry's conventions for RPC. Spans are made only where
 * a tracer records them; where none does, the trace that came in is passed on all the same.
 */
import { Issues } from "@hawser/core/OptionsError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import type * as Tracer from "effect/Tracer"
import type { Call } from "./Call.ts"
import type { End } from "./CallEnd.ts"
import { observe, type Observed } from "./CallObserver.ts"
import * as Span from "./CallSpan.ts"
import * as Channel from "./Channel.ts"
import { type SpanSettings, Surroundings } from "./Surroundings.ts"

const TypeId = "~hawser/CallTracing"

export type { Propagation } from "./CallSpan.ts"

/** How calls are traced. */
export interface CallTracing {
  readonly [TypeId]: typeof TypeId
  readonly propagation: ReadonlyArray<Span.Propagation>
}

/** What `make` takes. */
export interface CallTracingOptions {
  /**
   * How servers are told: `traceparent` (W3C) is what OpenTelemetry reads, `grpc-trace-bin` what OpenCensus does. Default
   * `["traceparent"]`; `[]`: not at all.
   */
  readonly propagation?: ReadonlyArray<Span.Propagation> | undefined
}

const keys: ReadonlySet<unknown> = new Set<Span.Propagation>(["traceparent", "grpc-trace-bin"])

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

const traced = ({ propagation }: CallTracing, place: Span.Place) => {
  const tells = place !== "call" && propagation.length > 0
  const surroundings = new Surroundings()
  return observe((call, fiber) => {
    const around = Span.around(call, fiber)
    if (around === undefined && !Span.isRecorded(fiber)) return call
    const settings = surroundings.of(fiber).spans
    const span = Span.begin(call, place, around, fiber, settings, settings.now())
    const metadata =
      tells && (span ?? around) !== undefined ? Span.told(call.metadata, propagation, (span ?? around)!) : undefined
    const below = metadata === undefined ? call : { ...call, metadata }
    if (span === undefined) return below
    return new TracedCall(tells ? below : Span.under(call, span), span, settings)
  })
}

class TracedCall<I, O> implements Observed<I, O> {
  readonly call: Call<I, O>
  private readonly span: Tracer.Span
  private readonly settings: SpanSettings
  constructor(call: Call<I, O>, span: Tracer.Span, settings: SpanSettings) {
    this.call = call
    this.span = span
    this.settings = settings
  }
  ended(end: End): undefined {
    Span.finish(this.span, this.call.method.path, end, this.settings.now())
  }
}

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
