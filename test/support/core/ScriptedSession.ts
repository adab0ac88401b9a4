import { ConnectError } from "@hawser/core/ConnectError"
import type { Session } from "@hawser/core/Session"

/** What runs on a connection. */
export interface ScriptedCall {
  /** The connection is gone. */
  cut(): void
}

/** A connection that does what the test says. It is its own `connection`, so that a lease leads back to it. */
export class ScriptedSession implements Session<ScriptedSession> {
  readonly connection = this
  readonly address: string
  /** What runs on the wire now. */
  readonly calls = new Set<ScriptedCall>()
  /** Whether more ever ran at once than was ever allowed. */
  exceeded = false
  /** How many were ever started. */
  started = 0
  heard: number
  /** No new call may start. */
  over = false
  /** Its scope was closed: nothing runs on it any more. */
  closed = false
  /** Nothing is heard from it, and it answers nothing. */
  frozen = false
  /** Pings that nobody has answered yet. */
  pings: Array<() => void> = []
  /** Pings ever. */
  pinged = 0
  /** Whether it can be pinged, and whether it answers at once. */
  pingable = true
  answersPings = true
  /** The highest limit that it ever had. */
  mostAllowed: number
  private end: ConnectError | undefined = undefined
  private most: number
  private listener: (() => void) | undefined = undefined

  constructor(address: string, limit: number, now: number) {
    this.address = address
    this.most = limit
    this.mostAllowed = limit
    this.heard = now
  }

  limit(): number {
    return this.over ? 0 : this.most
  }
  heardAt(): number {
    return this.heard
  }
  ended(): ConnectError | undefined {
    return this.end
  }
  listen(listener: (() => void) | undefined): void {
    this.listener = listener
  }
  ping(answered: () => void): boolean {
    if (!this.pingable || this.over) return false
    this.pinged++
    if (this.answersPings && !this.frozen) answered()
    else this.pings.push(answered)
    return true
  }
  /** Whether anybody listens. */
  get heeded(): boolean {
    return this.listener !== undefined
  }

  /** The peer allows so many from now on. */
  setLimit(limit: number): void {
    this.most = limit
    this.mostAllowed = Math.max(this.mostAllowed, limit)
    this.tell()
  }
  /** GOAWAY: no new calls, the old ones go on. */
  goAway(): void {
    this.finish(new ConnectError({ reason: { _tag: "Closed" }, endpoint: this.address }))
  }
  /** GOAWAY with ENHANCE_YOUR_CALM and `too_many_pings`. */
  complain(): void {
    this.finish(new ConnectError({ reason: { _tag: "TooManyPings" }, endpoint: this.address }))
  }
  /** The connection breaks, with everything on it. */
  lose(): void {
    this.finish(new ConnectError({ reason: { _tag: "Reset" }, endpoint: this.address }))
    this.cutAll()
  }
  /** It speaks again. */
  thaw(now: number): void {
    if (this.frozen) this.heard = now
    this.frozen = false
  }
  /** The scope was closed. */
  close(): void {
    this.closed = true
    this.over = true
    this.cutAll()
  }

  start(call: ScriptedCall): void {
    this.calls.add(call)
    this.started++
    if (this.calls.size > this.mostAllowed) this.exceeded = true
  }
  /** Whether the call was running. */
  stop(call: ScriptedCall): boolean {
    return this.calls.delete(call)
  }

  private finish(error: ConnectError): void {
    if (this.over) return
    this.over = true
    this.end = error
    this.tell()
  }
  private cutAll(): void {
    for (const call of [...this.calls]) if (this.calls.delete(call)) call.cut()
  }
  private tell(): void {
    this.listener?.()
  }
}
