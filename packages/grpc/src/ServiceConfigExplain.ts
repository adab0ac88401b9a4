/**
 * What a service config makes of a call, in words.
 */
import type { RetryThrottleOptions } from "@hawser/core/RetryThrottle"
import type { Balancing } from "./ServiceConfigBalancing.ts"
import type * as Decode from "./ServiceConfigDecode.ts"

/** What a call of a method will do. */
export interface Explanation {
  readonly method: string
  readonly config: Decode.MethodConfig
  /** How many attempts there are at most. */
  readonly attempts: number
  /** The waits before each further attempt, in milliseconds, without their jitter. */
  readonly waitsMillis: ReadonlyArray<number>
  /** One aspect after the other, `name: what holds`. */
  readonly lines: ReadonlyArray<string>
  /** The method, and its lines below it. */
  readonly text: string
}

/** gRFC A6: whatever a config asks for. */
const maxAttempts = 5

/** Explains what holds for one method. */
export const explain = (
  config: Omit<Decode.Decoded, "methods">,
  method: string,
  own: Decode.MethodConfig
): Explanation => {
  const { hedge, retry } = own
  const attempts = Math.min(retry?.maxAttempts ?? hedge?.maxAttempts ?? 1, maxAttempts)
  const waitsMillis = Array.from({ length: attempts - 1 }, (_, n) =>
    retry === undefined
      ? (hedge?.hedgingDelay ?? 0)
      : Math.min(retry.initialBackoff * retry.backoffMultiplier ** n, retry.maxBackoff)
  )
  const lines = [
    `from: ${from(own)}`,
    `timeout: ${own.timeoutMillis === undefined ? "as the call or the client says" : `${ms(own.timeoutMillis)}, or the call's own if that is sooner`}`,
    `waitForReady: ${own.waitForReady === undefined ? "as the call says" : `${own.waitForReady ? "waits for a connection" : "fails while the last dial failed"}, unless the call says otherwise`}`,
    `attempts: ${tries(own, attempts, waitsMillis)}`,
    `throttle: ${throttling(config.throttle, own)}`,
    `request: ${size(own.maxRequestBytes)}`,
    `response: ${size(own.maxResponseBytes)}`,
    `balancing: ${balancing(config.balancing)}`,
    `health: ${health(config)}`
  ]
  return {
    method,
    config: own,
    attempts,
    waitsMillis,
    lines,
    text: [method, ...lines.map((line) => `  ${line}`)].join("\n")
  }
}

const ms = (millis: number): string =>
  `${Number(millis.toFixed(3)).toLocaleString("en", { maximumFractionDigits: 3 })} ms`

const scopes = { Method: "for this method", Service: "for its service", All: "for all methods", None: "" } as const

const from = ({ at, scope }: Decode.MethodConfig): string =>
  at === undefined ? "no methodConfig is for it" : `${at}, ${scopes[scope]}`

const tries = ({ hedge, retry }: Decode.MethodConfig, attempts: number, waits: ReadonlyArray<number>): string => {
  const policy = retry ?? hedge
  if (policy === undefined) return "no retryPolicy or hedgingPolicy: as the client says"
  const asked = policy.maxAttempts > attempts ? ` (${policy.maxAttempts} are asked for; gRPC allows ${attempts})` : ""
  const most = `${attempts} at most${asked}`
  if (retry !== undefined) {
    const codes = retry.retryableStatusCodes.join(", ")
    return `${most}, one after another after ${codes}; waits of ${waits.map(ms).join(", ")}, each ±20 %; may be sent again even if a server acted on it`
  }
  const after = waits[0] === 0 ? "all at once" : `one more every ${ms(waits[0] ?? 0)}`
  const { nonFatalStatusCodes } = hedge!
  const next =
    nonFatalStatusCodes.length === 0 ? "any failure ends the call" : `at once after ${nonFatalStatusCodes.join(", ")}`
  return `${most}, ${after} until one answers; ${next}; several servers may act on it`
}

const throttling = (throttle: RetryThrottleOptions | undefined, { hedge, retry }: Decode.MethodConfig): string => {
  if (throttle === undefined) return "none"
  const { maxTokens, tokenRatio } = throttle
  const rule = `no further attempts at ${maxTokens / 2} of ${maxTokens} tokens or less; a failure costs 1, a success gives ${tokenRatio}`
  return retry === undefined && hedge === undefined ? `${rule}; not for this method, which has no policy` : rule
}

const size = (bytes: number | undefined): string =>
  bytes === undefined ? "as the client says" : `${bytes.toLocaleString("en")} bytes at most, for each message`

const balancing = (chosen: Balancing | undefined): string => {
  if (chosen === undefined) return "as the client says"
  const { outlier, policy, skipped } = chosen
  const name = outlier === undefined || outlier === false ? policy.name : `${policy.name}, without outliers (gRFC A50)`
  return skipped.length === 0 ? name : `${name}; not known here: ${skipped.join(", ")}`
}

const health = ({ balancing, healthCheck: check }: Omit<Decode.Decoded, "methods">): string => {
  if (check === undefined) return "not checked"
  // gRFC A17: without a name there is no check, and the empty one is the whole server.
  if (check.serviceName === undefined) return "not checked: healthCheckConfig names no service"
  const of = check.serviceName === "" ? "the whole server" : `"${check.serviceName}"`
  return balancing?.policy.name === "pick_first"
    ? `not checked: there is no check of ${of} with pick first`
    : `watched: ${of}`
}
