/**
 * From records to endpoints: what of an answer may be dialled, and as how many endpoints.
 *
 * An answer is input from outside. Addresses are checked, written in one spelling and bounded; what can't be dialled is left
 * out and counted.
 */
import type { ConnectError } from "@hawser/core/ConnectError"
import type { EndpointOptions } from "@hawser/core/Endpoint"
import type { Dropped } from "@hawser/core/Resolver"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { isIPv4, isIPv6 } from "node:net"
import type { AddressRecord, DnsService, Family, ServiceRecord } from "./DnsService.ts"

/** What is asked for: the addresses of a host, or those of a service (SRV). */
export type Question =
  | { readonly _tag: "Host"; readonly host: string; readonly port: number; readonly server: string | undefined }
  | { readonly _tag: "Service"; readonly service: string; readonly server: string | undefined }

/** How it is asked. */
export interface AskOptions {
  readonly family: Family
  readonly accept: ((address: string) => boolean) | undefined
}

/** What is known now. */
export interface Answer {
  readonly endpoints: ReadonlyArray<EndpointOptions>
  readonly dropped: Dropped | undefined
  /** The shortest of all records; `undefined` where no record says. */
  readonly ttlMillis: number | undefined
}

/** Records of one answer that are looked at, and hosts of one service: more are cut. */
const maxRecords = 4_000
const maxHosts = 100
/** Hosts of a service that are looked up at once. */
const concurrency = 8
/** Addresses of one endpoint that are raced. */
const maxRaced = 16
/** The share of an SRV weight of 0 beside others: "very small" (RFC 2782). */
const leastWeight = 0.01

/**
 * Asks again and again for the same. What fails in part is filled in from the last time: a name server that lost one of
 * two questions has not removed half of the endpoints.
 */
export const asker = (
  dns: DnsService,
  question: Question,
  options: AskOptions
): Effect.Effect<Answer, ConnectError> => {
  const memory = new Memory()
  const ask = question._tag === "Host" ? host(dns, question, options, memory) : service(dns, question, options, memory)
  return Effect.tap(ask, () => Effect.sync(() => memory.turn()))
}

type Records = ReadonlyArray<AddressRecord>

/** The records of the last two rounds, by question. */
class Memory {
  private last = new Map<string, Records>()
  private now = new Map<string, Records>()

  /** Remembers an answer, or finds the last one in the place of a failure. */
  settle(key: string, result: Result.Result<Records, ConnectError>): Result.Result<Records, ConnectError> {
    const known = Result.isSuccess(result) ? result.success : this.last.get(key)
    if (known === undefined) return result
    this.now.set(key, known)
    return Result.succeed(known)
  }

  turn(): void {
    this.last = this.now
    this.now = new Map()
  }
}

/** All that could be found out; a failure where nothing could be found out anew. */
const together = (
  memory: Memory,
  questions: ReadonlyArray<readonly [key: string, Effect.Effect<Records, ConnectError>]>
): Effect.Effect<ReadonlyArray<Records>, ConnectError> =>
  Effect.forEach(questions, ([key, ask]) => Effect.map(Effect.result(ask), (result) => [key, result] as const), {
    concurrency
  }).pipe(
    Effect.flatMap((results) => {
      const failures = results.flatMap(([, result]) => (Result.isFailure(result) ? [result.failure] : []))
      if (failures.length > 0 && failures.length === results.length) return Effect.fail(failures[0]!)
      return Effect.succeed(results.map(([key, result]) => Result.getOrElse(memory.settle(key, result), () => [])))
    })
  )

const recordsOf = (
  dns: DnsService,
  name: string,
  server: string | undefined,
  { family }: AskOptions,
  memory: Memory
): Effect.Effect<Records, ConnectError> => {
  if (isIPv4(name) || isIPv6(name)) return Effect.succeed([{ address: name, ttlSeconds: undefined }])
  if (server === undefined) {
    return Effect.map(dns.lookup(name, family), (list) => list.map((address) => ({ address, ttlSeconds: undefined })))
  }
  const families: ReadonlyArray<4 | 6> = family === 0 ? [4, 6] : [family]
  const questions = families.map((one) => [`${one} ${name}`, dns.addresses(name, one, server)] as const)
  return Effect.map(together(memory, questions), (all) => all.flat())
}

const host = (
  dns: DnsService,
  { host, port, server }: Extract<Question, { _tag: "Host" }>,
  options: AskOptions,
  memory: Memory
): Effect.Effect<Answer, ConnectError> =>
  Effect.map(recordsOf(dns, host, server, options, memory), (records) => {
    const found = new Found(options)
    const addresses = found.addresses(records, port)
    // RFC 6761, 6.3: its addresses are of one host, and often only one of them is served.
    const one = /(^|\.)localhost\.?$/i.test(host) && addresses.length > 0
    return found.answer(
      one ? [{ addresses: addresses.slice(0, maxRaced) }] : addresses.map((address) => ({ addresses: [address] }))
    )
  })

const service = (
  dns: DnsService,
  { server, service }: Extract<Question, { _tag: "Service" }>,
  options: AskOptions,
  memory: Memory
): Effect.Effect<Answer, ConnectError> =>
  Effect.gen(function* () {
    const found = new Found(options)
    const usable = found.services(yield* dns.services(service, server))
    const hosts = [...new Set(usable.map(({ target }) => target))]
    const questions = hosts.map((name) => [name, recordsOf(dns, name, server, options, memory)] as const)
    const all = yield* together(memory, questions)
    const byHost = new Map(hosts.map((name, i) => [name, all[i]!]))
    const priorities = [...new Set(usable.map(({ priority }) => priority))].sort((a, b) => a - b)
    const weighed = usable.some(({ weight }) => weight > 0)
    return found.answer(
      usable.flatMap(({ port, priority, target, weight }) => {
        const addresses = found.addresses(byHost.get(target)!, port)
        // The weight is of the host, however many addresses it has.
        const share = (weighed ? Math.max(weight, leastWeight) : 1) / addresses.length
        return addresses.map((address) => ({
          addresses: [address],
          weight: share,
          priority: Math.min(priorities.indexOf(priority), 127)
        }))
      })
    )
  })

/** What of an answer may be used. */
class Found {
  private count = 0
  private why = ""
  private ttlSeconds = Infinity
  private readonly options: AskOptions

  constructor(options: AskOptions) {
    this.options = options
  }

  answer(endpoints: ReadonlyArray<EndpointOptions>): Answer {
    return {
      endpoints,
      dropped: this.count === 0 ? undefined : { count: this.count, why: this.why },
      ttlMillis: this.ttlSeconds === Infinity ? undefined : this.ttlSeconds * 1_000
    }
  }

  addresses(records: Records, port: number): ReadonlyArray<string> {
    const out = new Set<string>()
    this.bounded(records, maxRecords).forEach(({ address, ttlSeconds }) => {
      const ip = this.address(address)
      if (ip === undefined) return
      if (ttlSeconds !== undefined && ttlSeconds >= 0) this.ttlSeconds = Math.min(this.ttlSeconds, ttlSeconds)
      out.add(isIPv6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`)
    })
    return [...out]
  }

  services(records: ReadonlyArray<ServiceRecord>): ReadonlyArray<ServiceRecord> {
    const legal = records.filter(({ port, priority, target, weight }) => {
      // RFC 2782: a target of "." says that there is decidedly no such service.
      if (target === "" || target === ".") return false
      const fits = [port, priority, weight].every((n) => Number.isInteger(n) && n >= 0 && n <= 65_535) && port > 0
      const named = typeof target === "string" && /^[\w.:-]{1,254}$/.test(target)
      return (fits && named) || this.drop(`no service record: ${JSON.stringify(target).slice(0, 80)} port ${port}`)
    })
    // The most important ones stay where there are too many.
    return this.bounded(
      legal.toSorted((a, b) => a.priority - b.priority),
      maxHosts
    )
  }

  private address(address: string): string | undefined {
    const ip = canonical(address)
    if (ip === undefined) return this.drop(`not an IP address: ${JSON.stringify(address)?.slice(0, 80)}`)
    if (!isUnicast(ip)) return this.drop(`not the address of a host: ${ip}`)
    const { accept } = this.options
    return accept === undefined || accept(ip) ? ip : this.drop(`not accepted: ${ip}`)
  }

  private bounded<A>(list: ReadonlyArray<A>, max: number): ReadonlyArray<A> {
    if (list.length <= max) return list
    this.drop(`more than ${max} records`, list.length - max)
    return list.slice(0, max)
  }

  private drop(why: string, n = 1): undefined {
    if (this.count === 0) this.why = why
    this.count += n
    return undefined
  }
}

/** One spelling for each address; IPv4 in the clothes of IPv6 is IPv4. `undefined`: it is none. */
const canonical = (address: string): string | undefined => {
  if (typeof address !== "string") return undefined
  if (isIPv4(address)) return address
  if (!isIPv6(address)) return undefined
  if (address.includes("%")) return address
  const ip = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(ip) ?? []
  if (high === undefined || low === undefined) return ip
  const bytes = [high, low].map((part) => parseInt(part, 16)).flatMap((word) => [word >> 8, word & 255])
  return bytes.join(".")
}

/** What a connection can be made to: not 0.0.0.0/8, which name servers that block answer with, nor multicast. */
const isUnicast = (ip: string): boolean =>
  isIPv4(ip) ? !/^0\.|^2(?:2[4-9]|[345]\d)\./.test(ip) : ip !== "::" && !/^ff/i.test(ip)
