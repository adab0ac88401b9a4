import { assert, describe, it } from "@effect/vitest"
import { Backoff, Outlier, PeakEwma, Resolver, RoundRobin } from "@hawser/core"
import {
  Auth,
  type Channel,
  Credentials,
  Deadline,
  type GrpcOptions,
  HealthCheck,
  Hedge,
  Keepalive,
  Retry
} from "@hawser/grpc"
import { decode, decodeBare } from "@hawser/grpc/Options"
import { Duration, Effect, Exit, Redacted, Schedule } from "effect"
import { cert, key } from "../../support/pem.ts"

const target = "dns:///greeter:50051"
const issuesOf = (options: unknown, bare = false) =>
  Effect.map(Effect.flip(bare ? decodeBare(options) : decode(options)), (error) => error.issues)

describe("defaults", () => {
  it.effect("are filled in", () =>
    Effect.gen(function* () {
      const decoded = yield* decode({ target })
      assert.strictEqual(decoded.target.name, target)
      assert.strictEqual(decoded.authority, "greeter:50051")
      assert.isFalse(Credentials.isInsecure(decoded.credentials))
      assert.deepStrictEqual(decoded.connections, {
        min: 1,
        max: 4,
        maxAgeMillis: 1_800_000,
        streamsPerConnection: undefined,
        connectTimeoutMillis: 20_000
      })
      assert.deepStrictEqual(decoded.queue, { max: 1000, timeoutMillis: 30_000 })
      assert.deepStrictEqual(decoded.silence, { atLeastMillis: 200 })
      assert.deepStrictEqual(decoded.keepalive, Keepalive.make())
      assert.strictEqual(decoded.health, undefined)
      assert.strictEqual(decoded.auth, false)
      assert.strictEqual(decoded.balancer, PeakEwma.policy)
      assert.strictEqual(decoded.deadlineMillis, 15_000)
      assert.strictEqual((decoded.retry as Retry.RetryPolicy).maxAttempts, 3)
      assert.strictEqual(decoded.reconnect, Backoff.connection)
      assert.strictEqual(decoded.drainMillis, 30_000)
      assert.strictEqual(decoded.maxReceiveBytes, 4_194_304)
      assert.strictEqual(decoded.maxSendBytes, 4_194_304)
      assert.strictEqual(decoded.userAgent, undefined)
      assert.strictEqual(decoded.compression, undefined)
      assert.strictEqual(decoded.flowControlWindow, undefined)
    })
  )

  it.effect("stand for options that are undefined", () =>
    Effect.gen(function* () {
      const names = [
        "credentials",
        "connections",
        "queue",
        "silence",
        "keepalive",
        "outlier",
        "balancer",
        "deadline",
        "retry",
        "drain",
        "perCall"
      ]
      const options = Object.fromEntries(names.map((name) => [name, undefined]))
      const decoded = yield* decode({ target, ...options, ...{ connections: { min: undefined, max: undefined } } })
      assert.strictEqual(decoded.connections.max, 4)
      assert.strictEqual(decoded.deadlineMillis, 15_000)
    })
  )

  it.effect("follow a minimum of connections above four", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* decode({ target, connections: { min: 9 } })).connections.max, 9)
    })
  )

  it.effect("of a bare layer have nothing for calls", () =>
    Effect.gen(function* () {
      const decoded = yield* decodeBare({ target })
      assert.strictEqual(decoded.deadlineMillis, Infinity)
      assert.strictEqual(decoded.retry, false)
      assert.strictEqual(decoded.auth, false)
      assert.strictEqual(decoded.connections.max, 4)
    })
  )
})

describe("options", () => {
  it.effect("health and auth are values of their modules, or false", () =>
    Effect.gen(function* () {
      const health = HealthCheck.watch("shop.Orders")
      const auth = Auth.make({ token: Effect.succeed(Redacted.make("a")) })
      const decoded = yield* decode({ target, health, auth })
      assert.deepStrictEqual([decoded.health, decoded.auth], [health, auth])
      assert.strictEqual((yield* decodeBare({ target, health: false })).health, false)
      const wrong = yield* Effect.flip(decode({ target, health: { service: "shop.Orders" }, auth: "Bearer secret" }))
      assert.deepStrictEqual(
        wrong.issues.map(({ path, rule }) => [path, rule]),
        [
          ["health", "HealthCheck.watch(…), HealthCheck.poll(…), Health.poll(…) or false"],
          ["auth", "Auth.make({ … }) or false"]
        ]
      )
      assert.notInclude(wrong.message, "secret")
      const bare = yield* Effect.flip(decodeBare({ target, auth }))
      assert.strictEqual(bare.issues[0]?.path, "auth")
    })
  )

  it.effect("are taken as they are said", () =>
    Effect.gen(function* () {
      const retry = Retry.make({ maxAttempts: 2 })
      const outlier = Outlier.make({ maximumEjected: 0.3 })
      const reconnect = Schedule.spaced("1 second")
      const keepalive = Keepalive.make({ time: "10 minutes" })
      const perCall = (self: Channel.Channel) => self
      const options: GrpcOptions.GrpcOptions = {
        target: "ipv4:10.0.0.1:1,10.0.0.2:1",
        credentials: Credentials.tls({ cert, key }),
        authority: "greeter.internal:443",
        connections: { min: 0, max: 2, maxAge: "1 minute", streamsPerConnection: 10, connectTimeout: "5 seconds" },
        queue: { max: 0, timeout: Duration.seconds(1) },
        silence: { atLeast: 500 },
        keepalive,
        outlier,
        balancer: RoundRobin.policy,
        deadline: "5 seconds",
        retry,
        reconnect,
        drain: 0,
        maxReceiveBytes: 1,
        maxSendBytes: 2_147_483_647,
        userAgent: "shop/1.2 (test)",
        perCall,
        perAttempt: perCall
      }
      const decoded = yield* decode(options)
      assert.deepStrictEqual(
        decoded.target.endpoints.map((e) => e.addresses[0]),
        ["10.0.0.1:1", "10.0.0.2:1"]
      )
      assert.strictEqual(decoded.authority, "greeter.internal:443")
      assert.deepStrictEqual(decoded.connections, {
        min: 0,
        max: 2,
        maxAgeMillis: 60_000,
        streamsPerConnection: 10,
        connectTimeoutMillis: 5000
      })
      assert.deepStrictEqual(decoded.queue, { max: 0, timeoutMillis: 1000 })
      assert.deepStrictEqual(decoded.silence, { atLeastMillis: 500 })
      assert.strictEqual(decoded.keepalive, keepalive)
      assert.strictEqual(decoded.deadlineMillis, 5000)
      assert.strictEqual(decoded.retry, retry)
      assert.strictEqual(decoded.outlier, outlier)
      assert.strictEqual(decoded.balancer, RoundRobin.policy)
      assert.strictEqual(decoded.reconnect, reconnect)
      assert.strictEqual(decoded.drainMillis, 0)
      assert.strictEqual(decoded.perCall, perCall)
      assert.strictEqual(decoded.credentials, options.credentials)
    })
  )

  it.effect("l4 has more connections, and shorter ones", () =>
    Effect.gen(function* () {
      const { connections, l4 } = yield* decode({ target, l4: true })
      assert.isTrue(l4)
      assert.deepStrictEqual([connections.min, connections.max, connections.maxAgeMillis], [6, 12, 120_000])
      assert.isFalse((yield* decode({ target })).l4)
      const wrong = yield* issuesOf({ target, l4: true, connections: { min: 0 } })
      assert.deepStrictEqual(
        wrong.map(({ path }) => path),
        ["connections.min"]
      )
    })
  )

  it.effect("a connection may be used until it ends", () =>
    Effect.gen(function* () {
      for (const maxAge of [Infinity, "Infinity"]) {
        assert.strictEqual((yield* decode({ target, connections: { maxAge } })).connections.maxAgeMillis, Infinity)
      }
    })
  )

  it.effect("a name is looked up, an address is not, and a resolver stands in for both", () =>
    Effect.gen(function* () {
      const fixed = Resolver.fixed([{ addresses: ["10.0.0.1:1"] }])
      const source = (options: Partial<GrpcOptions.GrpcOptions>) =>
        Effect.map(decode({ target, ...options }), ({ endpoints }) =>
          Resolver.isResolver(endpoints) ? endpoints.name : endpoints.map(({ addresses }) => addresses[0])
        )
      assert.strictEqual(yield* source({}), "dns:greeter:50051")
      assert.strictEqual(yield* source({ dns: { refresh: "10 seconds", family: 4 } }), "dns:greeter:50051")
      assert.strictEqual(yield* source({ target: "dns:///_grpc._tcp.greeter" }), "dns:_grpc._tcp.greeter")
      assert.deepStrictEqual(yield* source({ target: "ipv4:10.0.0.1:1" }), ["10.0.0.1:1"])
      assert.deepStrictEqual(yield* source({ proxy: { address: "proxy:1" } }), ["greeter:50051"])
      assert.strictEqual(yield* source({ resolver: fixed }), "fixed")
    })
  )

  it.effect("about lookups are refused where they break a rule, or where nothing is looked up", () =>
    Effect.gen(function* () {
      const bad = {
        refresh: 5,
        timeout: "2 minutes",
        family: 5,
        keep: -1,
        minInterval: "2 hours",
        backoff: 5,
        empty: ""
      }
      const issues = yield* issuesOf({ target, dns: { ...bad, accept: true, refreh: 5 } })
      assert.deepStrictEqual(
        issues.map(({ path }) => path).sort(),
        [...Object.keys(bad), "accept", "refreh"].map((key) => `dns.${key}`).sort()
      )
      const dns = { refresh: "10 seconds" }
      const nowhere: ReadonlyArray<[object, RegExp]> = [
        [{ target: "ipv4:10.0.0.1", dns }, /it is no name/],
        [{ target, dns, proxy: { address: "proxy:1" } }, /the proxy does/],
        [{ target, dns, resolver: Resolver.fixed([]) }, /`resolver` does/]
      ]
      for (const [options, rule] of nowhere) {
        const [issue] = yield* issuesOf(options)
        assert.strictEqual(issue?.path, "dns")
        assert.match(issue?.rule ?? "", rule)
      }
      const [service] = yield* issuesOf({ target: "_grpc._tcp.greeter", proxy: { address: "proxy:1" } })
      assert.match(service?.rule ?? "", /no service records with a proxy/)
      assert.strictEqual((yield* issuesOf({ target, resolver: "greeter" }))[0]?.path, "resolver")
    })
  )

  it.effect("take false and none for what can be left out", () =>
    Effect.gen(function* () {
      const decoded = yield* decode({
        target,
        silence: false,
        keepalive: false,
        outlier: false,
        retry: false,
        deadline: Deadline.none
      })
      assert.strictEqual(decoded.outlier, false)
      assert.strictEqual(decoded.silence, false)
      assert.strictEqual(decoded.keepalive, false)
      assert.strictEqual(decoded.retry, false)
      assert.strictEqual(decoded.deadlineMillis, Infinity)
    })
  )
})

describe("a value out of bounds", () => {
  const table: ReadonlyArray<readonly [path: string, values: ReadonlyArray<unknown>, rule: RegExp]> = [
    ["target", [undefined, 5, null, ["a"]], /a target|a value/],
    ["target", ["", "xds:///a", "a:0"], /./],
    ["credentials", ["tls", {}, { _tag: "Tls" }, true, null], /Credentials\.tls/],
    ["authority", ["", "a b", "https://a", 5], /HOST/],
    ["connections", [5, "4", null], /{ min, max/],
    ["connections.min", [-1, 101, 1.5, NaN, "1", Infinity], /an integer from 0 to 100/],
    ["connections.max", [0, 101, 1.5, NaN, "4"], /an integer from 1 to 100/],
    ["connections.streamsPerConnection", [0, 1_000_001, 1.5, Infinity], /an integer from 1 to 1,000,000/],
    [
      "connections.connectTimeout",
      [0, -1, NaN, Infinity, "20 sec", "25 days", { second: 1 }, {}],
      /a duration from 1 ms/
    ],
    ["queue", [5, false], /{ max, timeout }/],
    ["queue.max", [-1, 1.5, NaN, "1000"], /an integer from 0/],
    ["queue.timeout", [0, NaN, "30s"], /a duration from 1 ms/],
    ["silence", [true, 200, "200 millis"], /^false \| { atLeast }$/],
    ["silence.atLeast", [0, 49, NaN, "200"], /a duration from 50 ms/],
    ["outlier", [true, 0.5, {}, { maximumEjected: 0.5 }], /Outlier\.make/],
    ["balancer", ["round_robin", {}, { name: "x" }, () => {}], /a policy/],
    ["slowStart", [true, 5, "30 seconds"], /^false \| { window, aggression, minimum }$/],
    ["slowStart.window", [0, 999, NaN, "30", undefined], /a duration from 1000 ms|a value/],
    ["deadline", [0, -1, NaN, Infinity, "25 days", "5", null, false], /a duration above 0/],
    ["keepalive", [true, 3, {}, "5 minutes", { time: "10 minutes" }], /Keepalive\.make/],
    ["retry", [true, 3, {}, { attempts: 3 }], /Retry\.make/],
    ["reconnect", ["1 second", 5, false], /a Schedule/],
    ["drain", [-1, NaN, Infinity, "30 secs"], /a duration from 0 ms/],
    ["maxReceiveBytes", [0, -1, 1.5, NaN, Infinity, 2 ** 31, "4 MiB"], /an integer from 1/],
    ["maxSendBytes", [0, -1, 1.5, NaN, Infinity, 2 ** 31], /an integer from 1/],
    ["proxy.address", ["proxy", "proxy:0", "http://proxy:80", 5], /HOST:PORT/],
    ["compression", ["brotli", true, 1, null], /"gzip", "deflate" or false/],
    ["flowControlWindow", [65_534, 2_147_483_648, NaN, 1e5 + 0.5, "64 KiB"], /an integer from 65,535/],
    ["userAgent", ["", " a", "a\n", "ä", "a".repeat(257), 5], /printable ASCII/],
    ["perCall", [true, {}], /a function/],
    ["perAttempt", ["x"], /a function/]
  ]
  const cases = table.flatMap(([path, values, rule]) => values.map((value) => [path, value, rule] as const))
  it.effect.each(cases)("is refused with path, rule and value: %s = %o", ([path, value, rule]) =>
    Effect.gen(function* () {
      const [group, field] = path.split(".") as [string, string | undefined]
      const issues = yield* issuesOf({ target, [group]: field === undefined ? value : { [field]: value } })
      assert.lengthOf(issues, 1)
      assert.strictEqual(issues[0]!.path, path)
      assert.match(issues[0]!.rule, rule)
      assert.notStrictEqual(issues[0]!.value, "")
    })
  )

  it.effect.each([
    [{ window: "1 second", aggression: 0 }, "aggression"],
    [{ window: "1 second", aggression: 101 }, "aggression"],
    [{ window: "1 second", minimum: 0 }, "minimum"],
    [{ window: "1 second", minimum: NaN }, "minimum"]
  ] as const)("is refused in a slow start: %o", ([slowStart, field]) =>
    Effect.gen(function* () {
      const issues = yield* issuesOf({ target, slowStart })
      assert.deepStrictEqual(
        issues.map(({ path }) => path),
        [`slowStart.${field}`]
      )
    })
  )

  it.effect.each([undefined, null, "dns:///greeter", 5, [], () => {}])("are not options at all: %o", (options) =>
    Effect.gen(function* () {
      const issues = yield* issuesOf(options)
      assert.isAtLeast(issues.length, 1)
      assert.include(["options", "target"], issues[0]!.path)
    })
  )
})

describe("an option that does not exist", () => {
  it.effect.each([
    ["deadlin", { deadlin: 5 }, "deadline"],
    ["Retry", { Retry: false }, "retry"],
    ["connection", { connection: {} }, "connections"],
    ["connections.maxx", { connections: { maxx: 5 } }, "max"],
    ["connections.connectTimout", { connections: { connectTimout: 5 } }, "connectTimeout"],
    ["queue.timeOut", { queue: { timeOut: 5 } }, "timeout"],
    ["silence.atleast", { silence: { atleast: 300 } }, "atLeast"]
  ] as const)("is refused, with what may have been meant: %s", ([path, options, meant]) =>
    Effect.gen(function* () {
      const issues = yield* issuesOf({ target, ...options })
      assert.lengthOf(issues, 1)
      assert.strictEqual(issues[0]!.path, path)
      assert.include(issues[0]!.rule, `did you mean ${meant}?`)
    })
  )

  it.effect("is refused with the names there are, where nothing is close", () =>
    Effect.gen(function* () {
      const [issue] = yield* issuesOf({ target, loadBalancingPolicy: "s3cret" })
      assert.deepStrictEqual([issue?.path, issue?.value], ["loadBalancingPolicy", 'the key "loadBalancingPolicy"'])
      assert.include(issue?.rule, "one of target, resolver, dns, credentials, authority, connections")
    })
  )

  it.effect("is one of those for calls, in a bare layer", () =>
    Effect.gen(function* () {
      const issues = yield* issuesOf({ target, retry: false, deadline: 5, perCall: 5, perAttempt: 5 }, true)
      assert.deepStrictEqual(issues.map(({ path }) => path).sort(), ["deadline", "perAttempt", "perCall", "retry"])
    })
  )
})

describe("options that contradict each other", () => {
  it.effect("are a maximum below the minimum", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* issuesOf({ target, connections: { min: 5, max: 3 } }), [
        { path: "connections.max", rule: "at least connections.min, which is 5", value: "3" }
      ])
    })
  )

  it.effect.each([
    [{ silence: { atLeast: "20 seconds" } }, true],
    [{ silence: { atLeast: "15 seconds" } }, true],
    [{ silence: { atLeast: "14 seconds" } }, false],
    [{ silence: { atLeast: "2 seconds" }, deadline: "1 second" }, true],
    [{ silence: { atLeast: "20 seconds" }, deadline: "1 minute" }, false],
    [{ silence: { atLeast: "20 seconds" }, deadline: Deadline.none }, false]
  ] as const)("are a silence that no call lasts for: %o %s", ([options, refused]) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(decode({ target, ...options }))
      assert.strictEqual(exit._tag, refused ? "Failure" : "Success")
      if (refused) assert.strictEqual((yield* issuesOf({ target, ...options }))[0]?.path, "silence.atLeast")
    })
  )

  it.effect.each([
    [{ hedge: Hedge.make({ delay: "15 seconds" }) }, true],
    [{ hedge: Hedge.make({ delay: "14 seconds" }) }, false],
    [{ hedge: Hedge.make({ delay: "2 seconds" }), deadline: "1 second" }, true],
    [{ hedge: Hedge.make({ delay: "15 seconds" }), deadline: Deadline.none }, false],
    [{ hedge: Hedge.make({ delay: { percentile: 0.9, atLeast: "20 seconds" } }) }, true],
    [{ hedge: Hedge.make({ delay: { percentile: 0.9, atMost: "20 seconds" } }) }, false]
  ] as const)("are a hedge that comes after the deadline: %o %s", ([options, refused]) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(decode({ target, ...options }))
      assert.strictEqual(Exit.isFailure(exit), refused)
    })
  )

  it.effect("are not looked for between calls and a bare layer", () =>
    Effect.asVoid(decodeBare({ target, silence: { atLeast: "20 seconds" } }))
  )
})

describe("an OptionsError", () => {
  it.effect("lists everything at once", () =>
    Effect.gen(function* () {
      const issues = yield* issuesOf({
        target: "xds:///a",
        credentials: Credentials.tls({ ca: "x", cert }),
        connections: { min: 5, max: 3, connectTimeout: NaN, lifetime: 5 },
        queue: { max: -1 },
        deadline: "soon",
        colour: "red"
      })
      assert.deepStrictEqual(issues.map(({ path }) => path).sort(), [
        "colour",
        "connections.connectTimeout",
        "connections.lifetime",
        "connections.max",
        "credentials.ca",
        "credentials.key",
        "deadline",
        "queue.max",
        "target"
      ])
    })
  )

  it.effect("shows nothing that may be a secret, and no code", () =>
    Effect.gen(function* () {
      const issues = yield* issuesOf({ target, credentials: { key }, retry: () => "s3cret", perCall: 5 })
      assert.notInclude(JSON.stringify(issues), key.split("\n")[1]!)
      assert.notInclude(JSON.stringify(issues), "s3cret")
      assert.deepStrictEqual(
        issues.map(({ value }) => value),
        ["an object", "a function", "5"]
      )
    })
  )
})
