/**
 * Makes a script that fails smaller, step by step, as long as it fails in the same way.
 */
import type { Outcome } from "./play.ts"
import type { Script } from "./script.ts"

/** Plays at most, in all. */
const maxPlays = 400

/** The kind of a problem: its first word, which is the number of the invariant where it has one. */
export const kindOf = (problem: string): string => problem.split(" ")[0]!

/** The smallest script that was found, and how it fails. */
export const shrink = async (
  script: Script,
  outcome: Outcome,
  play: (script: Script) => Promise<Outcome>
): Promise<{ readonly script: Script; readonly outcome: Outcome; readonly plays: number }> => {
  const kinds = new Set(outcome.problems.map(kindOf))
  let best = { script, outcome }
  let plays = 0
  for (let size = script.steps.length >> 1; size >= 1; size >>= 1) {
    for (let from = 0; from < best.script.steps.length;) {
      if (plays === maxPlays) return { ...best, plays }
      plays++
      const { steps } = best.script
      const smaller = { ...script, steps: [...steps.slice(0, from), ...steps.slice(from + size)] }
      const outcome = await play(smaller)
      if (outcome.problems.some((problem) => kinds.has(kindOf(problem)))) best = { script: smaller, outcome }
      else from += size
    }
  }
  return { ...best, plays }
}
