/**
 * What a measurement hands back: figures for bars, and rows for people.
 */
import type { BarId } from "./bars.ts"

export type Row = Readonly<Record<string, string | number>>

export interface Result {
  readonly values: Partial<Record<BarId, number>>
  readonly rows: ReadonlyArray<Row>
}

export const round = (value: number, digits: number): number => Number(value.toFixed(digits))

/** One table per measurement, its columns the keys of its rows. */
export const table = (rows: ReadonlyArray<Row>): string => {
  const columns = Object.keys(rows[0] ?? {})
  const lines = [columns, ...rows.map((row) => columns.map((column) => String(row[column] ?? "")))]
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)))
  return lines
    .map((line, n) =>
      line
        .map((cell, i) =>
          n > 0 && typeof rows[n - 1]![columns[i]!] === "number" ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)
        )
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}
