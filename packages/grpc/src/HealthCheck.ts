/**
 * Health checks of gRPC servers, for the `health` slot of `Grpc.layer` and as layers.
 *
 * `watch` is the health checking of gRFC A17, `poll` asks with Check. Both ask on each connection, beside the calls: they
 * wait in no queue, and no metric of calls counts them.
 */
import * as Backoff from "@hawser/core/Backoff"
import * as Health from "@hawser/core/Health"
import { Issues } from "@hawser/core/OptionsError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type { Connection } from "./Connection.ts"
import * as Deadline from "./Deadline.ts"
import { maxServiceLength } from "./HealthMessages.ts"
import * as Probe from "./HealthProbe.ts"
import * as Watch from "./HealthWatch.ts"

/**
 * The health check of layers whose options name none.
 *
 * **When to use**: by `layerWatch` and `layerPoll`. A `health` in the options wins; `health: false` is none.
 *
 * **Gotchas**: read when `Grpc.layer` is built. Provide it to that layer, or outside it.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { HealthCheck } from "@hawser/grpc"
 *
 * await Effect.runPromise(Effect.map(HealthCheck.HealthCheck, (health) => health)) // => false
 * const program = Effect.map(HealthCheck.HealthCheck, (health) => health !== false && health.name)
 * await Effect.runPromise(Effect.provide(program, HealthCheck.layerWatch("orders.Orders"))) // => "watch orders.Orders"
 * ```
 */
export const HealthCheck: Context.Reference<Health.Health<Connection> | false> = Context.Reference<
  Health.Health<Connection> | false
>("hawser/HealthCheck", { defaultValue: () => false })

/** How `watch` asks. */
export interface WatchOptions {
  /** Between Watches that came to nothing. Default `Backoff.connection`: 1 s × 1.6, ±20 %, up to 120 s (grpc-go). */
  readonly backoff?: Schedule.Schedule<unknown> | undefined
  /**
   * Until the first answer of a Watch; then it has failed, and is begun anew. 1 ms to a day. Default 5 s. A17 has no such
   * limit: there, a Watch that hangs keeps its connection out for ever.
   */
  readonly within?: Duration.Input | undefined
  /** Between Checks, where the server allows one stream only. Default `Health.every10s`. */
  readonly every?: Schedule.Schedule<unknown> | undefined
}

/**
 * Watches a service on each connection, as gRFC A17 has it. `""` is the server as a whole.
 *
 * **When to use**: where servers have the health service with Watch: those of grpc-go, grpc-java, C++ and Python have it.
 * Servers without any are taken for healthy.
 *
 * **Details**: a connection is Connecting until the first answer. SERVING makes it Ready, anything else takes it out without
 * closing it. With UNIMPLEMENTED it is Ready and not asked again, which is logged once and is an event. Other ends of a Watch take it
 * out until it is asked anew: after the backoff, or at once where the Watch had been answered. Its stream is one less for
 * calls. Where only one is allowed, Check takes turns with calls. Credentials are those of the layer's `auth`. Throws an
 * `OptionsError` for options out of bounds.
 *
 * **Gotchas**: A17 has pick first, and with it every target of one address, unchecked. Here what is named is done: with one
 * endpoint that is NOT_SERVING, calls fail, with the reason.
 *
 * **Example** (A server that is leaving)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Client, Credentials, Grpc, HealthCheck } from "@hawser/grpc"
 * import { TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService) {}
 *
 * const addresses = ["10.0.0.1:50051", "10.0.0.2:50051"] as const
 * const handlers = { sayHello: () => Effect.succeed({ text: "Hello!" }) }
 * const layer = Greeter.layer.pipe(
 *   Layer.provideMerge(Grpc.layer({
 *     target: `ipv4:${addresses}`,
 *     credentials: Credentials.insecure,
 *     health: HealthCheck.watch("demo.Greeter")
 *   })),
 *   Layer.provideMerge(TestNetwork.layerService(GreeterService, handlers, { addresses }))
 * )
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Grpc.GrpcCluster
 *   yield* cluster.awaitReady(2)
 *   const leaving = yield* TestNetwork.server(addresses[0])
 *   const staying = yield* TestNetwork.server(addresses[1])
 *   leaving.health.set("demo.Greeter", "NotServing")
 *   yield* TestNetwork.settle
 *   yield* Effect.repeat(Greeter.use((greeter) => greeter.sayHello({ name: "Ada" })), { times: 9 })
 *   return [leaving.seen.completed, staying.seen.completed, (yield* cluster.snapshot).health]
 * })
 * await Effect.runPromise(Effect.provide(program, layer))
 * // => [0, 10, { total: 2, healthy: 1, unhealthy: 1, unknown: 0 }]
 * ```
 */
export const watch = (service = "", options: WatchOptions = {}): Health.Health<Connection> => {
  const { backoff = Backoff.connection, every = Health.every10s, within = 5_000 } = options
  const withinMillis = Deadline.millisOf(within)
  const issues = new Issues()
  checkService(issues, service)
  issues.check(withinMillis >= 1 && withinMillis <= 86_400_000, "within", "a duration from 1 ms to a day", within)
  issues.check(Schedule.isSchedule(backoff), "backoff", "a Schedule", backoff)
  issues.check(Schedule.isSchedule(every), "every", "a Schedule", every)
  issues.throwIfAny()
  return watching({ service, backoff, every, withinMillis })
}

const watching = (policy: Watch.WatchPolicy): Health.Health<Connection> => {
  const { service, withinMillis } = policy
  return Health.make<Connection>({
    name: named("watch", service),
    // The Watch says so itself, a moment before; waiting for a free stream is not the server's fault alone.
    within: Math.min(86_400_000, withinMillis * 2),
    open: (target) => {
      const unsupported = Probe.unsupported(target)
      return (subject) => Watch.run(subject, policy, unsupported)
    }
  })
}

/**
 * What a service config asks for: its `healthCheckConfig`, as `watch`.
 *
 * **Details**: A17: nothing without a name of a service, which may be `""`; and nothing where the config asks for pick first.
 *
 * ```ts import.meta.vitest
 * import { HealthCheck } from "@hawser/grpc"
 * import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
 *
 * const healthCheckConfig = { serviceName: "shop" }
 * HealthCheck.fromServiceConfig(ServiceConfig.make({ healthCheckConfig }))?.name // => "watch shop"
 * const loadBalancingConfig = [{ pick_first: {} }]
 * HealthCheck.fromServiceConfig(ServiceConfig.make({ healthCheckConfig, loadBalancingConfig })) // => undefined
 * ```
 */
export const fromServiceConfig = (config: {
  readonly healthCheck: { readonly serviceName: string | undefined } | undefined
  readonly balancing: { readonly policy: { readonly name: string } } | undefined
}): Health.Health<Connection> | undefined => {
  const service = config.healthCheck?.serviceName
  if (service === undefined || config.balancing?.policy.name === "pick_first") return undefined
  return watching({ service, backoff: Backoff.connection, every: Health.every10s, withinMillis: 5_000 })
}

/** How `poll` asks. */
export interface PollOptions extends Health.Thresholds {
  /** Until one answer counts as a bad one; 1 ms to a day. Default 1 s (Kubernetes). */
  readonly timeout?: Duration.Input | undefined
}

/**
 * Asks for a service by Check on each connection, again and again. `""` is the server as a whole.
 *
 * **When to use**: where servers don't have Watch, or something between them and you ends streams that are quiet.
 *
 * **Details**: SERVING is good; any other answer, NOT_FOUND and other failures are bad. The first answer decides, then
 * `healthyAfter` (1) or `unhealthyAfter` (3) in a row. With UNIMPLEMENTED the connection is healthy and not asked again, which is
 * logged once and is an event. Each Check takes a stream for as long as it lasts, ahead of calls. Throws an `OptionsError` for
 * options out of bounds.
 *
 * **Example** (A server that has lost its database)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer, Schedule } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Credentials, Grpc, HealthCheck } from "@hawser/grpc"
 * import { TestNetwork } from "@hawser/testing"
 * import { GreeterService } from "./generated/greeter.ts"
 *
 * const addresses = ["10.0.0.1:50051"] as const
 * const handlers = { sayHello: () => Effect.succeed({ text: "Hello!" }) }
 * const every2s = Schedule.jittered(Schedule.spaced("2 seconds"))
 * const layer = Grpc.layer({
 *   target: `ipv4:${addresses}`,
 *   credentials: Credentials.insecure,
 *   health: HealthCheck.poll("demo.Greeter", every2s, { unhealthyAfter: 2 })
 * }).pipe(
 *   Layer.provideMerge(TestNetwork.layerService(GreeterService, handlers, { addresses })),
 *   Layer.provideMerge(TestClock.layer())
 * )
 * const program = Effect.gen(function*() {
 *   const cluster = yield* Grpc.GrpcCluster
 *   yield* cluster.awaitReady()
 *   const server = yield* TestNetwork.server(addresses[0])
 *   server.health.set("demo.Greeter", "NotServing")
 *   yield* TestClock.adjust("5 seconds")
 *   return (yield* Effect.flip(cluster.use(() => Effect.void))).message
 * })
 * await Effect.runPromise(Effect.provide(program, layer)) // => "Unhealthy: NOT_SERVING (10.0.0.1:50051)"
 * ```
 */
export const poll = (
  service = "",
  schedule: Schedule.Schedule<unknown> = Health.every10s,
  options: PollOptions = {}
): Health.Health<Connection> => {
  const issues = new Issues()
  checkService(issues, service)
  issues.throwIfAny()
  const { healthyAfter, timeout = 1_000, unhealthyAfter } = options
  const withinMillis = Deadline.millisOf(timeout)
  const polled = (unsupported: () => Effect.Effect<Health.Verdict>) =>
    Health.polled<Connection>({
      name: named("check", service),
      schedule,
      healthyAfter,
      unhealthyAfter,
      timeout,
      ask: (subject) =>
        Effect.flatMap(Probe.channelOf(subject), (channel) => Watch.check(channel, service, withinMillis, unsupported))
    })
  return { ...polled(() => Effect.never), open: (target) => polled(Probe.unsupported(target)).open(target) }
}

/**
 * `watch` for all layers below that name no health check of their own.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Credentials, Grpc, HealthCheck } from "@hawser/grpc"
 * import { TestNetwork } from "@hawser/testing"
 * import { HealthService } from "@hawser/testing/Health"
 *
 * const addresses = ["10.0.0.1:50051"] as const
 * const layer = Grpc.layer({ target: `ipv4:${addresses}`, credentials: Credentials.insecure }).pipe(
 *   Layer.provide(HealthCheck.layerWatch("no.such.Service")),
 *   Layer.provide(TestNetwork.layerService(HealthService, {}, { addresses }))
 * )
 * const program = Grpc.GrpcCluster.use((cluster) => Effect.flip(cluster.use(() => Effect.void)))
 * const error = await Effect.runPromise(Effect.provide(program, layer))
 * error.message // => "Unhealthy: SERVICE_UNKNOWN (10.0.0.1:50051)"
 * ```
 */
export const layerWatch = (service?: string | undefined, options?: WatchOptions | undefined): Layer.Layer<never> =>
  Layer.succeed(HealthCheck, watch(service, options))

/**
 * `poll` for all layers below that name no health check of their own.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { HealthCheck } from "@hawser/grpc"
 *
 * const program = Effect.map(HealthCheck.HealthCheck, (health) => health !== false && health.name)
 * await Effect.runPromise(Effect.provide(program, HealthCheck.layerPoll("orders.Orders"))) // => "check orders.Orders"
 * ```
 */
export const layerPoll = (
  service?: string | undefined,
  schedule?: Schedule.Schedule<unknown> | undefined,
  options?: PollOptions | undefined
): Layer.Layer<never> => Layer.succeed(HealthCheck, poll(service, schedule, options))

const checkService = (issues: Issues, service: unknown): void => {
  const ok = typeof service === "string" && service.length <= maxServiceLength
  issues.check(ok, "service", `the name of a service, or "" for the whole server`, service)
}

const named = (how: string, service: string): string => (service === "" ? how : `${how} ${service}`)
