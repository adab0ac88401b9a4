/**
 * One after another, from a random start.
 *
 * **When to use**: all endpoints are alike and all calls cost the same. `PeakEwma` is better at everything else.
 */
import { firstWithRoom, type Policy } from "./Policy.ts"

/**
 * Round robin over the members with room.
 *
 * ```ts import.meta.vitest
 * import { RoundRobin } from "@hawser/core"
 *
 * RoundRobin.policy.name // => "round_robin"
 * ```
 */
export const policy: Policy = {
  name: "round_robin",
  picker: (members, random) => {
    let next = Math.floor(random() * members.length)
    return (demand, now) => {
      const start = next
      next = (next + 1) % members.length
      return firstWithRoom(members, start, demand, now)
    }
  }
}
