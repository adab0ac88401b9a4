/** A small seeded generator (mulberry32): the same seed gives the same numbers on every machine. */
export const mulberry = (seed: number): (() => number) => {
  let a = seed | 0
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Choices drawn from one seed. */
export class Dice {
  readonly next: () => number

  constructor(seed: number) {
    this.next = mulberry(seed)
  }
  /** An integer from 0 to `n - 1`. */
  below(n: number): number {
    return Math.floor(this.next() * n)
  }
  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.next() < p
  }
  /** One of `items`, which must not be empty. */
  oneOf<A>(items: ReadonlyArray<A>): A {
    return items[this.below(items.length)]!
  }
}
