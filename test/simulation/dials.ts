/** How the scripted network answers dials: most open, some are refused, hang or die. */
import type { Dice } from "../support/core/prng.ts"
import type { Answer } from "../support/core/ScriptedConnector.ts"

/** Draws an answer. In calm weather every dial opens, so that a run comes to its end. */
export const answers = (dice: Dice, limit: number, calm: () => boolean) => (): Answer => {
  const after = dice.chance(0.5) ? dice.below(60) : 0
  if (calm() || dice.chance(0.7)) return { _tag: "Open", after, limit }
  if (dice.chance(0.5)) return { _tag: "Refuse", after }
  return dice.chance(0.2) ? { _tag: "Die", defect: "no such family" } : { _tag: "Hang" }
}
