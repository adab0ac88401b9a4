import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { ConnectError } from "@hawser/core/ConnectError"
import { OptionsError } from "@hawser/core/OptionsError"
import type { Resolver } from "@hawser/core/Resolver"
import { Dns } from "@hawser/grpc"
import { watching } from "../../support/core/watching.ts"
import { settle } from "../../support/core/parts.ts"
import { type Scripted, ScriptedDns } from "../../support/grpc/ScriptedDns.ts"

const one = "10.0.0.1"
const two = "10.0.0.2"

/** A resolver over a script: `greeter` at first is 10.0.0.1, looked up every ten seconds. */
const setup = Effect.fnUntraced(function* (
  options: Partial<Parameters<typeof Dns.addresses>[0]> & { readonly first?: Scripted; readonly ttl?: number } = {}
) {
  const { first = [one], ttl, ...rest } = options
  const dns = new ScriptedDns()
  dns.ttlSeconds = ttl
  const host = rest.host ?? "greeter"
  const say = (answer: Scripted) => void dns.records.set(host, answer)
  say(first)
  const resolver = Dns.addresses({ host, port: 1, refresh: Schedule.spaced("10 seconds"), ...rest })
  const watch = yield* watch_(resolver, dns)
  return { dns, say, ...watch }
})

const watch_ = (resolver: Resolver, dns: ScriptedDns) => Effect.provideService(watching(resolver), Dns.DnsService, dns)

describe("a name", () => {
  it.effect("becomes one endpoint for each address", () =>
    Effect.gen(function* () {
      const { dns, said } = yield* setup({ first: [one, two, "fd00::1"] })
      assert.deepStrictEqual(said(), ["10.0.0.1:1 10.0.0.2:1 [fd00::1]:1"])
      assert.deepStrictEqual(
        dns.asked.map(({ name, what }) => [what, name]),
        [["lookup", "greeter"]]
      )
    })
  )

  it.effect("of one family only, where that is asked for", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* setup({ first: [one, "fd00::1"], family: 4 })).said(), ["10.0.0.1:1"])
      assert.deepStrictEqual((yield* setup({ first: [one, "fd00::1"], family: 6 })).said(), ["[fd00::1]:1"])
    })
  )

  for (const host of ["localhost", "app.localhost", "LOCALHOST."]) {
    it.effect(`${host} is one endpoint, whose addresses are raced`, () =>
      Effect.gen(function* () {
        const { updates } = yield* setup({ host, first: ["::1", "127.0.0.1"] })
        const [update] = updates
        const endpoints = update?._tag === "Endpoints" ? update.endpoints : []
        assert.deepStrictEqual(
          endpoints.map(({ addresses }) => addresses),
          [["[::1]:1", "127.0.0.1:1"]]
        )
      })
    )
  }

  it.effect("is looked for again, and equal answers in any order are no update", () =>
    Effect.gen(function* () {
      const { dns, said, say } = yield* setup({ first: [one, two] })
      yield* TestClock.adjust("10 seconds")
      say([two, one])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(said(), ["10.0.0.1:1 10.0.0.2:1"])
      say([two, "10.0.0.3"])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(said(), ["10.0.0.1:1 10.0.0.2:1", "10.0.0.2:1 10.0.0.3:1"])
      assert.deepStrictEqual(dns.times, [0, 10_000, 20_000, 30_000])
    })
  )

  it.effect("an interval is shortened by up to a third, and never lengthened", () =>
    Effect.gen(function* () {
      const { dns } = yield* setup({ refresh: "30 seconds" })
      yield* TestClock.adjust("1 hour")
      const gaps = dns.times.slice(1).map((at, i) => at - dns.times[i]!)
      assert.isAtLeast(gaps.length, 120)
      assert.isTrue(gaps.every((gap) => gap >= 20_000 && gap <= 30_000))
      assert.isAbove(new Set(gaps).size, 100)
    })
  )

  it.effect("a Schedule that has ended asks no more, until somebody wants it", () =>
    Effect.gen(function* () {
      const { dns, refresh } = yield* setup({ refresh: Schedule.recurs(0) })
      yield* TestClock.adjust("1 day")
      assert.strictEqual(dns.asked.length, 1)
      refresh()
      yield* settle
      assert.strictEqual(dns.asked.length, 2)
    })
  )

  it.effect("ends with its scope, in the middle of a question", () =>
    Effect.gen(function* () {
      const dns = new ScriptedDns()
      dns.records.set("greeter", "Silence")
      const scope = yield* Scope.make()
      yield* Scope.provide(watch_(Dns.addresses({ host: "greeter", port: 1 }), dns), scope)
      assert.strictEqual(dns.open, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(dns.open, 0)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(dns.asked.length, 1)
    })
  )
})

// grpc-go, internal/resolver/dns/dns_resolver_test.go: TestResolveFunc, TestDisableServiceConfig and the like are about
// targets and service configs, and are tested there.
describe("as grpc-go's tests of its resolver have it", () => {
  it.effect("ResolveNow: a refresh asks again, at most once in the minimum interval", () =>
    Effect.gen(function* () {
      const { dns, refresh, said, say } = yield* setup({ minInterval: "1 second" })
      say([two])
      for (let i = 0; i < 1_000; i++) refresh()
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(dns.asked.length, 1)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(dns.times, [0, 1_000])
      assert.deepStrictEqual(said(), ["10.0.0.1:1", "10.0.0.2:1"])
      // After a while it need not wait.
      yield* TestClock.adjust("5 seconds")
      refresh()
      yield* settle
      assert.deepStrictEqual(dns.times, [0, 1_000, 6_000])
    })
  )

  it.effect("RateLimitedResolve: whoever asks all the time gets a lookup each interval, one at a time", () =>
    Effect.gen(function* () {
      const { dns, refresh } = yield* setup({ minInterval: "1 second" })
      dns.delayMillis = 300
      for (let i = 0; i < 1_000; i++) {
        refresh()
        yield* TestClock.adjust("10 millis")
      }
      assert.isAtMost(dns.asked.length, 11)
      assert.isAtLeast(dns.asked.length, 10)
      assert.strictEqual(dns.mostOpen, 1)
    })
  )

  it.effect("ExponentialBackoff and ReportError: failures back off, until the first success", () =>
    Effect.gen(function* () {
      const { dns, refresh, said, say } = yield* setup({
        first: "SERVFAIL",
        backoff: Schedule.exponential("1 second"),
        minInterval: 0
      })
      assert.deepStrictEqual(said(), ["gone"])
      for (let i = 0; i < 100; i++) {
        // A refresh does not shorten a backoff.
        refresh()
        yield* TestClock.adjust("100 millis")
      }
      assert.deepStrictEqual(dns.times, [0, 1_000, 3_000, 7_000])
      say([one])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(dns.times.slice(4), [15_000])
      assert.deepStrictEqual(said(), ["gone", "gone", "gone", "gone", "10.0.0.1:1"])
      // It starts over after a success.
      say("SERVFAIL")
      yield* TestClock.adjust("10 seconds")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(dns.times.slice(5), [25_000, 26_000])
    })
  )

  it.effect("the default backoff begins with a second and stays below 36", () =>
    Effect.gen(function* () {
      const { dns } = yield* setup({ first: "NXDOMAIN" })
      yield* TestClock.adjust("1 hour")
      const gaps = dns.times.slice(1).map((at, i) => at - dns.times[i]!)
      assert.isTrue(gaps[0]! >= 800 && gaps[0]! <= 1_200, String(gaps[0]))
      assert.isTrue(gaps.every((gap) => gap <= 36_000))
      assert.isTrue(gaps.slice(10).every((gap) => gap >= 24_000))
    })
  )

  it.effect("ResolveTimeout: a question without an answer ends after its timeout", () =>
    Effect.gen(function* () {
      const { dns, said, updates } = yield* setup({ first: "Silence" })
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(said(), [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(said(), ["gone"])
      assert.strictEqual(dns.open, 0)
      const [update] = updates
      const error = update?._tag === "Failed" ? update.error : undefined
      assert.instanceOf(error, ConnectError)
      assert.strictEqual(error?.message, "Resolution dns:greeter:1: no answer within 5000 ms")
    })
  )

  it.effect("EmptyUpdateNotPanic: an answer without addresses is a failure that keeps the last ones", () =>
    Effect.gen(function* () {
      const { said, say } = yield* setup({ backoff: Schedule.spaced("1 minute") })
      say([])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(said(), ["10.0.0.1:1", "kept 590000"])
    })
  )

  it.effect("or, where it is to be believed, the end of them", () =>
    Effect.gen(function* () {
      const { said, say } = yield* setup({ empty: "Accept" })
      say([])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(said(), ["10.0.0.1:1", ""])
      say([two])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(said(), ["10.0.0.1:1", "", "10.0.0.2:1"])
    })
  )
})

describe("an outage", () => {
  for (const answer of ["NXDOMAIN", "SERVFAIL", "Silence", []] as const) {
    it.effect(`${JSON.stringify(answer)} keeps the last answer for ten minutes, then fails with Resolution`, () =>
      Effect.gen(function* () {
        const { said, say, updates } = yield* setup()
        say(answer)
        yield* TestClock.adjust("599 seconds")
        assert.isTrue(
          said()
            .slice(1)
            .every((word) => word.startsWith("kept"))
        )
        yield* TestClock.adjust("1 second")
        const last = updates.at(-1)
        assert.strictEqual(said().at(-1), "gone")
        assert.strictEqual(last?._tag === "Failed" ? last.error.reason._tag : "", "Resolution")
        say([two])
        yield* TestClock.adjust("41 seconds")
        assert.strictEqual(said().at(-1), "10.0.0.2:1")
      })
    )
  }

  it.effect("that is over brings back the same endpoints", () =>
    Effect.gen(function* () {
      const { dns, said, say } = yield* setup()
      say("SERVFAIL")
      yield* TestClock.adjust("5 minutes")
      say([one])
      yield* TestClock.adjust("36 seconds")
      assert.strictEqual(said().at(-1), "10.0.0.1:1")
      assert.isAtMost(dns.asked.length, 25)
    })
  )
})

describe("a name server of one's own", () => {
  const server = "10.0.0.53:5353"

  it.effect("is asked for A and AAAA, and its TTL is the limit", () =>
    Effect.gen(function* () {
      const { dns, said } = yield* setup({ server, first: [one, "fd00::1"], ttl: 4 })
      assert.deepStrictEqual(said(), ["10.0.0.1:1 [fd00::1]:1"])
      yield* TestClock.adjust("8 seconds")
      assert.deepStrictEqual(
        dns.asked.map(({ at, server, what }) => [at, what, server]),
        [0, 4_000, 8_000].flatMap((at) => [
          [at, "A", server],
          [at, "AAAA", server]
        ])
      )
    })
  )

  it.effect("a TTL is no reason to ask less often than the Schedule says, or without a pause", () =>
    Effect.gen(function* () {
      const long = yield* setup({ server, family: 4, ttl: 3_600 })
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(long.dns.times, [0, 10_000, 20_000])
      const short = yield* setup({ server, family: 4, ttl: 0 })
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(short.dns.times, [20_000, 21_000, 22_000, 23_000])
    })
  )

  it.effect("that loses one of two questions has not removed half of the endpoints", () =>
    Effect.gen(function* () {
      const { dns, said } = yield* setup({ server, first: [one, "fd00::1"] })
      dns.records.set("6 greeter", "SERVFAIL")
      dns.records.set("4 greeter", [one, two])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(said(), ["10.0.0.1:1 [fd00::1]:1", "10.0.0.1:1 10.0.0.2:1 [fd00::1]:1"])
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(said().length, 2)
      dns.records.set("6 greeter", [])
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(said().at(-1), "10.0.0.1:1 10.0.0.2:1")
      dns.records.set("4 greeter", "SERVFAIL")
      dns.records.set("6 greeter", "SERVFAIL")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(said().at(-1), "kept 590000")
    })
  )
})

describe("records of a service", () => {
  const service = Effect.fnUntraced(function* (options: { readonly server?: string } = {}) {
    const dns = new ScriptedDns()
    dns.records.set("a", [one])
    dns.records.set("b", [two, "10.0.0.3"])
    dns.srv = [
      { target: "b", port: 2, priority: 20, weight: 4 },
      { target: "a", port: 1, priority: 10, weight: 3 }
    ]
    const resolver = Dns.services({
      service: "_grpc._tcp.greeter",
      refresh: Schedule.spaced("10 seconds"),
      ...options
    })
    const watch = yield* watch_(resolver, dns)
    const last = () => {
      const update = watch.updates.at(-1)
      return update?._tag === "Endpoints"
        ? update.endpoints.map(({ addresses, priority, weight }) => [addresses[0], priority, weight])
        : update
    }
    return { dns, last, ...watch }
  })

  it.effect("give ports, priorities and weights, which the addresses of a host share", () =>
    Effect.gen(function* () {
      const { dns, last } = yield* service()
      assert.deepStrictEqual(last(), [
        ["10.0.0.1:1", 0, 3],
        ["10.0.0.2:2", 1, 2],
        ["10.0.0.3:2", 1, 2]
      ])
      assert.deepStrictEqual(
        dns.asked.map(({ name, what }) => `${what} ${name}`),
        ["SRV _grpc._tcp.greeter", "lookup a", "lookup b"]
      )
    })
  )

  it.effect("a weight of 0 is small beside others, and nothing among its like", () =>
    Effect.gen(function* () {
      const { dns, last } = yield* service()
      dns.srv = [
        { target: "a", port: 1, priority: 0, weight: 0 },
        { target: "a", port: 2, priority: 0, weight: 1 }
      ]
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(last(), [
        ["10.0.0.1:1", 0, 0.01],
        ["10.0.0.1:2", 0, 1]
      ])
      dns.srv = dns.srv.map((record) => ({ ...record, weight: 0 }))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(last(), [
        ["10.0.0.1:1", 0, 1],
        ["10.0.0.1:2", 0, 1]
      ])
    })
  )

  it.effect("a host that can't be found is left out, and one that was found before stays", () =>
    Effect.gen(function* () {
      const { dns, said } = yield* service()
      dns.records.set("b", "SERVFAIL")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(said().length, 1)
      dns.srv = [...(dns.srv as ReadonlyArray<Dns.ServiceRecord>), { target: "new", port: 1, priority: 0, weight: 1 }]
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(said().length, 2)
      assert.strictEqual(said().at(-1), "10.0.0.1:1 10.0.0.2:2 10.0.0.3:2")
    })
  )

  it.effect("that are no records, or say that there is no service, are left out", () =>
    Effect.gen(function* () {
      const { dns, last, said } = yield* service()
      const good = { target: "a", port: 1, priority: 0, weight: 1 }
      dns.srv = [
        good,
        { ...good, port: 0 },
        { ...good, port: 70_000 },
        { ...good, target: "a b" },
        { ...good, weight: -1 }
      ]
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(last(), [["10.0.0.1:1", 0, 1]])
      dns.srv = [{ target: ".", port: 1, priority: 0, weight: 0 }]
      yield* TestClock.adjust("10 seconds")
      assert.match(said().at(-1)!, /kept/)
    })
  )

  it.effect("their hosts are asked of the same name server, and may be addresses", () =>
    Effect.gen(function* () {
      const { dns, last } = yield* service({ server: "10.0.0.53" })
      dns.srv = [{ target: "10.9.9.9", port: 9, priority: 0, weight: 1 }]
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(last(), [["10.9.9.9:9", 0, 1]])
      assert.isTrue(dns.asked.every(({ server }) => server === "10.0.0.53"))
    })
  )
})

describe("a hostile answer", () => {
  const usable = (update: unknown) => update as { _tag: "Endpoints"; dropped?: { count: number; why: string } }

  it.effect("of ten thousand addresses is cut to a thousand endpoints", () =>
    Effect.gen(function* () {
      const first = Array.from({ length: 10_000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`)
      const { updates } = yield* setup({ first })
      const [update] = updates
      assert.strictEqual(update?._tag === "Endpoints" ? update.endpoints.length : 0, 1_000)
      assert.strictEqual(usable(update).dropped?.count, 9_000)
    })
  )

  for (const bad of [
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "239.1.2.3",
    "255.255.255.255",
    "ff02::1",
    "greeter",
    "10.0.0.1:5",
    "1.2.3"
  ]) {
    it.effect(`${bad} is not dialled`, () =>
      Effect.gen(function* () {
        const { said, updates } = yield* setup({ first: [bad, two] })
        assert.deepStrictEqual(said(), ["10.0.0.2:1"])
        assert.strictEqual(usable(updates[0]).dropped?.count, 1)
      })
    )
  }

  it.effect("of nothing that may be dialled is a failure, with the reason", () =>
    Effect.gen(function* () {
      const { updates } = yield* setup({ first: ["0.0.0.0"], empty: "Accept" })
      const [update] = updates
      assert.match(update?._tag === "Failed" ? update.error.message : "", /not the address of a host: 0\.0\.0\.0/)
    })
  )

  it.effect("places can be refused by rule", () =>
    Effect.gen(function* () {
      const accept = (address: string) => !address.startsWith("169.254.")
      const { said, updates } = yield* setup({ first: ["169.254.169.254", one], accept })
      assert.deepStrictEqual(said(), ["10.0.0.1:1"])
      assert.deepStrictEqual(usable(updates[0]).dropped, { count: 1, why: "not accepted: 169.254.169.254" })
    })
  )

  it.effect("one address in several spellings is one endpoint", () =>
    Effect.gen(function* () {
      const { said } = yield* setup({ first: ["fd00:0:0::1", "fd00::0001", "::ffff:10.0.0.1", one, "::ffff:a00:1"] })
      assert.deepStrictEqual(said(), ["[fd00::1]:1 10.0.0.1:1"])
    })
  )
})

describe("options", () => {
  const refused = (options: object) => {
    try {
      Dns.addresses({ host: "greeter", port: 1, ...options })
    } catch (e) {
      return e instanceof OptionsError ? e.issues.map(({ path }) => path) : e
    }
    return []
  }

  it("that break a rule are refused, all at once", () => {
    assert.deepStrictEqual(refused({}), [])
    assert.deepStrictEqual(
      refused({ host: "gre eter", port: 0, family: 5, timeout: 0, keep: -1, minInterval: NaN, refresh: "10 millis" }),
      ["host", "port", "family", "refresh", "timeout", "minInterval", "keep"]
    )
    for (const server of ["dns.google", "8.8.8.8:0", "8.8.8.8:70000", "8.8.8.8:53:53", ""]) {
      assert.deepStrictEqual(refused({ server }), ["server"], server)
    }
    for (const server of ["8.8.8.8", "8.8.8.8:5353", "::1", "[::1]", "[::1]:53"]) {
      assert.deepStrictEqual(refused({ server }), [], server)
    }
  })
})
