/** What service configs of tests are made of, and what they decode to. */
import type { ServiceConfig } from "@hawser/grpc/ServiceConfig"
import type * as Config from "@hawser/grpc/ServiceConfig"

/** A config that is in order. */
export interface Valid {
  readonly name: string
  readonly source: string
  /** A value, or JSON as text. */
  readonly config: unknown
  /** What it says of a method. */
  readonly of?: readonly [path: string, is: Partial<Config.MethodConfig>]
  readonly is?: (config: ServiceConfig) => unknown
  /** The result of `is`. */
  readonly equals?: unknown
  /** Who refuses it all the same, and why. */
  readonly notIn?: Readonly<Partial<Record<"grpc-js" | "grpc-go" | "grpc-java" | "C-core", string>>>
}

/** A config that is not. */
export interface Invalid {
  readonly name: string
  readonly config: unknown
  /** Every problem: its path, and part of its rule. */
  readonly issues: ReadonlyArray<readonly [path: string, rule: string]>
}

export const retryPolicy = {
  maxAttempts: 4,
  initialBackoff: "0.1s",
  maxBackoff: "1s",
  backoffMultiplier: 2,
  retryableStatusCodes: ["UNAVAILABLE"]
}
export const hedgingPolicy = {
  maxAttempts: 4,
  hedgingDelay: "0.5s",
  nonFatalStatusCodes: ["UNAVAILABLE", "INTERNAL", "ABORTED"]
}
export const cart = { service: "shop.Cart" }
export const add = { service: "shop.Cart", method: "Add" }
export const path = "/shop.Cart/Add"

/** One entry for one method. */
export const one = (settings: object) => ({ methodConfig: [{ name: [add], ...settings }] })
export const retried = (settings: object) => one({ retryPolicy: { ...retryPolicy, ...settings } })
export const hedged = (settings: object) => one({ hedgingPolicy: { ...hedgingPolicy, ...settings } })
export const without = (policy: object, key: string) =>
  Object.fromEntries(Object.entries(policy).filter(([name]) => name !== key))

export const retry = {
  maxAttempts: 4,
  initialBackoff: 100,
  maxBackoff: 1_000,
  backoffMultiplier: 2,
  retryableStatusCodes: ["UNAVAILABLE"]
}
export const hedge = { maxAttempts: 4, hedgingDelay: 500, nonFatalStatusCodes: ["UNAVAILABLE", "INTERNAL", "ABORTED"] }

/** Part of the rule of every duration. */
export const duration = 'such as "0.2s"'
/** Where `one` puts it. */
export const at = "methodConfig[0]"
