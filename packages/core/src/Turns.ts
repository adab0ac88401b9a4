/**
 * Whose turn it is: each member in proportion to its weight, as evenly over time as can be.
 *
 * Even weights are a plain round. Others are a queue by deadline (earliest deadline first, as in Envoy): a turn moves a
 * member back by the inverse of its weight, so that one of twice the weight comes twice as often and never in a burst.
 */
import type { Demand } from "./Demand.ts"
import { Full, type Lease, type Refusal } from "./Lease.ts"
import type { Member } from "./Member.ts"
import { firstWithRoom } from "./Policy.ts"
import type { Weights } from "./Weights.ts"

/** Gives turns, by weights, from a random start. O(1) while they are even, O(log n) otherwise. */
export class Turns<C, E> {
  private readonly members: ReadonlyArray<Member<C, E>>
  private readonly weights: Weights
  private readonly random: () => number
  private position: number
  private queue: DeadlineQueue | undefined = undefined

  constructor(members: ReadonlyArray<Member<C, E>>, weights: Weights, random: () => number) {
    this.members = members
    this.weights = weights
    this.random = random
    this.position = Math.floor(random() * members.length)
  }

  /** Leases from whose turn it is. Who has no room, or has failed this call, loses the turn. */
  lease(demand: Demand, now: number): Lease<C> | Refusal<E> {
    const { members, weights } = this
    weights.refresh(now)
    const n = members.length
    for (let k = 0; k < n; k++) {
      const member = members[this.next()]!
      if (member.isIn(demand.avoid)) continue
      const out = member.lease(demand, now)
      if (out._tag === "Lease") return out
    }
    // The heavy ones may have had all the turns, or all that have room have failed this call.
    return demand.avoid === undefined && weights.even ? Full : firstWithRoom(members, this.position, demand, now)
  }

  private next(): number {
    const { members, weights } = this
    if (weights.even) {
      const { position } = this
      this.position = position + 1 === members.length ? 0 : position + 1
      return position
    }
    this.queue ??= new DeadlineQueue(weights, this.random)
    return this.queue.next()
  }
}

/** A binary heap of indices, by deadline. */
class DeadlineQueue {
  private readonly weights: Weights
  /** Deadlines, by index, in turns of a mean weight. */
  private readonly deadlines: Float64Array
  /** The weights by which the deadlines were set. */
  private readonly used: Float64Array
  private readonly heap: Uint32Array
  private version: number
  private now = 0

  constructor(weights: Weights, random: () => number) {
    const { values, version } = weights
    this.weights = weights
    this.version = version
    this.used = Float64Array.from(values)
    this.deadlines = values.map((weight) => random() / weight)
    this.heap = Uint32Array.from(values, (_, i) => i)
    this.order()
  }

  next(): number {
    const { deadlines, heap, used, weights } = this
    if (weights.version !== this.version) this.reweigh()
    const first = heap[0]!
    this.now = deadlines[first]!
    deadlines[first]! += 1 / used[first]!
    this.sink(0)
    return first
  }

  /** What is left of each wait shrinks or grows with its weight. */
  private reweigh(): void {
    const { deadlines, now, used, weights } = this
    this.version = weights.version
    weights.values.forEach((weight, i) => {
      deadlines[i] = now + ((deadlines[i]! - now) * used[i]!) / weight
      used[i] = weight
    })
    this.order()
  }

  private order(): void {
    for (let at = (this.heap.length >> 1) - 1; at >= 0; at--) this.sink(at)
  }

  private sink(from: number): void {
    const { deadlines, heap } = this
    const n = heap.length
    const moved = heap[from]!
    const deadline = deadlines[moved]!
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= n) break
      if (child + 1 < n && deadlines[heap[child + 1]!]! < deadlines[heap[child]!]!) child++
      if (deadlines[heap[child]!]! >= deadline) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = moved
  }
}
