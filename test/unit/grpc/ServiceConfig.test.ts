import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { ConnectError, OptionsError, RetryThrottle } from "@hawser/core"
import { Dns, Hedge, Retry } from "@hawser/grpc"
import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
import { Deferred, Effect, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import * as dns from "node:dns/promises"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import { vi } from "vitest"
import { invalid, valid } from "./serviceConfigCorpus.ts"

const textOf = (config: unknown): string => (typeof config === "string" ? config : JSON.stringify(config))

const issuesOf = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<ReadonlyArray<OptionsError.OptionsIssue>> =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, OptionsError.OptionsError)
    return (error as OptionsError.OptionsError).issues
  }) as Effect.Effect<ReadonlyArray<OptionsError.OptionsIssue>>

const path = "/shop.Cart/Add"
const retryPolicy = {
  maxAttempts: 4,
  initialBackoff: "0.1s",
  maxBackoff: "0.3s",
  backoffMultiplier: 2,
  retryableStatusCodes: ["UNAVAILABLE", "aborted"]
}

describe("a service config that is in order", () => {
  it("comes in at least forty forms", () => assert.isAtLeast(valid.length, 40))

  for (const { config, equals, is, name, of, source } of valid) {
    it.effect(`is ${name} (${source})`, () =>
      Effect.gen(function* () {
        const decoded = yield* ServiceConfig.fromJson(textOf(config))
        assert.isTrue(ServiceConfig.isServiceConfig(decoded))
        if (of !== undefined) {
          const [method, expected] = of
          const said = decoded.forMethod(method)
          assert.deepStrictEqual({ ...said, ...expected }, said)
        }
        if (is !== undefined) assert.deepStrictEqual(is(decoded), equals)
        if (typeof config !== "string") {
          const made = ServiceConfig.make(config)
          assert.deepStrictEqual(ServiceConfig.explain(made, path), ServiceConfig.explain(decoded, path))
        }
      })
    )
  }

  for (const { config, name, notIn } of valid) {
    const refused = notIn?.["grpc-js"]
    it(`as ${name} is ${refused === undefined ? "taken" : "refused"} by grpc-js`, () => {
      const options = { "grpc.service_config": textOf(config) }
      const make = () => new grpc.Channel("ipv4:192.0.2.1:1", grpc.credentials.createInsecure(), options).close()
      if (refused === undefined) assert.doesNotThrow(make)
      else assert.throws(make)
    })
  }

  it("has policies that Retry.a6, Hedge.a6 and RetryThrottle.make take as they are", () => {
    for (const { config } of valid) {
      const decoded = ServiceConfig.make(typeof config === "string" ? JSON.parse(config) : config)
      if (decoded.throttle !== undefined) RetryThrottle.make(decoded.throttle)
      for (const method of [path, "/shop.Cart/List", "/shop.Search/Find"]) {
        const { hedge, retry } = decoded.forMethod(method)
        if (retry !== undefined) assert.isAtMost(Number(Retry.a6(retry).maxAttempts), 5)
        if (hedge !== undefined) assert.isAtMost(Hedge.a6(hedge).attempts, 5)
      }
    }
  })

  it("finds a method without its first slash, too", () => {
    const config = ServiceConfig.make({
      methodConfig: [{ name: [{ service: "shop.Cart", method: "Add" }], timeout: "1s" }]
    })
    assert.strictEqual(config.forMethod("shop.Cart/Add").timeoutMillis, 1_000)
    assert.strictEqual(config.forMethod("").scope, "None")
    assert.strictEqual(config.forMethod("/").scope, "None")
  })
})

describe("a service config that is not in order", () => {
  it("comes in at least forty forms", () => assert.isAtLeast(invalid.length, 40))

  for (const { config, issues, name } of invalid) {
    it.effect(`is ${name}`, () =>
      Effect.gen(function* () {
        const found = yield* issuesOf(ServiceConfig.fromJson(textOf(config)))
        const matched = issues.map(
          ([at, rule]) =>
            found.find((issue) => issue.path === at && issue.rule.includes(rule))?.path ?? `no ${at}: ${rule}`
        )
        const paths = issues.map(([at]) => at)
        assert.deepStrictEqual(matched, paths)
        assert.deepStrictEqual(found.map((issue) => issue.path).sort(), paths.toSorted())
      })
    )
  }

  it("changes no prototype", () => {
    const text = '{"__proto__":{"polluted":1},"methodConfig":[{"name":[{}],"__proto__":{"polluted":1}}]}'
    Effect.runSync(issuesOf(ServiceConfig.fromJson(text)))
    const value = JSON.parse('{"loadBalancingConfig":[{"__proto__":{"polluted":1}},{"round_robin":{}}]}') as unknown
    assert.deepStrictEqual(ServiceConfig.make(value).balancing?.skipped, ["__proto__"])
    assert.isUndefined(({} as { polluted?: number }).polluted)
  })

  it("throws from make, with all that is wrong", () => {
    try {
      ServiceConfig.make({ retryPolicy, retryThrottling: {} })
    } catch (error) {
      assert.instanceOf(error, OptionsError.OptionsError)
      assert.lengthOf((error as OptionsError.OptionsError).issues, 3)
      return
    }
    assert.fail("it was taken")
  })

  it("may be no JSON value at all", () => {
    const cyclic: Record<string, unknown> = {}
    cyclic["methodConfig"] = [cyclic]
    for (const value of [
      undefined,
      () => 1,
      Symbol("a"),
      1n,
      cyclic,
      { methodConfig: [{ name: [{}], timeout: cyclic }] }
    ]) {
      assert.throws(() => ServiceConfig.make(value), OptionsError.OptionsError)
    }
  })
})

describe("hostile text", () => {
  it.effect("that is too long is not read", () =>
    Effect.gen(function* () {
      const long = `"${"a".repeat(1_048_575)}"`
      const [issue] = yield* issuesOf(ServiceConfig.fromJson(long))
      assert.strictEqual(issue?.rule, "at most 1,048,576 characters of JSON")
      assert.strictEqual(issue?.value, "1,048,577")
    })
  )

  it.effect("that is long, deep, or full of keys is refused all the same", () =>
    Effect.gen(function* () {
      const deep = 200_000
      const texts = [
        "[".repeat(deep) + "]".repeat(deep),
        `${'{"a":'.repeat(deep)}1${"}".repeat(deep)}`,
        `{"loadBalancingConfig":[{"round_robin":${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}}]}`,
        `{"${"k".repeat(1_000_000)}":1}`,
        `"${'\\"'.repeat(500_000)}"`,
        `{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":1`).join()}}`
      ]
      for (const text of texts) {
        const issues = yield* issuesOf(ServiceConfig.fromJson(text))
        for (const issue of issues.slice(0, 3)) assert.isBelow(JSON.stringify(issue).length, 500)
      }
    })
  )
})

describe("a service config in a file", () => {
  const inFolder = <A>(use: (folder: string) => Effect.Effect<A>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "hawser-"))),
      use,
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    )
  const from = (content: string | Uint8Array) =>
    inFolder((folder) => {
      const file = join(folder, "config.json")
      writeFileSync(file, content)
      return Effect.result(ServiceConfig.fromFile(file))
    })

  it.live("is read", () =>
    Effect.gen(function* () {
      const text = '{"methodConfig":[{"name":[{}],"timeout":"2s"}]}'
      for (const content of [text, `\ufeff${text}\n`]) {
        const result = yield* from(content)
        assert.isTrue(result._tag === "Success" && result.success.forMethod(path).timeoutMillis === 2_000)
      }
    })
  )

  it.live("is a problem where it is absent, a folder, not UTF-8 or too long", () =>
    Effect.gen(function* () {
      const rules: Array<string | undefined> = []
      for (const content of [Uint8Array.of(0x7b, 0xff, 0x7d), " ".repeat(1_048_577)]) {
        const result = yield* from(content)
        rules.push(result._tag === "Failure" ? result.failure.issues[0]?.rule : "taken")
      }
      for (const file of ["/no/such/file.json", tmpdir()]) {
        const [issue] = yield* issuesOf(ServiceConfig.fromFile(file))
        assert.strictEqual(issue?.path, file)
        rules.push(issue?.rule)
      }
      const text = "a file of UTF-8 text"
      assert.deepStrictEqual(rules, [text, "at most 1,048,576 characters of JSON", text, text])
    })
  )
})

describe("a service config in DNS", () => {
  const answering = (texts: Dns.DnsService["texts"]): Dns.DnsService => ({ ...Dns.hosts({}), texts })
  const config = (seconds: number) => ({ methodConfig: [{ name: [{}], timeout: `${seconds}s` }] })
  const choice = (seconds: number, criteria: object = {}) => ({ ...criteria, serviceConfig: config(seconds) })
  const record = (...choices: ReadonlyArray<unknown>) => `grpc_config=${JSON.stringify(choices)}`

  /** The timeout that is chosen, in seconds. */
  const chosen = (...records: ReadonlyArray<string>) =>
    ServiceConfig.fromDns("greeter", { hostname: "ada-1" }).pipe(
      Effect.provideService(
        Dns.DnsService,
        answering(() => Effect.succeed(records))
      ),
      Effect.map((found) => (found?.forMethod(path).timeoutMillis ?? 0) / 1000)
    )

  it.effect("is the first choice that is for this client", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [number, ...ReadonlyArray<unknown>]> = [
        [1, choice(1), choice(2)],
        [2, choice(1, { clientLanguage: ["go", "java"] }), choice(2)],
        [1, choice(1, { clientLanguage: ["go", "NODE"] }), choice(2)],
        [1, choice(1, { clientLanguage: [] }), choice(2)],
        [2, choice(1, { clientHostname: ["ada-2", "ADA-1"] }), choice(2)],
        [1, choice(1, { clientHostname: ["ada-2", "ada-1"] }), choice(2)],
        [1, choice(1, { clientHostname: [] }), choice(2)],
        [2, choice(1, { percentage: 0 }), choice(2)],
        [1, choice(1, { percentage: 100 }), choice(2)],
        [2, choice(1, { percentage: 100, clientLanguage: ["go"] }), choice(2)],
        [2, choice(1, { clientHostname: ["ada-1"], clientLanguage: ["go"] }), choice(2)],
        [0, choice(1, { percentage: 0 })],
        [0]
      ]
      for (const [seconds, ...choices] of cases) {
        assert.strictEqual(yield* chosen(record(...choices)), seconds, JSON.stringify(choices))
      }
    })
  )

  it.effect("asks for the name of this machine where none is said", () =>
    Effect.gen(function* () {
      const own = record(choice(1, { clientHostname: [hostname()] }), choice(2))
      const found = yield* Effect.provideService(
        ServiceConfig.fromDns("greeter"),
        Dns.DnsService,
        answering(() => Effect.succeed([own]))
      )
      assert.strictEqual(found?.forMethod(path).timeoutMillis, 1_000)
    })
  )

  it.effect("goes to as many clients as its percentage says, each choice by a draw of its own", () =>
    Effect.gen(function* () {
      const text = record(choice(1, { percentage: 30 }), choice(2, { percentage: 50 }), choice(3))
      const counts = [0, 0, 0, 0]
      for (let i = 0; i < 2_000; i++) counts[yield* chosen(text)]!++
      const [, first = 0, second = 0, third = 0] = counts.map((n) => n / 2_000)
      assert.approximately(first, 0.3, 0.04)
      assert.approximately(second, 0.35, 0.04)
      assert.approximately(third, 0.35, 0.04)
    }).pipe(Random.withSeed(7))
  )

  it.effect("lies in the record that begins with grpc_config=, whatever else there is", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* chosen("v=spf1 -all", record(choice(1)), "GRPC_CONFIG=[]"), 1)
      assert.strictEqual(yield* chosen("v=spf1 -all"), 0)
      assert.strictEqual(yield* chosen(), 0)
    })
  )

  it.effect("is decoded where it is chosen, and only there", () =>
    Effect.gen(function* () {
      const broken = { serviceConfig: { methodConfig: [{ name: [{}], timeout: "1m" }] } }
      assert.strictEqual(yield* chosen(record(choice(1), broken)), 1)
      const issues = yield* issuesOf(chosen(record(choice(1, { percentage: 0 }), broken)))
      assert.deepStrictEqual(
        issues.map((issue) => issue.path),
        ["[1].serviceConfig.methodConfig[0].timeout"]
      )
    })
  )

  it.effect("has choices in form, chosen or not", () =>
    Effect.gen(function* () {
      const texts: ReadonlyArray<readonly [string, ...ReadonlyArray<string>]> = [
        ["grpc_config=", "TXT _grpc_config.greeter"],
        ["grpc_config={", "TXT _grpc_config.greeter"],
        ["grpc_config={}", "TXT _grpc_config.greeter"],
        [record(choice(1), 5), "[1]"],
        [record(choice(1), {}), "[1].serviceConfig"],
        [record({ serviceConfig: "{}" }), "[0].serviceConfig"],
        [record(choice(1, { clientHostName: ["ada"] })), "[0].clientHostName"],
        [record(choice(1, { clientLanguage: "go" })), "[0].clientLanguage"],
        [record(choice(1, { clientLanguage: [5] })), "[0].clientLanguage[0]"],
        ...[-1, 101, 1.5, "5", null].map(
          (percentage) => [record(choice(1, { percentage })), "[0].percentage"] as const
        ),
        ['grpc_config=[{"serviceConfig":{},"serviceConfig":{}}]', "[0].serviceConfig"]
      ]
      for (const [text, ...paths] of texts) {
        const issues = yield* issuesOf(chosen(text))
        assert.deepStrictEqual(
          issues.map((issue) => issue.path),
          paths,
          text
        )
      }
    })
  )

  it.effect("is refused where two records have one: DNS keeps no order", () =>
    Effect.gen(function* () {
      const [issue] = yield* issuesOf(chosen(record(choice(1)), record(choice(2))))
      assert.strictEqual(issue?.rule, "one record with grpc_config")
    })
  )

  it.effect("is looked up for a host name alone", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const ask = (host: string) =>
        Effect.provideService(
          ServiceConfig.fromDns(host),
          Dns.DnsService,
          answering((name) => Effect.sync(() => (asked.push(name), [])))
        )
      for (const host of ["greeter.internal", "10.0.0.1", "::1", "localhost"]) yield* ask(host)
      assert.deepStrictEqual(asked, ["_grpc_config.greeter.internal"])
      for (const host of ["", "dns:///greeter", "greeter:50051", "a b", "a".repeat(300)]) {
        assert.strictEqual((yield* issuesOf(ask(host)))[0]?.path, "host", host)
      }
    })
  )

  it.effect("fails with the error of the lookup, and after five seconds", () =>
    Effect.gen(function* () {
      const lost = new ConnectError.ConnectError({ reason: { _tag: "Resolution", target: "greeter" } })
      const ask = (texts: Dns.DnsService["texts"]) =>
        Effect.flip(Effect.provideService(ServiceConfig.fromDns("greeter"), Dns.DnsService, answering(texts)))
      assert.strictEqual(yield* ask(() => Effect.fail(lost)), lost)
      const cancelled = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        ask(() => Effect.onInterrupt(Effect.never, () => Deferred.succeed(cancelled, undefined)))
      )
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 milli")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.message, "Resolution _grpc_config.greeter: no answer within 5000 ms")
      yield* Deferred.await(cancelled)
    })
  )

  describe("by default", () => {
    const stubbed = (answer: () => Promise<Array<Array<string>>>) =>
      Effect.acquireRelease(
        Effect.sync(() => ({
          resolve: vi.spyOn(dns.Resolver.prototype, "resolveTxt").mockImplementation(answer),
          cancel: vi.spyOn(dns.Resolver.prototype, "cancel").mockImplementation(() => {})
        })),
        ({ cancel, resolve }) => Effect.sync(() => (resolve.mockRestore(), cancel.mockRestore()))
      )
    const refusing = (code: string) => () => Promise.reject(Object.assign(new Error(`queryTxt ${code}`), { code }))

    it.effect("puts the texts of a record together", () =>
      Effect.gen(function* () {
        const text = record(choice(1))
        const { resolve } = yield* stubbed(() => Promise.resolve([["other"], [text.slice(0, 20), text.slice(20)]]))
        const found = yield* ServiceConfig.fromDns("greeter")
        assert.strictEqual(found?.forMethod(path).timeoutMillis, 1_000)
        assert.deepStrictEqual(resolve.mock.calls, [["_grpc_config.greeter"]])
      })
    )

    it.effect("finds nothing where there is no record or no name, and fails otherwise", () =>
      Effect.gen(function* () {
        for (const code of ["ENODATA", "ENOTFOUND"]) {
          const found = yield* Effect.scoped(Effect.andThen(stubbed(refusing(code)), ServiceConfig.fromDns("greeter")))
          assert.isUndefined(found)
        }
        for (const code of ["ESERVFAIL", "ETIMEOUT"]) {
          const asked = Effect.andThen(stubbed(refusing(code)), ServiceConfig.fromDns("greeter"))
          const error = yield* Effect.flip(Effect.scoped(asked))
          assert.strictEqual(error.message, `Resolution _grpc_config.greeter: queryTxt ${code}`)
        }
      })
    )

    it.effect("cancels its question when nobody waits any more", () =>
      Effect.gen(function* () {
        const { cancel } = yield* stubbed(() => new Promise(() => {}))
        const fiber = yield* Effect.forkChild(ServiceConfig.fromDns("greeter"), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        assert.lengthOf(cancel.mock.calls, 1)
      })
    )
  })
})

describe("an explanation", () => {
  const explained = (config: unknown, method = path) => ServiceConfig.explain(ServiceConfig.make(config), method)
  const line = (config: unknown, name: string) =>
    explained(config)
      .lines.find((text) => text.startsWith(`${name}: `))
      ?.slice(name.length + 2)
  const one = (settings: object) => ({ methodConfig: [{ name: [{ service: "shop.Cart" }], ...settings }] })

  it("says everything that a config says of a method", () => {
    const config = {
      ...one({
        timeout: "1.5s",
        waitForReady: true,
        retryPolicy,
        maxRequestMessageBytes: 1024,
        maxResponseMessageBytes: 0
      }),
      retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
      loadBalancingConfig: [{ grpclb: {} }, { round_robin: {} }],
      healthCheckConfig: { serviceName: "shop" }
    }
    const { attempts, config: own, method, text, waitsMillis } = explained(config)
    assert.strictEqual(
      text,
      `/shop.Cart/Add
  from: methodConfig[0].name[0], for its service
  timeout: 1,500 ms, or the call's own if that is sooner
  waitForReady: waits for a connection, unless the call says otherwise
  attempts: 4 at most, one after another after UNAVAILABLE, ABORTED; waits of 100 ms, 200 ms, 300 ms, each ±20 %; may be sent again even if a server acted on it
  throttle: no further attempts at 5 of 10 tokens or less; a failure costs 1, a success gives 0.1
  request: 1,024 bytes at most, for each message
  response: 0 bytes at most, for each message
  balancing: round_robin; not known here: grpclb
  health: watched: "shop"`
    )
    assert.deepStrictEqual([attempts, waitsMillis, method], [4, [100, 200, 300], path])
    assert.strictEqual(own.timeoutMillis, 1_500)
  })

  it("says who decides where a config says nothing", () => {
    const { attempts, text, waitsMillis } = explained({})
    assert.strictEqual(
      text,
      `/shop.Cart/Add
  from: no methodConfig is for it
  timeout: as the call or the client says
  waitForReady: as the call says
  attempts: no retryPolicy or hedgingPolicy: as the client says
  throttle: none
  request: as the client says
  response: as the client says
  balancing: as the client says
  health: not checked`
    )
    assert.deepStrictEqual([attempts, waitsMillis], [1, []])
  })

  it("says which name decided", () => {
    const name = (name: object) => ({ methodConfig: [{ name: [{ service: "other" }, name] }] })
    assert.strictEqual(
      line(name({ service: "shop.Cart", method: "Add" }), "from"),
      "methodConfig[0].name[1], for this method"
    )
    assert.strictEqual(line(name({}), "from"), "methodConfig[0].name[1], for all methods")
  })

  it("says what gRPC makes of too many attempts", () => {
    const { attempts, waitsMillis } = explained(one({ retryPolicy: { ...retryPolicy, maxAttempts: 9 } }))
    assert.deepStrictEqual([attempts, waitsMillis], [5, [100, 200, 300, 300]])
    assert.include(
      line(one({ hedgingPolicy: { maxAttempts: 9 } }), "attempts"),
      "5 at most (9 are asked for; gRPC allows 5)"
    )
  })

  it("says how a call is hedged", () => {
    const hedgingPolicy = { maxAttempts: 3, hedgingDelay: "0.5s", nonFatalStatusCodes: ["unavailable"] }
    const { waitsMillis } = explained(one({ hedgingPolicy }))
    assert.deepStrictEqual(waitsMillis, [500, 500])
    assert.strictEqual(
      line(one({ hedgingPolicy }), "attempts"),
      "3 at most, one more every 500 ms until one answers; at once after UNAVAILABLE; several servers may act on it"
    )
    assert.strictEqual(
      line(one({ hedgingPolicy: { maxAttempts: 2 } }), "attempts"),
      "2 at most, all at once until one answers; any failure ends the call; several servers may act on it"
    )
  })

  it("says that a throttle is for nothing where there is no policy", () => {
    const text = line({ retryThrottling: { maxTokens: 3, tokenRatio: 1 } }, "throttle")
    assert.include(text, "at 1.5 of 3 tokens or less")
    assert.include(text, "not for this method, which has no policy")
  })

  it("says what is asked of health", () => {
    assert.include(line({ healthCheckConfig: { serviceName: "" } }, "health"), "the whole server")
    assert.include(line({ healthCheckConfig: {} }, "health"), "names no service")
    assert.strictEqual(
      line(one({ waitForReady: false }), "waitForReady"),
      "fails while the last dial failed, unless the call says otherwise"
    )
  })
})
