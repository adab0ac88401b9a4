import * as Effect from "effect/Effect"
import type { Envelope, Event, Events } from "@hawser/core/Event"

type Tagged<T extends Event["_tag"]> = Extract<Event, { readonly _tag: T }>

/** A bus that keeps every event and lets a test wait for one. */
export class Recorder implements Events {
  readonly envelopes: Array<Envelope> = []
  private watchers: ReadonlyArray<() => void> = []
  private readonly also: (event: Event) => void

  constructor(also: (event: Event) => void = () => {}) {
    this.also = also
  }

  readonly publish = (envelope: Envelope): void => {
    this.envelopes.push(envelope)
    this.also(envelope.event)
    for (const watcher of this.watchers) watcher()
  }
  readonly listen = (): Effect.Effect<void> => Effect.void

  get events(): Array<Event> {
    return this.envelopes.map((e) => e.event)
  }
  get tags(): Array<Event["_tag"]> {
    return this.envelopes.map((e) => e.event._tag)
  }
  /** The events of one kind. */
  of<T extends Event["_tag"]>(tag: T): Array<Tagged<T>> {
    return this.events.filter((event): event is Tagged<T> => event._tag === tag)
  }
  /** Waits for the `n`th event of a kind. */
  readonly nth = <T extends Event["_tag"]>(tag: T, n = 1): Effect.Effect<Tagged<T>> =>
    Effect.callback((resume) => {
      const look = () => {
        const event = this.of(tag)[n - 1]
        if (event === undefined) return
        this.watchers = this.watchers.filter((w) => w !== look)
        resume(Effect.succeed(event))
      }
      this.watchers = [...this.watchers, look]
      look()
      return Effect.sync(() => {
        this.watchers = this.watchers.filter((w) => w !== look)
      })
    })
}
