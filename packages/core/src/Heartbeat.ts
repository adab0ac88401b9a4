/**
 * Notices when this process itself did not run, and tells it from a peer that is silent.
 *
 * A beat that comes late says for how long the event loop was busy or the process stopped; wall time that ran ahead of
 * monotonic time says for how long the machine slept, because monotonic time stands still then. It reads the clock that
 * others read anyway and keeps one timer. It never decides what follows.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** Milliseconds between two beats while nothing happens, soon after something did. */
export const beatMillis = 1_000
/** Later, a tenth of the idleness so far: a freeze that is short against it changes nothing for a connection. */
const idleShare = 10
const maxBeatMillis = 300_000
/** Timers are that late on any machine. */
const slackMillis = 50
/**
 * A stall as long as this is a freeze: connections may have ended meanwhile. Below, nothing on the way gives up: kernels go
 * on acknowledging, NATs and load balancers wait for a minute or more, peers ping no more often than every 10 s.
 */
export const freezeMillis = 5_000
/** Stalls are forgotten after this long. */
const rememberedMillis = 60_000
/** The longest stall of so long is shown, and of as much before. */
const windowMillis = 30_000

/** What a heartbeat needs. */
export interface HeartbeatOptions {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Milliseconds since 1970. */
  readonly wall: () => number
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** Called with each beat. */
  readonly beat: (now: number) => void
  /** Whether to beat every second, however idle. */
  readonly steady: boolean
  /** This process was frozen, and runs again. May come before a beat, from within whoever read the clock. */
  readonly thawed: (frozenMillis: number, now: number) => void
}

interface Stall {
  readonly end: number
  readonly millis: number
}

/** Notices when this process itself did not run. */
export class Heartbeat {
  private readonly options: HeartbeatOptions
  private lastAt: number
  /** How far wall time is ahead of monotonic time. */
  private ahead: number
  /** Within how long the next beat is due. */
  private due = beatMillis
  private alarmAt = Infinity
  private usedAt: number
  private loop: Fiber.Fiber<void> | undefined = undefined
  private slow = false
  private readonly stalls: Array<Stall> = []
  private windowAt: number
  private worst = 0
  private worstBefore = 0

  constructor(options: HeartbeatOptions) {
    this.options = options
    this.lastAt = this.windowAt = this.usedAt = options.now()
    this.ahead = options.wall() - this.lastAt
  }

  /** Starts beating; ends with whatever `run` forks into. */
  start(): void {
    this.lastAt = this.usedAt = this.options.now()
    this.expect(beatMillis)
    this.loop = this.options.run(this.beats(beatMillis))
  }

  /** Something happens here, and somebody beats as often as this while it does. */
  used(withinMillis: number): void {
    const now = this.options.now()
    this.at(now)
    this.usedAt = now
    this.expect(withinMillis)
    if (!this.slow) return
    this.slow = false
    this.loop?.interruptUnsafe()
    this.loop = this.options.run(this.beats(beatMillis))
  }

  /** Nothing happens any more. */
  rests(): void {
    this.usedAt = this.lastAt
    this.expect(beatMillis)
  }

  private beats(millis: number): Effect.Effect<void> {
    return Effect.flatMap(Effect.sleep(millis), () => {
      const now = this.options.now()
      this.at(now)
      this.options.beat(now)
      const idle = this.due < beatMillis || this.options.steady ? 0 : now - this.usedAt
      const next = Math.min(maxBeatMillis, Math.max(beatMillis, idle / idleShare))
      this.slow = next > beatMillis
      if (this.slow) this.expect(next)
      return this.beats(next)
    })
  }

  private expect(withinMillis: number): void {
    this.due = withinMillis
    this.alarmAt = this.lastAt + withinMillis + freezeMillis
  }

  /** Looks at a time that somebody has read. Costs a comparison. */
  seen(now: number): number {
    if (now >= this.alarmAt) this.at(now)
    return now
  }

  /** This process runs, now. */
  at(now: number): void {
    const late = this.lateBy(now)
    const ahead = this.options.wall() - now
    const slept = Math.max(0, ahead - this.ahead)
    this.lastAt = now
    this.ahead = ahead
    this.alarmAt = now + this.due + freezeMillis
    if (now - this.windowAt >= windowMillis) {
      this.worstBefore = now - this.windowAt >= 2 * windowMillis ? 0 : this.worst
      this.worst = 0
      this.windowAt = now
    }
    if (late > 0) this.remember(now, late)
    if (late >= freezeMillis || slept >= freezeMillis) {
      this.options.thawed(Math.round((late >= freezeMillis ? late : 0) + (slept >= freezeMillis ? slept : 0)), now)
    }
  }

  /** For how long of the time since then this process did not run, in milliseconds. 0 for what timers are always late. */
  stalledMillis(since: number, now: number): number {
    let millis = Math.min(this.lateBy(now), now - since)
    for (const stall of this.stalls) if (stall.end > since) millis += Math.min(stall.millis, stall.end - since)
    return Math.max(0, millis)
  }

  /** The longest stall of the last 30 to 60 s. */
  lagMillis(now: number): number {
    const age = now - this.windowAt
    if (age >= 2 * windowMillis) return this.lateBy(now)
    return Math.max(this.lateBy(now), this.worst, age >= windowMillis ? 0 : this.worstBefore)
  }

  private lateBy(now: number): number {
    return Math.max(0, now - this.lastAt - this.due - slackMillis)
  }

  private remember(end: number, millis: number): void {
    this.worst = Math.max(this.worst, millis)
    const { stalls } = this
    while (stalls.length > 0 && end - stalls[0]!.end >= rememberedMillis) stalls.shift()
    stalls.push({ end, millis })
  }
}
