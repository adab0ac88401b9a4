/**
 * The leaves of the schemas that options are checked by: a type guard each, and its rule in words.
 */
import type { Policy } from "@hawser/core/Policy"
import * as Schema from "effect/Schema"
import type { Channel } from "./Channel.ts"
import * as Deadline from "./Deadline.ts"
import type { GrpcOptions } from "./GrpcOptions.ts"

/** What a guard lets through. */
export const value = <T>(rule: string, is: (u: unknown) => boolean): Schema.Codec<T> =>
  Schema.declare((u): u is T => is(u), { expected: rule })

/** An integer within bounds. */
export const integer = (min: number, max: number) =>
  value<number>(
    `an integer from ${min.toLocaleString("en")} to ${max.toLocaleString("en")}`,
    (u) => Number.isInteger(u) && (u as number) >= min && (u as number) <= max
  )

/** From so many milliseconds up to what a timer of Node can last, or to less, in words of its own. */
export const duration = (minMillis: number, maxMillis: number = Deadline.maxMillis, to = "24 days") =>
  value<GrpcOptions["drain"] & {}>(`a duration from ${minMillis} ms to ${to}`, (u) => {
    const millis = Deadline.millisOf(u)
    return millis >= minMillis && millis <= maxMillis
  })

/** Above 0, and not more than this. */
export const above = (max: number) =>
  value<number>(`a number above 0, at most ${max}`, (u) => typeof u === "number" && u > 0 && u <= max)

/** Options under one key. */
export const group = <const Fields extends Schema.Struct.Fields>(fields: Fields) =>
  Schema.optional(Schema.Struct(fields))
/** A policy of a named slot, or `false`. */
export const slot = <T>(rule: string, is: (u: unknown) => boolean) =>
  Schema.optional(value<T | false>(rule, (u) => u === false || is(u)))

/** Middleware of the user. */
export const middleware = value<(self: Channel) => Channel>(
  "a function from channel to channel",
  (u) => typeof u === "function"
)

/** A size in bytes. */
export const bytes = integer(1, 2_147_483_647)

/** Whether a value is a policy of balancing. */
export const isPolicy = (u: unknown): boolean =>
  typeof u === "object" &&
  u !== null &&
  typeof (u as Policy).name === "string" &&
  typeof (u as Policy).picker === "function"
