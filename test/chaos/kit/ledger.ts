/** What a load came to, and any part of it by when calls were due. */
import { type Columns, type Ending, interrupted } from "./messages.ts"

/** Some of the calls of a load; those that it abandoned are left out. */
export class Ledger {
  /** The longest stall of the client's own event loop: what ends late by that much was not late. */
  readonly lagMillis: number
  /** The 99th percentile of its delays: what a latency has of the machine and not of the servers. */
  readonly lagP99: number
  private readonly columns: Columns
  private readonly indices: ReadonlyArray<number>

  constructor(columns: Columns, indices?: ReadonlyArray<number>) {
    this.columns = columns
    this.indices =
      indices ?? columns.due.map((_, i) => i).filter((i) => columns.endings[columns.ending[i]!]?.text !== interrupted)
    this.lagMillis = columns.lagMillis
    this.lagP99 = columns.lagP99
  }

  /** Those that were due from `since` on and before `until`, in wall milliseconds. */
  between(since: number, until = Infinity): Ledger {
    const { due } = this.columns
    return new Ledger(
      this.columns,
      this.indices.filter((i) => due[i]! >= since && due[i]! < until)
    )
  }

  /** Those that ended from `since` on and before `until`. */
  endedBetween(since: number, until = Infinity): Ledger {
    const { due, millis } = this.columns
    return new Ledger(
      this.columns,
      this.indices.filter((i) => due[i]! + millis[i]! >= since && due[i]! + millis[i]! < until)
    )
  }

  get calls(): number {
    return this.indices.length
  }

  get failed(): number {
    return this.count(({ ok }) => !ok)
  }

  count(which: (ending: Ending) => boolean): number {
    return this.indices.reduce((n, i) => n + (which(this.endingOf(i)) ? 1 : 0), 0)
  }

  /** The share of the answers that came from a server. */
  share(server: string): number {
    const answered = this.calls - this.failed
    return answered === 0 ? 0 : this.count(({ ok, text }) => ok && text === server) / answered
  }

  /** Nearest rank. */
  percentile(p: number): number {
    const sorted = Float64Array.from(this.indices, (i) => this.columns.millis[i]!).sort()
    return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? 0
  }

  get max(): number {
    return this.percentile(1)
  }

  /** How often each kind of failure was seen. */
  get failures(): Readonly<Record<string, number>> {
    const all: Record<string, number> = {}
    for (const i of this.indices) {
      const { attempts, ok, text } = this.endingOf(i)
      const kind = `${text}, attempt ${attempts}`
      if (!ok) all[kind] = (all[kind] ?? 0) + 1
    }
    return all
  }

  /** When the first call that was due after `since` and succeeded was due; `undefined` if none did. */
  firstOk(since: number): number | undefined {
    const index = this.indices.find((i) => this.columns.due[i]! >= since && this.endingOf(i).ok)
    return index === undefined ? undefined : this.columns.due[index]
  }

  /** When the last call that failed was due, or -Infinity. */
  get lastFailed(): number {
    return this.indices.reduce((at, i) => (this.endingOf(i).ok ? at : Math.max(at, this.columns.due[i]!)), -Infinity)
  }

  private endingOf(index: number): Ending {
    return this.columns.endings[this.columns.ending[index]!]!
  }
}
