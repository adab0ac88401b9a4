/**
 * Load, and what became of each call. An open loop: call number i is due at start + i / rate and starts then, whether or
 * not earlier ones have ended, so that a slow server can't slow the load down and hide itself. Or a number of callers,
 * each of which calls again as soon as it has an answer.
 */
import { type Columns, type Ending, type LoadConfig, wallMillis } from "./messages.ts"

/** Starts one call, and says once how it ended. The result interrupts it. */
export type Call = (end: (ending: Ending) => void) => () => void

/** Calls that have not ended so long after the load did never will. */
const patienceMillis = 30_000

export class Load {
  private readonly due: Array<number> = []
  private readonly millis: Array<number> = []
  private readonly ending: Array<number> = []
  private readonly endings: Array<Ending> = []
  private readonly kinds = new Map<string, number>()
  private readonly open = new Map<number, () => void>()
  private readonly call: Call
  private readonly config: LoadConfig
  private timer: NodeJS.Timeout | undefined
  private stopped = false
  private settled: (() => void) | undefined

  constructor(config: LoadConfig, call: Call) {
    this.config = config
    this.call = call
    const { concurrency = 1, rps, spreadMillis = 0 } = config
    if (rps !== undefined) this.openLoop(rps)
    else for (let i = 0; i < concurrency; i++) setTimeout(() => this.again(), (i * spreadMillis) / concurrency)
  }

  /** No more calls; hands all of them over once the last has ended. */
  stop(done: (columns: Omit<Columns, "lagMillis" | "lagP99">) => void): void {
    this.stopped = true
    clearTimeout(this.timer)
    const finish = () => {
      clearTimeout(impatient)
      this.settled = undefined
      for (const index of this.open.keys()) this.note(index, { ok: false, text: "never ended", attempts: 0 })
      const { due, ending, endings, millis } = this
      done({ due, millis, ending, endings })
    }
    const impatient = setTimeout(finish, patienceMillis)
    if (this.open.size === 0) return finish()
    this.settled = finish
    if (this.config.abandon === true) for (const interrupt of this.open.values()) interrupt()
  }

  private get over(): boolean {
    return this.stopped || this.due.length >= (this.config.calls ?? Infinity)
  }

  private openLoop(rps: number): void {
    const origin = wallMillis()
    const dueAt = (n: number) => origin + (n * 1_000) / rps
    const loop = () => {
      const now = wallMillis()
      while (dueAt(this.due.length) <= now && !this.over) this.begin(dueAt(this.due.length))
      if (!this.over) this.timer = setTimeout(loop, dueAt(this.due.length) - now)
    }
    loop()
  }

  private again(): void {
    if (!this.over) this.begin(wallMillis(), () => this.again())
  }

  private begin(due: number, next?: () => void): void {
    const index = this.due.length
    this.due.push(due)
    this.millis.push(-1)
    this.ending.push(-1)
    let over = false
    const interrupt = this.call((ending) => {
      over = true
      this.open.delete(index)
      this.note(index, ending)
      // In a turn of its own: a call may have failed before it returned.
      if (next !== undefined) setImmediate(next)
      if (this.open.size === 0) this.settled?.()
    })
    if (!over) this.open.set(index, interrupt)
  }

  private note(index: number, ending: Ending): void {
    const key = `${ending.ok} ${ending.text} ${ending.attempts}`
    let kind = this.kinds.get(key)
    if (kind === undefined) {
      kind = this.endings.push(ending) - 1
      this.kinds.set(key, kind)
    }
    this.millis[index] = wallMillis() - this.due[index]!
    this.ending[index] = kind
  }
}
