/**
 * Calls that go where the policy would not send them, so that nobody stays out for longer than he must.
 *
 * A Ready member that was not picked for a while is asked now and then, and one that is ejected when its time is over. It
 * never decides who is ejected, and never tries who is silent: that is found out without calls.
 */
import type { Demand } from "./Demand.ts"
import type { Lease } from "./Lease.ts"
import type { Member } from "./Member.ts"
import type { OutlierDetector } from "./OutlierDetector.ts"

/** A Ready member that was not picked for this long gets the next pick. */
const neglectedMillis = 1_000
/** Of so many picks one may be such a trial. Those of ejected members are few: they have times of their own. */
const picksPerTrial = 100

/** Members that deserve a trial. */
export class Trials<C, E> {
  private readonly due: Array<Member<C, E>> = []
  private picks = 0
  private trials = 0
  private readonly detector: OutlierDetector | undefined

  constructor(detector: OutlierDetector | undefined) {
    this.detector = detector
  }

  /**
   * Looks for them in the tier that is used, and in those before it for members that it was left for: the tiers after it
   * are not neglected, but not needed. `tried`: those that the policy wants to know about. True: there are some.
   */
  look(members: ReadonlyArray<Member<C, E>>, tried: ReadonlySet<Member<C, E>>, priority: number, now: number): boolean {
    for (const m of members) {
      const before = m.endpoint.priority < priority
      if (m.endpoint.priority > priority || !possible(m) || this.due.includes(m)) continue
      if (m.ejected || before) {
        if (this.detector?.due(m, now) === true) this.due.unshift(m)
      } else if (now - m.pickedAt >= neglectedMillis && tried.has(m)) this.due.push(m)
    }
    return this.due.length > 0
  }

  /** Called for each pick: a lease of the one whose turn it is, if somebody is due. */
  lease(demand: Demand, priority: number): Lease<C> | undefined {
    this.picks++
    const [member] = this.due
    if (member === undefined) return undefined
    const { convicted } = member
    if (!convicted && this.trials * picksPerTrial > this.picks) return undefined
    this.due.shift()
    if (member.endpoint.priority > priority || !possible(member) || member.isIn(demand.avoid)) return undefined
    const out = member.lease(demand)
    if (out._tag !== "Lease") return undefined
    if (!convicted) this.trials++
    return out
  }

  /** It is gone. */
  forget(member: Member<C, E>): void {
    const i = this.due.indexOf(member)
    if (i >= 0) this.due.splice(i, 1)
  }
}

const possible = <C, E>(member: Member<C, E>): boolean =>
  member.upstream.connectivity() === "Ready" && !member.upstream.penalised()
