import { type Demand, make as demand } from "@hawser/core/Demand"
import { type EndpointOptions, makeUnsafe } from "@hawser/core/Endpoint"
import type { Lease } from "@hawser/core/Lease"
import { Member } from "@hawser/core/Member"
import type { Policy } from "@hawser/core/Policy"
import type { SlowStart } from "@hawser/core/SlowStart"
import { leased } from "./parts.ts"
import { mulberry } from "./prng.ts"
import type { ScriptedSession } from "./ScriptedSession.ts"
import { StubUpstream } from "./StubUpstream.ts"

/** A member, and what a test says of it. */
export type Part = Member<ScriptedSession, string> & { readonly stub: StubUpstream }

/** What may differ from a plain set. */
export interface MembersOptions {
  readonly seed?: number
  readonly limit?: number
  readonly slowStart?: SlowStart
  /** Of each endpoint, by index. */
  readonly of?: (index: number) => Partial<EndpointOptions>
}

/** Members `e0`, `e1` … on a clock that the test sets. */
export const members = (n: number, options: MembersOptions = {}) => {
  const time = { now: 0 }
  const all: Array<Part> = Array.from({ length: n }, (_, i) => {
    const stub = new StubUpstream(`e${i}`, time, options.limit)
    const endpoint = makeUnsafe({ addresses: [`e${i}`], ...options.of?.(i) })
    return Object.assign(new Member(stub, endpoint, undefined, options.slowStart), { stub })
  })
  const random = mulberry(options.seed ?? 1)
  return { all, random, time }
}

/** A policy over members, and who was picked. */
export const picks = (policy: Policy, n: number, options: MembersOptions = {}) => {
  const { all, random, time } = members(n, options)
  let picker = policy.picker(all, random)
  const lease = (asked: Partial<Demand> = {}): Lease<ScriptedSession> => leased(picker(demand(asked), time.now))
  return {
    all,
    time,
    random,
    /** Only these from now on. */
    restrict: (some: ReadonlyArray<Part>) => {
      picker = policy.picker(some, random)
    },
    ask: (asked: Partial<Demand> = {}) => picker(demand(asked), time.now),
    lease,
    /** A pick that is given back at once: who it was. */
    pick: (asked: Partial<Demand> = {}): string => {
      const one = lease(asked)
      one.release("Success")
      return one.endpoint.addresses[0]
    },
    /** How often each has lent. */
    lent: () => all.map(({ stub }) => stub.lent)
  }
}

/** How many of these there are, by name. */
export const count = (names: Iterable<string>): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

/** The seeds of a property test: `HAWSER_SEED=7` for one of them. */
export const seeds = (n: number): ReadonlyArray<number> => {
  const only = process.env["HAWSER_SEED"]
  return only === undefined ? Array.from({ length: n }, (_, i) => i + 1) : [Number(only)]
}
