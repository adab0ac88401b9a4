/**
 * What a snapshot shows of a subchannel.
 */
import type { ConnectError } from "./ConnectError.ts"
import type { Connectivity } from "./Connectivity.ts"
import { type Endpoint, name } from "./Endpoint.ts"
import { verdictDetails } from "./HealthVerdict.ts"
import type { LiveConnection } from "./LiveConnection.ts"
import type { Snapshot } from "./Upstream.ts"

/** A subchannel, as far as it is shown. */
export interface Facts<C> {
  readonly current: LiveConnection<C> | undefined
  /** Connections that take no more borrows, and have some. */
  readonly draining: ReadonlyArray<unknown>
  readonly endpoint: Endpoint
  readonly lastError: ConnectError | undefined
  connectivity(): Connectivity
  load(): number
}

/** The state of a subchannel as a node of the tree. */
export const snapshotOf = <C>(self: Facts<C>): Snapshot => {
  const { current, draining, endpoint, lastError } = self
  const details: Record<string, string | number | boolean> = { draining: draining.length }
  if (current !== undefined) {
    Object.assign(details, current.details())
    if (current.gate !== undefined) Object.assign(details, verdictDetails(current.gate.verdict))
  } else if (lastError !== undefined) details["error"] = lastError.message
  return {
    kind: "subchannel",
    name: current?.id ?? name(endpoint),
    connectivity: self.connectivity(),
    inFlight: self.load(),
    details,
    children: []
  }
}
