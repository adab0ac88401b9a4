/**
 * The assembled default: everything between "I have a service definition" and "my calls end well".
 *
 * One layer value is one pool of connections: bind it to a constant; calling `layer` twice makes two. Closing the layer's
 * scope drains it.
 *
 * **The order of the stack**, outermost first:
 *
 * | part | why here |
 * |---|---|
 * | call metrics | see the whole call: every attempt, every wait |
 * | call span | the same, as a span; only where a tracer records |
 * | `perCall` | yours; sees calls, may change their deadline |
 * | deadline | above retry, so that one deadline spans all attempts and the waits between them; a service config's timeouts and `waitForReady` beside it |
 * | breaker | off by default; judges what is left after retries |
 * | retry xor hedge | above everything that concerns one attempt |
 * | auth | a token for each attempt: a second one may have a new token |
 * | `perAttempt` | yours; sees attempts |
 * | attempt metrics | count what is really sent |
 * | attempt span | what servers are told of |
 * | plaintext guard | last word: no token leaves in plaintext |
 * | bridge | queue, permit and wire in one step |
 * | cluster | queue → balancer → pool → subchannel → connector; late, so that no call is bound before there is a permit |
 */
import * as Cluster from "@hawser/core/Cluster"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { OptionsError } from "@hawser/core/OptionsError"
import type { RetryBudget } from "@hawser/core/RetryBudget"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Bridge from "./Bridge.ts"
import * as CallMetrics from "./CallMetrics.ts"
import * as Auth from "./Auth.ts"
import * as Breaker from "./Breaker.ts"
import type { BridgeOptions } from "./BridgeCall.ts"
import { none } from "./Call.ts"
import * as CallTracing from "./CallTracing.ts"
import { Channel } from "./Channel.ts"
import type { Connection } from "./Connection.ts"
import * as Credentials from "./Credentials.ts"
import * as Deadline from "./Deadline.ts"
import type { GrpcBareOptions, GrpcOptions } from "./GrpcOptions.ts"
import type { Decoded, DecodedBare } from "./Decoded.ts"
import { HealthCheck } from "./HealthCheck.ts"
import { Through } from "./HealthProbe.ts"
import { resending } from "./Resending.ts"
import { RetryPlan } from "./RetryPlan.ts"
import type { Policies } from "./ServiceConfigMiddleware.ts"
import * as StackCall from "./StackCall.ts"
import { Transport } from "./Transport.ts"
import { version } from "./Version.ts"

/** The cluster below a channel: snapshot, events, `awaitReady`, drain. */
export interface GrpcCluster extends Cluster.Cluster<Connection, ConnectError> {}

/**
 * The cluster below the channel, provided by `layer` and `layerBare`.
 *
 * **When to use**: for what concerns connections and not calls: a readiness probe (`awaitReady`), a status page
 * (`snapshot`), a log (`events`).
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Grpc } from "@hawser/grpc"
 *
 * // With `min: 0` nothing is dialled before the first call.
 * const layer = Grpc.layer({ target: "ipv4:127.0.0.1:50051,127.0.0.2:50051", connections: { min: 0 } })
 * const program = Grpc.GrpcCluster.use((cluster) => cluster.snapshot).pipe(Effect.provide(layer))
 * const { root, waiting } = await Effect.runPromise(program)
 * const endpoints = root.children.map((endpoint) => [endpoint.name, endpoint.connectivity])
 * endpoints // => [["127.0.0.1:50051", "Idle"], ["127.0.0.2:50051", "Idle"]]
 * waiting // => 0
 * ```
 */
export const GrpcCluster: Context.Service<GrpcCluster, GrpcCluster> = Context.Service<GrpcCluster, GrpcCluster>(
  "hawser/GrpcCluster"
)

/**
 * A channel to a target, with the whole default stack.
 *
 * **When to use**: once per target, bound to a constant, provided to the clients of that target.
 *
 * **Details**: TLS unless `credentials` says `Credentials.insecure`. The layer is built without waiting for a
 * connection; calls wait for one, within their deadline. `Transport`, `DnsService`, `Events`, `Clock` and `Random` are read when the
 * layer is built. It fails with an `OptionsError` that lists everything that is wrong, before any socket opens.
 *
 * **Gotchas**: built twice, it is two pools. One layer value provided to many clients is one.
 *
 * **Example** (Options are checked all at once)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Grpc } from "@hawser/grpc"
 *
 * const broken = Grpc.layer({ target: "dns:///greeter:99999", connections: { min: 9, max: 3 }, deadline: NaN })
 * const error = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(broken))))
 * error.issues.map((issue) => issue.path).sort() // => ["connections.max", "deadline", "target"]
 * ```
 */
export const layer = (options: GrpcOptions): Layer.Layer<Channel | GrpcCluster, OptionsError> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const Options = yield* Effect.promise(() => import("./Options.ts"))
      const decoded = yield* Options.decode(options)
      const authenticate = decoded.auth === false ? same : Auth.intercept(decoded.auth)
      const { bare, bridge, cluster } = yield* connect(decoded, authenticate)
      const context = yield* Effect.context<never>()
      const { name } = decoded.target
      const metrics = CallMetrics.make(name, context)
      const { auth, breaker, credentials, deadlineMillis, given, hedge, perAttempt, perCall, sizes, tracing } = decoded
      const config = yield* configured(decoded)
      let channel: Channel = config === undefined ? bare : config.explained(bare)
      if (tracing !== false) channel = CallTracing.perAttempt(tracing)(channel)
      const attempts = CallMetrics.perAttempt(metrics)(channel)
      channel = perAttempt === undefined ? attempts : perAttempt(attempts)
      const { resent, retry } = yield* resending(authenticate(channel), decoded, config?.policies)
      channel = resent
      if (breaker !== false) channel = yield* Breaker.withGauge(channel, breaker, name)
      // A default that was not asked for gives way to the timeouts of the config; one that was is one more bound.
      if (config !== undefined && given.deadline) channel = config.prepare(sizes)(channel)
      channel = Deadline.withDefault(channel, deadlineMillis === Infinity ? none : deadlineMillis)
      if (config !== undefined && !given.deadline) channel = config.prepare(sizes)(channel)
      if (perCall !== undefined) channel = perCall(channel)
      if (tracing !== false) channel = CallTracing.perCall(tracing)(channel)
      channel = CallMetrics.perCall(metrics)(channel)
      // Whatever is added to the stack above and is not in `StackCall` belongs into this list.
      const isPlain = perCall === undefined && perAttempt === undefined && config === undefined
      if (isPlain && auth === false && breaker === false && hedge === false) {
        channel = StackCall.make({
          bridge,
          metrics,
          propagation: tracing === false ? undefined : tracing.propagation,
          deadlineMillis,
          retry: retry === false ? undefined : new RetryPlan(retry),
          isPlaintext: Credentials.isInsecure(credentials),
          attempts,
          layered: channel
        })
      }
      return both(channel, cluster)
    })
  )

/** A service config as the parts of a stack. Loaded on demand: `effect/Schema` is behind it. */
const configured = ({ serviceConfig }: Decoded): Effect.Effect<Configured | undefined> => {
  if (serviceConfig === undefined) return Effect.undefined
  const { forMethod } = serviceConfig
  return Effect.map(
    Effect.promise(() => Promise.all([import("./ServiceConfigMiddleware.ts"), import("./ServiceConfigLimits.ts")])),
    ([Middleware, Limits]) => ({
      policies: (budget) => Middleware.policies(serviceConfig, forMethod, budget),
      explained: Limits.explained,
      prepare: (sizes) => (self) => Middleware.prepare(forMethod, self, sizes)
    })
  )
}

interface Configured {
  readonly policies: (budget: RetryBudget) => Policies
  readonly explained: (self: Channel) => Channel
  readonly prepare: (sizes: Decoded["sizes"]) => (self: Channel) => Channel
}

/**
 * Bridge and cluster only: no deadline, no retry, no metrics of calls.
 *
 * **When to use**: to put a stack of your own on it, from `Retry.layer`, `Channel.layerMiddleware` and the like.
 *
 * **Gotchas**: without a deadline a call to a peer that never answers never ends, and `Deadline.within` is not heard:
 * `Deadline.withDefault` is what listens to it.
 *
 * **Example** (A stack of your own)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Call, Channel, Deadline, Grpc, Retry } from "@hawser/grpc"
 *
 * const stack = Channel.layerMiddleware((bare) =>
 *   bare.pipe(Retry.intercept(Retry.make({ maxAttempts: 2 })), Deadline.withDefault("2 seconds"))
 * )
 * const layer = Layer.provide(stack, Grpc.layerBare({ target: "dns:///greeter:50051", connections: { min: 0 } }))
 *
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const late = Channel.Channel.use((channel) => channel.unary(call)).pipe(Deadline.within(0), Effect.flip)
 * const error = await Effect.runPromise(Effect.provide(late, layer))
 * error.message // => "/demo.Greeter/SayHello: DeadlineExceeded Deadline passed before the call was sent (NotSent)"
 * ```
 */
export const layerBare = (options: GrpcBareOptions): Layer.Layer<Channel | GrpcCluster, OptionsError> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const Options = yield* Effect.promise(() => import("./Options.ts"))
      const { bare, cluster } = yield* connect(yield* Options.decodeBare(options), same)
      return both(bare, cluster)
    })
  )

const same = (channel: Channel): Channel => channel

const both = (channel: Channel, cluster: GrpcCluster): Context.Context<Channel | GrpcCluster> =>
  Context.add(Context.make(Channel, channel), GrpcCluster, cluster)

interface Connected {
  readonly bare: Channel
  readonly bridge: BridgeOptions
  readonly cluster: GrpcCluster
}

const connect = (
  options: DecodedBare,
  authenticate: (channel: Channel) => Channel
): Effect.Effect<Connected, OptionsError, Scope.Scope> =>
  Effect.gen(function* () {
    const transport = yield* Transport
    const clock = yield* Clock.Clock
    const { authority, connections, credentials, maxReceiveBytes, maxSendBytes, queue, silence, userAgent } = options
    const keepalive =
      options.keepalive === false
        ? undefined
        : {
            timeMillis: options.keepalive.timeMillis,
            timeoutMillis: options.keepalive.timeoutMillis,
            withoutCalls: options.keepalive.withoutCalls
          }
    const ours = `hawser/${version}`
    const guarded = (bridge: Channel) => (Credentials.isInsecure(credentials) ? Auth.plaintext(bridge) : bridge)
    const { health = yield* HealthCheck } = options
    const cluster = yield* Cluster.make<Connection>({
      target: options.target.name,
      endpoints: options.endpoints,
      connector: yield* transport.connector({
        credentials,
        authority,
        maxReceiveBytes,
        proxy: options.proxy,
        compression: options.compression,
        flowControlWindow: options.flowControlWindow,
        keepalive,
        userAgent: userAgent === undefined ? ours : `${userAgent} ${ours}`
      }),
      policy: options.balancer,
      slowStart: options.slowStart,
      min: connections.min,
      max: connections.max,
      maxAge: connections.maxAgeMillis,
      l4: options.l4,
      maxStreams: connections.streamsPerConnection,
      connectTimeout: connections.connectTimeoutMillis,
      reconnect: options.reconnect,
      maxWaiters: queue.max,
      maxWait: queue.timeoutMillis,
      outlier: options.outlier,
      silence: silence === false ? false : { atLeast: silence.atLeastMillis },
      keepalive:
        keepalive === undefined
          ? false
          : { time: keepalive.timeMillis, timeout: keepalive.timeoutMillis, withoutCalls: keepalive.withoutCalls },
      health,
      drain: options.drainMillis
    }).pipe(Effect.provideService(Through, (bridge: Channel) => authenticate(guarded(bridge))))
    const now = () => monotonicMillis(clock)
    const { reports } = options.balancer
    const { borrowUnsafe, stalledUnsafe } = cluster
    const bridge: BridgeOptions = { borrowUnsafe, maxSendBytes, now, reports, stalled: stalledUnsafe }
    return { bare: guarded(Bridge.make(bridge)), bridge, cluster }
  })
