/**
 * The slot of `Grpc.layer` for a service config: a value that is in order already, or a text that has to be read.
 */
import type { OptionsIssue } from "@hawser/core/OptionsError"
import * as Effect from "effect/Effect"
import * as ServiceConfig from "./ServiceConfig.ts"

/** What the slot holds. */
export interface ReadConfig {
  readonly read?: ServiceConfig.ServiceConfig
  readonly issues: ReadonlyArray<OptionsIssue>
}

/** The service config of options, and what is wrong with it; its paths begin with the name of the option. */
export const configOf = (input: unknown, calls: boolean): Effect.Effect<ReadConfig> => {
  const { serviceConfig } = Object(input) as { serviceConfig?: unknown }
  if (!calls) return Effect.succeed({ issues: [] })
  const fits = (read: ServiceConfig.ServiceConfig): ReadConfig => ({ read, issues: [] })
  if (ServiceConfig.isServiceConfig(serviceConfig)) return Effect.succeed(fits(serviceConfig))
  if (typeof serviceConfig !== "string") return Effect.succeed({ issues: [] })
  return Effect.match(ServiceConfig.fromJson(serviceConfig), {
    onSuccess: fits,
    onFailure: ({ issues }) => ({
      issues: issues.map((issue) => ({
        ...issue,
        path: issue.path === "service config" ? "serviceConfig" : `serviceConfig.${issue.path}`
      }))
    })
  })
}
