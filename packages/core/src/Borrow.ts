/**
 * One borrow in flight, from queue to release.
 *
 * A protocol's call object implements it together with its own listener, so that a call costs one object.
 */
import type { Demand } from "./Demand.ts"
import type { Lease } from "./Lease.ts"

/**
 * One borrow in flight. `granted` and `refused` are called at most once in all, never after `leave`, maybe before
 * `borrowUnsafe` returns, and must not throw.
 */
export interface Borrow<in C, in E> extends Demand {
  granted(lease: Lease<C>): void
  refused(error: E): void
}

/** A place in the queue. */
export interface Waiting {
  /** Leaves the queue, O(1). Does nothing once granted or refused. */
  leave(): void
}
