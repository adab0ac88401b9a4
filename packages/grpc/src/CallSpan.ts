/**
 * The spans of calls and attempts: how they begin, how they end, and what servers are told of them.
 *
 * No effects: a span begins and ends where its call does, for the price of the span.
 */
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Call } from "./Call.ts"
import { type End, wordsOf } from "./CallEnd.ts"
import * as Metadata from "./Metadata.ts"
import * as RpcError from "./RpcError.ts"
import type { SpanSettings } from "./Surroundings.ts"

/** A metadata key by which servers learn of the trace. */
export type Propagation = "traceparent" | "grpc-trace-bin"

// The span of a call, on its way to its attempts.
const parentKey: unique symbol = Symbol.for("hawser/CallTracing/parent")
interface Traced {
  readonly [parentKey]?: Tracer.Span | undefined
}

/** The call with its span, for its attempts. */
export const under = <I, O>(call: Call<I, O>, span: Tracer.Span): Call<I, O> & Traced => ({
  ...call,
  [parentKey]: span
})

/** What spans are of. */
export type Place = "call" | "attempt" | "both"

/** Whether a tracer records spans here. Most programs record nothing most of the time: that must cost nothing. */
export const isRecorded = ({ cache: { tracer } }: Fiber.Fiber<unknown, unknown>): boolean =>
  tracer !== undefined && tracer !== Tracer.nativeTracer

/** What is around the spans of a call, if there is anything: its own span, or that of its fiber. */
export const around = <I, O>(call: Call<I, O>, fiber: Fiber.Fiber<unknown, unknown>): Tracer.AnySpan | undefined =>
  (call as Traced)[parentKey] ?? propagated(fiber.cache.span)

/** A span that the trace is to go through. */
const propagated = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined => {
  if (span === undefined || !Context.get(span.annotations, Tracer.DisablePropagation)) return span
  return span._tag === "Span" ? propagated(Option.getOrUndefined(span.parent)) : undefined
}

/** As `Effect.makeSpan`, without an effect of its own; none where nothing records it. */
export const begin = <I, O>(
  call: Call<I, O>,
  place: Place,
  parent: Tracer.AnySpan | undefined,
  fiber: Fiber.Fiber<unknown, unknown>,
  settings: SpanSettings,
  now: bigint
): Tracer.Span | undefined => {
  const { tracer, tracerEnabled } = fiber.cache
  if (tracer === undefined || tracer === Tracer.nativeTracer || !tracerEnabled || parent?.sampled === false) {
    return undefined
  }
  const { annotations, links, sampled } = settings
  const names = namesOf(call.method.path)
  const span = tracer.span({
    name: place === "attempt" ? names.attempt : names.call,
    parent: parent === undefined ? none : Option.some(parent),
    annotations: nothing,
    links: links.length === 0 ? [] : [...links],
    startTime: now,
    kind: "client",
    root: false,
    sampled
  })
  for (const key in annotations) span.attribute(key, annotations[key])
  span.attribute("rpc.system.name", "grpc")
  span.attribute("rpc.method", names.call)
  if (place === "attempt") span.attribute("previous-rpc-attempts", call.attempt - 1)
  return span
}

const none = Option.none<Tracer.AnySpan>()
const nothing = Context.empty()

/** Ends a span as its call has ended. */
export const finish = (span: Tracer.Span, path: string, end: End, now: bigint): void => {
  const status = RpcError.statusNames[end.code]!
  span.attribute("rpc.status_code", status)
  if (end.code !== 0) span.attribute("error.type", status)
  const found = addressOf(end)
  if (found !== undefined) {
    span.attribute("server.address", found.address)
    if (found.port !== undefined) span.attribute("server.port", found.port)
  }
  span.end(now, exitOf(end, path))
}

/** What exporters print: without metadata and causes. */
const exitOf = ({ code, error, interrupted }: End, path: string): Exit.Exit<void, RpcError.RpcError> => {
  if (code === 0) return Exit.void
  if (interrupted) return Exit.interrupt()
  const { attempts, committed, connection, endpoint, progress, stalledMillis, waitedMillis } = error ?? unseen
  const details = error === undefined ? "" : wordsOf(error)
  // The fields that some reasons have beside these are of no use to exporters.
  const reason = { _tag: RpcError.tagOf(code)!, details } as RpcError.RpcReason
  const facts = { attempts, connection, endpoint, waitedMillis, committed, stalledMillis }
  return Exit.fail(RpcError.of(path, reason, progress, facts))
}

const unseen: RpcError.Facts & Pick<RpcError.RpcError, "progress"> = { progress: "MaybeProcessed" }

/** What is made of a text once, for as many texts as there may be. Which come and go: they are not kept for ever. */
const kept = <A>(f: (text: string) => A): ((text: string) => A) => {
  const all = new Map<string, A>()
  return (text) => {
    const found = all.get(text)
    if (found !== undefined) return found
    if (all.size >= 1_000) all.clear()
    const made = f(text)
    all.set(text, made)
    return made
  }
}

/** `demo.Greeter/SayHello`, and the name of its attempts. */
const namesOf = kept((path) => {
  const call = path.startsWith("/") ? path.slice(1) : path
  return { call, attempt: `Attempt ${call}` }
})

interface Address {
  readonly address: string
  readonly port: number | undefined
}

const addressOf = ({ connection, error }: End): Address | undefined => {
  if (connection !== undefined && connection !== "") return ofConnection(connection)
  return error?.endpoint === undefined ? undefined : ofEndpoint(error.endpoint)
}

const ofEndpoint = kept((endpoint): Address => {
  const [, host, bare, port] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(endpoint) ?? []
  const address = host ?? bare
  return address === undefined ? { address: endpoint, port: undefined } : { address, port: Number(port) }
})

/** `10.0.0.7:50051#3` is a connection to `10.0.0.7:50051`. */
const ofConnection = kept((connection): Address => {
  const hash = connection.lastIndexOf("#")
  return ofEndpoint(hash < 0 ? connection : connection.slice(0, hash))
})

/** The metadata of a call with the span in it; `undefined` where it is not told, for ids that are not W3C's can't be. */
export const told = (
  metadata: Metadata.Metadata | undefined,
  propagation: ReadonlyArray<Propagation>,
  span: Tracer.AnySpan
): Metadata.Metadata | undefined => {
  // What can't be sent fails further down, as it is.
  if (metadata !== undefined && metadata.issues.length > 0) return undefined
  const { sampled, spanId } = span
  const trace = span.traceId
  if (spanId.length !== 16 || (trace.length !== 32 && trace.length !== 16) || !isId(trace) || !isId(spanId)) {
    return undefined
  }
  const traceId = trace.length === 32 ? trace : trace.padStart(32, "0")
  const entries: Array<Metadata.Entry> = []
  if (metadata !== undefined) {
    for (const entry of metadata.entries) if (!propagation.includes(entry[0] as Propagation)) entries.push(entry)
  }
  for (const key of propagation) {
    entries.push([key, key === "traceparent" ? text(traceId, spanId, sampled) : binary(traceId, spanId, sampled)])
  }
  // Known to be legal, and `grpc-` is a prefix that callers may not use.
  return Metadata.received(itself, entries)
}

/** Lower-case hex, not all of it zero. */
const isId = (id: string): boolean => {
  let zero = true
  for (let i = 0; i < id.length; i++) {
    const code = id.charCodeAt(i)
    if (code < 48 || code > 102 || (code > 57 && code < 97)) return false
    if (code !== 48) zero = false
  }
  return !zero
}

const itself = (entries: ReadonlyArray<Metadata.Entry>): ReadonlyArray<Metadata.Entry> => entries

const text = (traceId: string, spanId: string, sampled: boolean): string =>
  `00-${traceId}-${spanId}-0${sampled ? 1 : 0}`

/** Version 0, then field 0: the trace, 1: the span, 2: its flags. */
const binary = (traceId: string, spanId: string, sampled: boolean): Uint8Array =>
  Buffer.from(`0000${traceId}01${spanId}020${sampled ? 1 : 0}`, "hex")
