/** Judges what `effect-tsgo diagnostics` prints: it exits 0 for warnings, and when it checked nothing at all. */
import type { Outcome } from "./report.ts"

export const judge = ({ ok, output }: Outcome): Outcome => {
  const checked = Number(/^Checked (\d+) files?/m.exec(output)?.[1] ?? 0)
  const clean = /^0 errors, 0 warnings and 0 messages\.$/m.test(output)
  return { ok: ok && checked > 0 && clean, output }
}
