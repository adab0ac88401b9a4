/**
 * Which members are picked from: those of the best priority that can serve.
 *
 * Priorities are tiers: 0 is used as long as it can serve, then 1, and so on (gRFC A56, without its timer: the connections
 * of the later tiers are kept, so that failing over costs nobody a dial). It never spreads over two tiers.
 */
import { panics } from "./Ejection.ts"
import type { Member } from "./Member.ts"

/** What is picked from, and why. */
export interface Choice<C, E> {
  readonly picked: ReadonlyArray<Member<C, E>>
  /** Fewer than half of the Ready members are sound, so all of them are picked. */
  readonly panic: boolean
  /** The tier. */
  readonly priority: number
  /** Of that tier: Ready members against which nothing was found. */
  readonly usable: number
  readonly ready: number
}

const nobody: Choice<never, never> = { picked: [], panic: false, priority: 0, usable: 0, ready: 0 }

/**
 * The first tier in which at least half of the Ready members are sound: those of it that are usable. Where there is none, the first tier with a Ready
 * member, in panic: all its Ready members.
 */
export const choose = <C, E>(members: ReadonlyArray<Member<C, E>>): Choice<C, E> => {
  let panicking: Choice<C, E> | undefined
  for (const [priority, tier] of tiers(members)) {
    const ready = tier.filter((m) => m.upstream.connectivity() === "Ready")
    // Still at its first dial: the next tier is for when this one has failed.
    if (ready.length === 0) {
      if (panicking === undefined && tier.some((m) => m.fresh)) return { ...nobody, priority }
      continue
    }
    const sound = ready.filter((m) => m.sound).length
    const counts = { priority, usable: sound, ready: ready.length }
    if (!panics(sound, ready.length)) return { picked: ready.filter((m) => m.usable), panic: false, ...counts }
    panicking ??= { picked: ready, panic: true, ...counts }
  }
  return panicking ?? nobody
}

/** The upstreams of the same priority, itself included. */
export const peers = <C, E>(members: ReadonlyArray<Member<C, E>>, upstream: object): ReadonlyArray<object> => {
  const priority = members.find((m) => m.upstream === upstream)?.endpoint.priority
  return members.filter((m) => m.endpoint.priority === priority).map((m) => m.upstream)
}

/** By priority, the best one first; mostly there is one. */
export const tiers = <C, E>(
  members: ReadonlyArray<Member<C, E>>
): ReadonlyArray<[number, ReadonlyArray<Member<C, E>>]> => {
  const first = members[0]?.endpoint.priority ?? 0
  if (members.every((m) => m.endpoint.priority === first)) return [[first, members]]
  const byPriority = new Map<number, Array<Member<C, E>>>()
  for (const member of members) {
    const tier = byPriority.get(member.endpoint.priority)
    if (tier === undefined) byPriority.set(member.endpoint.priority, [member])
    else tier.push(member)
  }
  return [...byPriority].sort(([a], [b]) => a - b)
}
