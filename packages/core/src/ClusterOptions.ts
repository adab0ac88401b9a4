/**
 * The options of a cluster, and the rules that they follow.
 *
 * All that breaks a rule is said at once, before anything is dialled.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type { ConnectError } from "./ConnectError.ts"
import { type Endpoint, sameConnection } from "./Endpoint.ts"
import { type Health, isHealth } from "./Health.ts"
import { Issues, type OptionsError } from "./OptionsError.ts"
import { isOutlier, type Outlier } from "./Outlier.ts"
import type { Policy } from "./Policy.ts"
import type { Resolver } from "./Resolver.ts"
import type { Connector } from "./Session.ts"
import * as SlowStart from "./SlowStart.ts"

/** What a cluster needs. Durations are `Duration.Input`; `OptionsError` lists all that break a rule. */
export interface ClusterOptions<C> {
  /** Its name in events, gauges and errors. */
  readonly target: string
  /**
   * A fixed set, none twice; or a resolver, whose endpoints may come and go. Without any, every borrow fails with
   * `NoEndpoints`; before a resolver's first answer it waits.
   */
  readonly endpoints: ReadonlyArray<Endpoint> | Resolver
  readonly connector: Connector<C>
  /** Default `PeakEwma.policy`. */
  readonly policy?: Policy | undefined
  /** How an endpoint that was not Ready before begins; `false`, the default: with its whole share. */
  readonly slowStart?: SlowStart.SlowStartOptions | false | undefined
  /** Connections per endpoint that are kept; 0 to 100, default 1, with `l4` 6. With 0 the first borrow dials. */
  readonly min?: number | undefined
  /** Connections per endpoint at most; 1 to 100 and at least `min`. Default 4, with `l4` 12, or, if that is more, `min`. */
  readonly max?: number | undefined
  /**
   * How long a connection is used until another one takes its place, which is Ready before this one drains; ±10 %. 100 ms to
   * 24 days, or `Infinity`. Default 30 minutes (HikariCP), with `l4` 2 minutes.
   */
  readonly maxAge?: Duration.Input | undefined
  /**
   * Each address has many servers behind it: a load balancer of layer 4, or a virtual IP. Connections are then picked and judged
   * one by one, there are more of them, and they live shorter, so that load spreads, a sick server is left and a new one is
   * found. Default `false`.
   */
  readonly l4?: boolean | undefined
  /** Borrows per connection at most, beside the limit of the session; 1 to 1,000,000, default none. */
  readonly maxStreams?: number | undefined
  /** Per attempt; 1 ms to 24 days, default 20 s (connection-backoff.md). */
  readonly connectTimeout?: Duration.Input | undefined
  /** Between attempts; default `Backoff.connection`. */
  readonly reconnect?: Schedule.Schedule<unknown, ConnectError> | undefined
  /** Waiters at most; 0 to 1,000,000, default 1,000. With 0 nobody waits. */
  readonly maxWaiters?: number | undefined
  /** How long one may wait; 1 ms to 24 days, default 30 s. An earlier deadline of the borrow holds. */
  readonly maxWait?: Duration.Input | undefined
  /** `false`, or the shortest silence that counts; 50 ms to 24 days, default 200 ms. */
  readonly silence?: { readonly atLeast: Duration.Input } | false | undefined
  /** Says which connections may lend, beside being open; `false`: all of them. Default `false`. */
  readonly health?: Health<C> | false | undefined
  /**
   * Asks peers for a sign of life, and closes connections that give none: `time` after the last word or ping and within
   * `timeout`, each from 1 ms to 24 days; `withoutCalls`: also with nothing in flight. Default `false`. It needs sessions
   * with `ping`.
   */
  readonly keepalive?:
    | { readonly time: Duration.Input; readonly timeout: Duration.Input; readonly withoutCalls?: boolean | undefined }
    | false
    | undefined
  /** Who is left out for failing; default: what `Outlier.layer` says, or else `Outlier.make()`. `false`: nobody is. */
  readonly outlier?: Outlier | false | undefined
  /** How long borrows may go on when the cluster is drained; 0 to 24 days, default 30 s. */
  readonly drain?: Duration.Input | undefined
}

/** The endpoints, where they are a fixed set. */
export const fixed = (endpoints: ReadonlyArray<Endpoint> | Resolver): ReadonlyArray<Endpoint> | undefined =>
  Array.isArray(endpoints) ? endpoints : undefined

/** The options with their defaults, or an `OptionsError` with all that breaks a rule. */
export const check = <C>(options: ClusterOptions<C>) =>
  Effect.try({
    try: () => {
      const issues = new Issues()
      const { endpoints, l4 = false, maxStreams = Infinity, maxWaiters = 1_000 } = options
      const { maxAge = l4 ? "2 minutes" : "30 minutes", min = l4 ? 6 : 1 } = options
      const { max = Math.min(100, Math.max(l4 ? 12 : 4, min)) } = options
      const millis = (path: string, input: Duration.Input, min: number) => {
        let value = NaN
        try {
          value = Duration.toMillis(Duration.fromInputUnsafe(input))
        } catch {
          // reported below
        }
        issues.check(value >= min && value <= 2_147_483_647, path, `a duration from ${min} ms to 24 days`, input)
        return value
      }
      const count = (path: string, value: number, least: number, most: number) =>
        issues.check(
          Number.isInteger(value) && value >= least && value <= most,
          path,
          `an integer from ${least} to ${most}`,
          value
        )
      issues.check(typeof l4 === "boolean", "l4", "true or false", l4)
      const possible = [count("min", min, l4 ? 1 : 0, 100), count("max", max, 1, 100)]
      if (!possible.includes(false)) issues.check(max >= min, "max", "at least `min`", max)
      if (maxStreams !== Infinity) count("maxStreams", maxStreams, 1, 1_000_000)
      count("maxWaiters", maxWaiters, 0, 1_000_000)
      fixed(endpoints)?.forEach((e, i, all) =>
        issues.check(
          all.findIndex((other) => sameConnection(e, other)) === i,
          `endpoints[${i}]`,
          "an endpoint that is not listed twice",
          e.addresses
        )
      )
      const outlier = options.outlier ?? false
      issues.check(outlier === false || isOutlier(outlier), "outlier", "Outlier.make({ … }) or false", outlier)
      const connectTimeout = Duration.millis(millis("connectTimeout", options.connectTimeout ?? "20 seconds", 1))
      const maxWaitMillis = millis("maxWait", options.maxWait ?? "30 seconds", 1)
      const drain = Duration.millis(millis("drain", options.drain ?? "30 seconds", 0))
      const silenceMillis =
        options.silence === false ? undefined : millis("silence.atLeast", options.silence?.atLeast ?? "200 millis", 50)
      const { health = false } = options
      const check = "Health.poll(…), Health.make({ … }) or false"
      issues.check(health === false || isHealth(health), "health", check, health)
      const slowStart = options.slowStart ? SlowStart.check(options.slowStart, issues, "slowStart") : undefined
      const endless = maxAge === Infinity || maxAge === "Infinity"
      const maxAgeMillis = endless ? Infinity : millis("maxAge", maxAge, 100)
      const keepalive =
        options.keepalive === false || options.keepalive === undefined
          ? undefined
          : {
              timeMillis: millis("keepalive.time", options.keepalive.time, 1),
              timeoutMillis: millis("keepalive.timeout", options.keepalive.timeout, 1),
              withoutCalls: options.keepalive.withoutCalls === true
            }
      issues.throwIfAny()
      const connections = { l4, maxAgeMillis, min, max, maxStreams, connectTimeout }
      return { ...connections, slowStart, maxWaiters, maxWaitMillis, drain, silenceMillis, keepalive }
    },
    catch: (e) => e as OptionsError
  })
