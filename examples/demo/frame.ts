/** One picture of the running demo, as lines of text. */
import { deadlineMillis } from "./echo.ts"
import type { Live, Track } from "./live.ts"
import { slices } from "./live.ts"
import { bar, spark, squeeze } from "./paint.ts"
import type { Paint, Style } from "./paint.ts"
import { story } from "./story.ts"

const integer = (n: number): string => n.toLocaleString("en-US")
const percent = (fraction: number): string => `${Math.round(fraction * 100)} %`
const styleOf = (state: string): Style => {
  if (/^(up|ready)$/i.test(state)) return "green"
  return /^(idle|connecting|starting|slow)/i.test(state) ? "yellow" : "red"
}

/** Lays cells out in columns: a positive width aligns to the left, a negative one to the right. */
const row = (
  widths: ReadonlyArray<number>,
  cells: ReadonlyArray<readonly [text: string, style?: Style]>,
  paint: Paint
) =>
  cells
    .map(([text, style], i) => {
      const width = widths[i]!
      const padded = width < 0 ? text.padStart(-width) : text.padEnd(width)
      return style === undefined ? padded : paint(style, padded)
    })
    .join("")

const dim = (...texts: ReadonlyArray<string>) => texts.map((text) => [text, "dim"] as const)

const endpointTable = (live: Live, paint: Paint): ReadonlyArray<string> => {
  const widths = [2, 16, 9, 13, -5, -6, -10, -11, -7]
  return [
    row(widths, dim("", "server", "is", "Hawser sees", "conns", "busy", "latency", "share", "raw"), paint),
    ...live.servers().map(({ address, name, state }) => {
      const seen = live.hawser.now?.endpoints.find((endpoint) => endpoint.address === address)
      const share = live.hawser.share(address)
      return row(
        widths,
        [
          [name, "bold"],
          [address],
          [state, styleOf(state)],
          [seen?.state ?? "–", styleOf(seen?.state ?? "")],
          [String(seen?.connections ?? "–")],
          [String(seen?.inFlight ?? "–")],
          [seen?.latencyMillis === undefined ? "–" : `${seen.latencyMillis.toFixed(1)} ms`],
          [`${bar(share, 4)}${percent(share).padStart(6)}`, "cyan"],
          [percent(live.raw.share(address))]
        ],
        paint
      )
    })
  ]
}

/** The story's bar, and below it, on the same scale of time, what share of each client's calls failed. */
const timeline = (live: Live, width: number, paint: Paint): ReadonlyArray<string> => {
  const done = Math.min(1, live.elapsedMillis / (live.seconds * 1000))
  const phase = story[live.phase]
  const startOf = (index: number) => Math.round(((live.ends[index - 1] ?? 0) / (live.seconds * 1000)) * width)
  const ticks = Array.from({ length: width }, () => " ")
  for (const index of story.keys()) ticks[startOf(index)] = "╷"
  const label = phase?.name ?? (live.phase < 0 ? "warming up" : "waiting for the last calls")
  const at = Math.min(startOf(Math.max(0, Math.min(live.phase, story.length))), width - label.length)
  const marks = ticks.join("")
  const line = (track: Track) => {
    const ended = squeeze(track.ended, width)
    const failed = squeeze(track.failed, width)
    const reached = Math.floor(done * width)
    const columns = spark(
      failed.map((n, i) => n / Math.max(1, ended[i]!)),
      0.35
    )
    return columns
      .map((column, i) =>
        i > reached || live.phase < 0 ? " " : failed[i]! > 0 ? paint("red", column) : paint("dim", column)
      )
      .join("")
  }
  const failedOf = (track: Track) => {
    const failed = track.now?.failed ?? 0
    return paint(failed === 0 ? "green" : "red", `${integer(failed)} failed`)
  }
  return [
    `        ${marks.slice(0, at)}${paint("bold", label)}${marks.slice(at + label.length)}`,
    `story   ${paint("cyan", bar(done, width))} ${(live.elapsedMillis / 1000).toFixed(0).padStart(2)} s`,
    `Hawser  ${line(live.hawser)} ${failedOf(live.hawser)}`,
    `raw     ${line(live.raw)} ${failedOf(live.raw)}`
  ]
}

const clientTable = (live: Live, paint: Paint): ReadonlyArray<string> => {
  const widths = [16, -10, -10, -12, -22, -10]
  return [
    row(widths, dim("client", "calls", "failed", "in flight", "last second: p50", "p99"), paint),
    ...(["hawser", "raw"] as const).map((name) => {
      const { now } = live[name]
      const { p50, p99 } = live[name].percentiles()
      const failed = now?.failed ?? 0
      return row(
        widths,
        [
          [name === "raw" ? "raw round_robin" : "Hawser"],
          [integer(now?.calls ?? 0)],
          [integer(failed), failed === 0 ? "green" : "red"],
          [integer(now?.inFlight ?? 0)],
          [`${p50.toFixed(1)} ms`],
          [`${p99.toFixed(1)} ms`]
        ],
        paint
      )
    })
  ]
}

export const frame = (live: Live, columns: number, rows: number, paint: Paint): ReadonlyArray<string> => {
  const width = Math.max(20, Math.min(slices, columns - 24))
  const what = story[live.phase]?.what ?? (live.phase < 0 ? "three servers answer in 5 ms" : "the story is over")
  const lines = [
    `${paint("bold", "Hawser")} and plain grpc-js, side by side: ${live.rps} calls/s each, deadline ${deadlineMillis / 1000} s`,
    "",
    `${paint("yellow", "▸")} ${paint("bold", what)}`,
    "",
    ...endpointTable(live, paint),
    "",
    ...timeline(live, width, paint),
    "",
    ...clientTable(live, paint),
    ""
  ]
  const room = rows - lines.length - 1
  const events = room > 0 ? live.events.slice(-Math.min(6, room)) : []
  return [
    ...lines,
    ...events.map(({ atMillis, text }) => `${paint("dim", `${(atMillis / 1000).toFixed(1).padStart(6)} s`)}  ${text}`),
    ...(room > events.length ? [paint("dim", "Ctrl-C stops it all and leaves nothing behind")] : [])
  ].slice(0, rows)
}
