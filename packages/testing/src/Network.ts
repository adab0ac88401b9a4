/**
 * A network in memory, under virtual time: hosts, the lines to them, names, and everything that can go wrong with those.
 *
 * Programs never see it. It stands behind the `Transport` of `@hawser/grpc` and behind byte connectors, so that the code
 * above is the real code. Whatever it draws, it draws from `Random`: one seed, one run.
 */
import { ConnectError } from "@hawser/core/ConnectError"
import { Issues, OptionsError } from "@hawser/core/OptionsError"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { ServiceRecord } from "@hawser/grpc/Dns"
import { type Felt, Host, type Listener } from "./Host.ts"
import { type Pair, pair, type Socket, type Tap } from "./Socket.ts"
import * as Timers from "./Timers.ts"

/** What a name stands for: addresses and records of services, or why there are none. */
export type Answer = ReadonlyArray<string | ServiceRecord> | "NotFound" | "ServerFailure" | "Silence"

/** Somebody who is told whenever a fault makes itself felt. */
export interface Observer {
  (felt: Felt, address: string): void
}

/** The first three retransmissions of a SYN on Linux come after 1, 2 and 4 seconds. */
const knockMillis = 1_000
const mostKnockMillis = 64_000

/** A network in memory. */
export class Network {
  readonly timers: Timers.Timers
  readonly random: () => number
  /** Milliseconds that a lookup takes. */
  lookupMillis = 0
  /** How long an answer may be kept, where a name server is asked for it. */
  ttlSeconds: number | undefined = undefined
  /** How many lookups have been asked for, failed ones included. */
  lookups = 0
  /** Sees everything that arrives anywhere. */
  tap: Tap | undefined = undefined
  /** How many packets have arrived, anywhere. */
  arrived = 0
  private readonly hosts = new Map<string, Host>()
  private readonly names = new Map<string, Answer>()
  /** Made-up addresses of hosts that are known by a name. */
  private readonly aliases = new Map<string, string>()
  private observers: ReadonlyArray<Observer> = []
  private clients = 0

  constructor(timers: Timers.Timers, random: () => number) {
    this.timers = timers
    this.random = random
  }

  /** The host at an address, new or known. */
  host(address: string): Host {
    let host = this.hosts.get(address)
    if (host === undefined) {
      host = new Host(address, this.timers, (felt, { address }) => this.felt(felt, address))
      this.hosts.set(address, host)
    }
    return host
  }

  /** The host at an address, or an `OptionsError` that names those there are. */
  known(address: string): Effect.Effect<Host, OptionsError> {
    return Effect.suspend(() => {
      const host = this.hosts.get(address)
      return host === undefined ? Effect.fail(this.unknown(address)) : Effect.succeed(host)
    })
  }

  /** All hosts, in the order in which they came. */
  get all(): ReadonlyArray<Host> {
    return [...this.hosts.values()]
  }

  /** Takes connections at an address for as long as the scope is open. One listener at a time. */
  listen(address: string, listener: Listener): Effect.Effect<Host, OptionsError, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.suspend(() => {
        const host = this.host(address)
        if (host.listener !== undefined) {
          return Effect.fail(issue("address", "an address that nobody listens at yet", address))
        }
        host.listener = listener
        return Effect.succeed(host)
      }),
      (host) =>
        Effect.sync(() => {
          if (host.listener !== listener) return
          host.listener = undefined
          host.cut()
        })
    )
  }

  /** From now on a name stands for this; `undefined`: nobody says. */
  name(name: string, answer: Answer | undefined): void {
    if (answer === undefined) this.names.delete(name)
    else this.names.set(name, answer)
  }

  /** What a name stands for; `undefined`: nobody said. */
  answerOf(name: string): Answer | undefined {
    return this.names.get(name)
  }

  /**
   * The addresses of a name and a port. What is an address, or the address of a host, stands for itself.
   */
  lookup(address: string): Effect.Effect<ReadonlyArray<string>, ConnectError> {
    const colon = address.lastIndexOf(":")
    const name = address.slice(0, colon)
    const port = address.slice(colon)
    const alias = this.aliases.get(name)
    const itself = () => {
      if (alias !== undefined) return [alias + port]
      return literal.test(address) || this.hosts.has(address) ? [address] : undefined
    }
    return Effect.flatMap(this.ask(name, address, itself), (found) => {
      const hosts = found.filter((one) => typeof one === "string")
      if (hosts.length === 0) return this.unresolved(name, address, "no addresses")
      return Effect.succeed(hosts.map((host) => (host === address || this.hosts.has(host) ? host : host + port)))
    })
  }

  /** What a name stands for, without a port. A host that is known by a name gets an address that is made up. */
  records(name: string): Effect.Effect<ReadonlyArray<string | ServiceRecord>, ConnectError> {
    return this.ask(name, name, () => {
      if (![...this.hosts.keys()].some((address) => address.startsWith(`${name}:`))) return undefined
      const known = [...this.aliases].find(([, host]) => host === name)?.[0]
      const n = this.aliases.size + 1
      // RFC 2544: addresses for benchmarks, which nobody has.
      const ip = known ?? `198.18.${n >> 8}.${n & 255}`
      this.aliases.set(ip, name)
      return [ip]
    })
  }

  private unresolved(name: string, at: string, message: string): Effect.Effect<never, ConnectError> {
    this.felt("resolution", at)
    const cause = new Error(message)
    return Effect.fail(new ConnectError({ reason: { _tag: "Resolution", target: name }, endpoint: at, cause }))
  }

  private ask(
    name: string,
    at: string,
    itself: () => ReadonlyArray<string> | undefined
  ): Effect.Effect<ReadonlyArray<string | ServiceRecord>, ConnectError> {
    return Effect.callback((resume) => {
      this.lookups++
      const answer = (): void => {
        const found = this.names.get(name) ?? itself()
        if (found === "Silence") return this.felt("resolution", at)
        if (found === undefined || found === "NotFound") return resume(this.unresolved(name, at, "no such name"))
        if (found === "ServerFailure") return resume(this.unresolved(name, at, "the server failed"))
        resume(Effect.succeed(found))
      }
      if (this.lookupMillis === 0) return answer()
      return Effect.sync(this.timers.after(this.lookupMillis, answer))
    })
  }

  /** Connects to an address. Closing the scope breaks the connection, unless it was closed in order. */
  dial<In, Out>(address: string): Effect.Effect<Socket<In, Out>, ConnectError, Scope.Scope> {
    return Effect.suspend(() => {
      // Kept before it is handed over: an interrupt may come in between.
      let made: Pair<unknown, unknown> | undefined
      const keep = (pair: Pair<unknown, unknown>) => {
        made = pair
      }
      return Effect.andThen(
        Effect.addFinalizer(() => Effect.sync(() => made?.client.reset())),
        Effect.callback<Socket<In, Out>, ConnectError>((resume) => this.connect(address, keep, resume))
      )
    })
  }

  /** Calls whenever a fault makes itself felt. Returns the unsubscribe. */
  observe(observer: Observer): () => void {
    this.observers = [...this.observers, observer]
    return () => {
      this.observers = this.observers.filter((o) => o !== observer)
    }
  }

  /** An address that no host has. */
  unknown(address: string): OptionsError {
    const known = [...this.hosts.keys()]
    return issue("address", known.length === 0 ? "a host of the network, which has none" : oneOf(known), address)
  }

  private felt(felt: Felt, address: string): void {
    for (const observer of this.observers) observer(felt, address)
  }

  private connect<In, Out>(
    address: string,
    keep: (pair: Pair<unknown, unknown>) => void,
    resume: (effect: Effect.Effect<Socket<In, Out>, ConnectError>) => void
  ): Effect.Effect<void> {
    const host = this.host(address)
    let cancel = () => {}
    let wait = knockMillis
    const knock = (): void => {
      cancel()
      if (!host.swallows) return arrive()
      host.knocking.add(knock)
      host.felt("black-holed connect")
      cancel = this.timers.after(wait, knock)
      wait = Math.min(wait * 2, mostKnockMillis)
    }
    const arrive = (): void => {
      host.knocking.delete(knock)
      const { latency } = host.weather
      if (latency > 0) {
        host.felt("latency")
        cancel = this.timers.after(2 * latency, answer)
      } else answer()
    }
    const answer = (): void => {
      const { listener } = host
      if (listener === undefined || host.refusing > 0) {
        if (listener !== undefined) host.felt("refused")
        return resume(Effect.fail(new ConnectError({ reason: { _tag: "Refused" }, endpoint: address })))
      }
      const made = this.join(host)
      keep(made)
      listener.accept(made.server)
      // Frames have no types on the line: both ends say what they are.
      resume(Effect.succeed(made.client as unknown as Socket<In, Out>))
    }
    knock()
    return Effect.sync(() => {
      host.knocking.delete(knock)
      cancel()
    })
  }

  private join(host: Host): Pair<unknown, unknown> {
    const line = {
      timers: this.timers,
      random: this.random,
      weather: host.weather,
      delayed: (why: Felt) => host.felt(why),
      stopped: () => host.felt(host.isFrozen ? "frozen" : "half-open silence")
    }
    const made: Pair<unknown, unknown> = pair(`client:${++this.clients}`, host.address, line, () => {
      this.arrived++
      return this.tap
    })
    host.join(made)
    return made
  }
}

/** The error for an address at which no server runs. */
export const noServer = (servers: ReadonlyMap<string, unknown>, address: string): OptionsError =>
  issue(
    "address",
    servers.size === 0 ? "a server; there is none" : `a server: ${[...servers.keys()].join(", ")}`,
    address
  )

/** IP addresses, and sockets of this machine. */
const literal = /^(?:[\d.]+:\d+|\[[^\]]+\]:\d+|unix:.*)$/s

const oneOf = (known: ReadonlyArray<string>): string => `a host of the network: ${known.join(", ")}`

const issue = (path: string, rule: string, value: string): OptionsError => {
  const issues = new Issues()
  issues.check(false, path, rule, value)
  return new OptionsError({ issues: issues.list })
}

/** A network on the clock, the scheduler and the random of the surroundings. */
export const make: Effect.Effect<Network, never, Scope.Scope> = Effect.gen(function* () {
  const random = yield* Random.Random
  return new Network(yield* Timers.make, () => random.nextDoubleUnsafe())
})
