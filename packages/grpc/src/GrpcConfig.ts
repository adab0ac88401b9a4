/**
 * The options of `Grpc.layer` from Effect's `Config`: environment variables, files, or whatever the provider reads.
 *
 * A subpath of its own, because `effect/Config` takes long to load. Values are read as text and judged by the same rules
 * as options in code, so an error lists everything that is wrong with all of them.
 */
import type { OptionsError } from "@hawser/core/OptionsError"
import * as Outlier from "@hawser/core/Outlier"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { none } from "./Call.ts"
import type { Channel } from "./Channel.ts"
import * as Credentials from "./Credentials.ts"
import * as Grpc from "./Grpc.ts"
import * as Names from "./GrpcConfigNames.ts"
import type { GrpcOptions } from "./GrpcOptions.ts"
import * as HealthCheck from "./HealthCheck.ts"
import * as Keepalive from "./Keepalive.ts"
import { found } from "./Options.ts"
import * as Retry from "./Retry.ts"
import { named } from "./ServiceConfigBalancing.ts"

/**
 * `Grpc.layer` with options that are read when the layer is built.
 *
 * **When to use**: with `fromPrefix` for everything at once, or with a `Config` for each option that is not fixed.
 *
 * **Details**: fails with a `ConfigError` where the provider fails or a name is missing, and with an `OptionsError` where
 * a value breaks a rule.
 *
 * **Example** (From the environment)
 *
 * ```ts import.meta.vitest
 * import { ConfigProvider, Effect, Layer } from "effect"
 * import * as GrpcConfig from "@hawser/grpc/GrpcConfig"
 *
 * const env = { GREETER_TARGET: "dns:///greeter:50051", GREETER_CONNECTIONS_MAX: "many", GREETER_DEADLINE: "soon" }
 * const layer = GrpcConfig.layerConfig(GrpcConfig.fromPrefix("GREETER")).pipe(
 *   Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
 * )
 * const error = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(layer))))
 * const paths = error._tag === "OptionsError" ? error.issues.map((issue) => issue.path).sort() : []
 * paths // => ["connections.max", "deadline"]
 * ```
 */
export const layerConfig = (
  options: Config.Wrap<GrpcOptions>
): Layer.Layer<Channel | Grpc.GrpcCluster, OptionsError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), (read) => Grpc.layer(read as GrpcOptions)))

/**
 * Every option that text can say, under a prefix.
 *
 * | name | option |
 * |---|---|
 * | `TARGET` | `target`; required |
 * | `PLAINTEXT` | `true`: `Credentials.insecure` |
 * | `TLS_CA`, `TLS_CERT`, `TLS_KEY`, `TLS_SERVER_NAME` | `Credentials.tls`, as PEM texts |
 * | `AUTHORITY`, `USER_AGENT` | `authority`, `userAgent` |
 * | `DNS_REFRESH`, `DNS_TIMEOUT`, `DNS_KEEP`, `DNS_MIN_INTERVAL`, `DNS_FAMILY` (`4`, `6`, `0`), `DNS_EMPTY` | `dns` |
 * | `CONNECTIONS_MIN`, `CONNECTIONS_MAX`, `CONNECTIONS_MAX_AGE`, `CONNECTIONS_STREAMS`, `CONNECTIONS_CONNECT_TIMEOUT` | `connections` |
 * | `L4` | `l4`: `true` or `false` |
 * | `QUEUE_MAX`, `QUEUE_TIMEOUT` | `queue` |
 * | `SILENCE` | `silence.atLeast`, or `false` |
 * | `KEEPALIVE` | `keepalive`: its time, or `false` |
 * | `KEEPALIVE_TIMEOUT`, `KEEPALIVE_WITHOUT_CALLS` | the same |
 * | `KEEPALIVE_SERVER_MIN_TIME`, `KEEPALIVE_SERVER_WITHOUT_CALLS` | what the server permits |
 * | `OUTLIER` | `outlier`: the share of endpoints that may be ejected, or `false` |
 * | `BALANCER` | `p2c_peak_ewma`, `round_robin`, `pick_first`, `least_request`, `weighted_round_robin` or `ring_hash` |
 * | `SLOW_START` | `slowStart.window`, or `false` |
 * | `HEALTH` | `HealthCheck.watch` of that service, `true` for the whole server, or `false` |
 * | `DEADLINE` | `deadline`, or `none` |
 * | `RETRY` | `retry`: attempts, or `false` |
 * | `PROXY`, `PROXY_CREDENTIALS` | `proxy.address`, `proxy.credentials` |
 * | `COMPRESSION` | `gzip`, `deflate` or `false` |
 * | `DRAIN`, `MAX_RECEIVE_BYTES`, `MAX_SEND_BYTES`, `FLOW_CONTROL_WINDOW` | the same |
 * | `SERVICE_CONFIG` | `serviceConfig`, as JSON |
 *
 * **Details**: durations are as in code: `"250 millis"`, `"2 seconds"`. What needs code (`resolver`, `reconnect`, `perCall`,
 * `perAttempt`, a retry schedule) is added with `Config.map`. Other names under the prefix are misspelt, and are listed in
 * the `OptionsError` of the layer. But for the names that Kubernetes gives every container for a service that is called
 * like the prefix (`GREETER_SERVICE_HOST`, `GREETER_PORT_50051_TCP`): those are passed over.
 *
 * **Gotchas**: a prefix is for one client alone. Providers tell which names there are but for those that hold a list.
 *
 * **Example** (The rest from code)
 *
 * ```ts import.meta.vitest
 * import { Config, ConfigProvider, Effect } from "effect"
 * import * as GrpcConfig from "@hawser/grpc/GrpcConfig"
 *
 * const config = Config.map(GrpcConfig.fromPrefix("GREETER"), (read) => ({ ...read, userAgent: "shop/2.1" }))
 *
 * const env = { GREETER_TARGET: "dns:///greeter", GREETER_CONNECTIONS_MAX: "8", GREETER_SILENCE: "false" }
 * const options = await Effect.runPromise(config.parse(ConfigProvider.fromEnv({ env })))
 * options.connections?.max // => 8
 * options.silence // => false
 * options.userAgent // => "shop/2.1"
 * ```
 */
export const fromPrefix = (prefix: string): Config.Config<GrpcOptions> =>
  Config.map(
    Config.all({ said: Config.nested(texts, prefix), under: Names.under(prefix) }),
    ({ said, under }): GrpcOptions => {
      const unknown = Names.unknown(prefix, under, names)
      return unknown.length === 0 ? options(said) : ({ ...options(said), [found]: unknown } as GrpcOptions)
    }
  )

/** The names that are read. */
const names: Array<string> = []
const read = (name: string): string => {
  names.push(name)
  return name
}
const text = (name: string) => Config.map(Config.option(Config.String(read(name))), Option.getOrUndefined)
const secret = (name: string) => Config.map(Config.option(Config.Redacted(read(name))), Option.getOrUndefined)

const texts = Config.all({
  target: Config.String(read("TARGET")),
  plaintext: text("PLAINTEXT"),
  ca: text("TLS_CA"),
  cert: text("TLS_CERT"),
  key: secret("TLS_KEY"),
  serverName: text("TLS_SERVER_NAME"),
  authority: text("AUTHORITY"),
  userAgent: text("USER_AGENT"),
  refresh: text("DNS_REFRESH"),
  timeout: text("DNS_TIMEOUT"),
  keep: text("DNS_KEEP"),
  minInterval: text("DNS_MIN_INTERVAL"),
  family: text("DNS_FAMILY"),
  empty: text("DNS_EMPTY"),
  min: text("CONNECTIONS_MIN"),
  max: text("CONNECTIONS_MAX"),
  maxAge: text("CONNECTIONS_MAX_AGE"),
  l4: text("L4"),
  streamsPerConnection: text("CONNECTIONS_STREAMS"),
  connectTimeout: text("CONNECTIONS_CONNECT_TIMEOUT"),
  queueMax: text("QUEUE_MAX"),
  queueTimeout: text("QUEUE_TIMEOUT"),
  silence: text("SILENCE"),
  keepalive: text("KEEPALIVE"),
  keepaliveTimeout: text("KEEPALIVE_TIMEOUT"),
  keepaliveWithoutCalls: text("KEEPALIVE_WITHOUT_CALLS"),
  keepaliveServerMinTime: text("KEEPALIVE_SERVER_MIN_TIME"),
  keepaliveServerWithoutCalls: text("KEEPALIVE_SERVER_WITHOUT_CALLS"),
  outlier: text("OUTLIER"),
  health: text("HEALTH"),
  balancer: text("BALANCER"),
  slowStart: text("SLOW_START"),
  deadline: text("DEADLINE"),
  retry: text("RETRY"),
  proxy: text("PROXY"),
  proxyCredentials: secret("PROXY_CREDENTIALS"),
  compression: text("COMPRESSION"),
  flowControlWindow: text("FLOW_CONTROL_WINDOW"),
  drain: text("DRAIN"),
  maxReceiveBytes: text("MAX_RECEIVE_BYTES"),
  maxSendBytes: text("MAX_SEND_BYTES"),
  serviceConfig: text("SERVICE_CONFIG")
})

type Texts = Config.Success<typeof texts>

const switches: Readonly<Record<string, boolean>> = { true: true, false: false }

/** Texts as options. What is no number, policy or switch stays a text, and is refused with its name by the options' rules. */
const options = (read: Texts): GrpcOptions => {
  const { ca, cert, key, plaintext, serverName } = read
  const tls = { ca, cert, key: key === undefined ? undefined : Redacted.make(Redacted.value(key)), serverName }
  const said = Object.values(tls).some((value) => value !== undefined)
  const raw = {
    target: read.target,
    credentials: credentials(plaintext, said ? tls : undefined),
    authority: read.authority,
    userAgent: read.userAgent,
    dns: dns(read),
    connections: {
      min: number(read.min),
      max: number(read.max),
      maxAge: read.maxAge,
      streamsPerConnection: number(read.streamsPerConnection),
      connectTimeout: read.connectTimeout
    },
    l4: read.l4 === undefined ? undefined : (switches[read.l4] ?? read.l4),
    queue: { max: number(read.queueMax), timeout: read.queueTimeout },
    silence: read.silence === undefined ? undefined : read.silence === "false" ? false : { atLeast: read.silence },
    keepalive: keepalive(read),
    outlier: outlier(read.outlier),
    health: health(read.health),
    balancer: read.balancer === undefined ? undefined : (named(read.balancer) ?? read.balancer),
    slowStart:
      read.slowStart === undefined ? undefined : read.slowStart === "false" ? false : { window: read.slowStart },
    deadline: read.deadline === "none" ? none : read.deadline,
    retry: retry(read.retry),
    proxy: proxy(read.proxy, read.proxyCredentials),
    compression: read.compression === "false" ? false : read.compression,
    flowControlWindow: number(read.flowControlWindow),
    drain: read.drain,
    maxReceiveBytes: number(read.maxReceiveBytes),
    maxSendBytes: number(read.maxSendBytes),
    serviceConfig: read.serviceConfig
  }
  return raw as unknown as GrpcOptions
}

const number = (value: string | undefined): number | string | undefined =>
  value === undefined || !/^\d{1,15}$/.test(value) ? value : Number(value)

/** Nothing where nothing is said: the target may not be a name. */
const dns = ({ empty, family, keep, minInterval, refresh, timeout }: Texts): unknown => {
  const said = { refresh, timeout, keep, minInterval, family: number(family), empty }
  return Object.values(said).every((value) => value === undefined) ? undefined : said
}

const credentials = (plaintext: string | undefined, tls: Credentials.TlsOptions | undefined): unknown => {
  if (plaintext === undefined || plaintext === "false") return tls === undefined ? undefined : Credentials.tls(tls)
  // Both at once would be a guess about what must not be guessed.
  return plaintext === "true" && tls === undefined ? Credentials.insecure : `PLAINTEXT=${plaintext}`
}

const proxy = (address: string | undefined, credentials: Redacted.Redacted<string> | undefined): unknown =>
  address === undefined && credentials === undefined ? undefined : { address, credentials }

const outlier = (value: string | undefined): unknown => {
  if (value === undefined) return undefined
  if (value === "false") return false
  try {
    return Outlier.make({ maximumEjected: Number(value) })
  } catch {
    return value
  }
}

const health = (value: string | undefined): unknown => {
  if (value === undefined) return undefined
  if (value === "false") return false
  try {
    return HealthCheck.watch(value === "true" ? "" : value)
  } catch {
    return value
  }
}

const retry = (value: string | undefined): unknown => {
  if (value === undefined) return undefined
  if (value === "false") return false
  const maxAttempts = number(value)
  try {
    return Retry.make({ maxAttempts: maxAttempts as number })
  } catch {
    return value
  }
}

const keepalive = (read: Texts): unknown => {
  const { keepalive: time, keepaliveTimeout: timeout } = read
  const server = { minTime: read.keepaliveServerMinTime, withoutCalls: flag(read.keepaliveServerWithoutCalls) }
  const withoutCalls = flag(read.keepaliveWithoutCalls)
  const rest = [timeout, withoutCalls, server.minTime, server.withoutCalls].every((value) => value === undefined)
  if (rest && (time === undefined || time === "false")) return time === undefined ? undefined : false
  try {
    return Keepalive.make({ time, timeout, withoutCalls, serverPermits: server } as Keepalive.KeepaliveOptions)
  } catch (error) {
    return (error as OptionsError).message
  }
}

const flag = (value: string | undefined): boolean | string | undefined =>
  value === "true" ? true : value === "false" ? false : value
