/**
 * A service config as policies: what holds for which method, as validated data.
 */
import type { OptionsIssue } from "@hawser/core/OptionsError"
import { show } from "@hawser/core/OptionsError"
import type { RetryThrottleOptions } from "@hawser/core/RetryThrottle"
import * as Result from "effect/Result"
import { type Balancing, balancingOf } from "./ServiceConfigBalancing.ts"
import * as Duration from "./ServiceConfigDuration.ts"
import * as Schema from "./ServiceConfigSchema.ts"

/** What `Retry.a6` takes: a `retryPolicy` of gRFC A6. Times are milliseconds. */
export interface RetryPolicy {
  /** The first one included; at least 2. Above 5 it is 5, by gRFC A6. */
  readonly maxAttempts: number
  readonly initialBackoff: number
  readonly maxBackoff: number
  readonly backoffMultiplier: number
  /** As gRPC names them: `UNAVAILABLE`. */
  readonly retryableStatusCodes: ReadonlyArray<string>
}

/** What `Hedge.a6` takes: a `hedgingPolicy` of gRFC A6. Times are milliseconds. */
export interface HedgingPolicy {
  /** The first one included; at least 2. Above 5 it is 5, by gRFC A6. */
  readonly maxAttempts: number
  /** 0, the default: all at once. */
  readonly hedgingDelay: number
  /** As gRPC names them: `UNAVAILABLE`. */
  readonly nonFatalStatusCodes: ReadonlyArray<string>
}

/** What a service config says of one method. `undefined`: nothing. */
export interface MethodConfig {
  /** Which name decided: the method's own, that of its service, or the one for all; `None` where no name is for it. */
  readonly scope: "Method" | "Service" | "All" | "None"
  /** Where that name stands: `methodConfig[0].name[1]`. */
  readonly at: string | undefined
  readonly timeoutMillis: number | undefined
  readonly waitForReady: boolean | undefined
  readonly retry: RetryPolicy | undefined
  readonly hedge: HedgingPolicy | undefined
  readonly maxRequestBytes: number | undefined
  readonly maxResponseBytes: number | undefined
}

/** A service config without its type: what `decode` gives. */
export interface Decoded {
  readonly methods: ReadonlyMap<string, MethodConfig>
  readonly throttle: RetryThrottleOptions | undefined
  readonly balancing: Balancing | undefined
  readonly healthCheck: { readonly serviceName: string | undefined } | undefined
  readonly maxRequestBytes: number | undefined
  readonly maxResponseBytes: number | undefined
}

/** Where no name is for a method. */
export const nothing: MethodConfig = {
  scope: "None",
  at: undefined,
  timeoutMillis: undefined,
  waitForReady: undefined,
  retry: undefined,
  hedge: undefined,
  maxRequestBytes: undefined,
  maxResponseBytes: undefined
}

/** Decodes a value, or says everything that is wrong with it. `at` is what the value itself is called. */
export const decode = (input: unknown, at: string): Result.Result<Decoded, ReadonlyArray<OptionsIssue>> => {
  const checked = Schema.check(Schema.Config, input, at)
  const entries = methodsOf(input)
  const balancing = balancingOf(list(field(input, "loadBalancingConfig")))
  const issues = [...(Result.isFailure(checked) ? checked.failure : []), ...entries.issues, ...balancing.issues]
  if (Result.isFailure(checked) || issues.length > 0) return Result.fail(issues)
  const { healthCheckConfig, methodConfig = [], retryThrottling } = checked.success
  const configs = methodConfig.map(configOf)
  const methods = new Map<string, MethodConfig>()
  for (const { at, entry, key, scope } of entries.names) methods.set(key, { ...configs[entry]!, scope, at })
  return Result.succeed({
    methods,
    throttle: retryThrottling && { maxTokens: retryThrottling.maxTokens, tokenRatio: retryThrottling.tokenRatio },
    balancing: balancing.chosen,
    healthCheck: healthCheckConfig && { serviceName: healthCheckConfig.serviceName },
    maxRequestBytes: largest(configs.map((config) => config.maxRequestBytes)),
    maxResponseBytes: largest(configs.map((config) => config.maxResponseBytes))
  })
}

const largest = (list: ReadonlyArray<number | undefined>): number | undefined =>
  list.reduce((a, b) => (a === undefined || (b !== undefined && b > a) ? b : a), undefined)

const millis = (text: string): number => Duration.millisOf(text)

const statuses = (list: ReadonlyArray<string | number>): ReadonlyArray<string> => [
  ...new Set(list.map((status) => Schema.statusOf(status)!))
]

const configOf = (entry: Schema.MethodEntry): MethodConfig => {
  const { hedgingPolicy: hedge, retryPolicy: retry } = entry
  return {
    ...nothing,
    timeoutMillis: entry.timeout === undefined ? undefined : millis(entry.timeout),
    waitForReady: entry.waitForReady,
    maxRequestBytes: entry.maxRequestMessageBytes,
    maxResponseBytes: entry.maxResponseMessageBytes,
    retry: retry && {
      maxAttempts: retry.maxAttempts,
      initialBackoff: millis(retry.initialBackoff),
      maxBackoff: millis(retry.maxBackoff),
      backoffMultiplier: retry.backoffMultiplier,
      retryableStatusCodes: statuses(retry.retryableStatusCodes)
    },
    hedge: hedge && {
      maxAttempts: hedge.maxAttempts,
      hedgingDelay: millis(hedge.hedgingDelay ?? "0s"),
      nonFatalStatusCodes: statuses(hedge.nonFatalStatusCodes ?? [])
    }
  }
}

// --------------------------------------------------------------------------------------------------- together

interface Named {
  /** `/service/method`, `/service/`, or "" for all. */
  readonly key: string
  readonly scope: "Method" | "Service" | "All"
  readonly at: string
  readonly entry: number
}

const list = (u: unknown): ReadonlyArray<unknown> => (Array.isArray(u) ? u : [])
const field = (u: unknown, key: string): unknown =>
  typeof u === "object" && u !== null && Object.hasOwn(u, key) ? u[key as never] : undefined

/** What no field of a method's config can say alone. Looks only at what is in order by itself. */
const methodsOf = (input: unknown): { readonly names: Array<Named>; readonly issues: Array<OptionsIssue> } => {
  const names: Array<Named> = []
  const issues: Array<OptionsIssue> = []
  const seen = new Map<string, string>()
  list(field(input, "methodConfig")).forEach((config, entry) => {
    const { retryPolicy, hedgingPolicy } = {
      retryPolicy: field(config, "retryPolicy"),
      hedgingPolicy: field(config, "hedgingPolicy")
    }
    if (retryPolicy !== undefined && hedgingPolicy !== undefined) {
      const rule = "retryPolicy or hedgingPolicy, not both: a call is retried or hedged"
      issues.push({ path: `methodConfig[${entry}].hedgingPolicy`, rule, value: "both" })
    }
    list(field(config, "name")).forEach((name, index) => {
      // Protobuf's JSON has three ways to leave a text out.
      const [service, method] = [field(name, "service") ?? "", field(name, "method") ?? ""]
      if (typeof name !== "object" || name === null || typeof service !== "string" || typeof method !== "string") return
      const at = `methodConfig[${entry}].name[${index}]`
      if (service === "" && method !== "") {
        issues.push({ path: `${at}.service`, rule: "the service of the method", value: "nothing" })
        return
      }
      const key = service === "" ? "" : `/${service}/${method}`
      const first = seen.get(key)
      if (first !== undefined) {
        issues.push({ path: at, rule: `a name that stands only once; it is ${first} already`, value: show(name) })
        return
      }
      seen.set(key, at)
      names.push({ key, scope: service === "" ? "All" : method === "" ? "Service" : "Method", at, entry })
    })
  })
  return { names, issues }
}
