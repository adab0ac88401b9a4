/**
 * Host names to addresses, once per dial: for proxies, and for endpoints of a resolver that names hosts.
 */
import { ConnectError } from "@hawser/core/ConnectError"
import type { Endpoint } from "@hawser/core/Endpoint"
import * as Effect from "effect/Effect"
import { isIP } from "node:net"
import { DnsService } from "./Dns.ts"

/** Finagle's default. */
const timeoutMillis = 5_000
/** An answer may hold thousands; so many are dialled. */
const maxAddresses = 16

/** A host and a port as one address: `10.0.0.7:50051`, `[::1]:50051`. */
export const format = (host: string, port: number): string =>
  isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`

/** An address taken apart. */
export const parse = (address: string): { readonly host: string; readonly port: number } => {
  const colon = address.lastIndexOf(":")
  const host = address.slice(0, colon)
  return { host: host.startsWith("[") ? host.slice(1, -1) : host, port: Number(address.slice(colon + 1)) }
}

/** Whether an address is a socket of this machine: `unix:/run/greeter.sock`. */
export const isPath = (address: string): boolean => address.startsWith("unix:")

/** The addresses of a host, in the order of the system; the address itself when it is one. */
export const lookup = (address: string): Effect.Effect<ReadonlyArray<string>, ConnectError> => {
  if (isPath(address)) return Effect.succeed([address])
  const { host, port } = parse(address)
  if (isIP(host) !== 0) return Effect.succeed([address])
  const failed = (cause: unknown) =>
    new ConnectError({ reason: { _tag: "Resolution", target: host }, endpoint: address, cause })
  return Effect.flatMap(DnsService, (dns) => dns.lookup(host, 0)).pipe(
    Effect.timeoutOrElse({
      duration: timeoutMillis,
      orElse: () => Effect.fail(failed(new Error(`no answer within ${timeoutMillis} ms`)))
    }),
    Effect.mapError(({ cause }) => failed(cause)),
    Effect.flatMap((found) =>
      found.length === 0
        ? Effect.fail(failed(new Error("no addresses")))
        : Effect.succeed(found.slice(0, maxAddresses).map((ip) => format(ip, port)))
    )
  )
}

/** The endpoint at other addresses: those that its own stands for. */
export const at = (endpoint: Endpoint, addresses: ReadonlyArray<string>): Endpoint => ({
  ...endpoint,
  addresses: addresses as [string, ...Array<string>]
})

/** An address as grpc-js spells it, so that it looks nothing up. */
export const target = (address: string): string =>
  isPath(address) ? address : `ipv${isIP(parse(address).host)}:${address}`
