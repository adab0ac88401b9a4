/** What a scenario is: a fault, played with real processes, and what must hold of the calls meanwhile. */
import type { Effect, Scope } from "effect"
import type { Client } from "./clients.ts"
import type { Ledger } from "./ledger.ts"
import type { Need } from "./needs.ts"

/** One figure with its bound. */
export interface Check {
  readonly what: string
  readonly value: number
  readonly most?: number
  readonly least?: number
}

/** What a scenario came to. */
export interface Verdict {
  readonly calls: number
  readonly failed: number
  /** So many may fail. */
  readonly limit: number
  readonly checks: ReadonlyArray<Check>
  /** Figures without a bound, and how calls failed. */
  readonly notes?: Readonly<Record<string, unknown>> | undefined
}

/** What the conductor gives to a scenario. */
export interface Stage {
  /** The share of the usual time that loads shall last. */
  readonly scale: number
  readonly canary: string
  /** A new file for all that one client shows. */
  readonly log: () => string
  /** A folder for files of this scenario; it is empty, and gone afterwards. */
  readonly folder: string
  readonly clients: Array<Client>
}

export interface Scenario {
  readonly id: string
  /** The fault, in a few words. */
  readonly title: string
  /** What is expected, in a few words. */
  readonly expect: string
  readonly needs?: ReadonlyArray<Need>
  /** Whether `--quick` plays it. */
  readonly quick?: boolean
  readonly play: (stage: Stage) => Effect.Effect<Verdict, Error, Scope.Scope>
}

export const holds = ({ least = -Infinity, most = Infinity, value }: Check): boolean => value >= least && value <= most

/** Whether there were calls, few enough of them failed, and all checks hold. */
export const isOk = ({ calls, checks, failed, limit }: Verdict): boolean =>
  calls > 0 && failed <= limit && checks.every(holds)

/** The verdict on the calls of a ledger: at most `limit` have failed, and the checks hold. */
export const verdict = (
  ledger: Ledger,
  limit: number,
  checks: ReadonlyArray<Check>,
  notes: Readonly<Record<string, unknown>> = {}
): Verdict => ({
  calls: ledger.calls,
  failed: ledger.failed,
  limit,
  checks,
  notes: {
    ...(ledger.failed > 0 ? { failures: ledger.failures } : {}),
    lagMillis: ledger.lagMillis,
    lagP99: ledger.lagP99,
    ...notes
  }
})

/** Every call ends by its deadline, 100 ms and what its own process was stalled for. */
export const byDeadline = (ledger: Ledger, deadlineMillis: number, which = ""): Check => ({
  what: `longest call${which}, ms`,
  value: ledger.max,
  most: deadlineMillis + 100 + ledger.lagMillis
})

/**
 * The 99th percentile of all calls. The delays of the processes themselves are added to what it may be: a call feels those
 * of the client twice, those of its server once, and a busy machine has many.
 */
export const p99 = (ledger: Ledger, most: number, serverLag: number): Check => ({
  what: "p99, ms",
  value: ledger.percentile(0.99),
  most: most + 2 * ledger.lagP99 + serverLag
})
