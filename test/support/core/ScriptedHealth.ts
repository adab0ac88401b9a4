import * as Effect from "effect/Effect"
import * as Health from "@hawser/core/Health"
import type { ScriptedSession } from "./ScriptedSession.ts"

/** A health check that says what the test says. */
export class ScriptedHealth {
  /** Every check that was ever begun. */
  readonly subjects: Array<Health.Subject<ScriptedSession>> = []
  /** Checks that run now. */
  running = 0
  readonly health: Health.Health<ScriptedSession>

  constructor(options: Partial<Health.HealthOptions<ScriptedSession>> = {}) {
    this.health = Health.make<ScriptedSession>({
      name: "scripted",
      open: () => (subject) =>
        Effect.suspend(() => {
          this.subjects.push(subject)
          this.running++
          return Effect.ensuring(
            Effect.never,
            Effect.sync(() => this.running--)
          )
        }),
      ...options
    })
  }

  /** Of the connection of that number, or the last one. */
  say(verdict: Health.Verdict, nth = this.subjects.length): void {
    this.subjects[nth - 1]!.say(verdict)
  }
  healthy(nth?: number): void {
    this.say(Health.healthy, nth)
  }
  unhealthy(said = "NOT_SERVING", nth?: number): void {
    this.say({ _tag: "Unhealthy", said }, nth)
  }
}
