/** How late the event loop of this process is: what a latency has of the machine and not of the network. */
import { monitorEventLoopDelay } from "node:perf_hooks"

/** How often it is looked at, in milliseconds: what each look takes when nothing is late. */
const resolution = 5

export class Lag {
  private readonly delay = monitorEventLoopDelay({ resolution })

  constructor() {
    this.delay.enable()
  }

  reset(): void {
    this.delay.reset()
  }

  p99(): number {
    return this.at(99)
  }

  /** The longest stall. */
  max(): number {
    return this.at(100)
  }

  private at(percentile: number): number {
    const millis = this.delay.percentile(percentile) / 1e6 - resolution
    return Number.isFinite(millis) ? Math.max(0, millis) : 0
  }
}
