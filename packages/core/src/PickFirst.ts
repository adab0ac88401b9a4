/**
 * All calls to one endpoint, and to another one only when that is lost (gRFC A61, A62).
 *
 * **When to use**: one of several does the work and the others stand by, or there is a balancer behind each address.
 */
import { OptionsError } from "./OptionsError.ts"
import type { Member } from "./Member.ts"
import { noTrials, type Picker, type Policy } from "./Policy.ts"

/** What `make` takes. */
export interface PickFirstOptions {
  /** Any of those that are Ready, and not the first in order; default `false`. Else many clients meet at one server. */
  readonly shuffle?: boolean | undefined
}

/**
 * The first endpoint that is Ready, in order, for as long as it stays so. Whoever is Ready again later waits for its turn.
 *
 * **Details**: an endpoint that could not be reached stays `TransientFailure` until it is Ready, however often it is dialled
 * in between. A call that failed is sent again to the same endpoint, and one for which there is no room waits for it.
 * Every endpoint has its connection, so that nobody waits for a dial when the first is lost. For one connection in all, give
 * one endpoint all the addresses: they are raced (Happy Eyeballs), and the winner is used.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, Endpoint, PickFirst } from "@hawser/core"
 *
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: ["a:1", "b:1"].map((address) => Endpoint.makeUnsafe({ addresses: [address] })),
 *     policy: PickFirst.make(),
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady(2)
 *   const leases = yield* Effect.all([cluster.get(), cluster.get(), cluster.get()])
 *   return leases.map((lease) => Endpoint.name(lease.endpoint))
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["a:1", "a:1", "a:1"]
 * ```
 */
export const make = (options: PickFirstOptions = {}): Policy => {
  const { shuffle = false } = options
  if (typeof shuffle !== "boolean") {
    throw new OptionsError({ issues: [{ path: "shuffle", rule: "true or false", value: String(shuffle) }] })
  }
  // A member belongs to one cluster, so clusters that share this policy don't meet here.
  const chosen = new WeakMap<object, number>()
  let choices = 0
  return {
    name: "pick_first",
    // It has one place for all keys.
    hashes: true,
    trials: noTrials,
    picker: <C, E>(members: ReadonlyArray<Member<C, E>>, random: () => number): Picker<C, E> => {
      // By the first call, and not before: while a cluster starts, the order in which endpoints become Ready says nothing.
      let current: Member<C, E> | undefined
      const choose = (): Member<C, E> => {
        const order = (member: Member<C, E>) => chosen.get(member) ?? 0
        const last = members.reduce((a, b) => (order(b) > order(a) ? b : a))
        if (order(last) > 0) return last
        return members[shuffle ? Math.floor(random() * members.length) : 0]!
      }
      return (demand, now) => {
        if (current === undefined) {
          current = choose()
          chosen.set(current, ++choices)
        }
        return current.lease(demand, now)
      }
    }
  }
}
