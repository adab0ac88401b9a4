/**
 * What the methods of a definition become in a client, by kind.
 *
 * Types only: each kind of method is a function that gives an `Effect` or a `Stream`, with the whole answer beside it.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { CallOptions, Replies, Reply } from "./Call.ts"
import type { FromDefinition, Kind, Method } from "./Method.ts"
import type { RpcError } from "./RpcError.ts"

/** The names of a definition's unary methods, as the definition has them. */
export type UnaryNames<S> = {
  [K in keyof S & string]: FromDefinition<S[K]> extends Method<infer _I, infer _O, infer K2>
    ? [K2] extends ["unary"]
      ? K
      : never
    : never
}[keyof S & string]

/** The names of all methods whose kind their type tells. */
export type MethodNames<S> = {
  [K in keyof S & string]: FromDefinition<S[K]> extends Method<infer _I, infer _O, infer K2>
    ? [Kind] extends [K2]
      ? never
      : K
    : never
}[keyof S & string]

/** One request, one answer. */
export interface UnaryMethod<in I, out O, out E = RpcError, out R = never> {
  /** Calls it and gives the message of the answer. */
  (input: I, options?: CallOptions): Effect.Effect<O, E | RpcError, R>
  /** The same call with headers, trailers and who answered. */
  readonly reply: (input: I, options?: CallOptions) => Effect.Effect<Reply<O>, E | RpcError, R>
}

/** One request, many answers. */
export interface ServerStreamingMethod<in I, out O, out E = RpcError, out R = never> {
  /** Each run of the stream is a call; leaving it early cancels the call. */
  (input: I, options?: CallOptions): Stream.Stream<O, E | RpcError, R>
  /** The same call from its headers on. The scope holds it. */
  readonly replies: (
    input: I,
    options?: CallOptions
  ) => Effect.Effect<Replies<O, E | RpcError, R>, E | RpcError, R | Scope.Scope>
}

/** Many requests, one answer. A stream of requests that fails cancels the call, which then fails with its error. */
export interface ClientStreamingMethod<in I, out O, out E = RpcError, out R = never> {
  <E2 = never, R2 = never>(
    input: Stream.Stream<I, E2, R2>,
    options?: CallOptions
  ): Effect.Effect<O, E | E2 | RpcError, R | R2>
  /** The same call with headers, trailers and who answered. */
  readonly reply: <E2 = never, R2 = never>(
    input: Stream.Stream<I, E2, R2>,
    options?: CallOptions
  ) => Effect.Effect<Reply<O>, E | E2 | RpcError, R | R2>
}

/** Many requests, many answers. A stream of requests that fails cancels the call, which then fails with its error. */
export interface BidiStreamingMethod<in I, out O, out E = RpcError, out R = never> {
  <E2 = never, R2 = never>(
    input: Stream.Stream<I, E2, R2>,
    options?: CallOptions
  ): Stream.Stream<O, E | E2 | RpcError, R | R2>
  /** The same call from its headers on. The scope holds it. */
  readonly replies: <E2 = never, R2 = never>(
    input: Stream.Stream<I, E2, R2>,
    options?: CallOptions
  ) => Effect.Effect<Replies<O, E | E2 | RpcError, R | R2>, E | E2 | RpcError, R | R2 | Scope.Scope>
}

/** What a method becomes in a client. */
export type ClientMethod<M, E = RpcError, R = never> =
  M extends Method<infer I, infer O, infer K>
    ? [K] extends ["unary"]
      ? UnaryMethod<I, O, E, R>
      : [K] extends ["serverStreaming"]
        ? ServerStreamingMethod<I, O, E, R>
        : [K] extends ["clientStreaming"]
          ? ClientStreamingMethod<I, O, E, R>
          : [K] extends ["bidiStreaming"]
            ? BidiStreamingMethod<I, O, E, R>
            : never
    : never

/**
 * A client of a service definition, under the names of the definition.
 *
 * **Gotchas**: methods whose type does not say their kind (`requestStream: boolean`) are absent.
 */
export type Client<S, E = RpcError, R = never> = {
  readonly [K in MethodNames<S>]: ClientMethod<FromDefinition<S[K]>, E, R>
}
