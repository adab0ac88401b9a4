/**
 * What a resolver is: something that can be watched for sets of endpoints.
 *
 * A watch says what is true now, not what has changed: whoever reads it compares, and so a slow reader loses nothing but
 * what is out of date.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ConnectError } from "./ConnectError.ts"
import type { Endpoint } from "./Endpoint.ts"

/** Endpoints that were left out of an answer. */
export interface Dropped {
  readonly count: number
  /** What was wrong with the first one. */
  readonly why: string
}

/** What a resolver says. */
export type Update =
  /** All the endpoints that there are from now on. None is an answer, too. */
  | {
      readonly _tag: "Endpoints"
      readonly endpoints: ReadonlyArray<Endpoint>
      readonly dropped?: Dropped | undefined
    }
  /**
   * It could not be found out. Above 0: the last set stays in use, and another update comes within that time. 0: there is
   * no set any more, or none yet.
   */
  | { readonly _tag: "Failed"; readonly error: ConnectError; readonly keptForMillis: number }

/** A resolver at work, for as long as its scope is open. */
export interface Watch {
  /**
   * Run once. A reader that falls behind gets the newest set. When it ends, the last word stays true.
   */
  readonly updates: Stream.Stream<Update>
  /**
   * Asks again soon: somebody could not connect, or has lost a connection. Synchronous, and rate-limited by the resolver.
   */
  readonly refresh: () => void
}

/** Where endpoints come from. A value: each `open` is a watch of its own. */
export interface Resolver {
  /** In events and errors. */
  readonly name: string
  readonly open: Effect.Effect<Watch, never, Scope.Scope>
}
