/**
 * What a call takes from the fiber that makes it: its clock, by when the work around it must have ended, and how spans are
 * made there.
 *
 * Looking it up is a few map look-ups in the fiber's context. Calls of one program mostly bring the same context, so the
 * last look is kept.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"

/** The ambient deadline, in monotonic milliseconds. */
export const Ambient: Context.Reference<number> = Context.Reference<number>("hawser/Deadline", {
  defaultValue: () => Infinity
})

/** How spans are made. */
export interface SpanSettings {
  readonly sampled: boolean
  readonly links: ReadonlyArray<Tracer.SpanLink>
  readonly annotations: Readonly<Record<string, unknown>>
  readonly isTimed: boolean
  /** The time for a span: wall nanoseconds, or 0 where timing is off. */
  readonly now: () => bigint
}

/** The surroundings of the last call that looked. */
export class Surroundings {
  clock!: Clock.Clock
  /** The ambient deadline. */
  deadline = Infinity
  private context: Context.Context<never> | undefined = undefined
  private settings: SpanSettings | undefined = undefined

  /** Looks around. What it returns holds until the next look. */
  of({ context }: Fiber.Fiber<unknown, unknown>): this {
    if (context !== this.context) {
      this.context = context
      this.clock = Context.get(context, Clock.Clock)
      this.deadline = Context.get(context, Ambient)
      this.settings = undefined
    }
    return this
  }

  /** How spans are made there. */
  get spans(): SpanSettings {
    return (this.settings ??= settingsOf(this.context!, this.clock))
  }
}

const settingsOf = (context: Context.Context<never>, clock: Clock.Clock): SpanSettings => {
  const level = Context.get(context, Tracer.MinimumTraceLevel)
  const isTimed = Context.get(context, References.TracerTimingEnabled)
  return {
    sampled: level === "All" || !LogLevel.isGreaterThan(level, Context.get(context, Tracer.CurrentTraceLevel)),
    links: Context.get(context, References.TracerSpanLinks),
    annotations: Context.get(context, References.TracerSpanAnnotations),
    isTimed,
    now: isTimed ? () => clock.currentTimeNanosUnsafe() : () => 0n
  }
}
