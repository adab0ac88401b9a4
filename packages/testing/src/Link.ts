/**
 * The way between the client and one host, in one direction: frames in order, some late, none lost for good.
 *
 * It behaves as TCP over a bad line does. A lost frame is sent again after a time that doubles, so loss is delay; on a
 * silent line everything waits, and what was not given up by then arrives when the line is back.
 */
import type { Timers } from "./Timers.ts"

/** What a line is like. All of it may change while frames are on the way; those sent later feel it. */
export interface Weather {
  /** One way, in milliseconds. */
  latency: number
  /** Up to so many milliseconds more, drawn for each frame. */
  jitter: number
  /** Bytes per second; `Infinity` for no limit. */
  bandwidth: number
  /** The chance of each frame to be lost once, 0 to 0.9. */
  loss: number
}

/** The line of somebody who has no weather. */
export const calm: Readonly<Weather> = { latency: 0, jitter: 0, bandwidth: Infinity, loss: 0 }

/** The first retransmission of Linux, in milliseconds. */
const retransmitMillis = 200
const maxRetransmits = 3

/** Where frames go, and what is told of the line. */
export interface LinkOptions<F> {
  readonly timers: Timers
  readonly random: () => number
  readonly weather: Weather
  readonly deliver: (frame: F) => void
  /** The weather has held a frame up. */
  readonly delayed: (why: "latency" | "loss" | "bandwidth") => void
  /** A frame was sent on a line on which nothing moves. */
  readonly stopped: () => void
}

interface Flight<F> {
  readonly frame: F
  readonly due: number
}

/** One direction of a connection. */
export class Link<F> {
  private readonly options: LinkOptions<F>
  private readonly flights: Array<Flight<F>> = []
  private cancel: (() => void) | undefined = undefined
  private clearAt = 0
  private holds = 0
  private closed = false

  constructor(options: LinkOptions<F>) {
    this.options = options
  }

  send(frame: F, bytes: number): void {
    if (this.closed) return
    if (this.holds > 0) this.options.stopped()
    // One that is due before those ahead of it waits for them all the same.
    this.flights.push({ frame, due: this.dueAfter(bytes) })
    if (this.flights.length === 1) this.arm()
  }

  /** Nothing arrives until as many releases. */
  hold(): void {
    this.holds++
    this.disarm()
  }
  release(): void {
    if (--this.holds > 0) return
    this.arm()
  }
  get held(): boolean {
    return this.holds > 0
  }
  /** How many frames are on their way. */
  get inFlight(): number {
    return this.flights.length
  }

  /** Whatever is on its way is gone. */
  cut(): void {
    this.closed = true
    this.flights.length = 0
    this.disarm()
  }

  private dueAfter(bytes: number): number {
    const { delayed, random, timers, weather } = this.options
    const now = timers.now()
    let wait = weather.latency
    if (weather.latency > 0) delayed("latency")
    if (weather.jitter > 0) wait += weather.jitter * random()
    if (weather.bandwidth < Infinity) {
      this.clearAt = Math.max(now, this.clearAt) + (bytes / weather.bandwidth) * 1_000
      wait += this.clearAt - now
      delayed("bandwidth")
    }
    if (weather.loss > 0) {
      for (let n = 0; n < maxRetransmits && random() < weather.loss; n++) {
        wait += retransmitMillis * 2 ** n
        delayed("loss")
      }
    }
    return now + wait
  }

  private arm(): void {
    const first = this.flights[0]
    if (first === undefined || this.holds > 0 || this.cancel !== undefined) return
    const wait = first.due - this.options.timers.now()
    if (wait > 0) {
      this.cancel = this.options.timers.after(wait, this.arrive)
      return
    }
    let cancelled = false
    this.cancel = () => {
      cancelled = true
    }
    this.options.timers.soon(() => {
      if (!cancelled) this.arrive()
    })
  }

  private disarm(): void {
    this.cancel?.()
    this.cancel = undefined
  }

  /** One frame per turn, so that anything may come between two. */
  private readonly arrive = (): void => {
    this.cancel = undefined
    const flight = this.flights.shift()
    if (flight === undefined) return
    this.arm()
    this.options.deliver(flight.frame)
  }
}
