import { assert, describe, it } from "@effect/vitest"
import { RetryThrottle } from "@hawser/core"
import { Call, Channel, Deadline, Grpc, Metadata, Retry, RpcError } from "@hawser/grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Context, Effect, Exit, Fiber, Layer, Metric, Option, References, Schedule, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { clientOf, definition, Echo, type EchoHandlers, one } from "../../support/testing/echo.ts"
import { spansTracer } from "../../support/grpc/spans.ts"

type Client = Context.Service.Shape<typeof Echo>
type Say = NonNullable<EchoHandlers["say"]>

/** What a program does, and what everybody saw of it. */
interface Scenario {
  readonly say?: Say
  readonly options?: Partial<GrpcOptions>
  readonly run?: (client: Client) => Effect.Effect<unknown, unknown, Channel.Channel | Grpc.GrpcCluster>
}

const retry = Retry.make({ schedule: Schedule.spaced("1 second"), resendable: true })
const incoming = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
const hidden = Tracer.externalSpan({ ...incoming, annotations: Context.make(Tracer.DisablePropagation, true) })

const fails =
  (times: number, status: Parameters<typeof Effect.fail>[0] = { _tag: "Unavailable" }): (() => Say) =>
  () => {
    let left = times
    return (text) => (left-- > 0 ? (Effect.fail(status) as never) : Effect.succeed(text))
  }

const scenarios: Record<string, Scenario | (() => Scenario)> = {
  "an answer": {},
  "an answer that takes its time": { say: (text) => Effect.as(Effect.sleep("300 millis"), text) },
  "headers, trailers and who answered": { run: (client) => client.say.reply("a") },
  "a failure": { say: () => Effect.fail({ _tag: "NotFound", details: "no such name" }) },
  "a failure that passes": () => ({ say: fails(1)(), options: { retry } }),
  "a failure that does not pass": () => ({ say: fails(9)(), options: { retry } }),
  "a failure without retries": () => ({ say: fails(1)() }),
  "a failure of a method that has no retries": () => ({
    say: fails(1)(),
    options: { retry: Retry.byMethod(() => false, retry) }
  }),
  "attempts with a time of their own": {
    say: (_, { attempt }) => (attempt === 1 ? Effect.never : Effect.succeed("late")),
    options: { retry: Retry.make({ schedule: Schedule.spaced("1 second"), resendable: true, perAttempt: "2 seconds" }) }
  },
  "a throttle": () => ({
    say: fails(1)(),
    options: {
      retry: Retry.a6({
        maxAttempts: 3,
        initialBackoff: "1 second",
        maxBackoff: "1 second",
        backoffMultiplier: 1,
        retryableStatusCodes: ["unavailable"],
        throttle: RetryThrottle.make({ maxTokens: 2, tokenRatio: 0.1 })
      })
    }
  }),
  "an interrupt": {
    say: () => Effect.never,
    run: (client) => Effect.timeoutOption(client.say("a"), "400 millis")
  },
  "an interrupt between two attempts": () => ({
    say: fails(9)(),
    options: { retry },
    run: (client) => Effect.timeoutOption(client.say("a"), "400 millis")
  }),
  "the default deadline": { say: () => Effect.never, options: { deadline: "3 seconds" } },
  "a deadline of its own": { say: () => Effect.never, run: (client) => client.say("a", { timeout: "1 second" }) },
  "no deadline": {
    say: (text) => Effect.as(Effect.sleep("20 seconds"), text),
    run: (client) => client.say("a", { timeout: Deadline.none })
  },
  "an ambient deadline": { say: () => Effect.never, run: (client) => Deadline.within(client.say("a"), "500 millis") },
  "a deadline that has passed": { run: (client) => Deadline.within(client.say("a"), 0) },
  "a deadline that passes between two attempts": () => ({
    say: fails(9)(),
    options: {
      retry: Retry.make({ schedule: Schedule.spaced("1 second"), resendable: true, maxAttempts: 9 }),
      deadline: "1500 millis"
    }
  }),
  "a request that can't be encoded": { run: (client) => client.say(Symbol("a") as never) },
  "a request that is too long": { options: { maxSendBytes: 4 }, run: (client) => client.say("hello") },
  metadata: { run: (client) => client.say("a", { metadata: { traceparent: "old", "x-tenant": "acme" } }) },
  "metadata that can't be sent": {
    run: () =>
      Channel.Channel.use((channel) =>
        channel.unary(
          Call.make(
            { path: "/test.Echo/Say", kind: "unary", idempotency: "Unknown", encode: Buffer.from, decode: String },
            "a",
            { metadata: Metadata.fromRecord({ te: "trailers" }) }
          )
        )
      )
  },
  "a full queue": {
    say: () => Effect.never,
    options: { queue: { max: 0 }, connections: { max: 1, streamsPerConnection: 1 } },
    run: (client) => Effect.raceFirst(client.say("a"), Effect.andThen(Effect.yieldNow, client.say("b")))
  },
  "a drained cluster": {
    run: (client) =>
      Effect.andThen(
        Grpc.GrpcCluster.use((c) => c.drain),
        client.say("a")
      )
  },
  "a trace that came in": { run: (client) => Effect.withParentSpan(client.say("a"), incoming) },
  "a trace that is not to go on": { run: (client) => Effect.withParentSpan(client.say("a"), hidden) },
  "a trace that is not sampled": {
    run: (client) => Effect.withParentSpan(client.say("a"), Tracer.externalSpan({ ...incoming, sampled: false }))
  },
  "a trace that is off": { run: (client) => Effect.withTracerEnabled(client.say("a"), false) },
  "spans with annotations, links and no times": {
    run: (client) =>
      client
        .say("a")
        .pipe(
          Effect.provideService(References.TracerSpanAnnotations, { tenant: "acme" }),
          Effect.provideService(References.TracerSpanLinks, [{ span: incoming, attributes: {} }]),
          Effect.provideService(References.TracerTimingEnabled, false)
        )
  },
  "a trace that servers are not told of": {
    options: { tracing: false },
    run: (c) => Effect.withParentSpan(c.say("a"), incoming)
  }
}

/** Numbers in the place of ids that are made up anew in each run. */
const observed = Effect.fnUntraced(
  function* (scenario: Scenario, extra: Partial<GrpcOptions>, isTraced: boolean) {
    const { spans, tracer } = spansTracer()
    const ids = new Map<string, string>()
    const known = (text: unknown) => String(text).replace(/[0-9a-f]{16,32}/g, (id) => ids.get(id) ?? "unknown")
    const seen: Array<unknown> = []
    const outcome = yield* Effect.gen(function* () {
      yield* TestNetwork.serve(
        definition,
        {
          say: (text, call) => {
            seen.push({ attempt: call.attempt, metadata: [...(call.metadata?.entries ?? [])] })
            return (scenario.say ?? Effect.succeed)(text, call)
          }
        },
        { address: one }
      )
      const services = yield* Layer.build(clientOf({ ...scenario.options, ...extra }))
      const client = Context.get(services, Echo)
      const program = Effect.provide((scenario.run ?? (({ say }) => say("a")))(client), services)
      const begun = yield* Effect.clockWith((clock) => Effect.succeed(clock.currentTimeMillisUnsafe()))
      const fiber = yield* Effect.forkChild(isTraced ? Effect.withTracer(program, tracer) : program)
      for (let i = 0; i < 600 && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust("50 millis")
      const ended = yield* Effect.clockWith((clock) => Effect.succeed(clock.currentTimeMillisUnsafe()))
      return { exit: yield* Fiber.await(fiber), millis: ended - begun }
    }).pipe(Effect.provide(TestNetwork.layer), Effect.scoped, Effect.timeout("5 minutes"))
    spans.forEach((span, i) => {
      ids.set(span.spanId, `span ${i}`)
      if (span.parent._tag === "None") ids.set(span.traceId, `trace ${i}`)
    })
    ids.set(incoming.traceId, "incoming trace").set(incoming.spanId, "incoming span")
    const metrics = (yield* Metric.snapshot).filter(({ id }) => id.startsWith("grpc.") || id.includes("budget"))
    const plain = (value: unknown): unknown => {
      if (!RpcError.isRpcError(value)) return value
      const { cause: _, ...fields } = value as unknown as Record<string, unknown>
      return { ...fields, code: value.code, message: value.message, metadata: String(value.metadata) }
    }
    return {
      millis: outcome.millis,
      exit: Exit.isSuccess(outcome.exit)
        ? known(JSON.stringify(outcome.exit.value))
        : outcome.exit.cause.reasons.map((r) => ("error" in r ? plain(r.error) : r._tag)),
      seen: known(JSON.stringify(seen)),
      metrics: metrics.map(({ attributes, id, state }) => ({ id, attributes, state: JSON.stringify(state) })),
      spans: spans.map(({ attributes, kind, links, name, parent, status }) => ({
        name,
        kind,
        attributes: [...attributes],
        links: links.length,
        parent: Option.match(parent, { onNone: () => "", onSome: ({ spanId }) => known(spanId) }),
        status:
          status._tag === "Ended"
            ? { millis: Number(status.endTime - status.startTime) / 1e6, exit: String(status.exit) }
            : status._tag
      }))
    }
  },
  (effect) => Effect.provideService(effect, Metric.MetricRegistry, new Map())
)

const throughLayers: Partial<GrpcOptions> = { perCall: (channel) => channel }

describe("a unary call through the default stack in one step", () => {
  for (const [name, made] of Object.entries(scenarios)) {
    for (const isTraced of [false, true]) {
      it.effect(`${name}${isTraced ? ", with a tracer" : ""}: nobody sees a difference from the layers`, () =>
        Effect.gen(function* () {
          const scenario = () => (typeof made === "function" ? made() : made)
          const whole = yield* observed(scenario(), {}, isTraced)
          const layered = yield* observed(scenario(), throughLayers, isTraced)
          assert.deepStrictEqual(whole, layered)
          assert.isAtLeast(whole.metrics.length, 1)
          assert.strictEqual(whole.spans.length > 0, isTraced && !/that is off|not sampled|not told/.test(name))
          for (const { status } of whole.spans) assert.notStrictEqual(status, "Started")
        })
      )
    }
  }
})
