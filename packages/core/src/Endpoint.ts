/**
 * One server, at one or more addresses.
 *
 * This module also decides which changes of an endpoint need a new socket: addresses and authority do, everything else
 * (weight, priority, zone, attributes) changes in place.
 */
import * as Effect from "effect/Effect"
import { Issues, type OptionsError } from "./OptionsError.ts"

/** One server, at one or more addresses that are raced on dialling. */
export interface Endpoint {
  /** The first one names the endpoint: in `avoid`, connection ids, events and errors. */
  readonly addresses: readonly [string, ...Array<string>]
  /** The name that the server is asked for and that its certificate must carry; `undefined`: the cluster's. */
  readonly authority: string | undefined
  /** Relative share of the calls, to every policy but `PickFirst`. */
  readonly weight: number
  /** 0 is used first, and a later one only where none of those before it can serve. */
  readonly priority: number
  /** Where it is, for `Zone.prefer`. */
  readonly zone: string | undefined
  /** Whatever connectors and policies of your own want to know. */
  readonly attributes: Readonly<Record<string, string>>
}

/** What `make` takes: only addresses are needed. */
export interface EndpointOptions {
  readonly addresses: ReadonlyArray<string>
  readonly authority?: string | undefined
  /** Relative share of the calls, above 0 and at most 1,000,000. Default 1. */
  readonly weight?: number | undefined
  /** 0 is used first. An integer from 0 to 127. Default 0. */
  readonly priority?: number | undefined
  readonly zone?: string | undefined
  readonly attributes?: Readonly<Record<string, string>> | undefined
}

const noAttributes: Readonly<Record<string, string>> = Object.freeze({})

/**
 * Makes an endpoint, or throws an `OptionsError` that lists every broken rule.
 *
 * ```ts import.meta.vitest
 * import { Endpoint } from "@hawser/core"
 *
 * const endpoint = Endpoint.makeUnsafe({ addresses: ["10.0.0.7:50051"] })
 * Endpoint.name(endpoint) // => "10.0.0.7:50051"
 * endpoint.weight // => 1
 * ```
 */
export const makeUnsafe = (options: EndpointOptions): Endpoint => {
  const issues = new Issues()
  const { addresses, weight = 1, priority = 0 } = options
  issues.check(addresses.length > 0, "addresses", "at least one address", addresses)
  addresses.forEach((a, i) => {
    issues.check(typeof a === "string" && a.trim() === a && a !== "", `addresses[${i}]`, "a non-empty address", a)
    issues.check(addresses.indexOf(a) === i, `addresses[${i}]`, "an address that is not listed twice", a)
  })
  issues.check(weight > 0 && weight <= 1_000_000, "weight", "a number above 0, at most 1,000,000", weight)
  issues.check(
    Number.isInteger(priority) && priority >= 0 && priority <= 127,
    "priority",
    "an integer from 0 to 127",
    priority
  )
  issues.throwIfAny()
  return {
    addresses: [...addresses] as [string, ...Array<string>],
    authority: options.authority,
    weight,
    priority,
    zone: options.zone,
    attributes: options.attributes ?? noAttributes
  }
}

/**
 * As `makeUnsafe`, failing with the `OptionsError`: for addresses that come from a configuration.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Endpoint } from "@hawser/core"
 *
 * const error = Effect.runSync(Effect.flip(Endpoint.make({ addresses: [], weight: 0 })))
 * error.issues.map(({ path }) => path) // => ["addresses", "weight"]
 * error.message.split("\n")[0] // => "addresses: expected at least one address, got []"
 * ```
 */
export const make = (options: EndpointOptions): Effect.Effect<Endpoint, OptionsError> =>
  Effect.try({ try: () => makeUnsafe(options), catch: (e) => e as OptionsError })

/** The endpoint's name: its first address. */
export const name = (endpoint: Endpoint): string => endpoint.addresses[0]

/**
 * Whether connections to `a` may go on serving `b`: equal addresses, in any order, and equal authority. Weight,
 * priority, zone and attributes may differ.
 *
 * ```ts import.meta.vitest
 * import { Endpoint } from "@hawser/core"
 *
 * const a = Endpoint.makeUnsafe({ addresses: ["h:1", "h:2"] })
 * Endpoint.sameConnection(a, Endpoint.makeUnsafe({ addresses: ["h:2", "h:1"], weight: 9 })) // => true
 * Endpoint.sameConnection(a, Endpoint.makeUnsafe({ addresses: ["h:1"] })) // => false
 * ```
 */
export const sameConnection = (a: Endpoint, b: Endpoint): boolean =>
  a.authority === b.authority &&
  a.addresses.length === b.addresses.length &&
  a.addresses.every((address) => b.addresses.includes(address))
