/**
 * Which phase is right for a call whose time was up, by what the network and the queue saw of its last attempt.
 *
 * | when the time was up | phase | by | progress |
 * |---|---|---|---|
 * | it had no connection, and none was open that lends | Connecting | Us | NotSent |
 * | it had no connection, and those that lend had no stream left; none at all where the peer wants no calls | Queued | Us | NotSent |
 * | it had a connection, and no headers had come: on the wire, or held back by the peer's limit | Sent | Us | MaybeProcessed |
 * | headers had come | Receiving | Us | Answered |
 * | the server said so itself, in a status alone | Sent | Server | Answered |
 * | the server said so itself, after its headers | Receiving | Server | Answered |
 *
 * Of several attempts it is about the last one; where that was not processed and another may have been, the progress is
 * MaybeProcessed. Of hedges it is about any of them.
 *
 * Where a connection comes or goes in the very millisecond, both of the first two are right.
 */
import type { Borrow } from "@hawser/core/Borrow"
import type { StartOptions } from "@hawser/grpc/Connection"
import type { By, Phase, Progress, RpcError } from "@hawser/grpc/RpcError"
import { furthest } from "@hawser/grpc/Status"
import { ClientStream } from "@hawser/testing/ClientStream"
import { VirtualConnection } from "@hawser/testing/VirtualConnection"

/** The key of the metadata that tells calls apart. */
export const key = "x-call"

/** What was seen of one attempt. */
interface Seen {
  /** It was handed to a connection. */
  started: boolean
  /** Headers have arrived. */
  headers: boolean
  /** The status that has arrived. */
  status: number | undefined
  /** When the queue turned it away: whether a connection was there that lends; `undefined` where that changed just then. */
  lends: boolean | undefined
  /** How far it got, as its own error says. */
  progress: Progress | undefined
}

type Told = Pick<StartOptions, "metadata" | "attempt">

/** Follows the attempts of one run. */
export class Phases {
  private readonly attempts = new Map<string, Seen>()
  /** Whether a connection is open that lends: as the network has it, and as the core has it. */
  lends: () => boolean = () => false
  /** The same, when nothing was ready to run last. */
  private lent = false

  /** Starts watching. Returns what ends it. */
  static install(phases: Phases): () => void {
    const { start } = VirtualConnection.prototype
    const { onFrame } = ClientStream.prototype
    const streams = new WeakMap<object, Seen>()
    VirtualConnection.prototype.start = function (options, listener) {
      const wire = start.call(this, options, listener)
      const seen = phases.seen(options)
      seen.started = true
      streams.set(wire, seen)
      return wire
    }
    ClientStream.prototype.onFrame = function (frame) {
      const seen = streams.get(this)
      if (seen !== undefined && frame._tag === "Headers") seen.headers = true
      if (seen !== undefined && frame._tag === "Trailers") seen.status = frame.code
      onFrame.call(this, frame)
    }
    return () => {
      VirtualConnection.prototype.start = start
      ClientStream.prototype.onFrame = onFrame
    }
  }

  /** Nothing is ready to run: time goes on from here. */
  idle(): void {
    this.lent = this.lends()
  }

  /** The queue turns a call away. */
  refused(borrow: Borrow<never, never>): void {
    const { attempt, metadata } = borrow as unknown as Partial<Told>
    // A borrow by hand is no call.
    if (attempt === undefined) return
    const lends = this.lends()
    this.seen({ attempt, metadata }).lends = lends === this.lent ? lends : undefined
  }

  /** An attempt has failed. */
  failed(told: Told, progress: Progress): void {
    this.seen(told).progress = progress
  }

  /**
   * What is wrong with what an error says of the time that was up; `undefined` where it is right. `hedged`: any of its attempts
   * may have been the last one.
   */
  problem(id: number, { attempts, progress, reason }: RpcError, hedged: boolean): string | undefined {
    if (reason._tag !== "DeadlineExceeded") return undefined
    const all = Array.from({ length: attempts }, (_, i) => this.attempts.get(`${id}/${i + 1}`))
    const judged = (hedged ? all : all.slice(-1)).filter((seen) => seen !== undefined)
    if (judged.length === 0) return `attempt ${attempts} was never seen`
    const right = judged.flatMap((seen) => {
      const others = all.some((other) => other !== seen && other?.started && !unprocessed(other))
      // A hedge that has not heard yet that it is over might be sent still: that it is not nobody knows.
      const known = hedged && all.length > 1 ? [others, true] : [others]
      return expected(seen).flatMap(([phase, by, own]) => known.map((it) => `${phase} by ${by}, ${furthest(own, it)}`))
    })
    const said = `${reason.phase} by ${reason.by}, ${progress}`
    return right.includes(said) ? undefined : `${said}; right is ${right.join(" or ")}`
  }

  private seen({ attempt, metadata }: Told): Seen {
    const at = `${String(metadata?.get(key))}/${attempt}`
    let seen = this.attempts.get(at)
    if (seen === undefined) {
      this.attempts.set(
        at,
        (seen = { started: false, headers: false, status: undefined, lends: undefined, progress: undefined })
      )
    }
    return seen
  }
}

const unprocessed = ({ progress }: Seen): boolean => progress === "NotSent" || progress === "Refused"

/** What an error says. */
type Said = readonly [phase: Phase, by: By, progress: Progress]
const queued: Said = ["Queued", "Us", "NotSent"]
const connecting: Said = ["Connecting", "Us", "NotSent"]

const expected = ({ headers, lends, started, status }: Seen): ReadonlyArray<Said> => {
  // Of a connection that comes or goes in the very moment, both are true.
  if (!started) return lends === undefined ? [queued, connecting] : [lends ? queued : connecting]
  const phase = headers ? "Receiving" : "Sent"
  if (status === 4) return [[phase, "Server", "Answered"]]
  return [[phase, "Us", headers ? "Answered" : "MaybeProcessed"]]
}
