/**
 * Equal keys to one endpoint: a hash ring (gRFC A42).
 *
 * **When to use**: servers that remember what they did for a key: caches, sessions, shards. A call says its key by
 * `affinity`; without one it goes anywhere.
 */
import type { Demand } from "./Demand.ts"
import { Full, type Lease, type Refusal } from "./Lease.ts"
import type { Member } from "./Member.ts"
import { Issues } from "./OptionsError.ts"
import { firstWithRoom, noTrials, type Picker, type Policy } from "./Policy.ts"
import * as Ring from "./Ring.ts"
import { changingMillis, type Measure, Weights } from "./Weights.ts"

/** What `make` takes. */
export interface RingHashOptions {
  /** Places on the ring at most; an integer from 16 to 65,536. Default 4,096 (gRFC A42). */
  readonly maxRingSize?: number | undefined
}

/**
 * A ring of the members' names; a key belongs to the member that comes next on it.
 *
 * **Details**: a member that is lost, or has no room, gives its keys to the next on the ring, each key to the same one,
 * and no other key moves. With the default size a member has 256 places for its weight where there are up to 16 of them,
 * 64 up to 64, 16 up to 256, and 4 up to 1,024: the number changes there, and keys move with it. A member's share then
 * differs from the mean by some 6, 13, 25 or 50 %. Two clients that see the same endpoints agree on every key. A member
 * that starts slowly is given its keys little by little. The hash is our own (FNV-1a, mixed), so clients of other makers
 * do not agree with it.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, Endpoint, RingHash } from "@hawser/core"
 *
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "carts",
 *     endpoints: ["a:1", "b:1", "c:1"].map((address) => Endpoint.makeUnsafe({ addresses: [address] })),
 *     policy: RingHash.make(),
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady(3)
 *   const of = (key: string) => cluster.use(
 *     (lease) => Effect.succeed(Endpoint.name(lease.endpoint)),
 *     { affinity: { key, hard: false } }
 *   )
 *   return yield* Effect.all([of("ada"), of("bob"), of("ada"), of("bob")])
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["c:1", "a:1", "c:1", "a:1"]
 * ```
 */
export const make = (options: RingHashOptions = {}): Policy => {
  const { maxRingSize = 4_096 } = options
  const issues = new Issues()
  const isSize = Number.isInteger(maxRingSize) && maxRingSize >= 16 && maxRingSize <= 65_536
  issues.check(isSize, "maxRingSize", "an integer from 16 to 65,536", maxRingSize)
  issues.throwIfAny()
  return {
    name: "ring_hash",
    hashes: true,
    trials: noTrials,
    picker: (members, random) => pickerOf(members, maxRingSize, random)
  }
}

const pickerOf = <C, E>(members: ReadonlyArray<Member<C, E>>, maxSize: number, random: () => number): Picker<C, E> => {
  const n = members.length
  const warmth = new Weights(n, warmthOf(members))
  // Sets change often while a cluster starts: the ring is made for the first call.
  let ring: Ring.Ring | undefined
  // Who was asked for which pick: each is asked once, and nothing is allocated.
  const asked = new Float64Array(n)
  let pick = 0

  const takes = (i: number, bits: number): boolean =>
    warmth.even || Ring.rehash(bits) < (warmth.values[i]! / warmth.greatest) * 2 ** 32

  const walk = (from: number, bits: number, demand: Demand, now: number): Lease<C> | Refusal<E> => {
    const { owners } = ring!
    let left = n
    pick++
    for (let k = 0; k < owners.length && left > 0; k++) {
      const i = owners[(from + k) % owners.length]!
      if (asked[i] === pick) continue
      asked[i] = pick
      left--
      const member = members[i]!
      if (member.isIn(demand.avoid) || !takes(i, bits)) continue
      const out = member.lease(demand, now)
      if (out._tag === "Lease") return out
    }
    return Full
  }

  return (demand, now) => {
    ring ??= Ring.make(members, maxSize)
    warmth.refresh(now)
    const key = demand.affinity?.key
    const bits = key === undefined ? Math.floor(random() * 2 ** 32) : Ring.hash(key)
    const from = Ring.find(ring, bits)
    const out = walk(from, bits, demand, now)
    if (out._tag === "Lease") return out
    // Those that have failed this call, or would rather not have it yet.
    return demand.avoid === undefined && warmth.even ? out : firstWithRoom(members, ring.owners[from]!, demand, now)
  }
}

const warmthOf =
  (members: ReadonlyArray<Member<unknown, unknown>>): Measure =>
  (into, now) => {
    let due = Infinity
    for (let i = 0; i < members.length; i++) {
      into[i] = members[i]!.warmth(now)
      if (now < members[i]!.warmAt) due = now + changingMillis
    }
    return due
  }
