/**
 * A service config from DNS (gRFC A2): a TXT record of `_grpc_config.HOST` with choices, of which a client takes the first
 * that is for it.
 */
import { ConnectError } from "@hawser/core/ConnectError"
import type { OptionsIssue } from "@hawser/core/OptionsError"
import { OptionsError, show } from "@hawser/core/OptionsError"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import { isIP } from "node:net"
import { hostname } from "node:os"
import { DnsService } from "./Dns.ts"
import * as Json from "./ServiceConfigJson.ts"
import * as Schema from "./ServiceConfigSchema.ts"

/** As long as Finagle and Envoy wait. */
const timeoutMillis = 5_000

const unresolved = (target: string, cause: unknown) =>
  new ConnectError({ reason: { _tag: "Resolution", target }, cause })

const prefix = "grpc_config="
/** What grpc-js answers to. */
const language = "node"

/** The config that is chosen for this client, and its path within the record; `undefined` where there is none. */
export const choose = (
  host: string,
  own: string = hostname()
): Effect.Effect<{ readonly value: unknown; readonly at: string } | undefined, OptionsError | ConnectError> =>
  Effect.gen(function* () {
    const legal = /^[\w.-]{1,240}$/.test(host) || isIP(host) !== 0
    if (!legal) return yield* refuse([{ path: "host", rule: "a host name without scheme and port", value: show(host) }])
    // gRFC A10: nobody publishes anything for them.
    if (isIP(host) !== 0 || host === "localhost") return undefined
    const name = `_grpc_config.${host}`
    const { texts } = yield* DnsService
    const records = yield* Effect.timeoutOrElse(texts(name, undefined), {
      duration: timeoutMillis,
      orElse: () => Effect.fail(unresolved(name, new Error(`no answer within ${timeoutMillis} ms`)))
    })
    const [record, second] = records.filter((text) => text.startsWith(prefix))
    if (record === undefined) return undefined
    const path = `TXT ${name}`
    // DNS keeps no order among records: which one wins would be chance.
    if (second !== undefined) return yield* refuse([{ path, rule: "one record with grpc_config", value: "several" }])
    const read = Json.parse(record.slice(prefix.length), path)
    if (Result.isFailure(read)) return yield* refuse(read.failure)
    const { repeated, value } = read.success
    const checked = Schema.check(Schema.Choices, value, path)
    if (Result.isFailure(checked)) return yield* refuse([...repeated, ...checked.failure])
    if (repeated.length > 0) return yield* refuse(repeated)
    for (const [index, choice] of checked.success.entries()) {
      const { clientHostname = [], clientLanguage = [], percentage = 100, serviceConfig } = choice
      if (clientLanguage.length > 0 && !clientLanguage.some((one) => one.toLowerCase() === language)) continue
      if (clientHostname.length > 0 && !clientHostname.includes(own)) continue
      if (percentage < 100 && (yield* Random.next) * 100 >= percentage) continue
      return { value: serviceConfig, at: `[${index}].serviceConfig` }
    }
    return undefined
  })

const refuse = (issues: ReadonlyArray<OptionsIssue>) => Effect.fail(new OptionsError({ issues }))
