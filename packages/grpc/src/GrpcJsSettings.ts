/**
 * How many streams the peer allows on one connection.
 *
 * grpc-js keeps that to itself. Two ways to know it anyway: the peer's SETTINGS, found along a path that is not part of
 * grpc-js's API and therefore only used where it is there, and followed when they change; or else, from the first call
 * that Node holds back: its write is not acknowledged while others' are. Until either speaks, 100 is assumed.
 */
import type * as grpc from "@grpc/grpc-js"
import type { ClientHttp2Session } from "node:http2"

/** Assumed until the peer says otherwise (RFC 9113 asks for no less than 100). */
const assumed = 100
/** Writes that are held back for so long, while the peer is heard, are held back by the stream limit. */
const heldBackMillis = 200
/** How often that is looked at, while a write is held back. */
const lookMillis = 20
const enoughLooks = 5
/** Larger messages may be held back by flow control instead. */
const tellingBytes = 8_192

/** How many streams the peer allows. */
export interface StreamLimit {
  /** Read on each lease. */
  value(): number
  /** A message is handed to Node. Returns what to call when Node has sent it; `undefined` where nobody needs to know. */
  writing(bytes: number): (() => void) | undefined
  /** A call has ended. */
  ended(written: (() => void) | undefined): void
}

/** How often a higher limit is looked for. */
const raisedMillis = 100

/** The peer's HTTP/2 session, if this version of grpc-js keeps it where it was. */
export const sessionOf = (channel: grpc.Channel): ClientHttp2Session | undefined => {
  try {
    for (const wrapper of (channel as unknown as Hidden).internalChannel.wrappedSubchannels) {
      const session = wrapper.getRealSubchannel().transport?.session
      if (typeof session?.on === "function" && typeof session.remoteSettings === "object") return session
    }
  } catch {
    // Another version: learn it the slow way.
  }
  return undefined
}

/** Tells the peer that it must not push streams: nobody would read them, and Node keeps all of what they carry. */
export const refusePushes = (session: ClientHttp2Session): void => {
  try {
    session.settings({ enablePush: false })
  } catch {
    // It has ended meanwhile.
  }
}

/** Sends a ping. False: it could not be sent. */
export const ping = (session: ClientHttp2Session, who: Punished, answered: () => void): boolean => {
  onTooManyPings(session, who)
  try {
    return session.ping((error) => {
      if (error === null) answered()
    })
  } catch {
    // It has ended meanwhile.
    return false
  }
}

const enhanceYourCalm = 11
const tooManyPings = Buffer.from("too_many_pings")
interface Punished {
  punished: boolean
}
const punishable = Symbol("hawser/punishable")
type Marked = ClientHttp2Session & { [punishable]?: Punished }
function goaway(this: Marked, code: number, _lastStream: number, data?: Uint8Array): void {
  const who = this[punishable]
  if (who !== undefined && code === enhanceYourCalm && data !== undefined && tooManyPings.equals(data)) {
    who.punished = true
  }
}

/**
 * Marks whoever is punished for pings, before anybody else hears of the end of the session. Asked for with the first call or
 * ping: thousands of connections may be idle.
 */
export const onTooManyPings = (session: Marked, who: Punished): void => {
  if (session[punishable] !== undefined) return
  session[punishable] = who
  session.prependListener("goaway", goaway)
}

interface Hidden {
  readonly internalChannel: {
    readonly wrappedSubchannels: Iterable<{
      readonly getRealSubchannel: () => { readonly transport: { readonly session: ClientHttp2Session } | null }
    }>
  }
}

/** Who is told of a higher limit. */
export interface StreamLimitOwner {
  changed(): void
}

/**
 * The limit as the peer's SETTINGS state it.
 *
 * **Details**: read anew each time. The session's event would be better, but does not come: grpc-js removes all listeners
 * of the session, and with them those by which Node notices new ones. So a higher limit is looked for while all streams
 * are in use; at any other time the next call sees it.
 */
export class Stated implements StreamLimit {
  private last = assumed
  private inFlight = 0
  private timer: NodeJS.Timeout | undefined = undefined
  private readonly session: ClientHttp2Session
  private readonly owner: StreamLimitOwner

  constructor(session: ClientHttp2Session, owner: StreamLimitOwner) {
    this.session = session
    this.owner = owner
  }

  value(): number {
    // A destroyed session has no settings any more.
    const before = this.last
    this.last = this.session.remoteSettings.maxConcurrentStreams ?? before
    // Not from within: whoever asks is in the middle of a pick.
    if (this.last === 0 && before > 0) queueMicrotask(() => this.owner.changed())
    // Whoever finds all streams in use may wait for more of them: the limit may have fallen since the last write.
    if (this.inFlight >= this.last) this.watch()
    return this.last
  }
  writing(): undefined {
    if (++this.inFlight >= this.last) this.watch()
  }
  ended(): void {
    if (--this.inFlight > 0 || this.timer === undefined) return
    clearTimeout(this.timer)
    this.timer = undefined
  }

  private watch(): void {
    if (this.session.destroyed) return
    this.timer ??= setTimeout(() => this.look(), raisedMillis).unref()
  }
  private look(): void {
    this.timer = undefined
    const before = this.last
    if (this.value() > before) this.owner.changed()
  }
}

/**
 * The limit as learned downward from writes that are held back.
 *
 * **Details**: looked at in a timer, where neither answers nor acknowledgements are half way; in the turn of an answer the
 * streams that run can be any number. While calls are held back and the number of those that run stays the same, although
 * the peer is heard, that number is the limit. A moment without calls held back proves nothing, unless more run.
 */
export const learned = (now: () => number, heardAt: () => number): StreamLimit => {
  let value = assumed
  let inFlight = 0
  let held = 0
  let timer: NodeJS.Timeout | undefined
  // How many ran while others were held back; first and last when, and in how many looks.
  let running = -1
  let since = 0
  let last = 0
  let looks = 0
  const stop = () => {
    clearTimeout(timer)
    timer = undefined
    running = -1
  }
  const look = () => {
    timer = undefined
    const at = now()
    const n = inFlight - held
    if (held === 0) {
      if (n > running || at - last >= heldBackMillis) return stop()
    } else {
      if (n !== running) {
        running = n
        since = at
        looks = 0
      }
      last = at
      looks++
      const long = at - since >= heldBackMillis && looks >= enoughLooks && heardAt() > since
      if (long && n > 0 && n < value) value = n
    }
    watch()
  }
  const watch = () => {
    timer ??= setTimeout(look, lookMillis).unref()
  }
  return {
    value: () => value,
    writing: (bytes) => {
      inFlight++
      let waits = bytes <= tellingBytes
      if (waits) {
        held++
        watch()
      }
      return () => {
        if (!waits) return
        waits = false
        held--
      }
    },
    ended: (written) => {
      written?.()
      if (--inFlight === 0) stop()
    }
  }
}
