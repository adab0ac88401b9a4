/** What is known while the story runs. The director and the clients write it, the screen and the plain lines read it. */
import { percentile } from "./ledger.ts"
import type { Tick } from "./messages.ts"
import { boundaries } from "./story.ts"
import type { Server } from "./stage.ts"

/** How many slices the story's time is cut into, for the sparklines. */
export const slices = 120

const windowTicks = 5

/** One client, followed. */
export class Track {
  readonly ended = new Array<number>(slices).fill(0)
  readonly failed = new Array<number>(slices).fill(0)
  readonly #ticks: Array<Tick> = []

  add(tick: Tick, slice: number): void {
    const last = this.#ticks.at(-1)
    this.#ticks.push(tick)
    if (this.#ticks.length > windowTicks) this.#ticks.shift()
    if (slice < 0 || slice >= slices) return
    this.ended[slice]! += tick.recent.length
    this.failed[slice]! += tick.failed - (last?.failed ?? 0)
  }

  get now(): Tick | undefined {
    return this.#ticks.at(-1)
  }

  /** Of the last second's answers, by endpoint. */
  share(address: string): number {
    const [first] = this.#ticks
    if (first === undefined) return 0
    const since = (key: string) => (this.now!.answered[key] ?? 0) - (first.answered[key] ?? 0)
    const sum = Object.keys(this.now!.answered).reduce((n, key) => n + since(key), 0)
    return sum === 0 ? 0 : since(address) / sum
  }

  /** Of the last second. */
  percentiles(): { readonly p50: number; readonly p99: number } {
    const sorted = Float64Array.from(this.#ticks.slice(1).flatMap((tick) => tick.recent)).sort()
    return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) }
  }
}

/** What Hawser noticed or did. */
export interface Happening {
  readonly atMillis: number
  readonly text: string
}

export class Live {
  readonly hawser = new Track()
  readonly raw = new Track()
  readonly events: Array<Happening> = []
  servers: () => ReadonlyArray<Server> = () => []
  /** Index into the story; -1 while the clients warm up, its length when it is over. */
  phase = -1
  /** For whoever wants to be told at once. */
  turned: () => void = () => {}
  told: (happening: Happening) => void = () => {}
  readonly seconds: number
  readonly rps: number
  readonly ends: ReadonlyArray<number>
  #origin: number | undefined

  constructor(options: { readonly seconds: number; readonly rps: number }) {
    this.seconds = options.seconds
    this.rps = options.rps
    this.ends = boundaries(options.seconds)
  }

  begin(): void {
    this.#origin = performance.now()
  }

  turn(phase: number): void {
    this.phase = phase
    this.turned()
  }

  /** Since the story began. */
  get elapsedMillis(): number {
    return this.#origin === undefined ? 0 : performance.now() - this.#origin
  }

  tick(client: "hawser" | "raw", tick: Tick): void {
    const slice = this.phase < 0 ? -1 : Math.floor((this.elapsedMillis / (this.seconds * 1000)) * slices)
    this[client].add(tick, slice)
    for (const { address, text } of tick.events) {
      const server = this.servers().find((candidate) => candidate.address === address)
      const happening = { atMillis: this.elapsedMillis, text: server === undefined ? text : `${server.name} ${text}` }
      this.events.push(happening)
      this.told(happening)
    }
  }
}
