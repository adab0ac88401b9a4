/**
 * One call as a value.
 *
 * Clients make it, middleware sends it on, changed or unchanged, once or more often, and the bridge reads it. It is a
 * flat record so that a changed copy is a spread.
 */
import type { Affinity, Priority } from "@hawser/core/Demand"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Metadata, Value } from "./Metadata.ts"
import type { Method } from "./Method.ts"

/**
 * The word for a call without a deadline; also `Deadline.none`.
 *
 * **Gotchas**: it takes away the default only, never the ambient deadline of `Deadline.within`.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, Client, Deadline } from "@hawser/grpc"
 *
 * const Greeter = {
 *   sayHello: {
 *     path: "/demo.Greeter/SayHello",
 *     requestStream: false,
 *     responseStream: false,
 *     requestSerialize: (name: string) => Buffer.from(name),
 *     responseDeserialize: String
 *   }
 * } as const
 * const base = Channel.make({ unary: (call) => Effect.die(call.deadline) })
 * const greeter = Client.make(Greeter, Deadline.withDefault(base, "5 seconds"))
 * const patient = greeter.sayHello("ada", { timeout: Call.none })
 * Effect.runSync(Effect.catchDefect(patient, Effect.succeed)) // => Infinity
 * ```
 */
export const none: unique symbol = Symbol.for("hawser/Deadline/none")

/** One call as a value. */
export interface Call<in out I, out O> {
  readonly method: Method<I, O>
  /** The request; not read where there are `requests`. */
  readonly input: I
  /** The requests of a method that takes many. Run once for each attempt. */
  readonly requests: Stream.Stream<I, unknown> | undefined
  readonly metadata: Metadata | undefined
  /** Monotonic milliseconds; `undefined`: none stated yet, so that a default applies; `Infinity`: none on purpose. */
  readonly deadline: number | undefined
  /**
   * Whether to wait for a connection instead of failing while the last dial failed. `undefined`: not said, so that a
   * service config or `WaitForReady` may say it; then `false`.
   */
  readonly waitForReady?: boolean | undefined
  /** When its wait for a connection ends at the latest, in monotonic milliseconds. Default: with the deadline. */
  readonly waitUntil?: number | undefined
  readonly affinity: Affinity | undefined
  readonly priority: Priority
  /** 1 for the first. The bridge sends `grpc-previous-rpc-attempts` from it. */
  readonly attempt: number
  /** Names of the endpoints that already failed it. */
  readonly avoid: ReadonlySet<string> | undefined
  /**
   * Asked when the path under the running call is given up: whether retry would send it again now. Set by retry;
   * `undefined`: leave the call running.
   */
  readonly resend: (<I2, O2>(call: Call<I2, O2>) => boolean) | undefined
  /** Told the names of endpoint and connection when the call has a permit. Set by hedging: the other attempts avoid them. */
  readonly picked?: ((endpoint: string, connection: string) => void) | undefined
  /**
   * Told when the response headers of a gRPC server are here: from then on this attempt is the call (gRFC A6). Set by
   * hedging, which cancels the other attempts. Not told of a status that comes alone, nor of a page of HTML.
   */
  readonly committed?: (() => void) | undefined
}

/** What a caller may say about one call. Anything else fails the call with `InvalidArgument`, `NotSent`. */
export interface CallOptions {
  /** Sent with the call. 16 KiB at most (`Metadata.maxBytes`); an object becomes metadata by `Metadata.fromRecord`. */
  readonly metadata?: Metadata | Readonly<Record<string, Value | ReadonlyArray<Value>>> | undefined
  /**
   * Above 0, at most 24 days; numbers are milliseconds. `Deadline.none` removes the default, never the ambient deadline
   * of `Deadline.within`.
   */
  readonly timeout?: Duration.Input | typeof none | undefined
  /**
   * Whether to wait for a connection instead of failing while the last dial failed. `false` says so even where a service
   * config or a layer lets the method wait. Default: as those say, and `false` where they say nothing.
   */
  readonly waitForReady?: boolean | undefined
  /** Calls of equal keys prefer one endpoint; a string, not empty, is a soft affinity. Default: none. */
  readonly affinity?: string | Affinity | undefined
  /** 0 control, 1 calls, 2 bulk. Default 1. */
  readonly priority?: Priority | undefined
}

/** A whole answer. A client's plain methods give `message`; their `.reply` gives this. */
export interface Reply<out O> {
  readonly message: O
  readonly headers: Metadata
  readonly trailers: Metadata
  /** Who answered: `10.0.0.7:50051#3`. */
  readonly connection: string
}

/** An answer of many messages, once its headers are here. */
export interface Replies<out O, out E, out R = never> {
  /** Read on demand. Ends the call when it is left early. To be run once. */
  readonly messages: Stream.Stream<O, E, R>
  readonly headers: Metadata
  /** Complete when `messages` has ended. */
  readonly trailers: Effect.Effect<Metadata>
  /** Who answers: `10.0.0.7:50051#3`. */
  readonly connection: string
}

/**
 * A call with nothing special: priority 1, first attempt, no deadline stated.
 *
 * **When to use**: in tests of middleware, and to call a channel without a client.
 *
 * **Details**: options are taken as they are; a client's `CallOptions` are checked, these are not.
 *
 * ```ts import.meta.vitest
 * import { Call } from "@hawser/grpc"
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const method = { path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec } as const
 * const call = Call.make(method, "ada", { affinity: { key: "ada", hard: false } })
 * call.priority // => 1
 * const again = { ...call, attempt: call.attempt + 1 }
 * again.attempt // => 2
 * again.affinity?.key // => "ada"
 * ```
 */
export const make = <I, O>(
  method: Method<I, O>,
  input: I,
  options?: Partial<Omit<Call<I, O>, "method" | "input">> | undefined
): Call<I, O> => {
  const call: Call<I, O> = {
    method,
    input,
    requests: undefined,
    metadata: undefined,
    deadline: undefined,
    waitForReady: undefined,
    affinity: undefined,
    priority: 1,
    attempt: 1,
    avoid: undefined,
    resend: undefined
  }
  return options === undefined ? call : { ...call, ...options }
}
