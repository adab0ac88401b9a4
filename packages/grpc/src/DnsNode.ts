/**
 * DNS by `node:dns`.
 *
 * `getaddrinfo` can't be cancelled, and each call holds one of the four threads that files are read with, too. So there is
 * one call for a name at a time, whoever asks: who asks again while it hangs waits for the same answer.
 */
import { ConnectError } from "@hawser/core/ConnectError"
import * as Effect from "effect/Effect"
import * as dns from "node:dns"
import type { DnsService, Family } from "./DnsService.ts"

type Answer<A> = Effect.Effect<A, ConnectError>

const unresolved = (target: string, cause: unknown) =>
  new ConnectError({ reason: { _tag: "Resolution", target }, cause })

/** The name exists, without such a record. */
const noData = "ENODATA"
const noName = "ENOTFOUND"

const pending = new Map<string, Set<(answer: Answer<ReadonlyArray<string>>) => void>>()

const lookup = (name: string, family: Family): Answer<ReadonlyArray<string>> =>
  Effect.callback<ReadonlyArray<string>, ConnectError>((resume) => {
    const key = `${family} ${name}`
    let waiting = pending.get(key)
    if (waiting === undefined) {
      const all: Set<(answer: Answer<ReadonlyArray<string>>) => void> = new Set()
      pending.set(key, all)
      waiting = all
      dns.lookup(name, { all: true, order: "verbatim", family }, (error, found) => {
        pending.delete(key)
        const answer =
          error === null ? Effect.succeed(found.map(({ address }) => address)) : Effect.fail(unresolved(name, error))
        for (const tell of all) tell(answer)
      })
    }
    waiting.add(resume)
    return Effect.sync(() => waiting.delete(resume))
  })

/** What c-ares waits for one answer. It is ours that ends the question: a lost packet must be sent again before that. */
const oneTry = { timeout: 1_500, tries: 3 }

const ask = <A>(
  name: string,
  server: string | undefined,
  query: (resolver: dns.promises.Resolver) => Promise<ReadonlyArray<A>>,
  absent: ReadonlyArray<string>
): Answer<ReadonlyArray<A>> =>
  Effect.callback<ReadonlyArray<A>, ConnectError>((resume) => {
    const resolver = new dns.promises.Resolver(oneTry)
    try {
      if (server !== undefined) resolver.setServers([server])
    } catch (cause) {
      return resume(Effect.fail(unresolved(name, cause)))
    }
    query(resolver).then(
      (records) => resume(Effect.succeed(records)),
      (cause: unknown) => {
        const none = absent.includes((cause as { readonly code: string }).code)
        resume(none ? Effect.succeed([]) : Effect.fail(unresolved(name, cause)))
      }
    )
    return Effect.sync(() => resolver.cancel())
  })

/** DNS by `node:dns`. */
export const service: DnsService = {
  lookup,
  addresses: (name, family, server) =>
    ask(
      name,
      server,
      async (resolver) => {
        const found = await (family === 4
          ? resolver.resolve4(name, { ttl: true })
          : resolver.resolve6(name, { ttl: true }))
        return found.map(({ address, ttl }) => ({ address, ttlSeconds: ttl }))
      },
      [noData]
    ),
  services: (name, server) =>
    ask(
      name,
      server,
      async (resolver) => (await resolver.resolveSrv(name)).map(({ name: target, ...rest }) => ({ target, ...rest })),
      [noData]
    ),
  texts: (name, server) =>
    ask(name, server, async (resolver) => (await resolver.resolveTxt(name)).map((texts) => texts.join("")), [
      noData,
      noName
    ])
}
