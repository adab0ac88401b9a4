/**
 * Checks the options of `Grpc.layer`, all at once.
 *
 * The only module that needs `effect/Schema`, which takes long to load: it is imported when a layer is built, never with
 * the package.
 */
import type { ConnectError } from "@hawser/core/ConnectError"
import { type Health, isHealth } from "@hawser/core/Health"
import type { OptionsIssue } from "@hawser/core/OptionsError"
import { OptionsError, show } from "@hawser/core/OptionsError"
import * as Outlier from "@hawser/core/Outlier"
import type { Policy } from "@hawser/core/Policy"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaParser from "effect/SchemaParser"
import * as Auth from "./Auth.ts"
import * as Breaker from "./Breaker.ts"
import { none } from "./Call.ts"
import * as CallTracing from "./CallTracing.ts"
import type { Connection } from "./Connection.ts"
import * as Credentials from "./Credentials.ts"
import { type Decoded, withDefaults } from "./Decoded.ts"
import * as Deadline from "./Deadline.ts"
import type { GrpcOptions } from "./GrpcOptions.ts"
import * as Keepalive from "./Keepalive.ts"
import * as Hedge from "./Hedge.ts"
import { above, bytes, duration, group, integer, isPolicy, middleware, slot, value } from "./OptionsLeaf.ts"
import * as OptionsTarget from "./OptionsTarget.ts"
import * as Retry from "./Retry.ts"
import * as ServiceConfig from "./ServiceConfig.ts"
import { configOf } from "./ServiceConfigSlot.ts"
import { distance } from "./Spelling.ts"

const bare = {
  ...OptionsTarget.fields,
  credentials: Schema.optional(
    value<Credentials.Credentials>("Credentials.tls({ … }) or Credentials.insecure", Credentials.isCredentials)
  ),
  authority: Schema.optional(
    value<string>(
      "HOST or HOST:PORT",
      (u) => typeof u === "string" && /^[\w.-]+(:\d{1,5})?$|^\[[0-9a-f:.]+\](:\d{1,5})?$/i.test(u)
    )
  ),
  connections: group({
    min: Schema.optional(integer(0, 100)),
    max: Schema.optional(integer(1, 100)),
    streamsPerConnection: Schema.optional(integer(1, 1_000_000)),
    maxAge: Schema.optional(
      value<Duration.Input>("a duration from 100 ms to 24 days, or Infinity", (u) => {
        const millis = Deadline.millisOf(u)
        return u === Infinity || u === "Infinity" || (millis >= 100 && millis <= Deadline.maxMillis)
      })
    ),
    connectTimeout: Schema.optional(duration(1))
  }),
  l4: Schema.optional(value<boolean>("true or false", (u) => typeof u === "boolean")),
  queue: group({ max: Schema.optional(integer(0, 1_000_000)), timeout: Schema.optional(duration(1)) }),
  silence: Schema.optional(
    Schema.Union([Schema.Literal(false), Schema.Struct({ atLeast: Schema.optional(duration(50)) })])
  ),
  keepalive: slot<Keepalive.Keepalive>("Keepalive.make({ … }) or false", Keepalive.isKeepalive),
  outlier: slot<Outlier.Outlier>("Outlier.make({ … }) or false", Outlier.isOutlier),
  health: slot<Health<Connection>>("HealthCheck.watch(…), HealthCheck.poll(…), Health.poll(…) or false", isHealth),
  balancer: Schema.optional(value<Policy>("a policy such as PeakEwma.policy", isPolicy)),
  slowStart: Schema.optional(
    Schema.Union([
      Schema.Literal(false),
      Schema.Struct({
        window: duration(1_000),
        aggression: Schema.optional(above(100)),
        minimum: Schema.optional(above(1))
      })
    ])
  ),
  reconnect: Schema.optional(value<Schedule.Schedule<unknown, ConnectError>>("a Schedule", Schedule.isSchedule)),
  drain: Schema.optional(duration(0)),
  maxReceiveBytes: Schema.optional(bytes),
  maxSendBytes: Schema.optional(bytes),
  proxy: group({
    address: value<string>(
      "HOST:PORT",
      (u) => typeof u === "string" && /^(?:[\w.-]+|\[[0-9a-f:.]+\]):[1-9]\d{0,4}$/i.test(u)
    ),
    credentials: Schema.optional(
      value<Redacted.Redacted<string>>('Redacted.make("USER:PASSWORD")', (u) => Redacted.isRedacted(u))
    )
  }),
  compression: Schema.optional(
    value<"gzip" | "deflate" | false>(
      '"gzip", "deflate" or false',
      (u) => u === "gzip" || u === "deflate" || u === false
    )
  ),
  flowControlWindow: Schema.optional(integer(65_535, 2_147_483_647)),
  userAgent: Schema.optional(
    value<string>(
      "printable ASCII, 1 to 256 characters",
      (u) => typeof u === "string" && /^[!-~](?:[ -~]{0,254}[!-~])?$/.test(u)
    )
  )
}

/** The schema of `GrpcBareOptions`. */
export const GrpcBareOptionsSchema = Schema.Struct(bare)

/** The schema of `GrpcOptions`. */
export const GrpcOptionsSchema = Schema.Struct({
  ...bare,
  deadline: Schema.optional(
    value<GrpcOptions["deadline"] & {}>(Deadline.rule, (u) => u === none || Deadline.isMillis(Deadline.millisOf(u)))
  ),
  retry: slot<Retry.Retry>("Retry.make({ … }) or false", Retry.isRetry),
  hedge: slot<Hedge.Hedge>("Hedge.make({ … }) or false", Hedge.isHedge),
  breaker: slot<Breaker.Breaker>("Breaker.make({ … }) or false", Breaker.isBreaker),
  auth: slot<Auth.Auth>("Auth.make({ … }) or false", Auth.isAuth),
  tracing: slot<CallTracing.CallTracing>("CallTracing.make({ … }) or false", CallTracing.isCallTracing),
  serviceConfig: Schema.optional(
    value<ServiceConfig.ServiceConfig | string>(
      "ServiceConfig.make({ … }), or its JSON as a text",
      (u) => typeof u === "string" || ServiceConfig.isServiceConfig(u)
    )
  ),
  perCall: Schema.optional(middleware),
  perAttempt: Schema.optional(middleware)
})

/**
 * Checks the options of `Grpc.layer` and fills in the defaults. Fails with everything that is wrong with them.
 *
 * **Details**: beside each rule of `GrpcOptions`, refused are keys that do not exist, `connections.max` below `min`, and
 * a silence that no call can last for, because the default deadline ends it first.
 */
export const decode = (options: unknown): Effect.Effect<Decoded, OptionsError> => run(GrpcOptionsSchema, options, true)

/** As `decode`, for `Grpc.layerBare`: no deadline, no retry, no middleware. */
export const decodeBare = (options: unknown): Effect.Effect<Decoded, OptionsError> =>
  Effect.map(run(GrpcBareOptionsSchema, options, false), (decoded) => ({
    ...decoded,
    deadlineMillis: Infinity,
    retry: false,
    auth: false,
    tracing: false
  }))

/** Problems that were found where options were read, to be told with all others: under this key, which no option has. */
export const found: unique symbol = Symbol.for("hawser/Options/found")

const split = (options: unknown): { readonly before: ReadonlyArray<OptionsIssue>; readonly input: unknown } => {
  if (typeof options !== "object" || options === null || !(found in options)) return { before: [], input: options }
  const { [found]: before, ...input } = options as { readonly [found]: ReadonlyArray<OptionsIssue> }
  return { before, input }
}

const run = (
  schema: typeof GrpcOptionsSchema | typeof GrpcBareOptionsSchema,
  options: unknown,
  calls: boolean
): Effect.Effect<Decoded, OptionsError> =>
  Effect.suspend(() => {
    const { before, input } = split(options)
    const parsed = SchemaParser.decodeUnknownResult<Schema.Decoder<GrpcOptions>>(schema, parseOptions)(input)
    const issues = Result.isFailure(parsed) ? structural(schema.fields, input, parsed.failure) : []
    issues.push(...before, ...related(input, calls))
    return Effect.flatMap(configOf(input, calls), (config) => {
      issues.push(...config.issues)
      if (Result.isFailure(parsed) || issues.length > 0) return Effect.fail(new OptionsError({ issues }))
      return Effect.succeed(withDefaults({ ...parsed.success, serviceConfig: config.read }))
    })
  })

const parseOptions = { errors: "all", onExcessProperty: "error" } as const

// ------------------------------------------------------------------------------------------------- one by one

const unknownKey = "an option that exists"
const toIssues = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    if (issue._tag === "UnexpectedKey") return unknownKey
    return issue._tag === "MissingKey" ? "a value: it has no default" : SchemaIssue.defaultLeafHook(issue)
  }
})

const structural = (fields: Schema.Struct.Fields, input: unknown, failure: SchemaIssue.Issue): Array<OptionsIssue> =>
  toIssues(failure).issues.map(({ message, path: raw = [] }) => {
    const path = raw.map((key) => String(typeof key === "object" ? key.key : key))
    const at = path.length === 0 ? "options" : path.join(".")
    if (message === unknownKey) return { path: at, rule: meant(fields, path), value: `the key ${show(path.at(-1))}` }
    const shape = `{ ${keysAt(fields, path).join(", ")} }`
    const rule = message.replace(/^Expected | \| undefined$/g, "").replace(/\bobject$/, shape)
    return { path: at, rule, value: shown(path, valueAt(input, path)) }
  })

const valueAt = (input: unknown, path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>((u, key) => (u as Record<string, unknown> | undefined)?.[key], input)

// Whatever stands in the place of credentials may be a secret.
const shown = ([top]: ReadonlyArray<string>, u: unknown): string =>
  typeof u === "function" || ((top === "credentials" || top === "auth") && u !== undefined)
    ? typeof u === "object"
      ? "an object"
      : `a ${typeof u}`
    : show(u)

const nested: Readonly<Record<string, ReadonlyArray<string>>> = {
  dns: OptionsTarget.dnsKeys,
  connections: ["min", "max", "maxAge", "streamsPerConnection", "connectTimeout"],
  queue: ["max", "timeout"],
  silence: ["atLeast"],
  slowStart: ["window", "aggression", "minimum"]
}

const keysAt = (fields: Schema.Struct.Fields, path: ReadonlyArray<string>): ReadonlyArray<string> =>
  path.length === 0 ? Object.keys(fields) : (nested[path[0]!] ?? [])

const meant = (fields: Schema.Struct.Fields, path: ReadonlyArray<string>): string => {
  const keys = keysAt(fields, path.slice(0, -1))
  const close = keys.find((key) => distance(key.toLowerCase(), path.at(-1)!.toLowerCase()) <= 2)
  return close === undefined ? `one of ${keys.join(", ")}` : `an option that exists; did you mean ${close}?`
}

// --------------------------------------------------------------------------------------------------- together

/** What no field can say alone. Looks only at fields that are in order by themselves. */
const related = (input: unknown, calls: boolean): Array<OptionsIssue> => {
  const { target, credentials, connections, l4, silence, deadline, hedge, retry, dns, resolver, proxy } = Object(
    input
  ) as {
    [K in keyof GrpcOptions]?: unknown
  }
  const out: Array<OptionsIssue> = []
  if (typeof target === "string") out.push(...OptionsTarget.issues(target, dns, resolver, proxy))
  if (Credentials.isCredentials(credentials)) out.push(...Credentials.issues(credentials))
  const { min, max } = Object(connections) as { min?: unknown; max?: unknown }
  if (Number.isInteger(min) && Number.isInteger(max) && (max as number) < (min as number)) {
    out.push({ path: "connections.max", rule: `at least connections.min, which is ${min}`, value: show(max) })
  }
  if (l4 === true && min === 0) {
    out.push({ path: "connections.min", rule: "at least 1 with l4, whose members are connections", value: "0" })
  }
  const atLeast = Deadline.millisOf((Object(silence) as { atLeast?: unknown }).atLeast)
  const limit = deadline === none ? Infinity : Deadline.millisOf(deadline ?? Deadline.unary)
  if (calls && limit === Infinity && Retry.isRetry(retry) && Retry.isUnlimited(retry)) {
    const rule = "a policy with a limit, or a default deadline: unlimited attempts and no deadline never end"
    out.push({ path: "retry", rule, value: "unlimited" })
  }
  if (calls && Hedge.isHedge(hedge)) {
    const delay = typeof hedge.delay === "number" ? hedge.delay : hedge.delay.atLeastMillis
    const rule = `a delay below the deadline of calls, ${limit} ms, or no call ever lives to be hedged`
    if (delay >= limit) out.push({ path: "hedge", rule, value: `${delay} ms` })
  }
  if (calls && atLeast >= limit) {
    const rule = `less than the deadline of calls, ${limit} ms, or no call is ever silent for so long`
    out.push({ path: "silence.atLeast", rule, value: show((silence as { atLeast: unknown }).atLeast) })
  }
  return out
}
