import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { ConnectError } from "@hawser/core/ConnectError"
import type { AddressRecord, DnsService, Family, ServiceRecord } from "@hawser/grpc/Dns"
import { isIP } from "node:net"

/** What one question gets: addresses, a failure, or nothing ever. */
export type Scripted = ReadonlyArray<string> | "NXDOMAIN" | "SERVFAIL" | "Silence"

/** A question as it came. */
export interface Asked {
  readonly what: "lookup" | "A" | "AAAA" | "SRV"
  readonly name: string
  readonly server: string | undefined
  readonly at: number
}

/** DNS by script: what is set holds for every question from then on. */
export class ScriptedDns implements DnsService {
  readonly asked: Array<Asked> = []
  /** Questions on their way. */
  open = 0
  mostOpen = 0
  ttlSeconds: number | undefined = undefined
  delayMillis = 0
  records = new Map<string, Scripted>()
  srv: ReadonlyArray<ServiceRecord> | "NXDOMAIN" = []

  /** When lookups began, in milliseconds. */
  get times(): ReadonlyArray<number> {
    return this.asked.map(({ at }) => at)
  }

  readonly lookup = (name: string, family: Family): Effect.Effect<ReadonlyArray<string>, ConnectError> =>
    this.ask("lookup", name, undefined, () =>
      this.find(name, (found) => found.filter((ip) => family === 0 || isIP(ip) === family))
    )

  readonly addresses = (
    name: string,
    family: 4 | 6,
    server: string | undefined
  ): Effect.Effect<ReadonlyArray<AddressRecord>, ConnectError> =>
    this.ask(family === 4 ? "A" : "AAAA", name, server, () =>
      this.find(this.records.has(`${family} ${name}`) ? `${family} ${name}` : name, (found) =>
        found.filter((ip) => isIP(ip) === family).map((address) => ({ address, ttlSeconds: this.ttlSeconds }))
      )
    )

  readonly services = (
    name: string,
    server: string | undefined
  ): Effect.Effect<ReadonlyArray<ServiceRecord>, ConnectError> =>
    this.ask("SRV", name, server, () =>
      this.srv === "NXDOMAIN" ? this.failed(name, "NXDOMAIN") : Effect.succeed(this.srv)
    )

  readonly texts = (): Effect.Effect<ReadonlyArray<string>, ConnectError> => Effect.succeed([])

  private find<A>(
    name: string,
    f: (found: ReadonlyArray<string>) => ReadonlyArray<A>
  ): Effect.Effect<ReadonlyArray<A>, ConnectError> {
    const found = this.records.get(name) ?? "NXDOMAIN"
    if (found === "Silence") return Effect.never
    return typeof found === "string" ? this.failed(name, found) : Effect.succeed(f(found))
  }

  private failed(target: string, why: string): Effect.Effect<never, ConnectError> {
    return Effect.fail(new ConnectError({ reason: { _tag: "Resolution", target }, cause: new Error(why) }))
  }

  private ask<A>(
    what: Asked["what"],
    name: string,
    server: string | undefined,
    answer: () => Effect.Effect<A, ConnectError>
  ): Effect.Effect<A, ConnectError> {
    return Effect.gen({ self: this }, function* () {
      this.asked.push({ what, name, server, at: yield* Clock.currentTimeMillis })
      this.mostOpen = Math.max(this.mostOpen, ++this.open)
      return yield* Effect.delay(Effect.suspend(answer), this.delayMillis).pipe(
        Effect.ensuring(Effect.sync(() => this.open--))
      )
    })
  }
}
