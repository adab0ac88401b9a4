/**
 * Calls stay in the zone of the caller for as long as enough of its endpoints can be used.
 *
 * What leaves the zone costs time and money; what stays in a zone that has lost most of its endpoints overloads the rest.
 */
import type { Demand } from "./Demand.ts"
import type { Member } from "./Member.ts"
import { Issues } from "./OptionsError.ts"
import type { Picker, Policy } from "./Policy.ts"

/** What `prefer` takes beside the zone and the policy. */
export interface ZoneOptions {
  /** Endpoints of the zone that must be usable; an integer from 1 on. Default 1. */
  readonly minimum?: number | undefined
  /**
   * How many they must be in proportion to the mean of all zones; 0 to 1. Default 0.5: where the others have four each, two
   * must be left.
   */
  readonly share?: number | undefined
}

/**
 * Picks by `policy` among the endpoints of `zone`, and among all where too few of them are usable.
 *
 * **Details**: a call for which the zone has no room, or that has failed on all its endpoints, may go anywhere. Endpoints
 * without a zone count as one of their own. The idea is Envoy's (`min_cluster_size`, panic by locality), without its knowledge of
 * where the callers are. Throws an `OptionsError` for options that break a rule.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, Endpoint, RoundRobin, Zone } from "@hawser/core"
 *
 * const endpoint = (address: string, zone: string) => Endpoint.makeUnsafe({ addresses: [address], zone })
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: [endpoint("a:1", "eu-1"), endpoint("b:1", "eu-1"), endpoint("c:1", "eu-2")],
 *     policy: Zone.prefer("eu-1", RoundRobin.policy),
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady(3)
 *   const call = cluster.use((lease) => Effect.succeed(Endpoint.name(lease.endpoint)))
 *   return (yield* Effect.all([call, call, call, call])).toSorted()
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["a:1", "a:1", "b:1", "b:1"]
 * ```
 */
export const prefer = (zone: string, policy: Policy, options: ZoneOptions = {}): Policy => {
  const { minimum = 1, share = 0.5 } = options
  const issues = new Issues()
  issues.check(typeof zone === "string" && zone !== "", "zone", "the name of a zone", zone)
  issues.check(Number.isInteger(minimum) && minimum >= 1, "minimum", "an integer from 1 on", minimum)
  issues.check(share >= 0 && share <= 1, "share", "a number from 0 to 1", share)
  issues.throwIfAny()

  /** Those of the zone, where they are enough and not all. */
  const near = <C, E>(members: ReadonlyArray<Member<C, E>>): ReadonlyArray<Member<C, E>> | undefined => {
    const own = members.filter((member) => member.endpoint.zone === zone)
    const zones = new Set(members.map((member) => member.endpoint.zone)).size
    const enough = own.length >= minimum && own.length >= (share * members.length) / zones
    return enough && own.length < members.length ? own : undefined
  }

  return {
    ...policy,
    name: `zone(${policy.name})`,
    trials: (members) => {
      const own = near(members) ?? members
      return policy.trials === undefined ? own : policy.trials(own)
    },
    picker: <C, E>(members: ReadonlyArray<Member<C, E>>, random: () => number): Picker<C, E> => {
      const own = near(members)
      const everywhere = policy.picker(members, random)
      if (own === undefined) return everywhere
      const inZone = policy.picker(own, random)
      return (demand, now) => {
        if (hasFailedAt(own, demand)) return everywhere(demand, now)
        const out = inZone(demand, now)
        return out._tag === "Lease" ? out : everywhere(demand, now)
      }
    }
  }
}

const hasFailedAt = <C, E>(members: ReadonlyArray<Member<C, E>>, { avoid }: Demand): boolean =>
  avoid !== undefined && members.every((member) => member.isIn(avoid))
