/**
 * Power of two choices over peak-EWMA latency: the default.
 *
 * Two members are drawn, the cheaper one lends: cost is latency × (in flight + 1). It is as good as looking at all of
 * them, at the price of two looks, and no herd forms on the cheapest.
 */
import type { Member } from "./Member.ts"
import { cheapestOutside, firstWithRoom, type Picker, type Policy } from "./Policy.ts"
import { ofMembers, Weights } from "./Weights.ts"

/**
 * P2C peak-EWMA (Finagle; Mitzenmacher).
 *
 * **Details**: members are drawn by weight, and the calls in flight count in proportion to it.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Cluster, Endpoint, PeakEwma } from "@hawser/core"
 *
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: ["fast:1", "slow:1"].map((address) => Endpoint.makeUnsafe({ addresses: [address] })),
 *     policy: PeakEwma.policy,
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady(2)
 *   const call = cluster.use((lease) => {
 *     const name = Endpoint.name(lease.endpoint)
 *     return Effect.as(TestClock.adjust(name === "fast:1" ? "5 millis" : "100 millis"), name)
 *   })
 *   // Both get one call before anything is known.
 *   const first = yield* Effect.all([call, call])
 *   return [first.toSorted(), yield* Effect.all([call, call, call])]
 * })
 * await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(TestClock.layer())))
 * // => [["fast:1", "slow:1"], ["fast:1", "fast:1", "fast:1"]]
 * ```
 */
export const policy: Policy = {
  name: "p2c_peak_ewma",
  picker: <C, E>(members: ReadonlyArray<Member<C, E>>, random: () => number): Picker<C, E> => {
    const n = members.length
    if (n === 1) {
      const only = members[0]!
      return (demand, now) => only.lease(demand, now)
    }
    const weights = new Weights(n, ofMembers(members))
    return (demand, now) => {
      weights.refresh(now)
      const { even, values } = weights
      let i: number
      let j: number
      if (even) {
        i = Math.floor(random() * n)
        j = Math.floor(random() * (n - 1))
        if (j >= i) j++
      } else {
        // Maybe twice the same: of two that must differ, the light one would be drawn too often.
        i = weights.draw(random)
        j = weights.draw(random)
      }
      const a = members[i]!
      const b = members[j]!
      // Where weights are even they need not be fetched.
      const dearer = even ? a.cost(now) > b.cost(now) : a.cost(now, values[i]!) > b.cost(now, values[j]!)
      let chosen = dearer ? b : a
      if (demand.avoid !== undefined) chosen = cheapestOutside(members, demand.avoid, (m) => m.cost(now)) ?? chosen
      const out = chosen.lease(demand, now)
      return out._tag === "Lease" ? out : firstWithRoom(members, i, demand, now)
    }
  }
}
