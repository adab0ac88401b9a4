/**
 * What the bench asks of a client: keep a number of calls in flight until the time is up.
 */
import { messagesPerWatch, request, type Message } from "./echo.ts"

export interface Client {
  readonly run: (lanes: number, meter: Meter) => Promise<unknown>
}

export type Connect = (address: string) => Promise<Client>

/** Counts calls and keeps the last latencies. One clock reading per call: the end of one is the start of the next. */
export class Meter {
  readonly end: number
  calls = 0
  readonly #latencies = new Float64Array(1 << 16)

  constructor(millis: number) {
    this.end = performance.now() + millis
  }

  done(startedAt: number): number {
    const now = performance.now()
    this.#latencies[this.calls++ & 0xffff] = now - startedAt
    return now
  }

  percentiles(): { readonly p50: number; readonly p99: number } {
    const sorted = this.#latencies.subarray(0, Math.min(this.calls, this.#latencies.length)).sort()
    const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN
    return { p50: at(0.5), p99: at(0.99) }
  }
}

/** A client of promises that reads whole streams: one async loop per lane. Latencies are those of calls. */
export const promisedStreams = (watch: (message: Message, read: () => void) => Promise<unknown>): Client => ({
  run: (lanes, meter) => {
    const lane = async (): Promise<void> => {
      let at = performance.now()
      while (at < meter.end) {
        let messages = 0
        await watch(request, () => messages++)
        if (messages !== messagesPerWatch) throw new Error(`${messages} messages in a stream`)
        at = meter.done(at)
      }
    }
    return Promise.all(Array.from({ length: lanes }, lane))
  }
})

/** A client of promises: one async loop per lane. */
export const promised = (call: (message: Message) => Promise<Message>): Client => ({
  run: (lanes, meter) => {
    const lane = async (): Promise<void> => {
      let at = performance.now()
      while (at < meter.end) {
        await call(request)
        at = meter.done(at)
      }
    }
    return Promise.all(Array.from({ length: lanes }, lane))
  }
})
