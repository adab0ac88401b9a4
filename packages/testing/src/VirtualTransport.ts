/**
 * The transport of gRPC over the virtual network: what `Transport` is in production, with nothing real below.
 *
 * Names are looked up at each dial and their addresses raced, as the adapter to grpc-js does. Bytes are not encrypted or
 * compressed; who would refuse whom is decided by what both sides say about themselves.
 */
import { ConnectError, type ConnectReason } from "@hawser/core/ConnectError"
import type { Endpoint } from "@hawser/core/Endpoint"
import { OptionsError } from "@hawser/core/OptionsError"
import * as Race from "@hawser/core/Race"
import type { Connector } from "@hawser/core/Session"
import type { Connection, Transport, TransportOptions } from "@hawser/grpc/Connection"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { ClientFrame, ServerFrame } from "./Frame.ts"
import type { Security } from "./Host.ts"
import type { Network } from "./Network.ts"
import { VirtualConnection } from "./VirtualConnection.ts"

/**
 * Dials over a network.
 *
 * **Details**: credentials are checked as in production. A proxy is refused with an `OptionsError`: there is none here.
 * `opened` is told of every connection that got as far as TCP.
 */
export const make = (network: Network, opened?: (connection: VirtualConnection) => void): Transport => ({
  connector: (options) =>
    Effect.suspend(() => {
      const issues = [...Credentials.issues(options.credentials)]
      if (options.proxy !== undefined) {
        issues.push({ path: "proxy", rule: "no proxy: the virtual network has none", value: options.proxy.address })
      }
      if (issues.length > 0) return Effect.fail(new OptionsError({ issues }))
      return Effect.succeed(connector(network, options, opened ?? (() => {})))
    })
})

const connector = (
  network: Network,
  options: TransportOptions,
  opened: (connection: VirtualConnection) => void
): Connector<Connection> => {
  const dial = Effect.fnUntraced(function* (endpoint: Endpoint) {
    const [address] = endpoint.addresses
    const socket = yield* network.dial<ServerFrame, ClientFrame>(address)
    const problem = handshake(options.credentials, network.host(address).listener?.security)
    if (problem !== undefined) return yield* new ConnectError({ reason: problem, endpoint: address })
    const connection = yield* Effect.acquireRelease(
      Effect.sync(() => new VirtualConnection(address, socket, network.timers)),
      (connection, exit) => connection.close(details(exit))
    )
    opened(connection)
    yield* connection.ready
    return connection
  })
  const race = Race.addresses(dial)
  return (endpoint) =>
    Effect.flatMap(network.lookup(endpoint.addresses[0]), (found) =>
      race({ ...endpoint, addresses: found as [string, ...Array<string>] })
    )
}

const details = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  return error instanceof ConnectError ? error.message : undefined
}

/** Why the two sides do not come together, if they do not. */
const handshake = (
  credentials: Credentials.Credentials,
  security: Security = "Plaintext"
): ConnectReason | undefined => {
  const plain = Credentials.isInsecure(credentials)
  if (security === "Plaintext") return plain ? undefined : { _tag: "Tls", problem: "Other" }
  if (plain) return { _tag: "Reset" }
  return security === "Tls" ? undefined : { _tag: "Tls", problem: security }
}
