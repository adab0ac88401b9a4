/**
 * One after another, from a random start.
 *
 * **When to use**: all endpoints are alike and all calls cost the same. `PeakEwma` is better at everything else.
 */
import { noTrials, type Policy } from "./Policy.ts"
import { Turns } from "./Turns.ts"
import { ofMembers, Weights } from "./Weights.ts"

/**
 * Round robin over the members with room.
 *
 * **Details**: over any number of picks no two of those with room differ by more than one. One without room loses its turn. A
 * member of a smaller weight, or that starts slowly, has a turn less often.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Cluster, Endpoint, RoundRobin } from "@hawser/core"
 *
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Cluster.make({
 *     target: "orders",
 *     endpoints: ["a:1", "b:1", "c:1"].map((address) => Endpoint.makeUnsafe({ addresses: [address] })),
 *     policy: RoundRobin.policy,
 *     connector: () => Effect.succeed({
 *       connection: "socket", limit: () => 100, heardAt: () => 0, ended: () => undefined, listen: () => {}
 *     })
 *   })
 *   yield* cluster.awaitReady(3)
 *   const call = cluster.use((lease) => Effect.succeed(Endpoint.name(lease.endpoint)))
 *   const [first, second] = [yield* Effect.all([call, call, call]), yield* Effect.all([call, call, call])]
 *   return { all: first.toSorted(), again: first.join() === second.join() }
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => { all: ["a:1", "b:1", "c:1"], again: true }
 * ```
 */
export const policy: Policy = {
  name: "round_robin",
  trials: noTrials,
  picker: (members, random) => {
    const turns = new Turns(members, new Weights(members.length, ofMembers(members)), random)
    return (demand, now) => turns.lease(demand, now)
  }
}
