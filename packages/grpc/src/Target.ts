/**
 * What a target says: which endpoints there are or where to look them up, and the name that they are asked for.
 *
 * Nothing is looked up here.
 */
import type { Endpoint } from "@hawser/core/Endpoint"
import * as Endpoints from "@hawser/core/Endpoint"
import type { OptionsIssue } from "@hawser/core/OptionsError"
import { Issues } from "@hawser/core/OptionsError"
import * as Result from "effect/Result"
import { isIP, isIPv4, isIPv6 } from "node:net"
import type { Question } from "./DnsAnswer.ts"

/** A target that has been read. */
export interface Target {
  /** As given: its name in metrics, events and errors. */
  readonly name: string
  /** What servers are asked for (`:authority`) and what their certificates must carry. */
  readonly authority: string
  /** Those that need no lookup. A name is one, for whoever leaves looking it up to others. */
  readonly endpoints: ReadonlyArray<Endpoint>
  /** What to ask DNS for; `undefined` where nothing has to be looked up. */
  readonly question: Question | undefined
}

/**
 * The port where none is given: 443, that of gRPC over TLS.
 *
 * ```ts import.meta.vitest
 * import { Result } from "effect"
 * import { Target } from "@hawser/grpc"
 *
 * const { authority, endpoints } = Result.getOrThrow(Target.parse("dns:///greeter"))
 * endpoints[0]?.addresses // => ["greeter:443"]
 * authority // => "greeter"
 * Target.defaultPort // => 443
 * ```
 */
export const defaultPort = 443

/**
 * The most addresses that a target may list: 1,000.
 *
 * ```ts import.meta.vitest
 * import { Result } from "effect"
 * import { Target } from "@hawser/grpc"
 *
 * const list = Array.from({ length: Target.maxAddresses + 1 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
 * const parsed = Target.parse(`ipv4:${list.join()}`)
 * Result.isFailure(parsed) ? parsed.failure[0]?.rule : undefined // => "at most 1000 addresses"
 * ```
 */
export const maxAddresses = 1_000

const forms =
  "ipv4:IP[:PORT],…, ipv6:[IP]:PORT,…, dns:///HOST[:PORT], dns://SERVER[:PORT]/HOST[:PORT], HOST[:PORT] or unix:PATH"
const later: ReadonlySet<string> = new Set(["unix-abstract", "vsock", "xds", "google-c2p", "passthrough"])

/**
 * Reads a target, or says everything that is wrong with it; paths are `target`.
 *
 * | form | endpoints |
 * |---|---|
 * | `ipv4:10.0.0.1:50051,10.0.0.2` | one for each address |
 * | `ipv6:[::1]:50051,[::2]` | one for each address |
 * | `dns:///greeter:50051`, `dns:greeter:50051`, `greeter:50051`, `greeter` | one for each address of the name |
 * | `dns://10.0.0.53/greeter:50051`, `dns://[::1]:5353/greeter:50051` | the same, asked of that name server |
 * | `dns:///_grpc._tcp.greeter`, without a port | one for each address of the hosts that its SRV records name |
 * | `10.0.0.1:50051`, `[::1]:50051` | one |
 * | `unix:/run/greeter.sock`, `unix:///run/greeter.sock`, `unix:greeter.sock` | one: a socket of this machine |
 *
 * **Details**: ports are 1 to 65535, 443 where none is given. The authority is the first address, or the host, as given; of
 * a service it is the name after `_grpc._tcp.`, and `localhost` for a socket of this machine, whose path may have 107 bytes.
 *
 * ```ts import.meta.vitest
 * import { Result } from "effect"
 * import { Target } from "@hawser/grpc"
 *
 * const target = Result.getOrThrow(Target.parse("ipv4:10.0.0.1:50051,10.0.0.2"))
 * target.authority // => "10.0.0.1:50051"
 * const addresses = target.endpoints.map((endpoint) => endpoint.addresses[0])
 * addresses // => ["10.0.0.1:50051", "10.0.0.2:443"]
 * Result.isFailure(Target.parse("xds:///greeter")) // => true
 * ```
 */
export const parse = (name: string): Result.Result<Target, ReadonlyArray<OptionsIssue>> => {
  const issues = new Issues()
  const target = read(name, issues)
  return target !== undefined && issues.list.length === 0 ? Result.succeed(target) : Result.fail(issues.list)
}

const read = (name: string, issues: Issues): Target | undefined => {
  const fail = (rule: string, value: string = name) => void issues.check(false, "target", rule, value)
  if (name === "" || /\s/.test(name)) return fail(`a target without blanks: ${forms}`)
  const scheme =
    /^([a-z][a-z0-9+.-]*):\/\//i.exec(name)?.[1] ?? /^(ipv4|ipv6|dns|unix|unix-abstract|vsock|xds):/.exec(name)?.[1]
  if (scheme === undefined) return single(name, name, undefined, issues)
  const rest = name.slice(scheme.length + 1)
  switch (scheme) {
    case "ipv4":
    case "ipv6":
      return list(name, rest, scheme === "ipv4" ? 4 : 6, issues)
    case "dns": {
      const [, server, host] = /^\/\/([^/]*)\/(.*)$/.exec(rest) ?? [rest, "", rest]
      return single(name, host!, server === "" ? undefined : server, issues)
    }
    case "unix":
      return socket(name, rest.replace(/^\/\/(?=\/)/, ""), issues)
    default:
      return later.has(scheme)
        ? fail(`a scheme that is supported; ${scheme}: is not supported yet. Supported: ${forms}`)
        : fail(`one of ${forms}`)
  }
}

interface HostPort {
  readonly host: string
  readonly port: number
}

const address = ({ host, port }: HostPort): string => (isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`)

/** RFC 2782: `_service._proto.name`. With a port it is a name like any other. */
const serviceName = /^_[^.:]+\._[^.:]+\.([^:]+)$/

const single = (name: string, text: string, server: string | undefined, issues: Issues): Target | undefined => {
  const found = hostPort(text, issues)
  if (found === undefined) return undefined
  const { host, port } = found
  const rule = "a host name of letters, digits, '-', '_' and '.', or an IP address"
  const legal = issues.check(isIP(host) !== 0 || isHost(host), "target", rule, host)
  if (!(legal && nameServer(server, host, issues))) return undefined
  const literal = isIP(host) !== 0
  const service = literal ? undefined : serviceName.exec(text)?.[1]
  if (service !== undefined) {
    return { name, authority: service, endpoints: [], question: { _tag: "Service", service: host, server } }
  }
  const endpoints = [Endpoints.makeUnsafe({ addresses: [address(found)] })]
  return { name, authority: text, endpoints, question: literal ? undefined : { _tag: "Host", host, port, server } }
}

/** Whether it is one that can be asked. */
const nameServer = (server: string | undefined, host: string, issues: Issues): boolean => {
  if (server === undefined) return true
  const [, v6, v4, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(server) ?? []
  const port = digits === undefined ? 53 : Number(digits)
  const legal = (isIPv6(v6 ?? "") || isIPv4(v4 ?? "")) && port >= 1 && port <= 65_535
  const checked = issues.check(legal, "target", "the IP, or IP:PORT, of a name server in dns://SERVER/HOST", server)
  return issues.check(isIP(host) === 0, "target", "a name for the name server to look up", host) && checked
}

/** Linux has room for 108 bytes, the last of them 0. */
const maxPathBytes = 107

const socket = (name: string, path: string, issues: Issues): Target | undefined => {
  const fits = path !== "" && !path.startsWith("//") && Buffer.byteLength(path) <= maxPathBytes
  if (!issues.check(fits, "target", `a path of 1 to ${maxPathBytes} bytes after unix:`, path)) return undefined
  const endpoints = [Endpoints.makeUnsafe({ addresses: [`unix:${path}`] })]
  return { name, authority: "localhost", endpoints, question: undefined }
}

const list = (name: string, text: string, family: 4 | 6, issues: Issues): Target | undefined => {
  const items = text.split(",")
  const seen = new Set<string>()
  const endpoints: Array<Endpoint> = []
  if (!issues.check(items.length <= maxAddresses, "target", `at most ${maxAddresses} addresses`, items.length)) {
    return undefined
  }
  for (const item of items) {
    if (!issues.check(item !== "", "target", `an address in every place of the list: ${forms}`, text)) continue
    const found = hostPort(item, issues)
    if (found === undefined) continue
    const legal = family === 4 ? isIPv4(found.host) : isIPv6(found.host)
    if (!issues.check(legal, "target", `IPv${family} addresses after ipv${family}:`, found.host)) continue
    const one = address({ ...found, host: canonical(found.host) })
    if (!issues.check(!seen.has(one), "target", "an address that is not listed twice", item)) continue
    seen.add(one)
    endpoints.push(Endpoints.makeUnsafe({ addresses: [address(found)] }))
  }
  return { name, authority: items[0]!, endpoints, question: undefined }
}

const hostPort = (text: string, issues: Issues): HostPort | undefined => {
  // A bare IPv6 address has no port: its last group would be one.
  if (isIPv6(text)) return { host: text, port: defaultPort }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  if (host === undefined || (match?.[1] !== undefined && !isIPv6(host))) {
    return void issues.check(false, "target", "HOST, HOST:PORT or [IPv6]:PORT", text)
  }
  const digits = match?.[3]
  const port = digits === undefined ? defaultPort : /^\d{1,5}$/.test(digits) ? Number(digits) : NaN
  const legal = issues.check(port >= 1 && port <= 65_535, "target", "a port from 1 to 65535", digits)
  return legal ? { host, port } : undefined
}

/** RFC 1123, and the underscores that container networks allow. All digits would be a mistyped address. */
const isHost = (host: string): boolean => {
  const labels = (host.endsWith(".") ? host.slice(0, -1) : host).split(".")
  return (
    host.length <= 253 &&
    labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label)) &&
    !/^\d+$/.test(labels.at(-1)!)
  )
}

/** One spelling for each IPv6 address; scoped ones keep theirs. */
const canonical = (host: string): string =>
  isIPv6(host) && !host.includes("%") ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host
