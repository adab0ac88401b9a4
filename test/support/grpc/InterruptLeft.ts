import { Balancer } from "@hawser/core/Balancer"
import * as diagnostics from "node:diagnostics_channel"
import * as v8 from "node:v8"
import * as vm from "node:vm"

/** How many fibers live, of those that run with this as their runtime metrics. */
export class Fibers {
  alive = 0
  started = 0
  readonly recordFiberStart = (): void => {
    this.alive++
    this.started++
  }
  readonly recordFiberEnd = (): void => void this.alive--
}

/** Node's timers, as they are. */
interface Hidden {
  readonly _destroyed: boolean
  readonly _idleTimeout: number
}

/** Every timer that was started through the globals, by whomever, those that keep no process alive included. */
export class Timers {
  started = 0
  private readonly timers = new Set<NodeJS.Timeout>()
  private readonly before = globalThis.setTimeout

  constructor() {
    const { before, timers } = this
    const count = () => void this.started++
    const watched = (...args: Parameters<typeof setTimeout>): NodeJS.Timeout => {
      count()
      const timer = before(...args)
      timers.add(timer)
      return timer
    }
    globalThis.setTimeout = Object.assign(watched, before) as typeof setTimeout
  }

  /** How long those are that are neither cleared nor over. */
  get pending(): ReadonlyArray<number> {
    return [...this.timers]
      .map((timer) => timer as unknown as Hidden)
      .filter((one) => !one._destroyed)
      .map((one) => one._idleTimeout)
  }

  restore(): void {
    globalThis.setTimeout = this.before
  }

  /** Holds none of them any more, nor what they hold. */
  forget(): void {
    this.timers.clear()
  }
}

/** The balancers that anybody subscribes to, and so everybody who waits for readiness or for the end of a drain. */
export class Balancers {
  readonly seen = new Set<Balancer<unknown, unknown>>()

  constructor() {
    const { seen } = this
    const inherited = Balancer.prototype.subscribe
    Balancer.prototype.subscribe = function (listener) {
      seen.add(this as Balancer<unknown, unknown>)
      return inherited.call(this, listener)
    }
  }

  /** Listeners beyond the one queue of each. */
  get listeners(): number {
    let n = 0
    for (const one of this.seen) n += one.listenerCount - 1
    return n
  }

  restore(): void {
    delete (Balancer.prototype as Partial<Balancer<unknown, unknown>>).subscribe
  }
}

/** Handles of this process, and the subscription of dials to Node's diagnostics. */
export const handles = () => {
  const all = process.getActiveResourcesInfo()
  const count = (kind: string) => all.filter((one) => one === kind).length
  return {
    sockets: count("TCPSocketWrap"),
    connects: count("TCPConnectWrap"),
    dialling: diagnostics.channel("net.client.socket").hasSubscribers
  }
}

v8.setFlagsFromString("--expose-gc")
const gc = vm.runInNewContext("gc") as () => void

/** Bytes of the heap that are really held. */
export const heap = (): number => {
  gc()
  gc()
  return process.memoryUsage().heapUsed
}
