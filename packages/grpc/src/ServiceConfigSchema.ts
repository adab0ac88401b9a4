/**
 * The fields of a service config, each with its rule in words.
 *
 * Stricter than gRFC A21 in one way: a key that nobody knows is refused. Elsewhere it is ignored, and what is misspelt or
 * stands in the wrong place never takes effect.
 */
import type { OptionsIssue } from "@hawser/core/OptionsError"
import { show } from "@hawser/core/OptionsError"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaParser from "effect/SchemaParser"
import { statusNames } from "./RpcError.ts"
import * as Duration from "./ServiceConfigDuration.ts"
import { clip } from "./ServiceConfigJson.ts"
import { distance } from "./Spelling.ts"

// ------------------------------------------------------------------------------------------------------ leaves

/** A leaf says what is wrong with a value, and what to write instead. */
const leaf = <T>(problem: (u: unknown) => string | undefined): Schema.Codec<T> =>
  Schema.Unknown.check(Schema.makeFilter(problem)) as unknown as Schema.Codec<T>

const quoted = (u: unknown, is: RegExp): string => (typeof u === "string" && is.test(u) ? "; without the quotes" : "")

const number = (rule: string, is: (n: number) => boolean) =>
  leaf<number>((u) => (typeof u === "number" && is(u) ? undefined : `${rule}${quoted(u, /^\d+(\.\d+)?$/)}`))

const integer = (min: number, max: number) =>
  number(
    `an integer from ${min.toLocaleString("en")} to ${max.toLocaleString("en")}`,
    (n) => Number.isInteger(n) && n >= min && n <= max
  )

const flag = leaf<boolean>((u) => (typeof u === "boolean" ? undefined : `true or false${quoted(u, /^(true|false)$/i)}`))

const text = (rule: string) => leaf<string>((u) => (typeof u === "string" ? undefined : rule))

/** Protobuf's `uint32`. */
const uint32 = 4_294_967_295
const positive = leaf<string>((u) => Duration.problem(u, false))
const fromZero = leaf<string>((u) => Duration.problem(u, true))
const bytes = integer(0, uint32)
const attempts = integer(2, uint32)

/** The name of a status in a service config, in any case, or its number; `undefined` for OK and what does not exist. */
export const statusOf = (u: unknown): string | undefined => {
  const index = typeof u === "string" ? statusNames.indexOf(u.toUpperCase()) : Number.isInteger(u) ? Number(u) : -1
  return index === 0 ? undefined : statusNames[index]
}

const status = leaf<string | number>((u) => {
  if (statusOf(u) !== undefined) return undefined
  const rule = "the name of a gRPC status that is a failure, or its number from 1 to 16"
  const close = typeof u === "string" ? closest(u, statusNames.slice(1)) : undefined
  return close === undefined ? rule : `${rule}; did you mean ${close}?`
})

const some = <S extends Schema.Constraint>(schema: S, rule: string) =>
  Schema.Array(schema).check(Schema.makeFilter((list) => (list.length > 0 ? undefined : rule)))

const part = leaf<string | null | undefined>((u) => {
  if (u === null || u === undefined) return undefined
  if (typeof u !== "string") return "a text"
  if (u.includes("*")) {
    return 'a whole name: there are no patterns. {} is for all methods, { "service": "S" } for all of S'
  }
  return /[/\s]/.test(u)
    ? 'a name without "/" and blanks, such as { "service": "shop.Cart", "method": "Add" }'
    : undefined
})

const isObject = (u: unknown): u is Readonly<Record<string, unknown>> =>
  typeof u === "object" && u !== null && !Array.isArray(u)

const balancer = leaf<Readonly<Record<string, Readonly<Record<string, unknown>>>>>((u) => {
  const settings = isObject(u) ? Object.values(u) : []
  return settings.length === 1 && isObject(settings[0]) ? undefined : 'one policy, such as { "round_robin": {} }'
})

// ------------------------------------------------------------------------------------------------------ fields

const Name = Schema.Struct({ service: Schema.optional(part), method: Schema.optional(part) })

const RetryPolicy = Schema.Struct({
  maxAttempts: attempts,
  initialBackoff: positive,
  maxBackoff: positive,
  backoffMultiplier: number("a number above 0", (n) => n > 0 && n < Infinity),
  retryableStatusCodes: some(status, 'at least one status, such as ["UNAVAILABLE"]')
})

const HedgingPolicy = Schema.Struct({
  maxAttempts: attempts,
  hedgingDelay: Schema.optional(fromZero),
  nonFatalStatusCodes: Schema.optional(Schema.Array(status))
})

const MethodConfig = Schema.Struct({
  name: some(Name, "at least one name; {} is for all methods"),
  timeout: Schema.optional(positive),
  waitForReady: Schema.optional(flag),
  maxRequestMessageBytes: Schema.optional(bytes),
  maxResponseMessageBytes: Schema.optional(bytes),
  retryPolicy: Schema.optional(RetryPolicy),
  hedgingPolicy: Schema.optional(HedgingPolicy)
})

const RetryThrottling = Schema.Struct({
  maxTokens: integer(1, 1000),
  tokenRatio: number("a number from 0.001 to 1000", (n) => n >= 0.001 && n <= 1000)
})

const HealthCheck = Schema.Struct({ serviceName: Schema.optional(text("a text")) })

/** A service config. */
export const Config = Schema.Struct({
  methodConfig: Schema.optional(Schema.Array(MethodConfig)),
  retryThrottling: Schema.optional(RetryThrottling),
  loadBalancingConfig: Schema.optional(some(balancer, 'at least one policy, such as [{ "round_robin": {} }]')),
  healthCheckConfig: Schema.optional(HealthCheck)
})

/** A service config whose fields are each in order. */
export type Config = typeof Config.Type

/** One entry of it. */
export type MethodEntry = typeof MethodConfig.Type

const Choice = Schema.Struct({
  clientLanguage: Schema.optional(Schema.Array(text('a language, such as "node"'))),
  percentage: Schema.optional(integer(0, 100)),
  clientHostname: Schema.optional(Schema.Array(text("a host name"))),
  serviceConfig: leaf<Readonly<Record<string, unknown>>>((u) => (isObject(u) ? undefined : "a service config"))
})

/** What a TXT record carries (gRFC A2). */
export const Choices = Schema.Array(Choice)

// ------------------------------------------------------------------------------------------------------ places

const keys = (struct: { readonly fields: Schema.Struct.Fields }): ReadonlyArray<string> => Object.keys(struct.fields)

/** Which keys there are, by where; `[]` is any element. */
const places: ReadonlyMap<string, ReadonlyArray<string>> = new Map([
  ["", keys(Config)],
  ["methodConfig[]", keys(MethodConfig)],
  ["methodConfig[].name[]", keys(Name)],
  ["methodConfig[].retryPolicy", keys(RetryPolicy)],
  ["methodConfig[].hedgingPolicy", keys(HedgingPolicy)],
  ["retryThrottling", keys(RetryThrottling)],
  ["healthCheckConfig", keys(HealthCheck)],
  ["[]", keys(Choice)]
])

/** Keys that others have, or had. */
const known: ReadonlyMap<string, string> = new Map([
  ["loadBalancingPolicy", '"loadBalancingConfig": [{ "round_robin": {} }], which replaced it'],
  ["serviceConfig", "what it holds, without the key around it"],
  ["perAttemptRecvTimeout", "no limit for one attempt: gRFC A6 has none"],
  ["maxRequestBytes", '"maxRequestMessageBytes"'],
  ["maxResponseBytes", '"maxResponseMessageBytes"']
])

const misplaced = (place: string, key: string): string => {
  const here = places.get(place) ?? []
  const instead = known.get(key)
  if (instead !== undefined) return instead
  const close = closest(key, here)
  if (close !== undefined) return `a key that exists; did you mean ${close}?`
  for (const [other, names] of places) {
    if (other === "[]" || place === "[]" || !names.includes(key)) continue
    if (other === "methodConfig[]") return `it in an entry of methodConfig: [{ "name": [{}], "${key}": … }]`
    return other === "" ? `it at the top, beside methodConfig` : `it in ${other.replaceAll("[]", "")}`
  }
  return `one of ${here.join(", ")}`
}

/** Compared without case and underscores: `method_config` is what protobuf calls it. */
const closest = (word: string, list: ReadonlyArray<string>): string | undefined => {
  if (word.length > 60) return undefined
  const plain = (name: string) => name.replaceAll("_", "").toLowerCase()
  const said = plain(word)
  const isStart = (name: string) => said.length > 4 && plain(name).startsWith(said)
  return list.find((name) => isStart(name) || distance(plain(name), said) <= 2)
}

// ------------------------------------------------------------------------------------------------------ issues

/** A path as people write it: `methodConfig[0].name`. */
export const pathOf = (keys: ReadonlyArray<PropertyKey>): string =>
  keys.reduce<string>((path, key) => {
    if (typeof key === "number") return `${path}[${key}]`
    return path === "" ? clip(String(key)) : `${path}.${clip(String(key))}`
  }, "")

const unknownKey = "unknown key"
const missing = "missing"
const toIssues = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    if (issue._tag === "UnexpectedKey") return unknownKey
    return issue._tag === "MissingKey" ? missing : SchemaIssue.defaultLeafHook(issue)
  }
})

/** Checks a value field by field: the value, typed, or everything that is wrong. `at` is what the value itself is called. */
export const check = <S extends Schema.Decoder<unknown>>(
  schema: S,
  input: unknown,
  at: string
): Result.Result<S["Type"], ReadonlyArray<OptionsIssue>> => {
  const parsed = SchemaParser.decodeUnknownResult(schema, { errors: "all", onExcessProperty: "error" })(input)
  if (Result.isSuccess(parsed)) return Result.succeed(parsed.success)
  const issues = toIssues(parsed.failure).issues.map(({ message, path: raw = [] }): OptionsIssue => {
    const keys = raw.map((key) => (typeof key === "object" ? key.key : key))
    const path = keys.length === 0 ? at : pathOf(keys)
    if (message === unknownKey) {
      const place = pathOf(keys.slice(0, -1)).replace(/\[\d+\]/g, "[]")
      return { path, rule: misplaced(place, String(keys.at(-1))), value: `the key ${show(keys.at(-1))}` }
    }
    if (message === missing) return { path, rule: "a value: it is required", value: "nothing" }
    return { path, rule: ruled(message, pathOf(keys)), value: show(valueAt(input, keys)) }
  })
  return Result.fail(issues)
}

const ruled = (message: string, path: string): string => {
  const names = places.get(path.replace(/\[\d+\]/g, "[]"))
  if (message.startsWith("Expected object")) {
    return names === undefined ? "an object" : `an object with ${names.join(", ")}`
  }
  return message.startsWith("Expected array") ? "a list" : message
}

const valueAt = (input: unknown, keys: ReadonlyArray<PropertyKey>): unknown =>
  keys.reduce<unknown>(
    (u, key) => (typeof u === "object" && u !== null && Object.hasOwn(u, key) ? u[key as never] : undefined),
    input
  )
