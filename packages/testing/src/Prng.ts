/**
 * Chance that can be played again.
 *
 * **Details**: mulberry32. It is quick, has a period of 2^32, and is no good for secrets.
 */

/** Numbers from 0 to below 1, the same ones for the same seed. */
export const make = (seed: number): (() => number) => {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
