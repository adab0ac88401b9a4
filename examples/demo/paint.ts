/** Colours and little charts, in plain ANSI. */

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const
export type Style = keyof typeof codes

export type Paint = (style: Style, text: string) => string
export const colours: Paint = (style, text) => `\u001b[${codes[style]}m${text}\u001b[0m`
export const noColours: Paint = (_, text) => text

/** `width` columns, filled to `fraction`, to an eighth of a column. */
export const bar = (fraction: number, width: number): string => {
  const eighths = Math.round(Math.min(1, Math.max(0, fraction)) * width * 8)
  const part = eighths % 8
  return ("█".repeat(eighths >> 3) + (part === 0 ? "" : "▏▎▍▌▋▊▉"[part - 1])).padEnd(width)
}

const levels = "▁▂▃▄▅▆▇█"
/** One column per value, `full` being the tallest. Anything above nothing shows. */
export const spark = (values: ReadonlyArray<number>, full: number): ReadonlyArray<string> =>
  values.map((value) => (value <= 0 ? levels[0]! : levels[Math.min(7, Math.max(1, Math.ceil((value / full) * 7)))]!))

/** Sums neighbours so that `values` fit into `width` columns. */
export const squeeze = (values: ReadonlyArray<number>, width: number): ReadonlyArray<number> => {
  const columns = new Array<number>(width).fill(0)
  values.forEach((value, index) => (columns[Math.floor((index / values.length) * width)]! += value))
  return columns
}
