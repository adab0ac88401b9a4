/**
 * The one place where anything waits: first come first served per priority, bounded in number and time.
 *
 * A freed permit runs the picker for the first waiter; it never goes to whoever freed it, so the endpoint that fails
 * fastest does not eat the queue. Control goes first; bulk gets one turn in nine while calls wait, so that it can't starve.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Borrow, Waiting } from "./Borrow.ts"
import type { Event } from "./Event.ts"
import type { Refusal } from "./Lease.ts"
import type { Upstream } from "./Upstream.ts"

/** So many calls are served for each bulk waiter. */
const callsPerBulk = 8

/** That the queue is full is said once in this time. */
const saidEveryMillis = 1_000

/** How a queue says no. */
export interface QueueErrors<E> {
  readonly full: (waiting: number) => E
  /** `last` is what the upstream said when it was last asked for this waiter. */
  readonly expired: (waiting: number, last: Refusal<E>) => E
  readonly closed: () => E
}

/** What a queue needs. */
export interface QueueOptions<C, E> {
  readonly upstream: Upstream<C, E>
  readonly errors: QueueErrors<E>
  readonly maxWaiters: number
  readonly maxWaitMillis: number
  readonly now: () => number
  readonly publish: (event: Event) => void
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

class Waiter<C, E> implements Waiting {
  readonly borrow: Borrow<C, E>
  readonly expires: number
  private readonly queue: WaitQueue<C, E>
  prev: Waiter<C, E> | undefined = undefined
  next: Waiter<C, E> | undefined = undefined
  queued = true

  constructor(borrow: Borrow<C, E>, expires: number, queue: WaitQueue<C, E>) {
    this.borrow = borrow
    this.expires = expires
    this.queue = queue
  }
  leave(): void {
    this.queue.remove(this)
  }
}

interface Lane<C, E> {
  head: Waiter<C, E> | undefined
  tail: Waiter<C, E> | undefined
}

/**
 * First come first served per priority, bounded in number and time.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Demand, Lease, Upstream, WaitQueue } from "@hawser/core"
 *
 * class Busy extends Upstream.UpstreamBase<never, string> {
 *   lease() { return Lease.Full }
 *   connectivity() { return "Ready" as const }
 *   load() { return 1 }
 *   snapshot() {
 *     return { kind: "busy", name: "a:1", connectivity: this.connectivity(), inFlight: 1, details: {}, children: [] }
 *   }
 * }
 * const queue = new WaitQueue.WaitQueue<never, string>({
 *   upstream: new Busy(),
 *   errors: {
 *     full: (waiting) => `full: ${waiting} waiting`,
 *     expired: (_, last) => `expired: ${last._tag}`,
 *     closed: () => "closed"
 *   },
 *   maxWaiters: 2,
 *   maxWaitMillis: 1_000,
 *   now: () => 0,
 *   publish: () => {},
 *   run: (effect) => Effect.runFork(effect)
 * })
 * const said: Array<string> = []
 * const borrow = (name: string, deadline: number) =>
 *   queue.borrow({ ...Demand.make({ deadline }), granted: () => {}, refused: (e) => { said.push(`${name} ${e}`) } })
 *
 * borrow("a", 0) // => undefined
 * const place = borrow("b", 500)
 * borrow("c", 500)
 * borrow("d", 500)
 * place?.leave()
 * queue.waiting // => 1
 * queue.close()
 * said // => ["a expired: Full", "d full: 2 waiting", "c closed"]
 * ```
 */
export class WaitQueue<C, E> {
  waiting = 0
  /** How many were ever turned away: queue full, time passed, closed. */
  refused = 0
  private readonly options: QueueOptions<C, E>
  private readonly lanes: readonly [Lane<C, E>, Lane<C, E>, Lane<C, E>] = [lane(), lane(), lane()]
  private last: Refusal<E> = { _tag: "Pending" }
  private callsInRow = 0
  private hard = 0
  private closed = false
  private serving = false
  private again = false
  private overflowedAt = -Infinity
  private reaper: Fiber.Fiber<void> | undefined = undefined
  private reaperDue = Infinity
  private expiring = false

  constructor(options: QueueOptions<C, E>) {
    this.options = options
    options.upstream.subscribe(() => this.serve())
  }

  /** Answers before it returns, or hands back the place in the queue. */
  borrow(borrow: Borrow<C, E>): Waiting | undefined {
    const { errors, maxWaitMillis, maxWaiters, now, upstream } = this.options
    if (this.closed) return this.refuse(borrow, errors.closed())
    // While the upstream fails, only those wait who wait that out: they don't keep others from the bad news.
    const failing = this.last._tag === "Failing" && !borrow.waitForReady
    if (this.waiting === 0 || borrow.priority === 0 || failing) {
      const out = upstream.lease(borrow)
      if (out._tag === "Lease") {
        borrow.granted(out)
        return undefined
      }
      if (out._tag === "Closed" || (out._tag === "Failing" && !borrow.waitForReady)) {
        return this.refuse(borrow, out.error)
      }
      this.last = out
    }
    if (this.waiting >= maxWaiters) return this.overflow(borrow)
    const at = now()
    const { deadline, waitUntil = deadline } = borrow
    const waiter = new Waiter(borrow, Math.min(deadline, waitUntil, at + maxWaitMillis), this)
    if (waiter.expires <= at) return this.refuse(borrow, errors.expired(this.waiting, this.last))
    this.push(waiter)
    // Bound ones may be waiting for their own connection while others have room.
    if (this.hard > 0) this.serve()
    if (!waiter.queued) return undefined
    this.watch(waiter.expires)
    return waiter
  }

  /** Takes a waiter out, O(1). */
  remove(waiter: Waiter<C, E>): void {
    if (!waiter.queued) return
    waiter.queued = false
    const lane = this.lanes[waiter.borrow.priority]
    if (waiter.prev === undefined) lane.head = waiter.next
    else waiter.prev.next = waiter.next
    if (waiter.next === undefined) lane.tail = waiter.prev
    else waiter.next.prev = waiter.prev
    waiter.prev = waiter.next = undefined
    this.waiting--
    if (waiter.borrow.affinity?.hard === true) this.hard--
  }

  /** Serves waiters while permits last. A call from within only asks for another round, so the stack stays flat. */
  serve(): void {
    if (this.waiting === 0) return
    if (this.serving) {
      this.again = true
      return
    }
    this.serving = true
    try {
      do {
        this.again = false
        this.round()
      } while (this.again && this.waiting > 0)
    } finally {
      this.serving = false
    }
  }

  /** Refuses everybody, now and from now on. */
  close(): void {
    this.closed = true
    this.reaper?.interruptUnsafe()
    for (const lane of this.lanes) {
      while (lane.head !== undefined) this.dismiss(lane.head, this.options.errors.closed())
    }
  }

  private round(): void {
    const now = this.options.now()
    let passed: Set<Waiter<C, E>> | undefined
    for (let waiter = this.first(passed); waiter !== undefined; waiter = this.first(passed)) {
      if (waiter.expires <= now) {
        this.dismiss(waiter, this.options.errors.expired(this.waiting, this.last))
        continue
      }
      const out = this.options.upstream.lease(waiter.borrow)
      if (!waiter.queued) {
        // Whoever listens to events heard of a dial that this lease began, and took the waiter out.
        if (out._tag === "Lease") out.release("Neutral")
      } else if (out._tag === "Lease") {
        if (waiter.borrow.priority === 1) this.callsInRow++
        else if (waiter.borrow.priority === 2) this.callsInRow = 0
        this.remove(waiter)
        waiter.borrow.granted(out)
      } else if (out._tag === "Closed" || (out._tag === "Failing" && !waiter.borrow.waitForReady)) {
        this.dismiss(waiter, out.error)
      } else {
        this.last = out
        // Passed over: who is bound to one connection, and who waits out a failure that fails the others.
        if (waiter.borrow.affinity?.hard !== true && out._tag !== "Failing") return
        ;(passed ??= new Set()).add(waiter)
      }
    }
  }

  /** The waiter whose turn it is, without those passed over. */
  private first(passed: ReadonlySet<Waiter<C, E>> | undefined): Waiter<C, E> | undefined {
    const control = head(this.lanes[0], passed)
    if (control !== undefined) return control
    const call = head(this.lanes[1], passed)
    if (call !== undefined && this.callsInRow < callsPerBulk) return call
    return head(this.lanes[2], passed) ?? call
  }

  private push(waiter: Waiter<C, E>): void {
    const lane = this.lanes[waiter.borrow.priority]
    waiter.prev = lane.tail
    if (lane.tail === undefined) lane.head = waiter
    else lane.tail.next = waiter
    lane.tail = waiter
    this.waiting++
    if (waiter.borrow.affinity?.hard === true) this.hard++
  }

  private dismiss(waiter: Waiter<C, E>, error: E): void {
    this.remove(waiter)
    this.refuse(waiter.borrow, error)
  }

  private overflow(borrow: Borrow<C, E>): undefined {
    const now = this.options.now()
    if (now - this.overflowedAt >= saidEveryMillis) {
      this.overflowedAt = now
      this.options.publish({ _tag: "Saturated", waiting: this.waiting })
    }
    return this.refuse(borrow, this.options.errors.full(this.waiting))
  }

  private refuse(borrow: Borrow<C, E>, error: E): undefined {
    this.refused++
    borrow.refused(error)
    return undefined
  }

  /** One timer for all; it ends with the time of the last waiter that it was set for. */
  private watch(due: number): void {
    if (due >= this.reaperDue) return
    if (this.expiring) {
      this.reaperDue = due
      return
    }
    this.reaper?.interruptUnsafe()
    this.reaperDue = due
    this.reaper = this.options.run(this.reap)
  }

  private readonly reap: Effect.Effect<void> = Effect.suspend(() =>
    Effect.flatMap(Effect.sleep(Math.max(1, this.reaperDue - this.options.now())), () => {
      this.expire()
      return this.reaperDue === Infinity ? Effect.void : this.reap
    })
  )

  private expire(): void {
    const now = this.options.now()
    this.expiring = true
    this.reaperDue = Infinity
    for (const lane of this.lanes) {
      for (let waiter = lane.head; waiter !== undefined;) {
        const { next } = waiter
        if (waiter.expires <= now) this.dismiss(waiter, this.options.errors.expired(this.waiting, this.last))
        else this.reaperDue = Math.min(this.reaperDue, waiter.expires)
        // Whoever was told may have made others leave: begin again rather than follow a link that is gone.
        waiter = next !== undefined && !next.queued ? lane.head : next
      }
    }
    this.expiring = false
  }
}

const lane = <C, E>(): Lane<C, E> => ({ head: undefined, tail: undefined })

const head = <C, E>(lane: Lane<C, E>, passed: ReadonlySet<Waiter<C, E>> | undefined): Waiter<C, E> | undefined => {
  let waiter = lane.head
  while (waiter !== undefined && passed?.has(waiter) === true) waiter = waiter.next
  return waiter
}
