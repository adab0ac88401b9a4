/**
 * The one with the fewest calls in flight, of a few that are drawn (gRFC A48).
 *
 * **When to use**: calls of very different length to endpoints that are alike: streams that last for hours, say.
 * `PeakEwma` also sees who is slow, and who fails fast: to this policy such a server looks idle.
 */
import { Issues } from "./OptionsError.ts"
import { cheapestOutside, firstWithRoom, noTrials, type Policy } from "./Policy.ts"
import { ofMembers, Weights } from "./Weights.ts"

/** What `make` takes. */
export interface LeastRequestOptions {
  /** How many are drawn; an integer from 2 on, and above 10 it is 10 (gRFC A48). Default 2. */
  readonly choiceCount?: number | undefined
}

/** gRFC A48. */
const mostChoices = 10

/**
 * The least loaded of a few random members.
 *
 * **Details**: members are drawn by weight, maybe twice the same, and calls in flight count in proportion to it; streams
 * count until they end. Of equals the first one drawn is taken. Throws an `OptionsError` for a `choiceCount` below 2.
 *
 * ```ts import.meta.vitest
 * import { LeastRequest, type OptionsError } from "@hawser/core"
 *
 * LeastRequest.make({ choiceCount: 4 }).name // => "least_request"
 *
 * let message = ""
 * try { LeastRequest.make({ choiceCount: 1 }) } catch (e) { message = (e as OptionsError.OptionsError).message }
 * message // => "choiceCount: expected an integer from 2 on; above 10 it is 10, got 1"
 * ```
 */
export const make = (options: LeastRequestOptions = {}): Policy => {
  const { choiceCount = 2 } = options
  const issues = new Issues()
  const isCount = Number.isInteger(choiceCount) && choiceCount >= 2
  issues.check(isCount, "choiceCount", "an integer from 2 on; above 10 it is 10", choiceCount)
  issues.throwIfAny()
  const choices = Math.min(choiceCount, mostChoices)
  return {
    name: "least_request",
    trials: noTrials,
    picker: (members, random) => {
      const weights = new Weights(members.length, ofMembers(members))
      return (demand, now) => {
        weights.refresh(now)
        const { values } = weights
        let least = weights.draw(random)
        let load = members[least]!.outstanding / values[least]!
        for (let k = 1; k < choices; k++) {
          const i = weights.draw(random)
          const its = members[i]!.outstanding / values[i]!
          if (its >= load) continue
          least = i
          load = its
        }
        let chosen = members[least]!
        if (demand.avoid !== undefined) chosen = cheapestOutside(members, demand.avoid, outstanding) ?? chosen
        const out = chosen.lease(demand, now)
        return out._tag === "Lease" ? out : firstWithRoom(members, least, demand, now)
      }
    }
  }
}

const outstanding = (member: { readonly outstanding: number }): number => member.outstanding
