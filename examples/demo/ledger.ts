/** What one client's calls came to, phase by phase. */

export interface Figures {
  readonly calls: number
  readonly failed: number
  /** Milliseconds from the moment a call was due to its end, whatever the end. */
  readonly p50: number
  readonly p99: number
}

export interface PhaseSummary extends Figures {
  readonly answered: Readonly<Record<string, number>>
  /** How often each kind of failure was seen. */
  readonly failures: Readonly<Record<string, number>>
}

export interface Summary {
  readonly total: Figures
  readonly phases: ReadonlyArray<PhaseSummary>
  /** Calls that started more than 100 ms after they were due: the machine was busy, not the servers. */
  readonly late: number
}

/** Nearest rank, with two decimals. */
export const percentile = (sorted: ArrayLike<number>, p: number): number => {
  const value = sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? 0
  return Math.round(value * 100) / 100
}

const figures = (latencies: ReadonlyArray<number>, failed: number): Figures => {
  const sorted = Float64Array.from(latencies).sort()
  return { calls: sorted.length, failed, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) }
}

class Page {
  open = 0
  failed = 0
  readonly latencies: Array<number> = []
  readonly answered: Record<string, number> = {}
  readonly failures: Record<string, number> = {}
}

const bump = (counts: Record<string, number>, key: string): void => {
  counts[key] = (counts[key] ?? 0) + 1
}

/** How a call ended: with an answer from a server, or with a kind of failure. */
export type Ending =
  | { readonly tag: "answered"; readonly server: string }
  | { readonly tag: "failed"; readonly why: string }

export class Ledger {
  calls = 0
  failed = 0
  inFlight = 0
  late = 0
  recent: Array<number> = []
  readonly answered: Record<string, number> = {}
  readonly #pages: Array<Page> = []

  /** A new phase: calls from now on belong to it. What came before the first one is warming up and is not counted. */
  turn(): void {
    this.#pages.push(new Page())
  }

  /** Notes a call that starts now and was due at `due`. The result ends it, once. */
  start(due: number): (ending: Ending) => void {
    const page = this.#pages.at(-1)
    if (page === undefined) return () => {}
    page.open++
    this.calls++
    this.inFlight++
    if (performance.now() - due > 100) this.late++
    return (ending) => {
      const latency = performance.now() - due
      page.open--
      this.inFlight--
      page.latencies.push(latency)
      this.recent.push(latency)
      if (ending.tag === "answered") {
        bump(page.answered, ending.server)
        bump(this.answered, ending.server)
      } else {
        page.failed++
        this.failed++
        bump(page.failures, ending.why)
      }
    }
  }

  /** Whether every call of the phases before this one has ended. */
  get settled(): boolean {
    return this.#pages.slice(0, -1).every((page) => page.open === 0)
  }

  summary(): Summary {
    return {
      total: figures(
        this.#pages.flatMap((page) => page.latencies),
        this.#pages.reduce((n, page) => n + page.failed, 0)
      ),
      phases: this.#pages.map((page) => ({
        ...figures(page.latencies, page.failed),
        answered: page.answered,
        failures: page.failures
      })),
      late: this.late
    }
  }
}
