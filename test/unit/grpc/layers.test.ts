/** Every part of the stack that concerns calls has a layer form, over any channel: `Layer<Channel, never, Channel>`. */
import { assert, describe, it } from "@effect/vitest"
import {
  Auth,
  Breaker,
  CallLog,
  CallMetrics,
  CallTracing,
  Channel,
  Deadline,
  Fallback,
  Hedge,
  Metadata,
  RateLimit,
  RequestId,
  Retry,
  RichError,
  WaitForReady
} from "@hawser/grpc"
import * as ServiceConfig from "@hawser/grpc/ServiceConfig"
import { TestChannel } from "@hawser/testing"
import { Effect, Layer, Metric, Redacted, Stream } from "effect"
import { call, method } from "../../support/channels.ts"

const { path } = method()
const base = TestChannel.layer({ [path]: (name: string) => Effect.succeed(`hello ${name}`) })
const other = Channel.make({
  unary: () => Effect.never,
  stream: () =>
    Effect.succeed({
      messages: Stream.empty,
      headers: Metadata.empty,
      trailers: Effect.succeed(Metadata.empty),
      connection: "other#1"
    })
})

const layers: Readonly<Record<string, Layer.Layer<Channel.Channel, never, Channel.Channel>>> = {
  Auth: Auth.layer(Auth.make({ token: Effect.succeed({ token: Redacted.make("t") }), allowInsecure: true })),
  Breaker: Breaker.layer(),
  CallLog: CallLog.layer(),
  CallMetrics: CallMetrics.layer("greeter"),
  CallTracing: CallTracing.layer(),
  Deadline: Deadline.layer("1 second"),
  Fallback: Fallback.layer(Fallback.to(other)),
  Hedge: Hedge.layer(Hedge.make({ delay: "1 second" })),
  RateLimit: RateLimit.layer(RateLimit.make({ perSecond: 100 })),
  RequestId: RequestId.layer(),
  Retry: Retry.layer(),
  RichError: RichError.layer,
  ServiceConfig: ServiceConfig.layer(ServiceConfig.make({ methodConfig: [{ name: [{}], timeout: "1s" }] })),
  WaitForReady: WaitForReady.layer(),
  "one of your own": Channel.layerMiddleware((self) =>
    Channel.intercept(self, (call, next) => next({ ...call, priority: 2 }))
  )
}

const answer = Effect.flatMap(Channel.Channel, (channel) => channel.unary(call({ idempotency: "Idempotent" })))

describe("middleware as a layer", () => {
  it.effect.each(Object.entries(layers))("%s goes over a channel", ([, layer]) =>
    Effect.gen(function* () {
      const { message } = yield* Effect.provide(answer, Layer.provide(layer, base))
      assert.strictEqual(message, "hello ada")
    })
  )

  it.effect("all of them go over one another", () =>
    Effect.gen(function* () {
      let whole: Layer.Layer<Channel.Channel> = base
      for (const layer of Object.values(layers)) whole = Layer.provide(layer, whole)
      const { message } = yield* Effect.provide(answer, whole)
      assert.strictEqual(message, "hello ada")
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})
