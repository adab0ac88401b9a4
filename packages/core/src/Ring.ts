/**
 * A hash ring: which member a hash belongs to, and who comes next.
 *
 * A member has its places on the ring by its name and weight alone, so that another one that comes or goes moves no keys
 * but its own. Only when the ring would become too large or too small do all members get fewer or more places.
 */
import { fnv1a, mix } from "./Hash.ts"
import type { Member } from "./Member.ts"

/** Places per unit of weight are a power of this, so that their number seldom changes. */
const step = 4
/** The heaviest member has no more places than this: few members need no large ring. */
const mostPlaces = 256

/** The places of a set of members, in order. */
export interface Ring {
  readonly hashes: Uint32Array
  /** Whose place it is, by index. */
  readonly owners: Uint32Array
}

/** 32 bits of a text. The same on every machine. */
export const hash = (text: string): number => mix(fnv1a(text))

/** 32 bits that have nothing to do with these. */
export const rehash = (bits: number): number => mix(bits ^ 0x9e3779b9)

/** Makes a ring of at most so many places, and of a quarter as many where the members are many enough. */
export const make = (members: ReadonlyArray<Member<unknown, unknown>>, maxSize: number): Ring => {
  const perWeight = placesPerWeight(members, maxSize)
  // Hash and owner in one number, which sorts fast.
  const places: Array<number> = []
  members.forEach((member, owner) => {
    const base = mix(member.hash)
    const count = Math.max(1, Math.round(member.endpoint.weight * perWeight))
    for (let i = 0; i < count; i++) places.push(mix(base ^ mix(i + 1)) * members.length + owner)
  })
  const sorted = Float64Array.from(places).sort()
  return {
    hashes: Uint32Array.from(sorted, (place) => Math.floor(place / members.length)),
    owners: Uint32Array.from(sorted, (place) => place % members.length)
  }
}

/** The largest power by which neither the ring nor its heaviest member has too many. */
const placesPerWeight = (members: ReadonlyArray<Member<unknown, unknown>>, maxSize: number): number => {
  let sum = 0
  let most = 0
  for (const { endpoint } of members) {
    sum += endpoint.weight
    most = Math.max(most, endpoint.weight)
  }
  const exact = Math.min(maxSize / sum, mostPlaces / most)
  return step ** Math.floor(Math.log(exact) / Math.log(step) + 1e-9)
}

/** The place that a hash belongs to: the first one from there on. */
export const find = ({ hashes }: Ring, wanted: number): number => {
  let low = 0
  let high = hashes.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (hashes[middle]! < wanted) low = middle + 1
    else high = middle
  }
  return low === hashes.length ? 0 : low
}
