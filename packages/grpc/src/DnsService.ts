/**
 * What is asked of DNS, as a part that can be replaced: by records of a test, or by another library.
 *
 * All of it fails with `ConnectError`, reason `Resolution`. A name that exists without such records is no failure but an
 * empty answer. Nothing here caches, retries or has a timeout: whoever asks has.
 */
import type { ConnectError } from "@hawser/core/ConnectError"
import type * as Effect from "effect/Effect"

/** 4 or 6; 0 is both. */
export type Family = 0 | 4 | 6

/** An address, and how long it may be kept. */
export interface AddressRecord {
  readonly address: string
  /** `undefined` where the source does not say. */
  readonly ttlSeconds: number | undefined
}

/** Where a service is (RFC 2782). */
export interface ServiceRecord {
  readonly target: string
  readonly port: number
  /** The lowest is used first. */
  readonly priority: number
  readonly weight: number
}

/** What is asked of DNS. A `server` is `IP` or `IP:PORT`; without one, those of the system are asked. */
export interface DnsService {
  /** As every program of this machine finds names: `/etc/hosts` first. In the order of the system. */
  readonly lookup: (name: string, family: Family) => Effect.Effect<ReadonlyArray<string>, ConnectError>
  /** A or AAAA records. */
  readonly addresses: (
    name: string,
    family: 4 | 6,
    server: string | undefined
  ) => Effect.Effect<ReadonlyArray<AddressRecord>, ConnectError>
  /** SRV records. */
  readonly services: (
    name: string,
    server: string | undefined
  ) => Effect.Effect<ReadonlyArray<ServiceRecord>, ConnectError>
  /** TXT records, the texts of each put together. A name that does not exist has none. */
  readonly texts: (name: string, server: string | undefined) => Effect.Effect<ReadonlyArray<string>, ConnectError>
}
