/**
 * The options of `Grpc.layer`. Every one has a sound default; a slot takes a value from its own module, or `false`.
 *
 * They are checked all together, before any socket opens: a key that does not exist, a value out of bounds or two that
 * contradict each other fail the layer with one `OptionsError` that lists them all.
 */
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Health } from "@hawser/core/Health"
import type { Outlier } from "@hawser/core/Outlier"
import type { Policy } from "@hawser/core/Policy"
import type { Resolver } from "@hawser/core/Resolver"
import type { SlowStartOptions } from "@hawser/core/SlowStart"
import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type { none } from "./Call.ts"
import type { Auth } from "./Auth.ts"
import type { Channel } from "./Channel.ts"
import type { Connection } from "./Connection.ts"
import type { Credentials } from "./Credentials.ts"
import type { DnsOptions } from "./Dns.ts"
import type { Breaker } from "./Breaker.ts"
import type { CallTracing } from "./CallTracing.ts"
import type { Keepalive } from "./Keepalive.ts"
import type { Hedge } from "./Hedge.ts"
import type { Retry } from "./Retry.ts"
import type { ServiceConfig } from "./ServiceConfig.ts"

/** How many connections there are to each endpoint. */
export interface ConnectionsOptions {
  /** Kept open; 0 to 100. With 0 the first call dials. Default 1; with `l4` 6, and at least 1. */
  readonly min?: number | undefined
  /** At most; 1 to 100, and at least `min`. Default 4, with `l4` 12, or `min` where that is more. */
  readonly max?: number | undefined
  /**
   * How long one is used until another one takes its place, which is Ready before this one drains; ±10 %, so that not all go at
   * once. 100 ms to 24 days, or `Infinity`. Default 30 minutes (HikariCP), with `l4` 2 minutes.
   */
  readonly maxAge?: Duration.Input | undefined
  /** Calls on one connection at once; 1 to 1,000,000. Default: what the server says, and 100 until it does. */
  readonly streamsPerConnection?: number | undefined
  /** For one dial, which then counts as failed (`TimedOut`); 1 ms to 24 days. Default 20 s (connection-backoff.md). */
  readonly connectTimeout?: Duration.Input | undefined
}

/** Where calls wait that have no connection or no free stream yet. */
export interface QueueOptions {
  /** Calls that wait at most; 0 to 1,000,000. The next one fails with `ResourceExhausted` by `Us`. Default 1,000. */
  readonly max?: number | undefined
  /**
   * How long one may wait, or until its deadline if that is sooner; then it fails with `DeadlineExceeded` by `Us`,
   * `NotSent`. 1 ms to 24 days. Default 30 s.
   *
   * **Gotchas**: the queue does not know how long a call takes. Where more calls come than can be answered, leave them time: with
   * deadlines of 1 s and calls of 100 ms, no more than 800 ms. Else each is sent when it is too late.
   */
  readonly timeout?: Duration.Input | undefined
}

/** When a connection counts as silent. */
export interface SilenceOptions {
  /** The shortest silence that counts; 50 ms to 24 days. Default 200 ms. */
  readonly atLeast?: Duration.Input | undefined
}

/** An HTTP proxy. */
export interface ProxyOptions {
  /** `HOST:PORT` */
  readonly address: string
  /** `USER:PASSWORD`, for basic authorization. */
  readonly credentials?: Redacted.Redacted<string> | undefined
}

/** The options of `Grpc.layer`. */
export interface GrpcOptions {
  /**
   * Where to: `dns:///greeter:50051`, `greeter:50051`, `ipv4:10.0.0.1:50051,10.0.0.2:50051`, `ipv6:[::1]:50051`,
   * `unix:/run/greeter.sock`, `dns://10.0.0.53/greeter:50051` for a name server, `dns:///_grpc._tcp.greeter` for SRV records.
   */
  readonly target: string
  /** Where endpoints come from, in place of `target`, which then is a name for servers, metrics and errors. */
  readonly resolver?: Resolver | undefined
  /** How the name of `target` is looked up. Default: every address is an endpoint, looked for again every 30 s. */
  readonly dns?: DnsOptions | undefined
  /** Default: TLS with the well-known roots. `Credentials.insecure` is plaintext. */
  readonly credentials?: Credentials | undefined
  /** What servers are asked for (`:authority`) and what their certificates must carry. Default: the host of `target`. */
  readonly authority?: string | undefined
  readonly connections?: ConnectionsOptions | undefined
  /**
   * The address is that of a load balancer of layer 4, or a virtual IP with many servers behind it: there are at least six
   * connections, each is picked and judged by itself, and they live for two minutes, so that load spreads, a sick server is
   * left and a new one is found. Default `false`.
   */
  readonly l4?: boolean | undefined
  readonly queue?: QueueOptions | undefined
  /** How dead connections are found without pings; `false`: they are not. Default: after 200 ms at least. */
  readonly silence?: SilenceOptions | false | undefined
  /**
   * Ends streams on dead paths: pings peers that say nothing for minutes while calls are running. Default
   * `Keepalive.make()`: after 5 min 30 s, which every server permits; `false`: never.
   */
  readonly keepalive?: Keepalive | false | undefined
  /**
   * Which endpoints are left out for failing, and for how long; `false`: none are. Default: what `Outlier.layer` says, or
   * else `Outlier.make()`. See docs/outliers.md.
   */
  readonly outlier?: Outlier | false | undefined
  /**
   * What says whether a connection may serve: `HealthCheck.watch("orders.Orders")`, `HealthCheck.poll(…)`, `Health.poll(…)`.
   * Default: that of the reference `HealthCheck.HealthCheck`, which is `false`: whatever is connected serves.
   */
  readonly health?: Health<Connection> | false | undefined
  /** How an endpoint is chosen for each call. Default `PeakEwma.policy`. */
  readonly balancer?: Policy | undefined
  /**
   * How an endpoint begins that was not Ready before, or could not be reached: with a part of its share, which grows to the
   * whole within `window`. Default `false`: with its whole share.
   */
  readonly slowStart?: SlowStartOptions | false | undefined
  /** For calls that name no timeout; above 0, at most 24 days, or `Deadline.none`. Default 15 s. */
  readonly deadline?: Duration.Input | typeof none | undefined
  /** Default `Retry.make()`: 3 attempts within a budget. */
  readonly retry?: Retry | false | undefined
  /**
   * Sends a second attempt of idempotent calls that take long; those are not retried. Its delay is below the default
   * deadline. Default `false`.
   */
  readonly hedge?: Hedge | false | undefined
  /** Fails calls at once while most of them fail anyway. Default `false`. */
  readonly breaker?: Breaker | false | undefined
  /** A token for every attempt, and for the probes of `health`. Default `false`. */
  readonly auth?: Auth | false | undefined
  /** Spans of calls and attempts, where a tracer records. Default `CallTracing.make()`. */
  readonly tracing?: CallTracing | false | undefined
  /**
   * gRPC's service config: `ServiceConfig.make({ … })`, or its JSON as a text. `ServiceConfig.fromFile` and `.fromDns` read
   * it from elsewhere. It says what holds where the slot is not given: its policies of retry, hedging, balancing and health
   * and its sizes give way to `retry`, `hedge`, `balancer`, `health`, `maxSendBytes` and `maxReceiveBytes`. Its timeouts take
   * the place of the default deadline, and bound one that is given. Default: none.
   */
  readonly serviceConfig?: ServiceConfig | string | undefined
  /**
   * The waits between dials to an endpoint that can't be reached. Default 1 s × 1.6, ±20 %, up to 120 s
   * (connection-backoff.md).
   */
  readonly reconnect?: Schedule.Schedule<unknown, ConnectError> | undefined
  /** How long calls may run on when the layer's scope closes, until they are cancelled; 0 to 24 days. Default 30 s. */
  readonly drain?: Duration.Input | undefined
  /**
   * The largest message that is taken; a larger one fails the call with `ResourceExhausted` by `Us`. 1 byte to 2 GiB.
   * Default 4 MiB (gRPC).
   */
  readonly maxReceiveBytes?: number | undefined
  /**
   * The largest message that is sent; a larger one fails the call with `ResourceExhausted` by `Us`. 1 byte to 2 GiB.
   * Default 4 MiB: what servers take by default.
   */
  readonly maxSendBytes?: number | undefined
  /**
   * An HTTP proxy that every connection goes through, by CONNECT. Nothing is read from the environment. The proxy looks
   * names up, so that a name is one endpoint. Default: none.
   */
  readonly proxy?: ProxyOptions | undefined
  /** How requests are compressed, if at all. Answers may be compressed in any way that gRPC names. Default `false`. */
  readonly compression?: "gzip" | "deflate" | false | undefined
  /**
   * How many bytes a peer may send ahead of its reader, on a connection and on each stream of it; 65,535 to 2 GiB. Default
   * 65,535 (HTTP/2). Larger ones speed up large messages over long ways, and cost as much memory.
   */
  readonly flowControlWindow?: number | undefined
  /** Put before our own `user-agent`: printable ASCII, at most 256 characters. Default: ours alone. */
  readonly userAgent?: string | undefined
  /** Middleware of your own around the whole stack but call metrics: it sees calls. Default: none. */
  readonly perCall?: ((self: Channel) => Channel) | undefined
  /** Middleware of your own below retries: it sees attempts. Default: none. */
  readonly perAttempt?: ((self: Channel) => Channel) | undefined
}

/** The options of `Grpc.layerBare`: those of connections, none of calls. */
export type GrpcBareOptions = Omit<
  GrpcOptions,
  "deadline" | "retry" | "hedge" | "breaker" | "auth" | "tracing" | "serviceConfig" | "perCall" | "perAttempt"
>
