/**
 * The options that say where endpoints come from, and which of them go together.
 */
import type { ConnectError } from "@hawser/core/ConnectError"
import { type OptionsIssue, show } from "@hawser/core/OptionsError"
import { isResolver, type Resolver } from "@hawser/core/Resolver"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Deadline from "./Deadline.ts"
import type { DnsOptions } from "./Dns.ts"
import { duration, group, value } from "./OptionsLeaf.ts"
import * as Target from "./Target.ts"

/** Their fields. */
export const fields = {
  target: value<string>("a target such as dns:///greeter:50051", (u) => typeof u === "string"),
  resolver: Schema.optional(value<Resolver>("a resolver, such as Resolver.fromStream(…)", isResolver)),
  dns: group({
    refresh: Schema.optional(
      value<DnsOptions["refresh"]>("a Schedule, or a duration from 1 s to 24 days", (u) => {
        const millis = Deadline.millisOf(u)
        return Schedule.isSchedule(u) || (millis >= 1_000 && millis <= Deadline.maxMillis)
      })
    ),
    timeout: Schema.optional(duration(1, 60_000, "1 min")),
    family: Schema.optional(value<0 | 4 | 6>("0, 4 or 6", (u) => u === 0 || u === 4 || u === 6)),
    keep: Schema.optional(duration(0)),
    minInterval: Schema.optional(duration(0, 3_600_000, "1 hour")),
    backoff: Schema.optional(value<Schedule.Schedule<unknown, ConnectError>>("a Schedule", Schedule.isSchedule)),
    empty: Schema.optional(value<"Keep" | "Accept">('"Keep" or "Accept"', (u) => u === "Keep" || u === "Accept")),
    accept: Schema.optional(
      value<(address: string) => boolean>("a function from address to boolean", (u) => typeof u === "function")
    )
  })
}

/** The names of the options within `dns`. */
export const dnsKeys = ["refresh", "timeout", "family", "keep", "minInterval", "backoff", "empty", "accept"]

/** What is wrong with a target, alone and beside the others. */
export const issues = (
  target: string,
  dns: unknown,
  resolver: unknown,
  proxy: unknown
): ReadonlyArray<OptionsIssue> => {
  const parsed = Target.parse(target)
  if (Result.isFailure(parsed)) return parsed.failure
  const { question } = parsed.success
  if (proxy !== undefined && resolver === undefined && question?._tag === "Service") {
    return [
      { path: "target", rule: "no service records with a proxy: a proxy looks up hosts alone", value: show(target) }
    ]
  }
  if (dns === undefined || (question !== undefined && resolver === undefined && proxy === undefined)) return []
  const looker = resolver !== undefined ? "`resolver` does" : proxy !== undefined ? "the proxy does" : "it is no name"
  return [{ path: "dns", rule: `nothing, as the target is not looked up here: ${looker}`, value: show(dns) }]
}
