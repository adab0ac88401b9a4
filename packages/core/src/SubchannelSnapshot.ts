/**
 * What a snapshot shows of a subchannel.
 */
import type { ConnectError } from "./ConnectError.ts"
import type { Connectivity } from "./Connectivity.ts"
import { type Endpoint, name } from "./Endpoint.ts"
import { verdictDetails } from "./HealthVerdict.ts"
import type { LiveConnection } from "./LiveConnection.ts"
import type { Snapshot } from "./Upstream.ts"

/** The state of a subchannel. */
export interface Facts<C> {
  readonly current: LiveConnection<C> | undefined
  /** Connections that take no more borrows, and have some. */
  readonly draining: number
  readonly endpoint: Endpoint
  readonly inFlight: number
  readonly lastError: ConnectError | undefined
  readonly state: Connectivity
}

/** The state of a subchannel as a node of the tree. */
export const snapshotOf = <C>({ current, draining, endpoint, inFlight, lastError, state }: Facts<C>): Snapshot => {
  const details: Record<string, string | number | boolean> = { draining }
  if (current !== undefined) {
    Object.assign(details, current.details())
    if (current.gate !== undefined) Object.assign(details, verdictDetails(current.gate.verdict))
  } else if (lastError !== undefined) details["error"] = lastError.message
  return {
    kind: "subchannel",
    name: current?.id ?? name(endpoint),
    connectivity: state,
    inFlight,
    details,
    children: []
  }
}
