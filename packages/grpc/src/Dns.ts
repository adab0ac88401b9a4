/**
 * Endpoints from DNS: every address of a name, or the hosts of a service, found anew while they change.
 *
 * `Grpc.layer` uses it for every target that is a name. This module is for those who want it elsewhere: below `merge` or
 * `subset`, for a second name, or with records of their own in tests.
 *
 * **What is an endpoint**: each address, because each address of a headless Kubernetes service is a pod. DNS does not tell
 * which addresses belong to one host, so a host with an IPv4 and an IPv6 address is two endpoints, and one of them may stay
 * unreachable without harm. `localhost` alone is one endpoint, whose addresses are raced.
 */
import * as Backoff from "@hawser/core/Backoff"
import type { ConnectError } from "@hawser/core/ConnectError"
import { ConnectError as Unresolved } from "@hawser/core/ConnectError"
import { Issues } from "@hawser/core/OptionsError"
import type { Resolver } from "@hawser/core/Resolver"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { isIP } from "node:net"
import { asker, type Question } from "./DnsAnswer.ts"
import * as Node from "./DnsNode.ts"
import { type RefreshOptions, resolver } from "./DnsRefresh.ts"
import type { DnsService as Service, Family, ServiceRecord } from "./DnsService.ts"

export type {
  /** An address, and how long it may be kept. */
  AddressRecord,
  /** 4 or 6; 0 is both. */
  Family,
  /** Where a service is (RFC 2782). */
  ServiceRecord
} from "./DnsService.ts"

/** What is asked of DNS. */
export type DnsService = Service

/**
 * Who answers. The default is `node:dns`.
 *
 * **When to use**: to put records of a test, or another way to find names, in its place. `TestNetwork` does.
 *
 * **Gotchas**: read when a resolver is opened, which `Grpc.layer` does when it is built. Provide it to the layer or outside
 * it; inside it comes too late.
 *
 * ```ts import.meta.vitest
 * import { Effect, Stream } from "effect"
 * import { Dns } from "@hawser/grpc"
 *
 * const records = Dns.hosts({ greeter: ["10.0.0.1", "10.0.0.2", "fd00::1"] })
 * const program = Effect.gen(function*() {
 *   const { updates } = yield* Dns.addresses({ host: "greeter", port: 50051 }).open
 *   const [first] = yield* Stream.runCollect(Stream.take(updates, 1))
 *   return first?._tag === "Endpoints" ? first.endpoints.map(({ addresses }) => addresses[0]) : []
 * })
 * const found = await Effect.runPromise(program.pipe(Effect.scoped, Effect.provideService(Dns.DnsService, records)))
 * found // => ["10.0.0.1:50051", "10.0.0.2:50051", "[fd00::1]:50051"]
 * ```
 */
export const DnsService: Context.Reference<Service> = Context.Reference<Service>("hawser/DnsService", {
  defaultValue: () => Node.service
})

/**
 * A table of records, for tests: a text is an address, everything else the record of a service; `texts` are TXT records.
 * Names that are not listed do not exist. Read anew for each question, so that a test may change it.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Dns } from "@hawser/grpc"
 *
 * const dns = Dns.hosts({ greeter: ["10.0.0.1"], "_grpc._tcp.greeter": [{ target: "greeter", port: 1, priority: 0, weight: 1 }] })
 * Effect.runSync(dns.lookup("greeter", 6)) // => []
 * Effect.runSync(dns.services("_grpc._tcp.greeter", undefined)).length // => 1
 * Effect.runSync(Effect.flip(dns.lookup("nobody", 0))).message // => "Resolution nobody: no such name"
 * ```
 */
export const hosts = (
  records: Readonly<Record<string, ReadonlyArray<string | ServiceRecord>>>,
  texts: Readonly<Record<string, ReadonlyArray<string>>> = {}
): Service => {
  const find = (name: string) =>
    Effect.suspend(() =>
      Object.hasOwn(records, name)
        ? Effect.succeed(records[name]!)
        : Effect.fail(
            new Unresolved({ reason: { _tag: "Resolution", target: name }, cause: new Error("no such name") })
          )
    )
  const lookup = (name: string, family: Family): Effect.Effect<ReadonlyArray<string>, ConnectError> =>
    Effect.map(find(name), (all) =>
      all.filter((one) => typeof one === "string").filter((one) => family === 0 || isIP(one) === family)
    )
  return {
    lookup,
    addresses: (name, family) =>
      Effect.map(lookup(name, family), (all) => all.map((address) => ({ address, ttlSeconds: undefined }))),
    services: (name) => Effect.map(find(name), (all) => all.filter((one) => typeof one !== "string")),
    texts: (name) => Effect.sync(() => (Object.hasOwn(texts, name) ? texts[name]! : []))
  }
}

/** How a name is looked up, and how often. */
export interface DnsOptions {
  /**
   * How often to look for changes. A duration (1 s to 24 days) is shortened by up to a third each time, so that clients do
   * not ask in step. A Schedule is followed as it is; when it ends, only failures ask. Default 30 s, which is the shortest
   * that grpc-go and grpc-js allow.
   *
   * Where the records say how long they live, that is the limit if it is sooner: only a named server says so.
   */
  readonly refresh?: Duration.Input | Schedule.Schedule<unknown> | undefined
  /** For one answer; 1 ms to 1 min, default 5 s (Finagle, Envoy). */
  readonly timeout?: Duration.Input | undefined
  /** Addresses of one kind only, 4 or 6. Default 0: both, each an endpoint of its own. */
  readonly family?: Family | undefined
  /**
   * How long the last good answer stays in use when no other comes; 0 to 24 days, default 10 min. Then calls fail with
   * `Resolution`.
   */
  readonly keep?: Duration.Input | undefined
  /**
   * The least between two questions, whatever fails; 0 to 1 h, default 1 s. grpc-go and grpc-js have 30 s, with which a
   * client waits as long for what has replaced a lost server.
   */
  readonly minInterval?: Duration.Input | undefined
  /** Between questions that fail. Default 1 s × 1.6, ±20 %, up to 30 s. */
  readonly backoff?: Schedule.Schedule<unknown, ConnectError> | undefined
  /**
   * What an answer without addresses means. `Keep`: it is a failure, and the last addresses stay in use for `keep`.
   * `Accept`: there are none any more. Default `Keep`.
   */
  readonly empty?: "Keep" | "Accept" | undefined
  /**
   * Whether an address may be connected to: to keep whoever answers away from link-local or other places. Those that can't
   * be hosts (0.0.0.0/8, multicast) are never used. Default: every other one may.
   */
  readonly accept?: ((address: string) => boolean) | undefined
}

/** A name server, in place of those of the system. */
export interface ServerOptions {
  /** `IP` or `IP:PORT`; `/etc/hosts` is not read then. Default: what the system does. */
  readonly server?: string | undefined
}

/**
 * The addresses of a host, each an endpoint.
 *
 * **Details**: without `server` the name is found as every program of the machine finds it, `/etc/hosts` first. At most
 * 1,000 endpoints. Throws an `OptionsError` for options that break a rule.
 *
 * **Example** (Two regions, the second for when the first is gone)
 *
 * ```ts import.meta.vitest
 * import { Resolver } from "@hawser/core"
 * import { Dns } from "@hawser/grpc"
 *
 * const near = Dns.addresses({ host: "greeter.eu", port: 50051, refresh: "10 seconds" })
 * const far = Dns.addresses({ host: "greeter.us", port: 50051, refresh: "1 minute" })
 * near.name // => "dns:greeter.eu:50051"
 * let rule = ""
 * try { Dns.addresses({ host: "greeter", port: 0 }) } catch (e) { rule = (e as Error).message }
 * rule // => "port: expected an integer from 1 to 65535, got 0"
 * Resolver.isResolver(far) // => true
 * ```
 */
export const addresses = (
  options: DnsOptions & ServerOptions & { readonly host: string; readonly port: number }
): Resolver => {
  const { host, port, server } = options
  const issues = new Issues()
  issues.check(isName(host), "host", "a host name", host)
  issues.check(Number.isInteger(port) && port > 0 && port <= 65_535, "port", "an integer from 1 to 65535", port)
  return make(issues, { _tag: "Host", host, port, server }, options)
}

/**
 * The hosts of a service by its SRV records: priorities become priorities, weights become weights.
 *
 * **Details**: the addresses of a host share its weight. At most 100 hosts are looked up. A Kubernetes service has such
 * records for every port that has a name. Throws an `OptionsError` for options that break a rule.
 *
 * ```ts import.meta.vitest
 * import { Effect, Stream } from "effect"
 * import { Dns } from "@hawser/grpc"
 *
 * const records = Dns.hosts({
 *   "_grpc._tcp.greeter": [
 *     { target: "one", port: 50051, priority: 10, weight: 3 },
 *     { target: "two", port: 50052, priority: 20, weight: 1 }
 *   ],
 *   one: ["10.0.0.1"],
 *   two: ["10.0.0.2"]
 * })
 * const program = Effect.gen(function*() {
 *   const { updates } = yield* Dns.services({ service: "_grpc._tcp.greeter" }).open
 *   const [first] = yield* Stream.runCollect(Stream.take(updates, 1))
 *   const endpoints = first?._tag === "Endpoints" ? first.endpoints : []
 *   return endpoints.map(({ addresses, priority, weight }) => [addresses[0], priority, weight])
 * })
 * const found = await Effect.runPromise(program.pipe(Effect.scoped, Effect.provideService(Dns.DnsService, records)))
 * found // => [["10.0.0.1:50051", 0, 3], ["10.0.0.2:50052", 1, 1]]
 * ```
 */
export const services = (options: DnsOptions & ServerOptions & { readonly service: string }): Resolver => {
  const { server, service } = options
  const issues = new Issues()
  issues.check(isName(service), "service", "a name such as _grpc._tcp.greeter", service)
  return make(issues, { _tag: "Service", service, server }, options)
}

/**
 * Everything that is wrong with options for lookups, each with its path.
 *
 * ```ts import.meta.vitest
 * import { Dns } from "@hawser/grpc"
 *
 * Dns.issues({ refresh: "1 milli", timeout: "2 minutes" }).map(({ path }) => path) // => ["refresh", "timeout"]
 * ```
 */
export const issues = (options: DnsOptions & ServerOptions): Issues["list"] => {
  const found = new Issues()
  check(found, options)
  return found.list
}

const isName = (name: unknown): boolean =>
  typeof name === "string" && /^[\w-]+(\.[\w-]+)*\.?$/.test(name) && name.length <= 254

const isServer = (server: string): boolean => {
  const [, v6, v4 = server, port] = /^(?:\[(.*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(server) ?? []
  return isIP(v6 ?? v4) !== 0 && (port === undefined || (Number(port) > 0 && Number(port) <= 65_535))
}

const make = (issues: Issues, question: Question, options: DnsOptions & ServerOptions): Resolver => {
  const rules = check(issues, options)
  issues.throwIfAny()
  const { accept, family = 0 } = options
  const name = question._tag === "Host" ? `dns:${question.host}:${question.port}` : `dns:${question.service}`
  const ask = Effect.map(DnsService, (dns) => asker(dns, question, { family, accept }))
  return resolver(name, ask, rules)
}

const defaultBackoff = Backoff.exponential({ initial: "1 second", multiplier: 1.6, max: "30 seconds" })

/** From two thirds of it to all of it. */
const every = (millis: number): Schedule.Schedule<unknown> => Schedule.spaced((millis * 5) / 6).pipe(Schedule.jittered)

const check = (issues: Issues, options: DnsOptions & ServerOptions): RefreshOptions => {
  const { backoff = defaultBackoff, empty = "Keep", family = 0, refresh = "30 seconds", server } = options
  const millis = (path: string, input: Duration.Input, least: number, most: number, rule: string) => {
    let value = NaN
    try {
      // Duration takes NaN for 0.
      value = typeof input === "number" ? input : Duration.toMillis(Duration.fromInputUnsafe(input))
    } catch {
      // reported below
    }
    issues.check(value >= least && value <= most, path, rule, input)
    return value
  }
  issues.check(family === 0 || family === 4 || family === 6, "family", "0, 4 or 6", family)
  issues.check(empty === "Keep" || empty === "Accept", "empty", '"Keep" or "Accept"', empty)
  issues.check(
    server === undefined || (typeof server === "string" && isServer(server)),
    "server",
    "IP or IP:PORT of a name server",
    server
  )
  issues.check(
    options.accept === undefined || typeof options.accept === "function",
    "accept",
    "a function from address to boolean",
    options.accept
  )
  issues.check(Schedule.isSchedule(backoff), "backoff", "a Schedule", backoff)
  const schedule = Schedule.isSchedule(refresh)
    ? refresh
    : every(millis("refresh", refresh, 1_000, 2_147_483_647, "a Schedule, or a duration from 1 s to 24 days"))
  return {
    refresh: schedule,
    backoff,
    empty,
    timeoutMillis: millis("timeout", options.timeout ?? "5 seconds", 1, 60_000, "a duration from 1 ms to 1 min"),
    minIntervalMillis: millis("minInterval", options.minInterval ?? 1_000, 0, 3_600_000, "a duration from 0 to 1 hour"),
    keepMillis: millis("keep", options.keep ?? "10 minutes", 0, 2_147_483_647, "a duration from 0 to 24 days")
  }
}
