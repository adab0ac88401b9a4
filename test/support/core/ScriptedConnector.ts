import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { ConnectError } from "@hawser/core/ConnectError"
import type { Endpoint } from "@hawser/core/Endpoint"
import type { Connector } from "@hawser/core/Session"
import { monotonicMillis } from "@hawser/core/Time"
import { ScriptedSession } from "./ScriptedSession.ts"

/** What a dial comes to. `after` milliseconds, or at once. */
export type Answer =
  | { readonly _tag: "Open"; readonly after?: number; readonly limit?: number }
  | { readonly _tag: "Refuse"; readonly after?: number }
  | { readonly _tag: "Die"; readonly defect: unknown }
  | { readonly _tag: "Hang" }

/** One dial, from start to end. */
export class Dial {
  readonly address: string
  readonly startedAt: number
  /** The connection that it opened. */
  session: ScriptedSession | undefined = undefined
  /** Whether it was given up before it came to anything. */
  interrupted = false
  /** Whether it came as far as to wait for its answer. */
  begun = false
  /** What happens as soon as it waits for its answer. */
  first: (() => void) | undefined = undefined
  private resume: ((effect: Effect.Effect<ScriptedSession, ConnectError>) => void) | undefined = undefined
  private readonly connector: ScriptedConnector

  constructor(address: string, connector: ScriptedConnector) {
    this.address = address
    this.connector = connector
    this.startedAt = connector.now()
  }

  /** Whether it is under way. */
  get pending(): boolean {
    return this.resume !== undefined
  }
  /** Opens the connection. */
  open(limit: number = this.connector.limit): ScriptedSession {
    const session = new ScriptedSession(this.address, limit, this.connector.now())
    if (this.resume === undefined) return session
    this.session = session
    this.connector.opened++
    this.settle(Effect.succeed(session))
    return session
  }
  /** Fails the dial. */
  fail(error: ConnectError = new ConnectError({ reason: { _tag: "Refused" }, endpoint: this.address })): void {
    this.settle(Effect.fail(error))
  }
  die(defect: unknown): void {
    this.settle(Effect.die(defect))
  }

  /** The effect behind the connector. */
  readonly run = Effect.andThen(
    Effect.addFinalizer(() => Effect.sync(() => this.close())),
    Effect.callback<ScriptedSession, ConnectError>((resume) => {
      this.resume = resume
      this.connector.began(this)
      return Effect.sync(() => {
        this.interrupted = true
        this.resume = undefined
      })
    })
  )

  private settle(effect: Effect.Effect<ScriptedSession, ConnectError>): void {
    const { resume } = this
    this.resume = undefined
    resume?.(effect)
  }
  private close(): void {
    if (this.session === undefined || this.session.closed) return
    this.connector.closed++
    this.session.close()
  }
}

/**
 * A connector whose dials come to what the script says: by default they hang until the test opens or fails them.
 */
export class ScriptedConnector {
  readonly dials: Array<Dial> = []
  opened = 0
  closed = 0
  /** Borrows per connection, unless the script says otherwise. */
  limit = 100
  script: (dial: Dial) => Answer
  readonly now: () => number
  private watchers: ReadonlyArray<() => void> = []

  constructor(clock: Clock.Clock, script: (dial: Dial) => Answer = () => ({ _tag: "Hang" })) {
    this.now = () => monotonicMillis(clock)
    this.script = script
  }

  readonly connect: Connector<ScriptedSession> = (endpoint: Endpoint) =>
    Effect.suspend(() => {
      const dial = new Dial(endpoint.addresses[0], this)
      this.dials.push(dial)
      const answer = this.script(dial)
      const later = "after" in answer && answer.after !== undefined && answer.after > 0
      if (!later) {
        dial.first = () => this.answer(dial, answer)
        return dial.run
      }
      return Effect.raceFirst(
        dial.run,
        Effect.andThen(
          Effect.sleep(answer.after!),
          Effect.suspend(() => {
            this.answer(dial, answer)
            return Effect.never
          })
        )
      )
    })

  /** Connections that are open now. */
  get sessions(): Array<ScriptedSession> {
    return this.dials.flatMap((dial) => (dial.session !== undefined && !dial.session.closed ? [dial.session] : []))
  }
  /** Dials under way. */
  get pending(): Array<Dial> {
    return this.dials.filter((dial) => dial.pending)
  }
  /** Waits until `n` dials have ever begun, and answers with the last of these. */
  readonly dialled = (n: number): Effect.Effect<Dial> =>
    Effect.callback((resume) => {
      const look = () => {
        const dial = this.dials[n - 1]
        if (dial === undefined || !dial.begun) return
        this.watchers = this.watchers.filter((w) => w !== look)
        resume(Effect.succeed(dial))
      }
      this.watchers = [...this.watchers, look]
      look()
      return Effect.sync(() => {
        this.watchers = this.watchers.filter((w) => w !== look)
      })
    })

  /** A dial is under way. */
  began(dial: Dial): void {
    dial.begun = true
    dial.first?.()
    for (const watcher of this.watchers) watcher()
  }

  private answer(dial: Dial, answer: Answer): void {
    if (answer._tag === "Open") dial.open(answer.limit)
    else if (answer._tag === "Refuse") dial.fail()
    else if (answer._tag === "Die") dial.die(answer.defect)
  }
}
