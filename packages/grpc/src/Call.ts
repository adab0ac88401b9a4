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

/** The word for a call without a deadline; exported as `Deadline.none`. */
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
  /** Whether to wait for a connection instead of failing while the last dial failed. */
  readonly waitForReady: boolean
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
}

/** What a caller may say about one call. Anything else is refused, not ignored. */
export interface CallOptions {
  /** Sent with the call. 16 KiB at most. */
  readonly metadata?: Metadata | Readonly<Record<string, Value | ReadonlyArray<Value>>> | undefined
  /**
   * Above 0, at most 24 days; numbers are milliseconds. `Deadline.none` removes the default, never the ambient deadline
   * of `Deadline.within`.
   */
  readonly timeout?: Duration.Input | typeof none | undefined
  /** Whether to wait for a connection instead of failing while the last dial failed. Default `false`. */
  readonly waitForReady?: boolean | undefined
  /** Calls of equal keys prefer one endpoint; a string is a soft affinity. */
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
    waitForReady: false,
    affinity: undefined,
    priority: 1,
    attempt: 1,
    avoid: undefined,
    resend: undefined
  }
  return options === undefined ? call : { ...call, ...options }
}
