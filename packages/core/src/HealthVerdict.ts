/**
 * What a verdict of a health check means, for whoever passes it on.
 */
import type { HealthState } from "./Event.ts"
import type { Verdict } from "./Health.ts"

/** What is said is kept no longer than this. */
const maxSaid = 200

/** Before anything was said. */
export const unknown: Verdict = { _tag: "Unknown" }
/** The state that a verdict means. */
export const stateOf = (verdict: Verdict): HealthState => verdict._tag
/** Whether a connection in this state lends. */
export const lends = (state: HealthState): boolean => state === "Healthy" || state === "Unsupported"

/** What was said with it. */
export const said = (verdict: Verdict): string | undefined => ("said" in verdict ? verdict.said : undefined)

/** The verdict with a text of a decent length. */
export const cut = (verdict: Verdict): Verdict =>
  "said" in verdict && verdict.said !== undefined && verdict.said.length > maxSaid
    ? { ...verdict, said: `${verdict.said.slice(0, maxSaid)}…` }
    : verdict

/** A verdict, as snapshots show it. */
export const verdictDetails = (verdict: Verdict): Readonly<Record<string, string>> => {
  const text = said(verdict)
  return text === undefined ? { health: verdict._tag } : { health: verdict._tag, said: text }
}
