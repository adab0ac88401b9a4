/**
 * 25 ways to break the product, each to be applied alone: a simulation is worth what it catches of them.
 *
 * The list was fixed before there was a simulation to catch anything. Its first part are mistakes that people make; the
 * second was drawn by `node test/simulation/operators.ts --seed 1 --count 10`, as it came. Do not swap an entry because it
 * is hard to catch. Where the code of an entry changes, restate the same mistake.
 */

/** One change of one file. A mutant may also loop for ever: whoever runs it needs a limit. */
export interface Mutation {
  readonly id: string
  readonly what: string
  readonly by: "hand" | "operator"
  /** From the root of the repository. */
  readonly file: string
  /** Occurs exactly once in the file. */
  readonly find: string
  readonly replace: string
}

type Entry = Omit<Mutation, "by">

const byHand: ReadonlyArray<Entry> = [
  {
    id: "stop-keeps-permit",
    what: "A call that is ended from this side (path given up, answer unreadable) does not give its permit back",
    file: "packages/grpc/src/BridgeCall.ts",
    find: "    this.lease?.release(outcome)\n",
    replace: ""
  },
  {
    id: "release-booked-twice",
    what: "A release is booked again at its end, so that two waiters are served for one permit",
    file: "packages/core/src/LiveConnection.ts",
    find: "    this.owner.returned(this)",
    replace: "    if (this.inFlight > 0) this.inFlight--\n    this.owner.returned(this)"
  },
  {
    id: "interrupt-stays-queued",
    what: "An interrupted call does not leave the queue",
    file: "packages/grpc/src/BridgeCall.ts",
    find: "    this.done = true\n    this.place?.leave()\n",
    replace: "    this.done = true\n"
  },
  {
    id: "newcomer-overtakes",
    what: "A new borrow is put before all that wait",
    file: "packages/core/src/WaitQueue.ts",
    find: `    waiter.prev = lane.tail
    if (lane.tail === undefined) lane.head = waiter
    else lane.tail.next = waiter
    lane.tail = waiter
`,
    replace: `    waiter.next = lane.head
    if (lane.head === undefined) lane.tail = waiter
    else lane.head.prev = waiter
    lane.head = waiter
`
  },
  {
    id: "ended-connection-lends",
    what: "A connection lends one borrow although its limit is 0: it has ended, or its peer wants no calls",
    file: "packages/core/src/LiveConnection.ts",
    find: "return Math.min(most, this.maxStreams)",
    replace: "return Math.min(Math.max(1, most), this.maxStreams)"
  },
  {
    id: "lower-limit-ignored",
    what: "The highest stream limit that a peer ever announced goes on to count after it announced a lower one",
    file: "packages/core/src/LiveConnection.ts",
    find: "    const most = this.session.limit()",
    replace: `    const said = this.session.limit()
    if (said > 0) this.highest = Math.max(this.highest ?? 0, said)
    const most = said > 0 ? this.highest : 0`
  },
  {
    id: "backoff-reset-on-connect",
    what: "The backoff starts over with every connection that is made, whether it proved itself or not",
    file: "packages/core/src/Subchannel.ts",
    find: "else if (live.answered > 0 || lasted) this.reconnect = undefined",
    replace: "else if (live.openedAt >= this.startedAt) this.reconnect = undefined"
  },
  {
    id: "cancel-counts-as-failure",
    what: "A call that its caller cancelled is held against the endpoint",
    file: "packages/grpc/src/BridgeCall.ts",
    find: `this.lease?.release("Neutral")`,
    replace: `this.lease?.release("Failure")`
  },
  {
    id: "earlier-expiry-missed",
    what: "The queue's timer is not set anew for a waiter with less time than those before it: it stays when its time is over",
    file: "packages/core/src/WaitQueue.ts",
    find: "if (due >= this.reaperDue) return",
    replace: "if (this.reaperDue !== Infinity) return"
  },
  {
    id: "drain-never-cuts",
    what: "A drain waits for calls in flight for as long as they like",
    file: "packages/core/src/Drain.ts",
    find: "yield* Effect.raceFirst(finished(balancer, members), Effect.sleep(within))",
    replace: "yield* finished(balancer, members)"
  },
  {
    id: "retry-of-unsafe",
    what: "A call that may have been processed is sent again although its method is not idempotent",
    file: "packages/grpc/src/RetryPolicy.ts",
    find: `error.isUnsent || policy.resendable || call.method.idempotency !== "Unknown"`,
    replace: "true"
  },
  {
    id: "budget-not-spent",
    what: "A retry asks the budget and takes nothing from it",
    file: "packages/grpc/src/RetryLoop.ts",
    find: "if (!spared && budget?.withdraw(now) === false) return",
    replace: "if (!spared && budget !== undefined && budget.balance(now) < 1) return"
  },
  {
    id: "last-borrow-closes-nothing",
    what: "A connection that takes no more calls is not closed when its last one ends",
    file: "packages/core/src/Subchannel.ts",
    find: "    if (!live.lending && live.inFlight === 0 && this.draining.includes(live)) this.options.run(this.shut(live))\n",
    replace: ""
  },
  {
    id: "dial-not-interruptible",
    what: "A dial can't be interrupted, so closing waits for it",
    file: "packages/core/src/Subchannel.ts",
    find: "Effect.exit(restore(Effect.timeoutOrElse(dialled, { duration: connectTimeout, orElse })))",
    replace: "Effect.exit(Effect.timeoutOrElse(dialled, { duration: connectTimeout, orElse }))"
  },
  {
    id: "quarantine-not-lifted",
    what: "A connection that was put aside for silence stays aside when it speaks again",
    file: "packages/core/src/Silence.ts",
    find: "} else if (heard >= live.quarantinedAt) {",
    replace: "} else if (heard > now) {"
  }
]

const byOperator: ReadonlyArray<Entry> = [
  {
    id: "LiveConnection:190 drop",
    what: "drop: if (this.releasedAt !== unreleased) return",
    file: "packages/core/src/LiveConnection.ts",
    find: "if (this.releasedAt !== unreleased) return",
    replace: ";"
  },
  {
    id: "LiveConnection:145 negate",
    what: "negate: lease.next === undefined",
    file: "packages/core/src/LiveConnection.ts",
    find: "if (lease.next === undefined) this.newest = lease.prev",
    replace: "if (!(lease.next === undefined)) this.newest = lease.prev"
  },
  {
    id: "Subchannel:83 negate",
    what: "negate: current !== undefined && current.lends",
    file: "packages/core/src/Subchannel.ts",
    find: "if (current !== undefined && current.lends) return current.lease(demand, now)",
    replace: "if (!(current !== undefined && current.lends)) return current.lease(demand, now)"
  },
  {
    id: "LiveConnection:143 negate",
    what: "negate: lease.prev === undefined",
    file: "packages/core/src/LiveConnection.ts",
    find: "if (lease.prev === undefined) this.oldest = lease.next",
    replace: "if (!(lease.prev === undefined)) this.oldest = lease.next"
  },
  {
    id: "StreamCall:140 drop",
    what: "drop: Deferred.doneUnsafe(this.onWire, Exit.succeed(wire))",
    file: "packages/grpc/src/StreamCall.ts",
    find: "Deferred.doneUnsafe(this.onWire, Exit.succeed(wire))",
    replace: ";"
  },
  {
    id: "LiveConnection:64 drop",
    what: "drop: this.scope = options.scope",
    file: "packages/core/src/LiveConnection.ts",
    find: "this.scope = options.scope",
    replace: ";"
  },
  {
    id: "Pool:192 drop",
    what: "drop: this.grow()",
    file: "packages/core/src/Pool.ts",
    find: "      this.grow()",
    replace: "      ;"
  },
  {
    id: "StreamCall:146 drop",
    what: "drop: this.settle(finished)",
    file: "packages/grpc/src/StreamCall.ts",
    find: "this.settle(finished)",
    replace: ";"
  },
  {
    id: "Balancer:183 negate",
    what: 'negate: states.includes("Connecting") || states.includes("Idle")',
    file: "packages/core/src/Balancer.ts",
    find: 'if (states.includes("Connecting") || states.includes("Idle")) return Pending',
    replace: 'if (!(states.includes("Connecting") || states.includes("Idle"))) return Pending'
  },
  {
    id: "Deadline:60 negate",
    what: 'negate: typeof input === "number"',
    file: "packages/grpc/src/Deadline.ts",
    find: 'if (typeof input === "number") return input',
    replace: 'if (!(typeof input === "number")) return input'
  }
]

/** All of them. */
export const mutations: ReadonlyArray<Mutation> = [
  ...byHand.map((entry) => ({ ...entry, by: "hand" as const })),
  ...byOperator.map((entry) => ({ ...entry, by: "operator" as const }))
]

/** Drawn, but not in the list: no run of the product can tell them from the original. */
export const discarded: ReadonlyArray<{
  readonly seed: number
  /** File, line and column. */
  readonly place: string
  readonly operator: string
  readonly why: string
}> = []
