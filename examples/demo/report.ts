/** What a run came to, as it is printed and judged. */
import type { ClientName } from "./echo.ts"
import type { Figures, PhaseSummary, Summary } from "./ledger.ts"

export interface PhaseFigures extends Figures {
  /** On the server that the phase hits, as that server counts them just before; null where no server is signalled. */
  readonly inFlightOnVictim: number | null
  /** Of the answered calls, by endpoint. */
  readonly share: Readonly<Record<string, number>>
}

export interface PhaseReport extends Readonly<Record<ClientName, PhaseFigures>> {
  readonly name: string
}

export interface Report extends Readonly<Record<ClientName, Figures>> {
  readonly phases: ReadonlyArray<PhaseReport>
  /** Processes and listening ports that outlived the run. */
  readonly leftover: number
}

export interface Played {
  readonly summaries: Readonly<Record<ClientName, Summary>>
  readonly phases: ReadonlyArray<{
    readonly name: string
    readonly inFlightOnVictim: Readonly<Record<ClientName, number>> | undefined
  }>
  readonly addresses: ReadonlyArray<string>
}

export const makeReport = ({ addresses, phases, summaries }: Played, leftover: number): Report => ({
  hawser: summaries.hawser.total,
  raw: summaries.raw.total,
  phases: phases.map(({ inFlightOnVictim, name }, index) => {
    const of = (client: ClientName): PhaseFigures => {
      const { answered, calls, failed, p50, p99 } = summaries[client].phases[index]!
      const share = shares(answered, addresses)
      return { calls, failed, p50, p99, inFlightOnVictim: inFlightOnVictim?.[client] ?? null, share }
    }
    return { name, hawser: of("hawser"), raw: of("raw") }
  }),
  leftover
})

const shares = (answered: PhaseSummary["answered"], addresses: ReadonlyArray<string>): Record<string, number> => {
  const sum = Object.values(answered).reduce((a, b) => a + b, 0)
  return Object.fromEntries(
    addresses.map((address) => [address, sum === 0 ? 0 : Math.round(((answered[address] ?? 0) / sum) * 1e4) / 1e4])
  )
}

const integer = (n: number): string => n.toLocaleString("en-US")
const cells = ({ calls, failed, p50, p99 }: Figures): string =>
  [
    integer(calls).padStart(9),
    integer(failed).padStart(8),
    p50.toFixed(1).padStart(8),
    p99.toFixed(1).padStart(8)
  ].join("")

/** 76 columns. */
export const table = (report: Report): ReadonlyArray<string> => {
  const heads = ["calls".padStart(9), "failed".padStart(8), "p50 ms".padStart(8), "p99 ms".padStart(8)].join("")
  const row = (name: string, of: Readonly<Record<ClientName, Figures>>) =>
    `${name.padEnd(10)}${cells(of.hawser)}${cells(of.raw)}`
  return [
    `${" ".repeat(10)}${"Hawser".padStart(33)}${"grpc-js, round_robin".padStart(33)}`,
    `${"phase".padEnd(10)}${heads}${heads}`,
    ...report.phases.map((phase) => row(phase.name, phase)),
    row("together", report)
  ]
}

/** What the table does not say. */
export const remarks = ({ phases, summaries }: Played): ReadonlyArray<string> => [
  ...phases.flatMap(({ name }, index) => {
    const kinds = Object.entries(summaries.hawser.phases[index]!.failures).map(([why, n]) => `${n} × ${why}`)
    return kinds.length > 0 ? [`Hawser's failures in ${name}: ${kinds.join(", ")}`] : []
  }),
  ...Object.entries(summaries).flatMap(([client, { late, total }]) =>
    late * 100 > total.calls ? [`The machine was busy: ${late} calls of ${client} started more than 100 ms late.`] : []
  )
]
