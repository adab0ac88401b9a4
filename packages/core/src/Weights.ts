/**
 * The weights of a set of members, and members drawn by them in constant time.
 *
 * Most sets are even: that costs one comparison per pick. Weights that change by time (a slow start, reported load) are
 * taken anew every so often by whoever picks, never by a timer.
 */
import type { Member } from "./Member.ts"

/** While some weight changes by time, all are taken anew so often. */
export const changingMillis = 100

/** Writes a weight above 0 for each member, and answers when they may be different. */
export interface Measure {
  (into: Float64Array, now: number): number
}

/** The weights that members have. */
export const ofMembers =
  (members: ReadonlyArray<Member<unknown, unknown>>): Measure =>
  (into, now) => {
    let changing = false
    for (let i = 0; i < members.length; i++) {
      const member = members[i]!
      into[i] = member.weight(now)
      if (now < member.warmAt) changing = true
    }
    return changing ? now + changingMillis : Infinity
  }

/** The weights of a set of members. */
export class Weights {
  /** In proportion to their mean, which is 1. */
  readonly values: Float64Array
  /** The greatest of them. */
  greatest = 1
  /** Whether all are the same. */
  even = true
  /** Counts the changes. */
  version = 0
  private due = -Infinity
  private readonly measure: Measure
  private readonly measured: Float64Array
  private table: Table | undefined = undefined

  constructor(count: number, measure: Measure) {
    this.measure = measure
    this.values = new Float64Array(count).fill(1)
    this.measured = new Float64Array(count)
  }

  /** Takes them anew if they may be different by now. */
  refresh(now: number): void {
    if (now >= this.due) this.update(now)
  }

  /** One of them, by its weight. */
  draw(random: () => number): number {
    const n = this.values.length
    const x = random() * n
    const i = Math.floor(x)
    if (this.even) return i
    const table = (this.table ??= tableOf(this.values))
    return x - i < table.keep[i]! ? i : table.other[i]!
  }

  private update(now: number): void {
    const { measured, values } = this
    const n = values.length
    this.due = this.measure(measured, now)
    let sum = 0
    let even = true
    for (let i = 0; i < n; i++) {
      sum += measured[i]!
      if (measured[i] !== measured[0]) even = false
    }
    this.even = even
    this.greatest = 1
    let changed = false
    for (let i = 0; i < n; i++) {
      const value = even ? 1 : (measured[i]! / sum) * n
      if (value > this.greatest) this.greatest = value
      if (value === values[i]) continue
      values[i] = value
      changed = true
    }
    if (!changed) return
    this.version++
    this.table = undefined
  }
}

/** An alias table (Vose): each column keeps its own index with a probability, and gives the rest to another one. */
interface Table {
  readonly keep: Float64Array
  readonly other: Uint32Array
}

const tableOf = (values: Float64Array): Table => {
  const n = values.length
  const keep = Float64Array.from(values)
  const other = new Uint32Array(n)
  const small: Array<number> = []
  const large: Array<number> = []
  keep.forEach((value, i) => (value < 1 ? small : large).push(i))
  while (small.length > 0 && large.length > 0) {
    const poor = small.pop()!
    const rich = large.at(-1)!
    other[poor] = rich
    keep[rich]! -= 1 - keep[poor]!
    if (keep[rich]! < 1) small.push(large.pop()!)
  }
  // What is left is 1 but for rounding.
  for (const i of [...small, ...large]) keep[i] = 1
  return { keep, other }
}
