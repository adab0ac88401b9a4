/**
 * Sets of endpoints as they come from outside: what of them can be used, and whether anything has changed.
 *
 * An answer of a registry or a name server is input of unknown quality. One bad entry must not cost the good ones, and no
 * number of entries may cost more than a bound.
 */
import { type Endpoint, type EndpointOptions, makeUnsafe, name } from "./Endpoint.ts"
import { OptionsError, show } from "./OptionsError.ts"
import type { Dropped } from "./Watch.ts"

/** The most endpoints of one set: 1,000. */
export const maxEndpoints = 1_000

/** DNS names have 253 characters at most, paths of sockets 107 bytes. */
const maxAddressLength = 300

/** What can be used of a set. */
export interface Cleaned {
  readonly endpoints: ReadonlyArray<Endpoint>
  readonly dropped: Dropped | undefined
}

/**
 * Leaves out what is no endpoint, what comes twice, and what is beyond `max`.
 *
 * **Details**: of duplicates the one with the lowest priority stays, and the first of those. Too many are cut by priority,
 * then by name, so that the same ones stay whatever the order of the answer.
 */
export const clean = (input: ReadonlyArray<EndpointOptions>, max: number = maxEndpoints): Cleaned => {
  const found: Array<Endpoint> = []
  let count = 0
  let why = ""
  const drop = (reason: string) => {
    if (count++ === 0) why = reason
  }
  for (const options of input) {
    const made = read(options)
    if (typeof made === "string") drop(made)
    else found.push(made)
  }
  let endpoints = unite(found)
  if (endpoints.length > max) {
    for (let i = max; i < endpoints.length; i++) drop(`more than ${max} endpoints`)
    endpoints = endpoints.toSorted(byRank).slice(0, max)
  }
  return { endpoints, dropped: count === 0 ? undefined : { count, why } }
}

/** One of each: of duplicates the one with the lowest priority, and the first of those. */
export const unite = (endpoints: ReadonlyArray<Endpoint>): ReadonlyArray<Endpoint> => {
  const found = new Map<string, Endpoint>()
  for (const endpoint of endpoints) {
    const id = key(endpoint)
    const known = found.get(id)
    if (known === undefined || endpoint.priority < known.priority) found.set(id, endpoint)
  }
  return [...found.values()]
}

/** Whether two sets say the same; the order of endpoints says nothing. */
export const isEqual = (a: ReadonlyArray<Endpoint>, b: ReadonlyArray<Endpoint>): boolean => {
  if (a === b) return true
  if (a.length !== b.length) return false
  const others = new Map(b.map((endpoint) => [key(endpoint), endpoint]))
  return a.every((endpoint) => {
    const other = others.get(key(endpoint))
    return other !== undefined && same(endpoint, other)
  })
}

/** The same for endpoints whose connections may be shared. */
export const key = ({ addresses, authority }: Endpoint): string =>
  `${addresses.length === 1 ? addresses[0] : [...addresses].sort().join(" ")} ${authority ?? ""}`

const byRank = (a: Endpoint, b: Endpoint): number =>
  a.priority - b.priority || (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0)

const same = (a: Endpoint, b: Endpoint): boolean =>
  a === b ||
  (a.weight === b.weight &&
    a.priority === b.priority &&
    a.zone === b.zone &&
    name(a) === name(b) &&
    sameAttributes(a.attributes, b.attributes))

const sameAttributes = (a: Endpoint["attributes"], b: Endpoint["attributes"]): boolean => {
  if (a === b) return true
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((k) => Object.hasOwn(b, k) && a[k] === b[k])
}

/** The endpoint, or why it is none. */
const read = (options: EndpointOptions): Endpoint | string => {
  try {
    const bad = options.addresses.find((address) => !isAddress(address))
    return bad === undefined ? makeUnsafe(options) : `not an address: ${show(bad)}`
  } catch (e) {
    return e instanceof OptionsError ? e.message.replaceAll("\n", "; ") : `not an endpoint: ${show(options)}`
  }
}

/** No blanks or control characters, and a port, where there is one, that exists. What a host is, the connector knows. */
const isAddress = (address: unknown): boolean => {
  if (typeof address !== "string" || address.length > maxAddressLength || !/^[^\s\p{C}]+$/u.test(address)) return false
  if (address.startsWith("unix:")) return true
  const port = /^(?:\[.*\]|[^:]*):(.*)$/.exec(address)?.[1]
  return port === undefined || (/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)
}
