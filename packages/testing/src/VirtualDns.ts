/**
 * DNS of the virtual network: what `DnsService` is in production, with the names of the network below.
 */
import type { ConnectError } from "@hawser/core/ConnectError"
import type { DnsService, Family } from "@hawser/grpc/Dns"
import * as Effect from "effect/Effect"
import { isIP } from "node:net"
import type { Network } from "./Network.ts"

/** The names of a network. There is one name server, whoever is asked; a TTL is `Network.ttlSeconds`. */
export const make = (network: Network): DnsService => {
  const lookup = (name: string, family: Family): Effect.Effect<ReadonlyArray<string>, ConnectError> =>
    Effect.map(network.records(name), (found) =>
      found
        .filter((one) => typeof one === "string")
        // What is no address is passed on, for whoever asked to find out.
        .filter((address) => family === 0 || isIP(address) === 0 || isIP(address) === family)
    )
  return {
    lookup,
    addresses: (name, family) =>
      Effect.map(lookup(name, family), (found) =>
        found.map((address) => ({ address, ttlSeconds: network.ttlSeconds }))
      ),
    services: (name) => Effect.map(network.records(name), (found) => found.filter((one) => typeof one !== "string")),
    texts: () => Effect.succeed([])
  }
}
