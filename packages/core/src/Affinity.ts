/**
 * Borrows that want the one that others of their key had.
 *
 * A soft affinity is a preference: each key ranks the members in an order of its own (rendezvous hashing, Thaler and
 * Ravishankar 1998), and the first of that order with room lends. A member that comes or goes moves its share of the keys and
 * no others, and nothing is remembered. A hard affinity is a binding: the first borrow of a key binds it to one connection,
 * later ones wait for that one, until it ends or the key is unbound.
 */
import { Bindings } from "./Bindings.ts"
import type { Demand } from "./Demand.ts"
import { fnv1a, mix } from "./Hash.ts"
import { Full, type Lease, type Refusal } from "./Lease.ts"
import type { Member } from "./Member.ts"

/** Borrows with an affinity, of one balancer. */
export class Affinities<C, E> {
  private readonly bound = new Bindings<Member<C, E>>()

  /** Whether there was a binding. */
  unbind(key: string): boolean {
    return this.bound.delete(key)
  }

  /**
   * A lease by affinity; `undefined`: the picker decides. `picked` are those to choose from, `members` all; `hashes`: the
   * policy sees to soft affinities itself.
   */
  lease(
    demand: Demand,
    members: ReadonlyArray<Member<C, E>>,
    picked: ReadonlyArray<Member<C, E>>,
    hashes: boolean,
    now: number
  ): Lease<C> | Refusal<E> | undefined {
    const { hard, key } = demand.affinity!
    if (hard) return this.leaseBound(demand, key, members, picked, now)
    return hashes || picked.length === 0 ? undefined : leaseRanked(demand, key, picked, now)
  }

  private leaseBound(
    demand: Demand,
    key: string,
    members: ReadonlyArray<Member<C, E>>,
    picked: ReadonlyArray<Member<C, E>>,
    now: number
  ): Lease<C> | Refusal<E> | undefined {
    const bound = this.bound.get(key)
    // One that is silent or ejected keeps its keys: what they are bound to is still there.
    if (bound !== undefined && bound.upstream.connectivity() === "Ready" && members.includes(bound)) {
      return bound.lease(demand, now)
    }
    const chosen = emptiest(fnv1a(key), picked, demand)
    if (chosen === undefined) return undefined
    const out = chosen.lease(demand, now)
    if (out._tag === "Lease") this.bound.set(key, chosen)
    return out
  }
}

/**
 * The one with the fewest borrows, and of those the first in the order of the key; one that already failed this call only if
 * there is no other.
 */
const emptiest = <C, E>(
  seed: number,
  picked: ReadonlyArray<Member<C, E>>,
  demand: Demand
): Member<C, E> | undefined => {
  const before = (a: Member<C, E>, b: Member<C, E> | undefined): boolean =>
    b === undefined ||
    a.outstanding < b.outstanding ||
    (a.outstanding === b.outstanding && rank(seed, a) > rank(seed, b))
  let best: Member<C, E> | undefined
  let spare: Member<C, E> | undefined
  for (const m of picked) {
    if (m.isIn(demand.avoid)) {
      if (before(m, spare)) spare = m
    } else if (before(m, best)) best = m
  }
  return best ?? spare
}

/** The first with room in the order of the key. */
const leaseRanked = <C, E>(
  demand: Demand,
  key: string,
  picked: ReadonlyArray<Member<C, E>>,
  now: number
): Lease<C> | Refusal<E> => {
  const seed = fnv1a(key)
  let best: Member<C, E> | undefined
  let most = -Infinity
  for (const m of picked) {
    const score = rank(seed, m)
    if (score > most && !m.isIn(demand.avoid)) {
      best = m
      most = score
    }
  }
  if (best !== undefined) {
    const out = best.lease(demand, now)
    if (out._tag === "Lease") return out
  }
  // Rare: the first has no room, or has failed this call.
  const others = picked.filter((m) => m !== best).sort((a, b) => rank(seed, b) - rank(seed, a))
  for (const avoided of [false, true]) {
    for (const m of others) {
      if (m.isIn(demand.avoid) !== avoided) continue
      const out = m.lease(demand, now)
      if (out._tag === "Lease") return out
    }
  }
  return Full
}

/** Weighted rendezvous: shares go by weight (Schindelhauer and Schomaker 2005). */
const rank = <C, E>(seed: number, { endpoint, hash }: Member<C, E>): number =>
  -endpoint.weight / Math.log((mix(seed ^ hash) + 0.5) / 2 ** 32)
