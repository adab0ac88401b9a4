/**
 * How a balancer chooses among its members.
 *
 * A policy makes a picker for each immutable set of members; a picker is called on every borrow, never waits and never
 * changes the set.
 */
import type { Demand } from "./Demand.ts"
import { Full, type Lease, type Refusal } from "./Lease.ts"
import type { Member } from "./Member.ts"

/** Chooses and leases. Skips members without room; `Full` when none has any. */
export interface Picker<C, E> {
  (demand: Demand, now: number): Lease<C> | Refusal<E>
}

/** A way to choose: a value for the `balancer` option. */
export interface Policy {
  readonly name: string
  /** `random` gives numbers from 0 to 1. There is at least one member. */
  readonly picker: <C, E>(members: ReadonlyArray<Member<C, E>>, random: () => number) => Picker<C, E>
}

/**
 * Leases from the first member that has room, beginning at `start`. Members that already failed this call come last.
 */
export const firstWithRoom = <C, E>(
  members: ReadonlyArray<Member<C, E>>,
  start: number,
  demand: Demand,
  now: number
): Lease<C> | Refusal<E> => {
  const { avoid } = demand
  const n = members.length
  for (let pass = 0; pass < 2; pass++) {
    for (let k = 0; k < n; k++) {
      const member = members[(start + k) % n]!
      const avoided = avoid !== undefined && avoid.has(member.name)
      if (avoided !== (pass === 1)) continue
      const out = member.lease(demand, now)
      if (out._tag === "Lease") return out
    }
    if (avoid === undefined) break
  }
  return Full
}
