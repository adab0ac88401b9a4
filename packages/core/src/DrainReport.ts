/**
 * How a drain went.
 */
import type * as Duration from "effect/Duration"

/** How a drain went: what ended by itself, what had to be cut, and who was turned away. */
export interface DrainReport {
  /** Borrows that ended by themselves. */
  readonly finished: number
  /** Borrows still running when the time was up. */
  readonly cancelled: number
  /** Waiters and later borrows that were refused. */
  readonly refused: number
  readonly elapsed: Duration.Duration
}
