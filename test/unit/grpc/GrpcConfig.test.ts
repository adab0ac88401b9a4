import { assert, describe, it } from "@effect/vitest"
import { Credentials, Keepalive, type Retry } from "@hawser/grpc"
import { type Health, type Outlier, RoundRobin } from "@hawser/core"
import * as GrpcConfig from "@hawser/grpc/GrpcConfig"
import { Config, ConfigProvider, Effect, Layer } from "effect"
import { inspect } from "node:util"

const read = (env: Record<string, string>) => GrpcConfig.fromPrefix("G").parse(ConfigProvider.fromEnv({ env }))

/** What building the layer says. */
const failure = (env: Record<string, string>) =>
  Layer.build(GrpcConfig.layerConfig(GrpcConfig.fromPrefix("G"))).pipe(
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env })),
    Effect.scoped,
    Effect.flip
  )

describe("GrpcConfig", () => {
  it.effect("reads every option by its documented name", () =>
    Effect.gen(function* () {
      const options = yield* read({
        G_TARGET: "greeter:50051",
        G_PLAINTEXT: "true",
        G_AUTHORITY: "greeter",
        G_USER_AGENT: "shop/1",
        G_CONNECTIONS_MIN: "2",
        G_CONNECTIONS_MAX: "8",
        G_CONNECTIONS_STREAMS: "50",
        G_CONNECTIONS_MAX_AGE: "5 minutes",
        G_L4: "true",
        G_CONNECTIONS_CONNECT_TIMEOUT: "3 seconds",
        G_QUEUE_MAX: "10",
        G_QUEUE_TIMEOUT: "1 second",
        G_SILENCE: "false",
        G_KEEPALIVE: "false",
        G_OUTLIER: "0.25",
        G_BALANCER: "round_robin",
        G_SLOW_START: "30 seconds",
        G_HEALTH: "shop.Orders",
        G_DEADLINE: "2 seconds",
        G_RETRY: "5",
        G_PROXY: "proxy:3128",
        G_COMPRESSION: "gzip",
        G_FLOW_CONTROL_WINDOW: "100000",
        G_DRAIN: "1 second",
        G_MAX_RECEIVE_BYTES: "1000",
        G_MAX_SEND_BYTES: "2000",
        G_SERVICE_CONFIG: "{}"
      })
      assert.strictEqual(options.credentials, Credentials.insecure)
      assert.strictEqual(options.balancer, RoundRobin.policy)
      assert.strictEqual((options.retry as Retry.RetryPolicy).maxAttempts, 5)
      assert.strictEqual((options.outlier as Outlier.Outlier).maximumEjected, 0.25)
      assert.strictEqual((options.health as Health.Health<unknown>).name, "watch shop.Orders")
      const { balancer: _b, credentials: _c, health: _h, outlier: _o, retry: _r, ...rest } = options
      assert.deepStrictEqual(rest, {
        target: "greeter:50051",
        authority: "greeter",
        userAgent: "shop/1",
        dns: undefined,
        connections: {
          min: 2,
          max: 8,
          maxAge: "5 minutes",
          streamsPerConnection: 50,
          connectTimeout: "3 seconds"
        },
        l4: true,
        queue: { max: 10, timeout: "1 second" },
        silence: false,
        keepalive: false,
        slowStart: { window: "30 seconds" },
        deadline: "2 seconds",
        proxy: { address: "proxy:3128", credentials: undefined },
        compression: "gzip",
        flowControlWindow: 100_000,
        drain: "1 second",
        maxReceiveBytes: 1000,
        maxSendBytes: 2000,
        serviceConfig: "{}"
      })
    })
  )

  it.effect.each(["p2c_peak_ewma", "round_robin", "pick_first", "least_request", "weighted_round_robin", "ring_hash"])(
    "knows each balancing policy by its name: %s",
    (name) =>
      Effect.gen(function* () {
        const { balancer, slowStart } = yield* read({ G_TARGET: "a", G_BALANCER: name, G_SLOW_START: "false" })
        assert.strictEqual(balancer?.name, name)
        assert.strictEqual(slowStart, false)
      })
  )

  it.effect("reads what concerns lookups", () =>
    Effect.gen(function* () {
      const options = yield* read({
        G_TARGET: "greeter",
        G_DNS_REFRESH: "10 seconds",
        G_DNS_TIMEOUT: "1 second",
        G_DNS_KEEP: "1 hour",
        G_DNS_MIN_INTERVAL: "5 seconds",
        G_DNS_FAMILY: "4",
        G_DNS_EMPTY: "Accept"
      })
      assert.deepStrictEqual(options.dns, {
        refresh: "10 seconds",
        timeout: "1 second",
        keep: "1 hour",
        minInterval: "5 seconds",
        family: 4,
        empty: "Accept"
      })
    })
  )

  it.effect("takes true for the health of the whole server, false for none, and nothing for what is around it", () =>
    Effect.gen(function* () {
      const healthOf = (env: Record<string, string>) =>
        Effect.map(read({ G_TARGET: "a:1", ...env }), ({ health }) => (health ? health.name : health))
      assert.strictEqual(yield* healthOf({ G_HEALTH: "true" }), "watch")
      assert.strictEqual(yield* healthOf({ G_HEALTH: "false" }), false)
      assert.strictEqual(yield* healthOf({}), undefined)
      const long = yield* failure({ G_TARGET: "a:1", G_HEALTH: "x".repeat(2_000) })
      assert.deepStrictEqual(long._tag === "OptionsError" && long.issues.map(({ path }) => path), ["health"])
    })
  )

  it.effect("lists every value that breaks a rule, as it was written", () =>
    Effect.gen(function* () {
      const error = yield* failure({
        G_TARGET: "greeter:99999",
        G_PLAINTEXT: "maybe",
        G_CONNECTIONS_MAX: "four",
        G_QUEUE_MAX: "-1",
        G_SILENCE: "soon",
        G_OUTLIER: "50",
        G_BALANCER: "random",
        G_DEADLINE: "never",
        G_KEEPALIVE: "1 minute",
        G_KEEPALIVE_WITHOUT_CALLS: "perhaps",
        G_RETRY: "often",
        G_MAX_SEND_BYTES: "1e99"
      })
      assert.strictEqual(error._tag, "OptionsError")
      const issues = error._tag === "OptionsError" ? error.issues : []
      assert.deepStrictEqual(issues.map((issue) => issue.path).sort(), [
        "balancer",
        "connections.max",
        "credentials",
        "deadline",
        "keepalive",
        "maxSendBytes",
        "outlier",
        "queue.max",
        "retry",
        "silence.atLeast",
        "target"
      ])
      assert.strictEqual(issues.find((issue) => issue.path === "connections.max")?.value, '"four"')
    })
  )

  it.effect("reads a keepalive and what the server permits", () =>
    Effect.gen(function* () {
      const { keepalive } = yield* read({
        G_TARGET: "greeter:1",
        G_KEEPALIVE: "1 minute",
        G_KEEPALIVE_TIMEOUT: "5 seconds",
        G_KEEPALIVE_WITHOUT_CALLS: "true",
        G_KEEPALIVE_SERVER_MIN_TIME: "30 seconds",
        G_KEEPALIVE_SERVER_WITHOUT_CALLS: "true"
      })
      const permits = { minTime: "30 seconds", withoutCalls: true } as const
      assert.deepStrictEqual(
        keepalive,
        Keepalive.make({ time: "1 minute", timeout: "5 seconds", withoutCalls: true, serverPermits: permits })
      )
      assert.isUndefined((yield* read({ G_TARGET: "greeter:1" })).keepalive)
      const error = yield* failure({ G_TARGET: "greeter:1", G_KEEPALIVE: "1 minute" })
      assert.include(String(error), "at least 300000 ms")
    })
  )

  it.effect("plaintext and certificates at once are refused", () =>
    Effect.gen(function* () {
      const error = yield* failure({ G_TARGET: "greeter:1", G_PLAINTEXT: "true", G_TLS_CA: "pem" })
      assert.strictEqual(error._tag === "OptionsError" && error.issues[0]?.path, "credentials")
    })
  )

  it.effect("a target that is missing is a ConfigError with its name", () =>
    Effect.gen(function* () {
      const error = yield* failure({})
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(inspect(error), "TARGET")
    })
  )

  it.effect("a private key shows up nowhere", () =>
    Effect.gen(function* () {
      const env = { G_TARGET: "greeter:1", G_TLS_KEY: "SECRET-KEY", G_TLS_CERT: "SECRET-CERT" }
      const error = yield* failure(env)
      assert.notInclude(inspect(error, { depth: 20 }) + JSON.stringify(error), "SECRET")
      assert.notInclude(inspect((yield* read(env)).credentials, { depth: 20 }), "SECRET")
    })
  )

  it.effect("takes a Config for each option that is not fixed", () =>
    Effect.gen(function* () {
      const layer = GrpcConfig.layerConfig({
        target: Config.String("WHERE"),
        credentials: Config.succeed(Credentials.insecure),
        connections: { max: Config.Int("MOST") }
      })
      const error = yield* Layer.build(layer).pipe(
        Effect.provideService(
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromEnv({ env: { WHERE: "ipv4:127.0.0.1:1", MOST: "1000" } })
        ),
        Effect.scoped,
        Effect.flip
      )
      assert.strictEqual(error._tag === "OptionsError" && error.issues[0]?.path, "connections.max")
    })
  )

  it.effect("says what is wrong with a service config, together with everything else", () =>
    Effect.gen(function* () {
      const error = yield* failure({ G_TARGET: "greeter:99999", G_SERVICE_CONFIG: '{"retryPolicy":{}}' })
      const issues = error._tag === "OptionsError" ? error.issues : []
      assert.deepStrictEqual(issues.map((issue) => issue.path).sort(), ["serviceConfig.retryPolicy", "target"])
    })
  )

  describe("names that nobody reads", () => {
    const issues = (prefix: string, provider: ConfigProvider.ConfigProvider) =>
      Layer.build(GrpcConfig.layerConfig(GrpcConfig.fromPrefix(prefix))).pipe(
        Effect.provideService(ConfigProvider.ConfigProvider, provider),
        Effect.scoped,
        Effect.flip,
        Effect.map((error) => (error._tag === "OptionsError" ? error.issues : [])),
        Effect.map((issues) => issues.map(({ path, rule }) => [path, /did you mean (\S+)\?/.exec(rule)?.[1]]))
      )
    const env = (env: Record<string, string>) => ConfigProvider.fromEnv({ env })

    it.effect("are listed with what they may be meant for, and with everything else that is wrong", () =>
      Effect.gen(function* () {
        const names = {
          G_TARGET: "greeter:99999",
          G_CONECTIONS_MAX: "8",
          G_DEADLIN: "1 second",
          G_RETRIES: "3",
          G_TLS_KEYS: "s3cret",
          G_COLOUR: "red",
          OTHER_COLOUR: "red",
          GG_COLOUR: "red"
        }
        assert.deepStrictEqual((yield* issues("G", env(names))).toSorted(), [
          ["G_COLOUR", undefined],
          ["G_CONECTIONS_MAX", "G_CONNECTIONS_MAX"],
          ["G_DEADLIN", "G_DEADLINE"],
          ["G_RETRIES", undefined],
          ["G_TLS_KEYS", "G_TLS_KEY"],
          ["target", undefined]
        ])
        assert.notInclude(inspect(yield* failure(names), { depth: 20 }), "s3cret")
      })
    )

    it.effect("are found under a prefix of several words, and under other prefixes", () =>
      Effect.gen(function* () {
        const names = { APP_MY_GREETER_TARGET: "greeter:1", APP_MY_GREETER_TRAGET: "greeter:1" }
        const error = yield* Layer.build(
          GrpcConfig.layerConfig(Config.nested(GrpcConfig.fromPrefix("MY_GREETER"), "APP"))
        ).pipe(Effect.provideService(ConfigProvider.ConfigProvider, env(names)), Effect.scoped, Effect.flip)
        const found = error._tag === "OptionsError" ? error.issues.map(({ path }) => path) : []
        assert.deepStrictEqual(found, ["MY_GREETER_TRAGET"])
      })
    )

    it.effect("are found in providers of objects, too", () =>
      Effect.gen(function* () {
        const object = ConfigProvider.fromUnknown({ G: { TARGET: "greeter:1", RETRI: 3, EXTRA: { DEEP: true } } })
        assert.deepStrictEqual(yield* issues("G", object), [
          ["G_RETRI", "G_RETRY"],
          ["G_EXTRA_DEEP", undefined]
        ])
      })
    )

    it.effect("are not those of Kubernetes, whose services may be called like the prefix", () =>
      Effect.gen(function* () {
        const options = yield* read({
          G_TARGET: "greeter:1",
          G_SERVICE_HOST: "10.0.0.1",
          G_SERVICE_PORT: "50051",
          G_SERVICE_PORT_GRPC: "50051",
          G_PORT: "tcp://10.0.0.1:50051",
          G_PORT_50051_TCP: "tcp://10.0.0.1:50051",
          G_PORT_50051_TCP_ADDR: "10.0.0.1"
        })
        assert.lengthOf(Object.getOwnPropertySymbols(options), 0)
      })
    )

    it.effect("survive Config.map and spreads, as code adds options of its own", () =>
      Effect.gen(function* () {
        const config = Config.map(GrpcConfig.fromPrefix("G"), (read) => ({ ...read, userAgent: "shop/2" }))
        const error = yield* Layer.build(GrpcConfig.layerConfig(config)).pipe(
          Effect.provideService(ConfigProvider.ConfigProvider, env({ G_TARGET: "greeter:1", G_RETRYY: "3" })),
          Effect.scoped,
          Effect.flip
        )
        assert.deepStrictEqual(error._tag === "OptionsError" && error.issues.map(({ path }) => path), ["G_RETRYY"])
      })
    )
  })
})
