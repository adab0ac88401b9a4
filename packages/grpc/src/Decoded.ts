/**
 * Options as the layer uses them: every default filled in, times in milliseconds.
 *
 * Nothing is checked here; `Options` does that first.
 */
import * as Backoff from "@hawser/core/Backoff"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Endpoint } from "@hawser/core/Endpoint"
import type { Health } from "@hawser/core/Health"
import * as PeakEwma from "@hawser/core/PeakEwma"
import type { Outlier } from "@hawser/core/Outlier"
import type { Policy } from "@hawser/core/Policy"
import type { Resolver } from "@hawser/core/Resolver"
import type { SlowStartOptions } from "@hawser/core/SlowStart"
import * as Result from "effect/Result"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type { Auth } from "./Auth.ts"
import type { Breaker } from "./Breaker.ts"
import { none } from "./Call.ts"
import * as CallTracing from "./CallTracing.ts"
import type { Channel } from "./Channel.ts"
import type { Connection } from "./Connection.ts"
import * as Credentials from "./Credentials.ts"
import * as Deadline from "./Deadline.ts"
import * as Dns from "./Dns.ts"
import type { GrpcOptions } from "./GrpcOptions.ts"
import { fromServiceConfig } from "./HealthCheck.ts"
import * as Keepalive from "./Keepalive.ts"
import type { Hedge } from "./Hedge.ts"
import * as Retry from "./Retry.ts"
import type { ServiceConfig } from "./ServiceConfig.ts"
import * as Target from "./Target.ts"

/** Options with every default filled in. Times are milliseconds. */
export interface Decoded {
  readonly target: Target.Target
  readonly endpoints: ReadonlyArray<Endpoint> | Resolver
  readonly credentials: Credentials.Credentials
  readonly authority: string
  readonly connections: {
    readonly min: number
    readonly max: number
    readonly maxAgeMillis: number
    readonly streamsPerConnection: number | undefined
    readonly connectTimeoutMillis: number
  }
  readonly l4: boolean
  readonly queue: { readonly max: number; readonly timeoutMillis: number }
  readonly silence: { readonly atLeastMillis: number } | false
  readonly keepalive: Keepalive.Keepalive | false
  /** `undefined`: as the layers around it say. */
  readonly outlier: Outlier | false | undefined
  /** `undefined`: that of the reference. */
  readonly health: Health<Connection> | false | undefined
  readonly balancer: Policy
  readonly slowStart: SlowStartOptions | false
  /** `Infinity` for `Deadline.none`. */
  readonly deadlineMillis: number
  readonly retry: Retry.Retry | false
  readonly hedge: Hedge | false
  readonly breaker: Breaker | false
  readonly auth: Auth | false
  readonly tracing: CallTracing.CallTracing | false
  readonly serviceConfig: ServiceConfig | undefined
  /** Which slots were given: they go before a service config. */
  readonly given: { readonly deadline: boolean; readonly retry: boolean; readonly hedge: boolean }
  /** Sizes for methods of which the service config says nothing, where it raises those of the connection. */
  readonly sizes: { readonly maxRequestBytes: number | undefined; readonly maxResponseBytes: number | undefined }
  readonly reconnect: Schedule.Schedule<unknown, ConnectError>
  readonly drainMillis: number
  readonly maxReceiveBytes: number
  readonly maxSendBytes: number
  readonly proxy: { readonly address: string; readonly credentials: Redacted.Redacted<string> | undefined } | undefined
  readonly compression: "gzip" | "deflate" | undefined
  readonly flowControlWindow: number | undefined
  readonly userAgent: string | undefined
  readonly perCall: ((self: Channel) => Channel) | undefined
  readonly perAttempt: ((self: Channel) => Channel) | undefined
}

/** What concerns connections alone. */
export type DecodedBare = Omit<
  Decoded,
  | "deadlineMillis"
  | "retry"
  | "hedge"
  | "breaker"
  | "auth"
  | "tracing"
  | "serviceConfig"
  | "given"
  | "sizes"
  | "perCall"
  | "perAttempt"
>

/** Options whose service config has been read. */
export type ReadOptions = Omit<GrpcOptions, "serviceConfig"> & { readonly serviceConfig?: ServiceConfig | undefined }

/** What gRPC takes by default, in bytes. */
const defaultBytes = 4_194_304

/** Where endpoints come from. A proxy looks names up by itself. */
const endpoints = (
  target: Target.Target,
  { dns, proxy, resolver }: GrpcOptions
): ReadonlyArray<Endpoint> | Resolver => {
  if (resolver !== undefined) return resolver
  const { question } = target
  if (question === undefined || proxy !== undefined) return target.endpoints
  return question._tag === "Host" ? Dns.addresses({ ...dns, ...question }) : Dns.services({ ...dns, ...question })
}

/** Fills in the defaults. The options must be in order. */
export const withDefaults = (options: ReadOptions): Decoded => {
  const { serviceConfig: config } = options
  const send = sizeOf(options.maxSendBytes, config?.maxRequestBytes)
  const receive = sizeOf(options.maxReceiveBytes, config?.maxResponseBytes)
  const target = Result.getOrThrow(Target.parse(options.target))
  const { l4 = false } = options
  const {
    min = l4 ? 6 : 1,
    max = Math.max(l4 ? 12 : 4, min),
    maxAge = l4 ? "2 minutes" : "30 minutes",
    streamsPerConnection,
    connectTimeout = "20 seconds"
  } = options.connections ?? {}
  const { max: waiters = 1_000, timeout = "30 seconds" } = options.queue ?? {}
  const { silence, deadline = Deadline.unary } = options
  return {
    target,
    endpoints: endpoints(target, options),
    credentials: options.credentials ?? Credentials.tls(),
    authority: options.authority ?? target.authority,
    connections: {
      min,
      max,
      maxAgeMillis: Deadline.millisOf(maxAge),
      streamsPerConnection,
      connectTimeoutMillis: Deadline.millisOf(connectTimeout)
    },
    l4,
    queue: { max: waiters, timeoutMillis: Deadline.millisOf(timeout) },
    silence: silence === false ? false : { atLeastMillis: Deadline.millisOf(silence?.atLeast ?? 200) },
    keepalive: options.keepalive ?? Keepalive.make(),
    health: options.health ?? (config === undefined ? undefined : fromServiceConfig(config)),
    balancer: options.balancer ?? config?.balancing?.policy ?? PeakEwma.policy,
    slowStart: options.slowStart ?? false,
    outlier: options.outlier ?? config?.balancing?.outlier,
    deadlineMillis: deadline === none ? Infinity : Deadline.millisOf(deadline),
    retry: options.retry ?? Retry.make(),
    hedge: options.hedge ?? false,
    breaker: options.breaker ?? false,
    auth: options.auth ?? false,
    tracing: options.tracing ?? CallTracing.make(),
    serviceConfig: config,
    given: {
      deadline: options.deadline !== undefined,
      retry: options.retry !== undefined,
      hedge: options.hedge !== undefined
    },
    sizes: { maxRequestBytes: send.others, maxResponseBytes: receive.others },
    reconnect: options.reconnect ?? Backoff.connection,
    drainMillis: Deadline.millisOf(options.drain ?? "30 seconds"),
    maxReceiveBytes: receive.most,
    maxSendBytes: send.most,
    proxy:
      options.proxy === undefined
        ? undefined
        : { address: options.proxy.address, credentials: options.proxy.credentials },
    compression: options.compression === false ? undefined : options.compression,
    flowControlWindow: options.flowControlWindow,
    userAgent: options.userAgent,
    perCall: options.perCall,
    perAttempt: options.perAttempt
  }
}

/** A config may ask for more than the default, for its own methods; never for more than the application allows. */
const sizeOf = (
  given: number | undefined,
  asked: number | undefined
): { readonly most: number; readonly others: number | undefined } => {
  if (given !== undefined) return { most: given, others: undefined }
  if (asked === undefined || asked <= defaultBytes) return { most: defaultBytes, others: undefined }
  return { most: Math.min(asked, 2_147_483_647), others: defaultBytes }
}
