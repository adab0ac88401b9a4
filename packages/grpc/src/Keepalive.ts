/**
 * Pings that find out whether a peer is still there, within what servers permit.
 *
 * Why: a stream without a deadline on a dead path would wait for ever, and nothing else would end it. Calls with one answer
 * need no ping: silence is noticed much earlier. Servers count pings and end connections that ping too often (`GOAWAY`
 * with `too_many_pings`), so what the server is not known to permit is refused here.
 */
import { Issues } from "@hawser/core/OptionsError"
import type * as Duration from "effect/Duration"
import { hasProperty } from "effect/Predicate"
import * as Deadline from "./Deadline.ts"

const TypeId = "~hawser/Keepalive"

/** When connections are pinged. */
export interface Keepalive {
  readonly [TypeId]: typeof TypeId
  /** After so long without a word from the peer, and as long after the last ping. */
  readonly timeMillis: number
  /** A connection that says nothing within so long after a ping is closed. */
  readonly timeoutMillis: number
  /** Whether connections without a call are pinged, too. */
  readonly withoutCalls: boolean
}

/** What the server permits: its `PERMIT_KEEPALIVE_TIME` and `PERMIT_KEEPALIVE_WITHOUT_CALLS`. */
export interface ServerPermits {
  /** The least time between two pings; 10 s to 24 days. Default 5 min: that of gRPC's servers. */
  readonly minTime?: Duration.Input | undefined
  /** Whether it takes pings while no call is running. Default `false`: that of gRPC's servers. */
  readonly withoutCalls?: boolean | undefined
}

/** What `make` takes. */
export interface KeepaliveOptions {
  /** At least what the server permits, and at most 24 days. Default 5 min 30 s. */
  readonly time?: Duration.Input | undefined
  /** 1 s to 24 days. Default 20 s (gRFC A8). */
  readonly timeout?: Duration.Input | undefined
  /** Default `false`. */
  readonly withoutCalls?: boolean | undefined
  /**
   * What the server is known to permit beyond the default of gRPC's servers. `"anything"`: it is a server of a test, and no
   * time is too short.
   */
  readonly serverPermits?: ServerPermits | "anything" | undefined
}

/** What servers permit unless they say otherwise (gRFC A8). */
const usualMinTime = 300_000
/** No client may ping more often, whatever the server says (gRFC A8). */
const floor = 10_000
const shortestTimeout = 1_000
const known = ["time", "timeout", "withoutCalls", "serverPermits"]
const knownPermits = ["minTime", "withoutCalls"]

/**
 * Makes keepalive settings; throws an `OptionsError` that lists everything that a server would punish, or that means nothing.
 *
 * **When to use**: with `serverPermits` where you run the server and it permits more than others, because a NAT or a load
 * balancer on the way forgets idle connections (after 60 s to 6 min, mostly). The default is legal everywhere.
 *
 * **Details**: the timer begins anew with every word of the peer, so a busy connection is never pinged. A call that starts
 * on a connection that was idle for longer brings a ping at once, unless it is answered first (gRFC A8). Keepalive is not how
 * silent servers are found: `silence` needs no ping and takes less than a second. After `too_many_pings` the time is
 * doubled for the whole cluster.
 *
 * **Gotchas**: `timeout` is not precise: up to a second is added, or 50 ms where `time` and `timeout` are below 10 s.
 *
 * **Example** (What servers permit is asked for)
 *
 * ```ts import.meta.vitest
 * import { Keepalive } from "@hawser/grpc"
 *
 * Keepalive.make().timeMillis // => 330_000
 * Keepalive.make({ time: "1 minute", serverPermits: { minTime: "30 seconds" } }).timeMillis // => 60_000
 *
 * let message = ""
 * try { Keepalive.make({ time: "1 minute", withoutCalls: true }) } catch (e) { message = (e as Error).message }
 * message.split("\n").map((line) => line.split(":")[0]) // => ["time", "withoutCalls"]
 * ```
 */
export const make = (options: KeepaliveOptions = {}): Keepalive => {
  const issues = new Issues()
  const { serverPermits = {}, time = "330 seconds", timeout = "20 seconds", withoutCalls = false } = options
  const anything = serverPermits === "anything"
  const permits: ServerPermits = serverPermits === "anything" ? {} : serverPermits
  const minTime = anything ? 1 : permitted(permits, issues)
  const timeMillis = Deadline.millisOf(time)
  if (duration(timeMillis, anything ? 1 : floor, "time", time, issues)) {
    const rule = `at least ${minTime} ms, or the server ends the connection; say serverPermits.minTime if it permits less`
    issues.check(timeMillis >= minTime, "time", rule, time)
  }
  const timeoutMillis = Deadline.millisOf(timeout)
  duration(timeoutMillis, anything ? 1 : shortestTimeout, "timeout", timeout, issues)
  if (boolean(withoutCalls, "withoutCalls", issues) && withoutCalls) {
    const rule = "false, or the server ends the connection; say serverPermits.withoutCalls if it permits it"
    issues.check(anything || permits.withoutCalls === true, "withoutCalls", rule, withoutCalls)
  }
  keys(options, known, "", issues)
  issues.throwIfAny()
  return { [TypeId]: TypeId, timeMillis, timeoutMillis, withoutCalls }
}

/**
 * The most frequent keepalive that a server with these settings takes: a tenth above its least time, and without calls if
 * it permits that. Throws as `make`.
 *
 * ```ts import.meta.vitest
 * import { Keepalive } from "@hawser/grpc"
 *
 * const { timeMillis, withoutCalls } = Keepalive.permittedBy({ minTime: "20 seconds", withoutCalls: true })
 * timeMillis // => 22_000
 * withoutCalls // => true
 * ```
 */
export const permittedBy = (server: ServerPermits): Keepalive => {
  const issues = new Issues()
  const minTime = permitted(server, issues)
  issues.throwIfAny()
  const time = Math.ceil(Math.max(floor, minTime * 1.1))
  return make({ time, withoutCalls: server.withoutCalls, serverPermits: server })
}

/**
 * Whether a value is one of `make`.
 *
 * ```ts import.meta.vitest
 * import { Keepalive } from "@hawser/grpc"
 *
 * Keepalive.isKeepalive(Keepalive.make()) // => true
 * Keepalive.isKeepalive({ timeMillis: 330_000 }) // => false
 * ```
 */
export const isKeepalive = (u: unknown): u is Keepalive => hasProperty(u, TypeId)

const permitted = (permits: ServerPermits, issues: Issues): number => {
  if (typeof permits !== "object" || permits === null) {
    issues.check(false, "serverPermits", '{ minTime, withoutCalls } or "anything"', permits)
    return floor
  }
  const { minTime = usualMinTime, withoutCalls = false } = permits
  const millis = Deadline.millisOf(minTime)
  const ok = duration(millis, floor, "serverPermits.minTime", minTime, issues)
  boolean(withoutCalls, "serverPermits.withoutCalls", issues)
  keys(permits, knownPermits, "serverPermits.", issues)
  return ok ? millis : floor
}

const duration = (millis: number, least: number, path: string, value: unknown, issues: Issues): boolean =>
  issues.check(millis >= least && millis <= Deadline.maxMillis, path, `a duration from ${least} ms to 24 days`, value)

// 1, which grpc-js wants, and "true" are no booleans here.
const boolean = (value: unknown, path: string, issues: Issues): boolean =>
  issues.check(typeof value === "boolean", path, "true or false", value)

const keys = (options: object, known: ReadonlyArray<string>, prefix: string, issues: Issues): void => {
  for (const key of Object.keys(options)) {
    issues.check(known.includes(key), prefix + key, `one of ${known.join(", ")}`, `the key ${key}`)
  }
}
