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
  /** As snapshots show it. */
  readonly name: string
  /** Whether its pickers see to soft affinities themselves; otherwise the balancer does, by rendezvous hashing. */
  readonly hashes?: boolean
  /** `random` gives numbers from 0 up to, not including, 1. There is at least one member. */
  readonly picker: <C, E>(members: ReadonlyArray<Member<C, E>>, random: () => number) => Picker<C, E>
  /**
   * Which of these get the next pick when they were not picked for a second. Default: all, because a policy that goes by what
   * it saw would never see that who was slow is slow no more.
   */
  readonly trials?: (<C, E>(members: ReadonlyArray<Member<C, E>>) => ReadonlyArray<Member<C, E>>) | undefined
  /** Whether it reads `Member.report`: only then is it worth looking for. Default `false`. */
  readonly reports?: boolean | undefined
}

/**
 * For `trials`, of a policy that does not go by what it saw.
 *
 * ```ts import.meta.vitest
 * import { Policy } from "@hawser/core"
 *
 * const anybody: Policy.Policy = {
 *   name: "random",
 *   trials: Policy.noTrials,
 *   picker: (members, random) => (demand, now) =>
 *     Policy.firstWithRoom(members, Math.floor(random() * members.length), demand, now)
 * }
 * anybody.trials?.([]) // => []
 * ```
 */
export const noTrials = (): ReadonlyArray<never> => []

/**
 * Leases from the first member that has room, beginning at `start`. Members that already failed this call come last.
 * `Full` when none has room.
 *
 * **Example** (The first endpoint, and the second while the first is full)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, Endpoint, Policy } from "@hawser/core"
 *
 * const inOrder: Policy.Policy = {
 *   name: "in_order",
 *   picker: (members) => (demand, now) => Policy.firstWithRoom(members, 0, demand, now)
 * }
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: ["a:1", "b:1"].map((address) => Endpoint.makeUnsafe({ addresses: [address] })),
 *     policy: inOrder,
 *     max: 1,
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 2, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady(2)
 *   const leases = yield* Effect.all([cluster.get(), cluster.get(), cluster.get()])
 *   // There is room on "a:1" again, but this call has failed there.
 *   leases[0]!.release("Failure")
 *   const second = yield* cluster.get({ avoid: new Set(["a:1"]) })
 *   return [...leases, second].map((lease) => Endpoint.name(lease.endpoint))
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["a:1", "a:1", "b:1", "b:1"]
 * ```
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
      const avoided = member.isIn(avoid)
      if (avoided !== (pass === 1)) continue
      const out = member.lease(demand, now)
      if (out._tag === "Lease") return out
    }
    if (avoid === undefined) break
  }
  return Full
}

/**
 * The cheapest of those that have not failed this call; `undefined` when all have. A second attempt is rare: it may look at
 * everybody.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, Endpoint, Policy } from "@hawser/core"
 *
 * const leastOfAll: Policy.Policy = {
 *   name: "least_of_all",
 *   picker: (members) => (demand, now) => {
 *     const least = Policy.cheapestOutside(members, demand.avoid, (member) => member.outstanding)
 *     const out = least?.lease(demand, now)
 *     return out?._tag === "Lease" ? out : Policy.firstWithRoom(members, 0, demand, now)
 *   }
 * }
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: ["a:1", "b:1"].map((address) => Endpoint.makeUnsafe({ addresses: [address] })),
 *     policy: leastOfAll,
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady(2)
 *   const leases = [
 *     yield* cluster.get(), yield* cluster.get({ avoid: new Set(["b:1"]) }), yield* cluster.get(), yield* cluster.get()
 *   ]
 *   return leases.map((lease) => Endpoint.name(lease.endpoint))
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["a:1", "a:1", "b:1", "b:1"]
 * ```
 */
export const cheapestOutside = <C, E>(
  members: ReadonlyArray<Member<C, E>>,
  avoid: ReadonlySet<string> | undefined,
  cost: (member: Member<C, E>) => number
): Member<C, E> | undefined => {
  let best: Member<C, E> | undefined
  let least = Infinity
  for (const member of members) {
    if (member.isIn(avoid)) continue
    const its = cost(member)
    if (best !== undefined && its >= least) continue
    best = member
    least = its
  }
  return best
}
