import type { Borrow, Waiting } from "@hawser/core/Borrow"
import type { Lease } from "@hawser/core/Lease"
import { WaitQueue } from "@hawser/core/WaitQueue"

interface Entry {
  readonly patient: boolean
  /** Waits for one connection, whatever else is free. */
  readonly bound: boolean
  readonly priority: number
  readonly expires: number
  state: "asking" | "waiting" | "granted" | "refused" | "left"
}

/**
 * Looks over the shoulder of every wait queue: each borrow is told once, nobody is told after leaving, first come first
 * served per priority, nobody is served after his time.
 */
export class QueueWatch {
  readonly problems: Set<string>
  private readonly lanes: ReadonlyArray<Array<Entry>> = [[], [], []]
  private readonly now: () => number
  private readonly maxWaitMillis: number
  closed = false
  /** Told of each borrow that is refused, when it is. */
  onRefused: ((borrow: Borrow<never, never>, error: unknown) => void) | undefined = undefined

  constructor(problems: Set<string>, now: () => number, maxWaitMillis: number) {
    this.problems = problems
    this.now = now
    this.maxWaitMillis = maxWaitMillis
  }

  get waiting(): number {
    return this.lanes.reduce((n, lane) => n + lane.length, 0)
  }

  /** How many wait that are not bound to one connection. */
  get unbound(): number {
    return this.lanes.reduce((n, lane) => n + lane.filter((entry) => !entry.bound).length, 0)
  }

  /** How many wait that do not wait for a connection which can't be had. */
  get impatient(): number {
    return this.lanes.reduce((n, lane) => n + lane.filter((entry) => !entry.patient).length, 0)
  }

  /** Whoever waits has time left. */
  checkTimes(slackMillis: number): void {
    const now = this.now()
    for (const lane of this.lanes) {
      for (const entry of lane) if (entry.expires + slackMillis < now) this.problems.add("I-9 waits past its time")
    }
  }

  /** Runs a borrow under observation. */
  observe<C, E>(borrow: Borrow<C, E>, ask: (borrow: Borrow<C, E>) => Waiting | undefined): Waiting | undefined {
    const now = this.now()
    const { priority } = borrow
    const entry: Entry = {
      patient: borrow.waitForReady,
      bound: borrow.affinity?.hard === true,
      priority,
      expires: Math.min(borrow.deadline, now + this.maxWaitMillis),
      state: "asking"
    }
    const ahead = this.lanes[priority]!.filter(({ bound }) => !bound).length
    const { granted, refused } = borrow
    borrow.granted = (lease: Lease<C>) => {
      // Who is bound may find room where the others may not go.
      if (entry.state === "asking" && ahead > 0 && !entry.bound) this.problems.add("I-5 overtakes the queue")
      this.told(entry, "granted")
      granted.call(borrow, lease)
    }
    borrow.refused = (error: E) => {
      this.told(entry, "refused")
      this.onRefused?.(borrow as Borrow<never, never>, error)
      refused.call(borrow, error)
    }
    const place = ask(borrow)
    if (place === undefined) {
      if (entry.state === "asking") this.problems.add("I-9 neither answered nor queued")
      return undefined
    }
    if (entry.state !== "asking") {
      this.problems.add("I-9 answered and queued")
      return place
    }
    entry.state = "waiting"
    this.lanes[priority]!.push(entry)
    const leave = place.leave
    place.leave = () => {
      if (entry.state === "waiting") {
        this.out(entry)
        entry.state = "left"
      }
      leave.call(place)
    }
    return place
  }

  private told(entry: Entry, state: "granted" | "refused"): void {
    if (entry.state === "left") this.problems.add(`I-2 ${state} after it left`)
    else if (entry.state !== "waiting" && entry.state !== "asking") this.problems.add("I-9 told twice")
    if (entry.state === "waiting") {
      if (state === "granted") {
        // Who waits for one connection is passed over while others have room.
        const first = this.lanes[entry.priority]!.find((other) => other === entry || !other.bound)
        if (first !== entry) this.problems.add("I-5 not first come first served")
        if (entry.expires <= this.now()) this.problems.add("I-9 served after its time")
      }
      this.out(entry)
    }
    entry.state = state
  }
  private out(entry: Entry): void {
    const lane = this.lanes[entry.priority]!
    lane.splice(lane.indexOf(entry), 1)
  }
}

let current: QueueWatch | undefined

/** Watches all queues until the returned function is called. */
export const watch = (queueWatch: QueueWatch): (() => void) => {
  current = queueWatch
  const { borrow } = WaitQueue.prototype
  WaitQueue.prototype.borrow = function (asked) {
    return current === undefined ? borrow.call(this, asked) : current.observe(asked, (b) => borrow.call(this, b))
  }
  return () => {
    current = undefined
    WaitQueue.prototype.borrow = borrow
  }
}
