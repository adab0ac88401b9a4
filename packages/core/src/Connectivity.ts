/**
 * The five connectivity states of gRPC, for connections, pools and balancers alike.
 *
 * A parent's state is a fold of its children's: the best one wins.
 */

/**
 * `Idle`: not dialled. `Connecting`: first dial, or the dial after a connection that worked. `Ready`: lends.
 * `TransientFailure`: the last dial failed; another one is scheduled or under way. `Shutdown`: never again.
 */
export type Connectivity = "Idle" | "Connecting" | "Ready" | "TransientFailure" | "Shutdown"

const rank: Record<Connectivity, number> = { Ready: 0, Connecting: 1, Idle: 2, TransientFailure: 3, Shutdown: 4 }

/**
 * The state of a group: `Ready` if one member is, else `Connecting`, `Idle`, `TransientFailure`, and `Shutdown` only
 * when all are. The state of nobody is `TransientFailure`.
 *
 * ```ts import.meta.vitest
 * import { Connectivity } from "@hawser/core"
 *
 * Connectivity.best(["TransientFailure", "Ready"]) // => "Ready"
 * Connectivity.best([]) // => "TransientFailure"
 * ```
 */
export const best = (states: Iterable<Connectivity>): Connectivity => {
  let out: Connectivity | undefined
  for (const s of states) if (out === undefined || rank[s] < rank[out]) out = s
  return out ?? "TransientFailure"
}
