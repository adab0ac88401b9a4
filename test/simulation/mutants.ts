/**
 * The core with one mistake in it, for as long as the returned function has not been called. The race must find each.
 */
import * as Effect from "effect/Effect"
import type { Borrow, Waiting } from "@hawser/core/Borrow"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Lease } from "@hawser/core/Lease"
import { LiveConnection, LiveLease } from "@hawser/core/LiveConnection"
import { Subchannel } from "@hawser/core/Subchannel"
import { WaitQueue } from "@hawser/core/WaitQueue"
import type { ScriptedSession } from "../support/core/ScriptedSession.ts"
import { Call, type Rules } from "./borrowers.ts"

/** A mistake. */
export interface Mutant {
  readonly name: string
  readonly rules?: Partial<Rules>
  readonly install?: () => () => void
}

// Private methods are on the prototype all the same.
type Methods = Record<string, (this: unknown, ...args: Array<never>) => unknown>
const swap = (
  owner: object,
  method: string,
  make: (original: Methods[string] & {}) => Methods[string]
): (() => void) => {
  const methods = owner as Methods
  const original = methods[method]
  if (original === undefined) throw new Error(`nothing to break: ${method}`)
  methods[method] = make(original) as Methods[string] & {}
  return () => {
    methods[method] = original
  }
}

const unmasked: Rules["use"] = (cluster, f, demand) =>
  Effect.suspend(() => {
    let lease: Lease<ScriptedSession> | undefined
    let error: ConnectError | undefined
    const borrow: Borrow<ScriptedSession, ConnectError> = {
      ...demand,
      granted: (granted) => {
        lease = granted
      },
      refused: (refused) => {
        error = refused
      }
    }
    const place = cluster.borrowUnsafe(borrow)
    if (lease === undefined) {
      place?.leave()
      return error === undefined ? Effect.void : Effect.fail(error)
    }
    const granted: Lease<ScriptedSession> = lease
    return Effect.ensuring(
      f(granted),
      Effect.sync(() => granted.release("Success"))
    )
  })

class Stubborn extends Call {
  override cancel(): void {
    this.place = undefined
    super.cancel()
  }
}

/** The mistakes. */
export const mutants: ReadonlyArray<Mutant> = [
  { name: "a use without the mask", rules: { use: unmasked } },
  {
    name: "a get that registers its release too late",
    rules: {
      get: (cluster, demand) =>
        Effect.suspend(() => {
          let lease: Lease<ScriptedSession> | undefined
          cluster
            .borrowUnsafe({
              ...demand,
              granted: (granted) => {
                lease = granted
              },
              refused: () => {}
            })
            ?.leave()
          if (lease === undefined) return Effect.interrupt
          const granted: Lease<ScriptedSession> = lease
          return Effect.as(
            Effect.addFinalizer(() => Effect.sync(() => granted.release("Success"))),
            granted
          )
        })
    }
  },
  {
    name: "a call that does not leave the queue when it is interrupted",
    rules: {
      unary: (cluster, demand, calls, problems) =>
        Effect.callback((resume) => {
          const call = new Stubborn(demand, calls, problems, resume)
          call.send(cluster)
          return Effect.sync(() => call.cancel())
        })
    }
  },
  {
    name: "a waiter that stays after it has left",
    install: () => {
      const { borrow } = WaitQueue.prototype
      WaitQueue.prototype.borrow = function (asked) {
        const place: Waiting | undefined = borrow.call(this, asked)
        if (place !== undefined) place.leave = () => {}
        return place
      }
      return () => {
        WaitQueue.prototype.borrow = borrow
      }
    }
  },
  {
    name: "a release that counts twice",
    install: () => {
      const owners = new WeakMap<object, LiveConnection<unknown>>()
      const released = new WeakSet<object>()
      const undoLease = swap(
        LiveConnection.prototype,
        "grant",
        (original) =>
          function (this: unknown, ...args) {
            const out = original.apply(this, args) as object
            owners.set(out, this as LiveConnection<unknown>)
            return out
          }
      )
      const undoRelease = swap(
        LiveLease.prototype,
        "release",
        (original) =>
          function (this: unknown, ...args) {
            const live = owners.get(this as object)
            if (released.has(this as object) && live !== undefined) {
              live.inFlight--
              live.settle()
            }
            released.add(this as object)
            return original.apply(this, args)
          }
      )
      return () => {
        undoLease()
        undoRelease()
      }
    }
  },
  {
    name: "a release that wakes nobody",
    install: () => swap(Subchannel.prototype, "returned", () => () => {})
  },
  {
    name: "a limit that is one too high",
    install: () =>
      swap(
        LiveConnection.prototype,
        "hasRoom",
        () =>
          function (this: unknown) {
            const live = this as LiveConnection<unknown>
            return live.lending && live.inFlight <= live.limit()
          }
      )
  },
  {
    name: "an ended connection that goes on lending",
    install: () =>
      swap(
        LiveConnection.prototype,
        "hasRoom",
        () =>
          function (this: unknown) {
            return (this as LiveConnection<unknown>).inFlight < 100
          }
      )
  },
  {
    name: "last come first served",
    install: () =>
      swap(
        WaitQueue.prototype,
        "push",
        (original) =>
          function (this: unknown, ...args) {
            original.apply(this, args)
            const queue = this as { lanes: ReadonlyArray<Lane> }
            for (const lane of queue.lanes) reverse(lane)
          }
      )
  },
  {
    name: "waiters that nobody tells when their time has passed",
    install: () => swap(WaitQueue.prototype, "watch", () => () => {})
  },
  {
    name: "a connection that is not closed after its last borrow",
    install: () => swap(Subchannel.prototype, "shut", () => () => Effect.void)
  },
  {
    name: "a connection that is ready after the end",
    install: () =>
      swap(
        Subchannel.prototype,
        "retire",
        (original) =>
          function (this: unknown, ...args) {
            const self = this as { fiber: unknown; state: string }
            const { fiber } = self
            self.fiber = undefined
            const out = original.apply(this, args)
            self.fiber = fiber
            self.state = "Connecting"
            return out
          }
      )
  }
]

interface Link {
  prev: Link | undefined
  next: Link | undefined
}
interface Lane {
  head: Link | undefined
  tail: Link | undefined
}

/** Moves the last to the front. */
const reverse = (lane: Lane): void => {
  const { head, tail } = lane
  if (head === undefined || tail === undefined || head === tail) return
  lane.tail = tail.prev
  lane.tail!.next = undefined
  tail.prev = undefined
  tail.next = head
  head.prev = tail
  lane.head = tail
}
