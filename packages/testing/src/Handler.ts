/**
 * What stands in the place of a server's method: a function of the request, or of the stream of requests, that gives
 * the answer, or the stream of answers.
 */
import type { Call } from "@hawser/grpc/Call"
import * as Metadata from "@hawser/grpc/Metadata"
import type { Kind, KindOf } from "@hawser/grpc/Method"
import type { RpcError, Tag } from "@hawser/grpc/RpcError"
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/** A gRPC status as a handler may say it: `{ _tag: "NotFound" }`. What is left out is filled in. */
export interface Status {
  readonly _tag: Tag
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

/** An answer with headers and trailers, for handlers that give one answer. */
export const reply = <O>(
  message: O,
  options?: { readonly headers?: Metadata.Metadata | undefined; readonly trailers?: Metadata.Metadata | undefined }
): TestReply<O> => new TestReply(message, options?.headers ?? Metadata.empty, options?.trailers ?? Metadata.empty)

/** How the headers of calls are sent, for as long as somebody has the call. */
const greeters = new WeakMap<Call<unknown, unknown>, (headers: Metadata.Metadata) => void>()

/** Lets a handler send headers of its own accord. */
export const greetedBy = (call: Call<unknown, unknown>, greet: (headers: Metadata.Metadata) => void): typeof call => {
  greeters.set(call, greet)
  return call
}

/**
 * Sends the response headers of a call now, before its answer or its status.
 *
 * **When to use**: in the handler of a method with one answer, to play a server that begins to answer and then fails or
 * takes its time. Without it a failure is a status alone.
 */
export const sendHeaders = (
  call: Call<unknown, unknown>,
  headers: Metadata.Metadata = Metadata.empty
): Effect.Effect<void> => Effect.sync(() => greeters.get(call)?.(headers))

/**
 * What stands in the place of a server's method: one request, one answer.
 *
 * **Details**: a failure is what the server answers. A handler that throws or dies is a server that crashes: the call
 * fails with `Internal`, and the defect is the `cause`.
 */
export interface Handler<in I, out O> {
  (input: I, call: Call<unknown, unknown>): Effect.Effect<O | TestReply<O>, RpcError | Status>
}

/**
 * One request, many answers.
 *
 * **Details**: the headers come with the first answer, as from most servers: a failure before it fails the opening of
 * the stream, which retry may do again. The stream runs at most 16 answers ahead of its reader, and is interrupted when
 * the reader leaves.
 */
export interface ServerStreamingHandler<in I, out O> {
  (input: I, call: Call<unknown, unknown>): Stream.Stream<O, RpcError | Status>
}

/**
 * Many requests, one answer.
 *
 * **Details**: the requests never fail: where the caller's own stream does, the handler is interrupted, and the call
 * fails with the error of that stream. To be run once.
 */
export interface ClientStreamingHandler<in I, out O> {
  (requests: Stream.Stream<I>, call: Call<unknown, unknown>): Effect.Effect<O | TestReply<O>, RpcError | Status>
}

/** Many requests, many answers: the requests of a `ClientStreamingHandler`, the answers of a `ServerStreamingHandler`. */
export interface BidiStreamingHandler<in I, out O> {
  (requests: Stream.Stream<I>, call: Call<unknown, unknown>): Stream.Stream<O, RpcError | Status>
}

/** The handler of a kind of method; `never` where the type of a definition has lost its kind. */
export type HandlerOf<K extends Kind, I, O> = [Kind] extends [K]
  ? never
  : {
      readonly unary: Handler<I, O>
      readonly serverStreaming: ServerStreamingHandler<I, O>
      readonly clientStreaming: ClientStreamingHandler<I, O>
      readonly bidiStreaming: BidiStreamingHandler<I, O>
    }[K]

/** Handlers by path: `/package.Service/Method`. The method that is called says which kind it must be. */
export interface Handlers {
  readonly [path: `/${string}/${string}`]: (
    // eslint-disable-next-line typescript/no-explicit-any -- paths carry no types: a handler says what it takes
    input: any,
    call: Call<unknown, unknown>
  ) => Effect.Effect<unknown, RpcError | Status> | Stream.Stream<unknown, RpcError | Status>
}

/** Handlers for the methods of a definition, each optional and of its method's kind. */
export type ServiceHandlers<S> = {
  readonly [K in keyof S as [HandlerFor<S[K]>] extends [never] ? never : K]?: HandlerFor<S[K]> | undefined
}

type HandlerFor<D> = D extends { readonly requestStream: infer Req; readonly responseStream: infer Res }
  ? HandlerOf<KindOf<Req, Res>, RequestOf<D>, ResponseOf<D>>
  : never

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
