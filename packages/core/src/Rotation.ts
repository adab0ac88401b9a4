/**
 * When connections are exchanged for new ones: after a while, so that what is behind an address is looked at anew, and after
 * many cancelled calls, before the server takes offence.
 *
 * Make before break: the new connection is Ready before the old one drains. Moments are spread by the jitter of each
 * connection's age.
 */
import type { Pool } from "./Pool.ts"

/** The share of its age by which a connection goes earlier or later (gRFC A9). */
const jitter = 0.1

/** How long a connection is used, in milliseconds; `maxAge` of `Infinity`: until it ends. */
export const lifetime = (maxAge: number, random: () => number): number =>
  maxAge === Infinity ? Infinity : maxAge * (1 - jitter + 2 * jitter * random())

/** How often ages are looked at while nobody borrows. */
export const everyMillis = (maxAge: number): number => Math.min(60_000, Math.max(100, maxAge / 20))

/** Begins to exchange a connection that is due, one at a time. */
export const due = <C>(pool: Pool<C>, now: number): void => {
  for (const s of pool.subchannels) {
    const live = s.current
    if (live === undefined || !live.lending || live.quarantinedAt !== undefined || now < live.expiresAt) continue
    const why = live.cancelledMany ? "Cancels" : "Age"
    // One that nobody uses or needs is not made anew.
    if (live.inFlight === 0 && pool.spare) pool.remove(s, why)
    else pool.rotate(s, why)
    return
  }
}
