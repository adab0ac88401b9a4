/**
 * Where endpoints come from: a target becomes sets of endpoints, each replacing the one before.
 *
 * A resolver is a value; nothing runs until a cluster opens it. It never dials and never judges an endpoint: it only says who
 * is there.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ConnectError } from "./ConnectError.ts"
import type { Endpoint } from "./Endpoint.ts"

/** What a resolver says. */
export type Update =
  /** All the endpoints that there are now. Empty: there are none. */
  | { readonly _tag: "Endpoints"; readonly endpoints: ReadonlyArray<Endpoint> }
  /** No answer. The last set stays in use for `keptForMillis`; 0: there is none any more. */
  | { readonly _tag: "Failed"; readonly error: ConnectError; readonly keptForMillis: number }

/** A resolver at work. */
export interface Watch {
  /** When it ends, the last set stays. */
  readonly updates: Stream.Stream<Update>
  /** Asks for a fresh answer soon: after a failed dial, or a lost connection. The resolver limits how often it follows. */
  readonly refresh: () => void
}

/** Where endpoints come from. */
export interface Resolver {
  /** As events and errors show it. */
  readonly name: string
  /** Starts it; it ends with the scope. */
  readonly open: Effect.Effect<Watch, never, Scope.Scope>
}
