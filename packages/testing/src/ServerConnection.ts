/**
 * One connection as a server of the virtual network sees it: greeting, streams, goodbye.
 */
import type * as Effect from "effect/Effect"
import * as Metadata from "@hawser/grpc/Metadata"
import type * as Fiber from "effect/Fiber"
import { type ClientFrame, codes, type ServerFrame } from "./Frame.ts"
import type { Felt } from "./Host.ts"
import type { Manners, Seen } from "./Manners.ts"
import type { Routes } from "./Route.ts"
import { ServerStream, type ServerStreamOwner } from "./ServerStream.ts"
import type { Socket, SocketEnd, SocketListener } from "./Socket.ts"
import type { Timers } from "./Timers.ts"

/** How to say goodbye. */
export interface GoAwayOptions {
  /** At once, without waiting for what is on its way. Default `false`. */
  readonly abrupt?: boolean | undefined
  /** The last stream that is looked at, where it is abrupt. Default: the last one that came. */
  readonly lastStream?: number | undefined
  /** Default: NO_ERROR. */
  readonly code?: number | undefined
  /** What it says beside the code, such as `too_many_pings`. Default: nothing. */
  readonly debug?: string | undefined
}

/** What a connection needs of its server. */
export interface ConnectionOwner {
  readonly timers: Timers
  readonly routes: Routes
  readonly manners: Manners
  readonly seen: Seen
  felt(felt: Felt): void
  run(effect: Effect.Effect<void>): Fiber.Fiber<void>
  connectionEnded(connection: ServerConnection): void
}

/** Without calls, and without permission, a ping may come every two hours. */
const idlePingMillis = 7_200_000
const forgivenPings = 2

/** Above every stream: a goodbye that refuses none. */
const everyStream = 2_147_483_647

/** One connection of a server. */
export class ServerConnection implements ServerStreamOwner, SocketListener<ClientFrame> {
  readonly timers: Timers
  readonly streams = new Map<number, ServerStream>()
  private readonly socket: Socket<ClientFrame, ServerFrame>
  private readonly owner: ConnectionOwner
  /** The highest stream that was looked at. */
  private lastStream = 0
  /** No stream that comes now is looked at. */
  private leaving = false
  private pingedAt = -Infinity
  private strikes = 0
  /** The limit that was told last, and how many of those that were told the client has not confirmed. */
  private told = Infinity
  private unconfirmed = 0
  private cancelGreeting: (() => void) | undefined = undefined

  constructor(socket: Socket<ClientFrame, ServerFrame>, owner: ConnectionOwner) {
    this.socket = socket
    this.owner = owner
    this.timers = owner.timers
    owner.seen.accepted++
    const { mute, settingsMillis } = owner.manners
    if (mute) owner.felt("accepted and silent")
    else if (settingsMillis === 0) this.settings()
    else {
      owner.felt("slow settings")
      this.cancelGreeting = this.timers.after(settingsMillis, () => this.settings())
    }
    socket.listen(this)
  }

  /** The limit that the client was told. */
  get limit(): number {
    return this.told
  }

  /** Tells the limit, now. */
  settings(): void {
    const { maxStreams } = this.owner.manners
    this.unconfirmed++
    this.told = maxStreams
    this.socket.send({ _tag: "Settings", maxStreams }, 6)
  }

  run(effect: Effect.Effect<void>): Fiber.Fiber<void> {
    return this.owner.run(effect)
  }
  send(frame: ServerFrame, bytes: number): void {
    // Whoever answers is no idle victim.
    if (frame._tag === "Headers" || frame._tag === "Data" || frame._tag === "Trailers") this.strikes = 0
    this.socket.send(frame, bytes)
  }

  streamEnded(stream: ServerStream, completed: boolean): void {
    this.streams.delete(stream.id)
    this.owner.seen.inFlight--
    if (completed) this.owner.seen.completed++
    else this.owner.seen.cancelled++
    this.leaveIfDone()
  }

  onFrame(frame: ClientFrame): void {
    switch (frame._tag) {
      case "Headers":
        return this.open(frame)
      case "SettingsAck":
        this.unconfirmed--
        return
      case "Ping":
        this.socket.send({ _tag: "PingAck", id: frame.id }, 8)
        return this.pinged()
      case "PingAck":
        // What the client had sent before it knew has arrived by now.
        return this.goAway({ abrupt: true })
      default:
        this.streams.get(frame.stream)?.onFrame(frame)
    }
  }

  onEnd(_how: SocketEnd): void {
    this.drop()
    this.socket.close()
  }

  /** Breaks the connection. */
  reset(): void {
    // First, or else the last stream that is dropped would close it in order.
    this.socket.reset()
    this.drop()
  }

  /** Closes the connection in order, whatever is in flight. */
  hangUp(): void {
    this.socket.close()
    this.drop()
  }

  /**
   * Says that no new stream is wanted; what is in flight runs on. Then the connection is closed.
   *
   * **Details**: as servers do that lose nothing: first a goodbye that refuses no stream, and the last one when the client
   * has surely heard of it. `abrupt`: the last one at once; streams that are on their way are not looked at.
   */
  goAway({ abrupt = false, code = codes.noError, debug, lastStream = this.lastStream }: GoAwayOptions = {}): void {
    if (this.leaving) return
    if (!abrupt) {
      this.socket.send({ _tag: "GoAway", lastStream: everyStream, code, debug }, 8)
      return this.socket.send({ _tag: "Ping" }, 8)
    }
    this.leaving = true
    this.socket.send({ _tag: "GoAway", lastStream, code, debug }, 8)
    for (const stream of [...this.streams.values()]) if (stream.id > lastStream) stream.lost()
    this.leaveIfDone()
  }

  /** Resets every stream that is open. */
  resetStreams(code: number): void {
    for (const stream of [...this.streams.values()]) {
      this.owner.felt("reset stream")
      stream.reset(code)
    }
  }

  /** Ends every stream that is open with a status. */
  fail(code: number, details: string): void {
    for (const stream of [...this.streams.values()]) stream.status(code, details, Metadata.empty)
  }

  private open(frame: Extract<ClientFrame, { _tag: "Headers" }>): void {
    const { manners, routes, seen } = this.owner
    const id = frame.stream
    // What the last goodbye did not name the client sends elsewhere.
    if (this.leaving) return
    seen.started++
    if (manners.refuseStreams || this.streams.size >= this.told) {
      seen.refused++
      if (manners.refuseStreams) this.owner.felt("refused stream")
      // Above a limit that it has confirmed, the client breaks the rules.
      else if (this.unconfirmed === 0) seen.overTheLimit++
      return this.socket.send({ _tag: "Reset", stream: id, code: codes.refusedStream }, 4)
    }
    this.lastStream = Math.max(this.lastStream, id)
    seen.most = Math.max(seen.most, this.streams.size + 1)
    seen.inFlight++
    const route = routes.get(frame.path)
    const stream = new ServerStream(frame, route ?? unimplemented, this)
    this.streams.set(id, stream)
    const { failWith } = manners
    if (failWith !== undefined) {
      this.owner.felt("trailers-only error")
      return stream.status(failWith.code, failWith.details, Metadata.empty)
    }
    if (route === undefined) return stream.status(12, `no such method: ${frame.path}`, Metadata.empty)
    stream.start()
  }

  /** As gRPC's servers do: two pings too early are forgiven. */
  private pinged(): void {
    const { manners, seen, timers } = this.owner
    seen.pings++
    const now = timers.now()
    const least = this.streams.size > 0 || manners.pingsWithoutCalls ? manners.minPingMillis : idlePingMillis
    const early = now - this.pingedAt < least
    this.pingedAt = now
    if (!early) return
    seen.earlyPings++
    if (++this.strikes <= forgivenPings) return
    this.goAway({ abrupt: true, code: codes.enhanceYourCalm, debug: "too_many_pings" })
  }

  private drop(): void {
    this.leaving = true
    this.cancelGreeting?.()
    for (const stream of [...this.streams.values()]) stream.lost()
    this.owner.connectionEnded(this)
  }

  private leaveIfDone(): void {
    if (!this.leaving || this.streams.size > 0 || !this.socket.open) return
    this.owner.connectionEnded(this)
    this.socket.close()
  }
}

const unimplemented = {
  requestStream: false,
  responseStream: false,
  requestDeserialize: (bytes: Buffer) => bytes,
  responseSerialize: (value: unknown) => value as Uint8Array,
  handler: (): Effect.Effect<never> => {
    throw new Error("not reached")
  }
}
