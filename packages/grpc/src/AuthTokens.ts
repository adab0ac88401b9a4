/**
 * Tokens of one policy: asked for once at a time, kept until they expire, and renewed before.
 *
 * A token is fetched in a fiber of its own: whoever asked first may leave, and the others still get it. What goes wrong in
 * there is told to those who wait as plain data, of which each makes an error of its own call.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { hasProperty } from "effect/Predicate"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Deadline from "./Deadline.ts"
import * as Metadata from "./Metadata.ts"

/** Why there is no token. The details repeat nothing of what was thrown: it may hold a secret. */
export interface Failure {
  readonly _tag: "Unauthenticated" | "Unavailable"
  readonly details: string
  readonly cause: Redacted.Redacted<unknown> | undefined
}

/** A token as it is sent. */
export interface Held {
  readonly value: string
  readonly metadata: Metadata.Metadata
  readonly receivedAt: number
  readonly expiresAt: number
}

/** One fetch, and who waits for it. */
export interface Flight {
  readonly done: Deferred.Deferred<Held, Failure>
  /** When it is given up. */
  readonly until: number
  fiber: Fiber.Fiber<unknown> | undefined
}

/** What tokens are made from. */
export interface Source<R> {
  readonly token: Effect.Effect<unknown, unknown, R>
  readonly key: string
  readonly scheme: string
  /** For tokens that don't say it themselves; 0: not kept. */
  readonly timeToLiveMillis: number
  readonly timeoutMillis: number
}

/** A server may refuse a token before its time, but one that is younger would be the same again. */
const youngest = 1_000
/** After a renewal that failed, until the next one. */
const pause = 1_000
/** A token must not expire on its way. */
const margin = 1_000

// The deadline of whoever asks first must not end the fetch for those who come after.
const Ambient = Context.Reference<number>("hawser/Deadline", { defaultValue: () => Infinity })

/** The tokens of one policy. */
export class Tokens<R> {
  private readonly source: Source<R>
  private held: Held | undefined
  private renewAt = Infinity
  private flight: Flight | undefined

  constructor(source: Source<R>) {
    this.source = source
  }

  /** The token at hand, if it is still good. Begins to renew it where that is due. */
  current(fiber: Fiber.Fiber<unknown, unknown>, now: number): Held | undefined {
    const { held } = this
    if (held === undefined || now >= held.expiresAt) return undefined
    if (now >= this.renewAt) {
      this.renewAt = now + pause
      this.fetch(fiber, now)
    }
    return held
  }

  /** The fetch that is under way, or a new one. */
  fetch(fiber: Fiber.Fiber<unknown, unknown>, now: number): Flight {
    if (this.flight !== undefined && now >= this.flight.until) this.giveUp(this.flight)
    if (this.flight !== undefined) return this.flight
    const flight: Flight = {
      done: Deferred.makeUnsafe(),
      until: now + this.source.timeoutMillis,
      fiber: undefined
    }
    this.flight = flight
    const random = fiber.getRef(Random.Random)
    const context = Context.add(fiber.context as Context.Context<R>, Ambient, Infinity)
    // As an exit: a fiber that fails with nobody to see it would be logged, with whatever its error holds.
    const fetched = Effect.runForkWith(context)(Effect.exit(this.source.token))
    flight.fiber = fetched
    fetched.addObserver((exit) => this.settle(flight, exit._tag === "Success" ? exit.value : exit, now, random))
    return flight
  }

  /** Nobody waits any longer. */
  giveUp(flight: Flight): void {
    const details = `No token within ${this.source.timeoutMillis} ms`
    this.end(flight, Exit.fail({ _tag: "Unavailable", details, cause: undefined }))
    flight.fiber?.interruptUnsafe()
  }

  /** The server takes it no more. */
  refused(held: Held, now: number): void {
    if (this.held === held && now - held.receivedAt >= youngest) this.held = undefined
  }

  private settle(flight: Flight, exit: Exit.Exit<unknown, unknown>, askedAt: number, random: Random.Random): void {
    if (exit._tag === "Failure") return this.end(flight, Exit.fail(failure(exit.cause)))
    const token = this.read(exit.value)
    if (typeof token === "string") {
      return this.end(flight, Exit.fail({ _tag: "Unauthenticated", details: token, cause: undefined }))
    }
    const { metadata, millis, value } = token
    const held = { value, metadata, receivedAt: askedAt, expiresAt: askedAt + millis - Math.min(margin, millis / 10) }
    if (this.flight === flight && millis > 0) {
      this.held = held
      // Not all clients at once.
      this.renewAt = askedAt + millis * (0.7 + 0.2 * random.nextDoubleUnsafe())
    }
    this.end(flight, Exit.succeed(held))
  }

  private end(flight: Flight, exit: Exit.Exit<Held, Failure>): void {
    if (this.flight === flight) this.flight = undefined
    Deferred.doneUnsafe(flight.done, exit)
  }

  /** What the fetch gave, ready to be sent; a text says what is wrong with it, and nothing of it. */
  private read(given: unknown): { value: string; metadata: Metadata.Metadata; millis: number } | string {
    const { key, scheme, timeToLiveMillis } = this.source
    const redacted: unknown = Redacted.isRedacted(given) ? given : hasProperty(given, "token") ? given.token : undefined
    const token = Redacted.isRedacted(redacted) ? Redacted.value(redacted) : undefined
    if (typeof token !== "string" || token === "") return "The token is no redacted text"
    const value = scheme === "" ? token : `${scheme} ${token}`
    const metadata = Metadata.fromEntries([[key, value]])
    const problem = Metadata.problem(metadata)
    if (problem !== undefined) return `The token can't be sent: ${problem}`
    const own = hasProperty(given, "timeToLive") ? given.timeToLive : undefined
    const millis = own === undefined ? timeToLiveMillis : Deadline.millisOf(own)
    return Number.isNaN(millis) ? "The token's timeToLive is no duration" : { value, metadata, millis }
  }
}

const failure = (cause: Cause.Cause<unknown>): Failure => {
  if (Cause.hasInterruptsOnly(cause)) {
    return { _tag: "Unauthenticated", details: "No token, its effect was interrupted", cause: undefined }
  }
  const squashed = Cause.squash(cause)
  const tag = hasProperty(squashed, "_tag") ? squashed._tag : squashed instanceof Error ? squashed.name : undefined
  const name = typeof tag === "string" && /^[\w/.-]{1,60}$/.test(tag) ? `: ${tag}` : ""
  return { _tag: "Unauthenticated", details: `No token, its effect failed${name}`, cause: Redacted.make(squashed) }
}

// On calls whose metadata nobody on the path may read.
const privateKey: unique symbol = Symbol.for("hawser/Auth/private")

/** The call, with the word whether anybody on the path may read its metadata. */
export const withPrivacy = <C extends object>(call: C, isPrivate: boolean): C => ({ ...call, [privateKey]: isPrivate })

/** Whether nobody on the path may read the metadata of a call. */
export const isPrivate = (call: object): boolean =>
  (call as { readonly [privateKey]?: boolean | undefined })[privateKey] === true
