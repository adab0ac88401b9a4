/**
 * Asks connections for a sign of life, where nothing else can tell: on the way to a peer that has nothing to say for
 * minutes (keepalive), and after this process itself was frozen (thaw).
 *
 * It pings as rarely as servers allow, and is no part of finding silent servers: that needs no ping. A connection that
 * does not answer is closed, and what runs on it fails at once. What this process did not listen does not count.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { ConnectError } from "./ConnectError.ts"
import { name } from "./Endpoint.ts"
import type { Event } from "./Event.ts"
import type { LiveConnection } from "./LiveConnection.ts"
import type { Pool } from "./Pool.ts"
import type { Subchannel } from "./Subchannel.ts"
import { longAgo } from "./Time.ts"

/** After a thaw a connection has this long to answer, or three times what a dial took, but never as long as calls wait. */
const answerMillis = 500
const answerDials = 3
const mostAnswerMillis = 1_000
/** Times below this are kept to the tick, others to the second. */
const preciseMillis = 10_000
/** Redials after a thaw are spread over this, unless somebody waits. */
const spreadMillis = 250

/** When to ask. */
export interface KeepaliveMillis {
  /** After so long without a word, and as long after the last ping. */
  readonly timeMillis: number
  /** So long it may take to answer. */
  readonly timeoutMillis: number
  /** Also while nothing is in flight. */
  readonly withoutCalls: boolean
}

/** What it needs. */
export interface PingsOptions<C> {
  readonly keepalive: KeepaliveMillis | undefined
  /** All of them, also those that only drain. */
  readonly pools: () => ReadonlyArray<Pool<C>>
  /** For how long of the time since then this process did not run. */
  readonly stalled: (since: number, now: number) => number
  /** Numbers from 0 up to, not including, 1. */
  readonly random: () => number
  /** Whether somebody waits for a connection. */
  readonly hurry: () => boolean
  readonly publish: (event: Event) => void
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** Something is to be looked at soon. */
  readonly wake: () => void
}

interface Ping<C> {
  readonly subchannel: Subchannel<C>
  readonly live: LiveConnection<C>
  readonly at: number
  readonly withinMillis: number
  /** Whether its connection is not lent until it has answered. */
  readonly verifies: boolean
  answered: boolean
}

/** Asks connections for a sign of life. */
export class Pings<C> {
  /** How often a peer has complained. */
  complaints = 0
  private timeMillis: number
  private slowedAt = -Infinity
  private lookAt = -Infinity
  private readonly pending = new Map<LiveConnection<C>, Ping<C>>()
  private readonly options: PingsOptions<C>

  constructor(options: PingsOptions<C>) {
    this.options = options
    this.timeMillis = options.keepalive?.timeMillis ?? Infinity
  }

  /** Whether an answer is due. */
  busy(): boolean {
    return this.pending.size > 0
  }

  /** Judges pings that are due, and sends new ones. Called every 50 ms while something is in flight, else every second. */
  tick(now: number): void {
    if (this.pending.size > 0) for (const ping of [...this.pending.values()]) this.judge(ping, now)
    const { keepalive } = this.options
    if (keepalive === undefined || now < this.lookAt) return
    if (Math.min(this.timeMillis, keepalive.timeoutMillis) >= preciseMillis) this.lookAt = now + 1_000
    this.each((subchannel, live) => {
      if (live.inFlight === 0 && !keepalive.withoutCalls) return
      if (now - Math.max(live.heardAt(), live.asked?.pingedAt ?? longAgo) < this.timeMillis) return
      this.ask(subchannel, live, now, keepalive.timeoutMillis, false)
    })
  }

  /** This process was frozen: no connection is lent before it has shown that it is still there. */
  thawed(now: number): void {
    const doubted: Array<readonly [Pool<C>, Subchannel<C>, LiveConnection<C>]> = []
    this.each((subchannel, live, pool) => {
      live.wasAsked().thawedAt = now
      if (subchannel.current !== live) return
      // All of them first: whoever is told of one must not find another that is trusted.
      live.doubted = true
      doubted.push([pool, subchannel, live])
    })
    for (const [pool, subchannel, live] of doubted) {
      subchannel.doubt()
      if (subchannel.current !== live) continue
      // Servers forgive a ping or two that they did not expect, and forget them with each answer.
      const legal = this.complaints === 0 && live.answered > live.wasAsked().answeredAtPing
      const within = Math.min(mostAnswerMillis, Math.max(answerMillis, answerDials * pool.connectMillis()))
      if (legal && this.ask(subchannel, live, now, within, true)) {
        live.wasAsked().answeredAtPing = live.answered
        continue
      }
      pool.remove(subchannel, "Thawed")
    }
    this.options.wake()
  }

  /** A peer has ended a connection because it was asked too often. */
  complained(endpoint: string, now: number): void {
    const { keepalive, publish, run } = this.options
    // What others send meanwhile was earned by the old time.
    if (keepalive !== undefined && now - this.slowedAt >= this.timeMillis) {
      this.timeMillis *= 2
      this.slowedAt = now
    }
    const keepaliveMillis = keepalive === undefined ? undefined : this.timeMillis
    publish({ _tag: "TooManyPings", endpoint, keepaliveMillis })
    if (this.complaints++ > 0) return
    const every =
      keepaliveMillis === undefined ? "no longer" : `every ${Duration.format(Duration.millis(keepaliveMillis))}`
    run(
      Effect.logWarning(`${endpoint} ended a connection because of too many pings; it is pinged ${every} from now on`)
    )
  }

  private ask(
    subchannel: Subchannel<C>,
    live: LiveConnection<C>,
    now: number,
    withinMillis: number,
    verifies: boolean
  ): boolean {
    const before = this.pending.get(live)
    // One that is under way is as good, and its time begins anew: this process did not listen.
    const ping: Ping<C> = { subchannel, live, at: now, withinMillis, verifies, answered: false }
    this.pending.set(live, ping)
    live.heardAt()
    const sent = live.ask(now, () => {
      const current = this.pending.get(live)
      if (current !== undefined) this.answered(current)
    })
    if (!sent && before === undefined) this.pending.delete(live)
    return sent || before !== undefined
  }

  private answered(ping: Ping<C>): void {
    ping.answered = true
    this.pending.delete(ping.live)
    if (ping.verifies) ping.subchannel.trust(ping.live)
  }

  private judge(ping: Ping<C>, now: number): void {
    const { at, live, subchannel, verifies, withinMillis } = ping
    // It has ended by itself.
    if (live.session.ended() !== undefined && live.inFlight === 0) return void this.pending.delete(live)
    // After a thaw, what is read may have been there all the time; only the answer counts.
    if (!verifies && live.heardAt() > at) return this.answered(ping)
    if (now - at - this.options.stalled(at, now) < withinMillis) return
    this.pending.delete(live)
    const reason = { _tag: "Unanswered", after: Duration.millis(withinMillis) } as const
    const spread = verifies && !this.options.hurry() ? this.options.random() * spreadMillis : 0
    subchannel.abandon(live, new ConnectError({ reason, endpoint: name(live.endpoint) }), spread)
  }

  private each(f: (subchannel: Subchannel<C>, live: LiveConnection<C>, pool: Pool<C>) => void): void {
    for (const pool of this.options.pools()) {
      for (const subchannel of pool.all()) {
        if (subchannel.current !== undefined) f(subchannel, subchannel.current, pool)
        for (const live of subchannel.draining) f(subchannel, live, pool)
      }
    }
  }
}
