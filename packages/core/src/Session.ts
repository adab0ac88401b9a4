/**
 * One dialled connection, as its protocol shows it to core, and the function that dials one.
 *
 * This is all that a protocol implements. Draining, dial timeouts, backoff and permits are core's work.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ConnectError } from "./ConnectError.ts"
import type { Endpoint } from "./Endpoint.ts"

/** One dialled connection. Single use: once ended it never comes back. */
export interface Session<out C> {
  readonly connection: C
  /** How many leases at once: 100 assumed for HTTP/2, 1 for exclusive checkout, 0 once it has ended. Read on each lease. */
  limit(): number
  /** Monotonic milliseconds of the last byte, or else the last event, from the peer: the evidence for silence. */
  heardAt(): number
  /** Why no new lease may start: GOAWAY, lost, closed by the peer. `undefined` while one may. Old leases may go on. */
  ended(): ConnectError | undefined
  /**
   * Calls `listener` when `limit` has changed, and when it has ended, in place of the one before; `undefined`: nobody.
   *
   * **Details**: one callback, and no effect: a fiber that waits for the end of each idle connection would hold more memory
   * than the rest of it.
   */
  listen(listener: (() => void) | undefined): void
  /**
   * Asks the peer for a sign of life, and calls `answered` when it comes; not called when the session ends. False: it can't
   * be asked now. Without it there is no keepalive, and after a thaw of this process the connection is replaced.
   */
  ping?(answered: () => void): boolean
}

/**
 * Dials. Closing the scope closes the connection at once and makes whatever still runs on it fail. It must be
 * interruptible while it dials; the timeout is core's.
 */
export interface Connector<out C, out R = never> {
  (endpoint: Endpoint): Effect.Effect<Session<C>, ConnectError, R | Scope.Scope>
}
