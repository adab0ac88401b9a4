/** Whether a run shows what the demo promises. */
import type { ClientName } from "./echo.ts"
import type { PhaseFigures, Report } from "./report.ts"

export type Verdict =
  | { readonly tag: "good" }
  | { readonly tag: "short"; readonly lines: ReadonlyArray<string> }
  /** The fault did not bite, so the run proves nothing. */
  | { readonly tag: "void"; readonly lines: ReadonlyArray<string> }

export const exitCodes = { good: 0, short: 1, void: 2 } as const

const frozenHawserAtMost = 0.005
const frozenRawAtLeast = 0.15
const shareAtLeast = 0.2
const unharmed = ["calm", "restarted", "thawed", "slow", "all well"]
const atMostInFlight = ["killed", "silent"]

const percent = (n: number): string => `${(n * 100).toFixed(2)} %`
const ratio = ({ calls, failed }: PhaseFigures): number => failed / calls

export const judge = (report: Report): Verdict => {
  const figures = (phase: string, client: ClientName): PhaseFigures => {
    const found = report.phases.find(({ name }) => name === phase)
    if (found === undefined) throw new RangeError(`the report has no phase "${phase}"`)
    return found[client]
  }

  const voids: Array<string> = []
  for (const { hawser, name, raw } of report.phases) {
    if (hawser.calls === 0 || raw.calls === 0) voids.push(`${name}: a client made no call`)
  }
  const rawFrozen = ratio(figures("frozen", "raw"))
  if (!(rawFrozen >= frozenRawAtLeast)) {
    voids.push(
      `frozen: the raw client failed ${percent(rawFrozen)} of its calls, at least ${percent(frozenRawAtLeast)} expected`
    )
  }
  if (voids.length > 0) return { tag: "void", lines: voids }

  const lines: Array<string> = []
  const frozen = figures("frozen", "hawser")
  if (ratio(frozen) > frozenHawserAtMost) {
    lines.push(
      `frozen: Hawser failed ${frozen.failed} of ${frozen.calls} calls (${percent(ratio(frozen))}), ` +
        `at most ${percent(frozenHawserAtMost)} allowed`
    )
  }
  for (const phase of atMostInFlight) {
    const { failed, inFlightOnVictim } = figures(phase, "hawser")
    if (failed > (inFlightOnVictim ?? 0)) {
      lines.push(
        `${phase}: Hawser failed ${failed} calls, at most ${inFlightOnVictim ?? 0} (in flight on the victim) allowed`
      )
    }
  }
  for (const phase of unharmed) {
    const { failed } = figures(phase, "hawser")
    if (failed > 0) lines.push(`${phase}: Hawser failed ${failed} calls, none allowed`)
  }
  for (const [endpoint, share] of Object.entries(figures("all well", "hawser").share)) {
    if (share < shareAtLeast) {
      lines.push(
        `all well: ${endpoint} carried ${percent(share)} of Hawser's calls, at least ${percent(shareAtLeast)} expected`
      )
    }
  }
  if (report.leftover > 0) lines.push(`leftover: ${report.leftover} processes or listening ports outlived the run`)
  return lines.length > 0 ? { tag: "short", lines } : { tag: "good" }
}
