/** A service config in its slot of `Grpc.layer`: the whole default stack, over the network in memory. */
import { assert, describe, it } from "@effect/vitest"
import { RetryBudget, RoundRobin } from "@hawser/core"
import { type Call, Deadline, Hedge, Retry, RpcError } from "@hawser/grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import { decode } from "@hawser/grpc/Options"
import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
import type { Status } from "@hawser/testing/Handler"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { type Duration, Effect, Fiber, Metric, Random } from "effect"
import { TestClock } from "effect/testing"
import { Echo, echo, one, two } from "../../support/testing/echo.ts"

const middle = { nextDoubleUnsafe: () => 0.5, nextIntUnsafe: () => 0 }
const settle = Effect.repeat(TestClock.adjust(0), { times: 20 })

const say = { service: "test.Echo", method: "Say" }
const retryPolicy = {
  maxAttempts: 4,
  initialBackoff: "0.1s",
  maxBackoff: "0.1s",
  backoffMultiplier: 1,
  retryableStatusCodes: ["ABORTED"]
}
const hedgingPolicy = { maxAttempts: 3, hedgingDelay: "0.1s", nonFatalStatusCodes: ["ABORTED"] }
const config = (settings: object, more: object = {}) =>
  ServiceConfig.make({ methodConfig: [{ name: [say], ...settings }], ...more })

interface Setting {
  readonly options?: Partial<GrpcOptions>
  readonly call?: Call.CallOptions
  readonly millis?: number
  readonly fails?: Status | undefined
  readonly text?: string
  readonly patience?: Duration.Input
}

/** One call of a method that the config names, to two servers. */
const run = (serviceConfig: GrpcOptions["serviceConfig"], setting: Setting = {}) => {
  const { fails, millis = 0, options, patience = "1 minute", text = "ada" } = setting
  const seen: Array<{ readonly attempt: number; readonly left: number }> = []
  const handler = (text: string, { attempt, deadline = Infinity }: Call.Call<unknown, unknown>) =>
    Effect.gen(function* () {
      const now = (yield* Effect.clockWith((clock) => clock.monotonicTimeNanos)) / 1_000_000n
      seen.push({ attempt, left: Math.round(deadline - Number(now)) })
      if (millis === Infinity) return yield* Effect.never
      if (millis > 0) yield* Effect.sleep(millis)
      return fails === undefined ? text : yield* Effect.fail(fails)
    })
  return Effect.gen(function* () {
    const client = yield* Echo
    const fiber = yield* Effect.forkChild(Effect.result(client.say(text, setting.call)))
    yield* settle
    yield* TestClock.adjust(patience)
    const result = yield* Fiber.join(fiber)
    const { servers } = yield* TestNetwork.TestNetwork
    return {
      seen,
      shares: [one, two].map((address) => servers.get(address)!.seen),
      error: result._tag === "Failure" ? result.failure : undefined,
      gauges: (yield* Metric.snapshot).filter(({ id }) => id === "hawser.retry.budget.balance").length
    }
  }).pipe(
    Effect.provide(
      echo({ say: handler }, { addresses: [one, two] }, {
        target: `ipv4:${one},${two}`,
        retry: undefined,
        serviceConfig,
        ...options
      } as Partial<GrpcOptions>)
    ),
    Effect.provideService(Random.Random, middle),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )
}

const aborted: Status = { _tag: "Aborted" }

describe("a service config in its slot", () => {
  it.effect("retries as it says, where no retry is given, and all of it spends the budget of the client", () =>
    Effect.gen(function* () {
      const { error, gauges, seen } = yield* run(config({ retryPolicy }), { fails: aborted })
      assert.lengthOf(seen, 4)
      assert.strictEqual(error?.attempts, 4)
      assert.strictEqual(gauges, 1)
      const budget = RetryBudget.make({ ratio: 0, minPerSecond: 0.1, windowSeconds: 10 })
      const hedge = Hedge.make({ delay: "10 seconds", budget })
      const poor = yield* run(config({ retryPolicy }), { fails: aborted, options: { hedge } })
      assert.lengthOf(poor.seen, 2)
      assert.include(poor.error?.reason.details, "retry budget is empty")
    })
  )

  it.effect("leaves methods that it does not name to the default", () =>
    Effect.gen(function* () {
      const other = ServiceConfig.make({ methodConfig: [{ name: [{ service: "test.Other" }], retryPolicy }] })
      assert.lengthOf((yield* run(other, { fails: aborted })).seen, 1)
      const { seen } = yield* run(config({ timeout: "9s" }), { fails: { _tag: "Unavailable" } })
      // Not idempotent: the default does not send it again.
      assert.lengthOf(seen, 1)
    })
  )

  it.effect.each([
    ["false", false as const, 1],
    ["a policy", Retry.make({ maxAttempts: 2, resendable: true, retryable: () => true }), 2]
  ] as const)("gives way to a retry that is %s", ([, retry, attempts]) =>
    Effect.gen(function* () {
      assert.lengthOf((yield* run(config({ retryPolicy }), { fails: aborted, options: { retry } })).seen, attempts)
    })
  )

  it.effect("hedges as it says, where no hedge is given", () =>
    Effect.gen(function* () {
      const hedged = config({ hedgingPolicy })
      assert.lengthOf((yield* run(hedged, { millis: Infinity })).seen, 3)
      assert.lengthOf((yield* run(hedged, { millis: Infinity, options: { hedge: false } })).seen, 1)
      const hedge = Hedge.make({ delay: "10 millis", resendable: true })
      assert.lengthOf((yield* run(hedged, { millis: Infinity, options: { hedge } })).seen, 2)
      // A switch for retries is none for hedges.
      assert.lengthOf((yield* run(hedged, { millis: Infinity, options: { retry: false } })).seen, 3)
    })
  )

  it.effect("takes the place of the default deadline, and bounds one that is given, and that of the call", () =>
    Effect.gen(function* () {
      const left = (timeout: string, options: Partial<GrpcOptions> = {}, call: Call.CallOptions = {}) =>
        Effect.map(run(config({ timeout }), { options, call }), ({ seen }) => seen[0]!.left)
      assert.strictEqual(yield* left("40s"), 40_000)
      assert.strictEqual(yield* left("2s"), 2_000)
      assert.strictEqual(yield* left("40s", { deadline: "5 seconds" }), 5_000)
      assert.strictEqual(yield* left("2s", { deadline: "5 seconds" }), 2_000)
      assert.strictEqual(yield* left("2s", { deadline: Deadline.none }), 2_000)
      assert.strictEqual(yield* left("40s", {}, { timeout: "3 seconds" }), 3_000)
      assert.strictEqual(yield* left("2s", {}, { timeout: "3 seconds" }), 2_000)
      assert.strictEqual(yield* left("2s", {}, { timeout: Deadline.none }), 2_000)
    })
  )

  it.effect("bounds the sizes of its methods, up to more than the default, and of no others", () =>
    Effect.gen(function* () {
      const mega = "x".repeat(5_000_000)
      const small = yield* run(config({ maxRequestMessageBytes: 2 }))
      assert.deepInclude(small.error?.reason, { _tag: "ResourceExhausted", by: "Us" })
      assert.include(small.error?.reason.details, "maxRequestMessageBytes")
      const answer = yield* run(config({ maxResponseMessageBytes: 2 }))
      assert.deepInclude(answer.error?.reason, { _tag: "ResourceExhausted", by: "Us" })
      const sizes = { maxRequestMessageBytes: 8_000_000, maxResponseMessageBytes: 8_000_000 }
      assert.isUndefined((yield* run(config(sizes), { text: mega })).error)
      const others = ServiceConfig.make({ methodConfig: [{ name: [{ service: "test.Other" }], ...sizes }] })
      const other = yield* run(others, { text: mega })
      assert.deepInclude(other.error?.reason, { _tag: "ResourceExhausted", by: "Us" })
      assert.include(other.error?.reason.details, "maxSendBytes")
      // What the application allows goes before.
      const strict = yield* run(config(sizes), { text: mega, options: { maxSendBytes: 4_000_000 } })
      assert.include(strict.error?.reason.details, "maxSendBytes")
    })
  )

  it.effect("chooses the balancing, where none is given", () =>
    Effect.gen(function* () {
      const decoded = (options: Partial<GrpcOptions>) => decode({ target: "greeter:1", ...options })
      const serviceConfig = ServiceConfig.make({ loadBalancingConfig: [{ grpclb: {} }, { round_robin: {} }] })
      assert.strictEqual((yield* decoded({ serviceConfig })).balancer, RoundRobin.policy)
      const policy = { ...RoundRobin.policy, name: "mine" }
      assert.strictEqual((yield* decoded({ serviceConfig, balancer: policy })).balancer, policy)
    })
  )

  it.effect("chooses the health check, where none is given", () =>
    Effect.gen(function* () {
      const decoded = (options: Partial<GrpcOptions>) => decode({ target: "greeter:1", ...options })
      const serviceConfig = ServiceConfig.make({ healthCheckConfig: { serviceName: "shop" } })
      const { health } = yield* decoded({ serviceConfig })
      assert.strictEqual(health !== false && health?.name, "watch shop")
      assert.strictEqual((yield* decoded({ serviceConfig, health: false })).health, false)
      const none = ServiceConfig.make({ healthCheckConfig: {} })
      assert.isUndefined((yield* decoded({ serviceConfig: none })).health)
    })
  )

  it.effect("may be a text", () =>
    Effect.gen(function* () {
      const text = JSON.stringify({ methodConfig: [{ name: [say], retryPolicy }] })
      assert.lengthOf((yield* run(text, { fails: aborted })).seen, 4)
    })
  )

  it.effect("lets its methods wait for a connection, unless the call says otherwise", () =>
    Effect.gen(function* () {
      const waiting = config({ waitForReady: true, timeout: "2s" })
      const nobody = { target: "ipv4:10.0.0.9:50051" }
      const waits = yield* run(waiting, { options: nobody })
      assert.deepInclude(waits.error?.reason, { _tag: "DeadlineExceeded", phase: "Connecting" })
      const not = yield* run(waiting, { options: nobody, call: { waitForReady: false } })
      assert.strictEqual(not.error?.reason._tag, "Unavailable")
    })
  )

  it.effect("is judged with all other options, its paths under its name", () =>
    Effect.gen(function* () {
      const issues = (serviceConfig: unknown) =>
        Effect.map(
          Effect.flip(decode({ target: "greeter:1", deadline: "soon", serviceConfig } as never)),
          ({ issues }) => issues.map(({ path }) => path).sort()
        )
      assert.deepStrictEqual(yield* issues('{"retryPolicy":{},"methodConfig":[{"name":[{}],"timeout":"1"}]}'), [
        "deadline",
        "serviceConfig.methodConfig[0].timeout",
        "serviceConfig.retryPolicy"
      ])
      assert.deepStrictEqual(yield* issues("{"), ["deadline", "serviceConfig"])
      assert.deepStrictEqual(yield* issues("[]"), ["deadline", "serviceConfig"])
      assert.deepStrictEqual(yield* issues({ methodConfig: [] }), ["deadline", "serviceConfig"])
      assert.deepStrictEqual(yield* issues(false), ["deadline", "serviceConfig"])
    })
  )

  it.effect("has one throttle for all its methods", () =>
    Effect.gen(function* () {
      const throttled = config({ retryPolicy }, { retryThrottling: { maxTokens: 2, tokenRatio: 0.1 } })
      const { error, seen } = yield* run(throttled, { fails: aborted })
      assert.lengthOf(seen, 1)
      assert.isTrue(RpcError.isRpcError(error))
      assert.include(error!.reason.details, "retries are throttled")
    })
  )
})
