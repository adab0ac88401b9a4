import { assert, describe, it } from "@effect/vitest"
import { OptionsError } from "@hawser/core"
import { CallMetrics, CallTracing, Channel, Metadata, Retry, RpcError } from "@hawser/grpc"
import { Cause, Effect, Exit, Fiber, Layer, Option, References, Schedule, Scope, Stream, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { call, method, reply, scripted, unavailable } from "../../support/channels.ts"
import { spansTracer } from "../../support/grpc/spans.ts"

const tracing = CallTracing.make()
const retry = Retry.intercept(Retry.make({ schedule: Schedule.spaced("1 second") }))
const stack = (channel: Channel.Channel, policy = tracing) =>
  channel.pipe(CallTracing.perAttempt(policy), retry, CallTracing.perCall(policy))

const incoming = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
const unsampled = Tracer.externalSpan({ ...incoming, sampled: false })
const traceparent = (c: { readonly metadata: Metadata.Metadata | undefined } | undefined) =>
  c?.metadata?.get("traceparent")
const attributes = (span: Tracer.NativeSpan | undefined) => Object.fromEntries(span?.attributes ?? [])
const endOf = (span: Tracer.NativeSpan | undefined) => (span?.status._tag === "Ended" ? span.status.exit : undefined)

/** A channel with a stream of these messages. */
const streaming = (messages: Stream.Stream<string, RpcError.RpcError>, told?: () => number | undefined) =>
  Channel.make<RpcError.RpcError>({
    stream: ({ method }) => {
      const replies = {
        [CallMetrics.told]: told,
        messages: Stream.map(messages, (text) => method.decode(Buffer.from(text))),
        headers: Metadata.empty,
        trailers: Effect.succeed(Metadata.empty),
        connection: "a:1#1"
      }
      return Effect.succeed(replies)
    }
  })

describe("CallTracing", () => {
  it.effect("makes a span of a call, and one of each attempt below it", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const { channel } = scripted(
        unavailable("Refused", { endpoint: "b:2" }),
        Effect.as(Effect.sleep("250 millis"), "ok" as const)
      )
      const fiber = yield* stack(channel)
        .unary(call())
        .pipe(Effect.withParentSpan(incoming), Effect.withTracer(tracer), Effect.forkChild)
      yield* TestClock.adjust("250 millis")
      yield* Fiber.join(fiber)
      const [whole, first, second] = spans
      assert.deepStrictEqual(
        spans.map(({ kind, name }) => [name, kind]),
        [
          ["demo.Greeter/SayHello", "client"],
          ["Attempt demo.Greeter/SayHello", "client"],
          ["Attempt demo.Greeter/SayHello", "client"]
        ]
      )
      assert.strictEqual(Option.getOrUndefined(whole!.parent), incoming)
      for (const attempt of [first, second]) assert.strictEqual(Option.getOrUndefined(attempt!.parent), whole)
      const common = { "rpc.system.name": "grpc", "rpc.method": "demo.Greeter/SayHello" }
      assert.deepStrictEqual(attributes(whole), {
        ...common,
        "rpc.status_code": "OK",
        "server.address": "a",
        "server.port": 1
      })
      assert.deepStrictEqual(attributes(first), {
        ...common,
        "previous-rpc-attempts": 0,
        "rpc.status_code": "UNAVAILABLE",
        "error.type": "UNAVAILABLE",
        "server.address": "b",
        "server.port": 2
      })
      assert.deepStrictEqual(attributes(second), {
        ...common,
        "previous-rpc-attempts": 1,
        "rpc.status_code": "OK",
        "server.address": "a",
        "server.port": 1
      })
      assert.deepStrictEqual(
        spans.map(({ status }) => status._tag === "Ended" && Number(status.endTime - status.startTime) / 1e6),
        [250, 0, 250]
      )
    })
  )

  it.effect("tells the server of the attempt's span, in the place of what the call said", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const { channel, seen } = scripted(unavailable("Refused"), "ok")
      const metadata = Metadata.fromRecord({ traceparent: "old", "x-tenant": "acme" })
      yield* Effect.withTracer(stack(channel).unary(call({ metadata })), tracer)
      const [whole, first, second] = spans
      assert.deepStrictEqual(seen.map(traceparent), [
        `00-${whole!.traceId}-${first!.spanId}-01`,
        `00-${whole!.traceId}-${second!.spanId}-01`
      ])
      assert.strictEqual(seen[0]?.metadata?.get("x-tenant"), "acme")
      assert.deepStrictEqual(seen[0]?.metadata?.issues, [])
    })
  )

  it.effect("tells it in the binary form too, if asked", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const { channel, seen } = scripted("ok")
      const policy = CallTracing.make({ propagation: ["grpc-trace-bin", "traceparent"] })
      const metadata = Metadata.fromRecord({ "x-tenant": "acme" })
      yield* Effect.withTracer(stack(channel, policy).unary(call({ metadata })), tracer)
      assert.deepStrictEqual(seen[0]?.metadata?.issues, [])
      const { spanId, traceId } = spans[1]!
      const bytes = seen[0]?.metadata?.get("grpc-trace-bin")
      assert.strictEqual(Buffer.from(bytes as Uint8Array).toString("hex"), `0000${traceId}01${spanId}0201`)
      assert.strictEqual(traceparent(seen[0]), `00-${traceId}-${spanId}-01`)
    })
  )

  it.effect("leaves metadata that can't be sent as it is, for the error to say", () =>
    Effect.gen(function* () {
      const { tracer } = spansTracer()
      const { channel, seen } = scripted("ok")
      const metadata = Metadata.fromRecord({ te: "trailers" })
      yield* Effect.withTracer(stack(channel).unary(call({ metadata })), tracer)
      assert.strictEqual(seen[0]?.metadata, metadata)
    })
  )

  it.effect("tells nothing where it is told so", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const { channel, seen } = scripted("ok")
      yield* Effect.withTracer(stack(channel, CallTracing.make({ propagation: [] })).unary(call()), tracer)
      assert.lengthOf(spans, 2)
      assert.strictEqual(seen[0]?.metadata, undefined)
    })
  )

  it.effect("makes no span where no tracer records, and passes the trace on", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const traced = stack(channel)
      yield* traced.unary(call())
      yield* traced.unary(call()).pipe(Effect.withParentSpan(incoming), Effect.withTracer(Tracer.nativeTracer))
      yield* Effect.withParentSpan(traced.unary(call()), unsampled)
      assert.deepStrictEqual(seen.map(traceparent), [
        undefined,
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
      ])
    })
  )

  it.effect("makes no span below one that is not sampled, nor where tracing is off", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const { channel, seen } = scripted("ok")
      const traced = stack(channel)
      yield* traced.unary(call()).pipe(Effect.withParentSpan(unsampled), Effect.withTracer(tracer))
      yield* traced.unary(call()).pipe(Effect.withTracerEnabled(false), Effect.withTracer(tracer))
      assert.lengthOf(spans, 0)
      assert.strictEqual(traceparent(seen[0]), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
      assert.strictEqual(traceparent(seen[1]), undefined)
    })
  )

  it.effect("skips spans that are not to be propagated", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const hidden = new Tracer.NativeSpan({
        name: "hidden",
        parent: Option.some(incoming),
        annotations: Tracer.DisablePropagation.context(true),
        links: [],
        startTime: 0n,
        kind: "internal",
        sampled: true
      })
      const { channel } = scripted("ok")
      yield* stack(channel).unary(call()).pipe(Effect.withParentSpan(hidden), Effect.withTracer(tracer))
      assert.strictEqual(Option.getOrUndefined(spans[0]!.parent), incoming)
    })
  )

  it.effect("does not send ids that are no W3C ids", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const traced = stack(channel)
      for (const [traceId, spanId] of [
        ["1234", "b7ad6b7169203331"],
        ["0af7651916cd43dd8448eb211c80319c", "1"],
        ["0".repeat(32), "b7ad6b7169203331"],
        ["0af7651916cd43dd8448eb211c80319c", "0".repeat(16)],
        ["0AF7651916CD43DD8448EB211C80319C", "b7ad6b7169203331"],
        ["x\r\nevil: 1", "b7ad6b7169203331"]
      ] as const) {
        yield* Effect.withParentSpan(traced.unary(call()), Tracer.externalSpan({ traceId, spanId }))
      }
      assert.deepStrictEqual(new Set(seen.map(traceparent)), new Set([undefined]))
      const short = Tracer.externalSpan({ traceId: "8448eb211c80319c", spanId: "b7ad6b7169203331" })
      yield* Effect.withParentSpan(traced.unary(call()), short)
      assert.strictEqual(traceparent(seen.at(-1)), "00-00000000000000008448eb211c80319c-b7ad6b7169203331-01")
    })
  )

  it.effect("takes annotations and links of its surroundings", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const { channel } = scripted("ok")
      yield* stack(channel)
        .unary(call())
        .pipe(
          Effect.annotateSpans("tenant", "acme"),
          Effect.linkSpans(incoming),
          Effect.provideService(References.TracerTimingEnabled, false),
          Effect.withTracer(tracer)
        )
      assert.strictEqual(spans[0]?.attributes.get("tenant"), "acme")
      assert.strictEqual(spans[0]?.links[0]?.span, incoming)
      assert.strictEqual(spans[0]?.startTime, 0n)
    })
  )

  it.effect("records what a call failed with, and neither its metadata, its cause, nor the server's words", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const facts = { metadata: Metadata.fromRecord({ a: "s3cret" }), cause: new Error("s3cret"), connection: "b:2#7" }
      const reason = { _tag: "NotFound", details: "s3cret" } as const
      const ours = { _tag: "Unavailable", details: "Connection refused", connect: undefined } as const
      const { channel } = scripted(
        RpcError.of(method().path, reason, "Answered", facts),
        RpcError.of(method().path, ours, "MaybeProcessed", facts)
      )
      yield* Effect.withTracer(Effect.ignore(stack(channel).unary(call())), tracer)
      yield* Effect.withTracer(Effect.ignore(stack(channel).unary(call())), tracer)
      const exits = spans.map(endOf)
      for (const exit of exits) {
        const shown = [inspect(exit, { depth: 9 }), JSON.stringify(exit)]
        if (exit !== undefined && Exit.isFailure(exit)) shown.push(Cause.pretty(exit.cause))
        assert.notInclude(shown.join(), "s3cret")
      }
      assert.include(inspect(exits.at(-1), { depth: 9 }), "Unavailable Connection refused (MaybeProcessed, b:2#7)")
    })
  )

  it.effect("keeps no answer in a span", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      yield* Effect.withTracer(stack(scripted("ok").channel).unary(call()), tracer)
      assert.deepStrictEqual(endOf(spans[0]), Exit.void)
    })
  )

  it.effect("ends as interrupted with a call that is interrupted", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const { channel } = scripted(Effect.never)
      const fiber = yield* Effect.forkChild(Effect.withTracer(stack(channel).unary(call()), tracer), {
        startImmediately: true
      })
      yield* Fiber.interrupt(fiber)
      assert.lengthOf(spans, 2)
      for (const span of spans) {
        assert.strictEqual(span.attributes.get("rpc.status_code"), "CANCELLED")
        assert.isTrue(Exit.hasInterrupts(endOf(span)!))
      }
    })
  )

  it.effect("ends with a defect, of which it shows nothing", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const { channel } = scripted(Effect.die(new Error("s3cret")))
      yield* Effect.withTracer(Effect.exit(stack(channel).unary(call())), tracer)
      for (const span of spans) {
        assert.strictEqual(span.attributes.get("rpc.status_code"), "UNKNOWN")
        assert.notInclude(inspect(endOf(span), { depth: 9 }), "s3cret")
      }
    })
  )

  it.effect("lasts as long as the messages of a stream", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const messages = Stream.tick("1 second").pipe(Stream.take(3), Stream.map(String))
      const fiber = yield* Effect.gen(function* () {
        const replies = yield* stack(streaming(messages)).stream(call())
        assert.strictEqual(spans[0]?.status._tag, "Started")
        return yield* Stream.runCount(replies.messages)
      }).pipe(Effect.scoped, Effect.withTracer(tracer), Effect.forkChild)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), 3)
      for (const span of spans) {
        assert.strictEqual(span.attributes.get("rpc.status_code"), "OK")
        assert.strictEqual(span.attributes.get("server.port"), 1)
        assert.isTrue(span.status._tag === "Ended" && span.status.endTime - span.status.startTime === 2_000_000_000n)
      }
    })
  )

  it.effect("ends with the failure of a stream, its reader, or its scope", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const codes = () => spans.splice(0).map((span) => span.attributes.get("rpc.status_code"))
      const open = (channel: Channel.Channel) => Effect.withTracer(stack(channel).stream(call()), tracer)
      const failing = yield* open(streaming(Stream.concat(Stream.make("a"), Stream.fail(unavailable("Answered")))))
      yield* Effect.ignore(Stream.runDrain(failing.messages))
      assert.deepStrictEqual(codes(), ["UNAVAILABLE", "UNAVAILABLE"])
      const endless = Stream.forever(Stream.make("a"))
      const left = yield* open(streaming(endless))
      yield* Stream.runDrain(Stream.take(left.messages, 2))
      assert.deepStrictEqual(codes(), ["CANCELLED", "CANCELLED"])
      const told = yield* open(streaming(endless, () => 0))
      yield* Stream.runDrain(Stream.take(told.messages, 2))
      assert.deepStrictEqual(codes(), ["OK", "OK"])
      const scope = yield* Scope.make()
      yield* Scope.provide(open(streaming(endless)), scope)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(codes(), ["CANCELLED", "CANCELLED"])
    })
  )

  it.effect("splits an endpoint into address and port", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const at = (connection: string) =>
        Channel.make<RpcError.RpcError>({ unary: (c) => Effect.sync(() => reply(c, connection)) })
      const found: Array<unknown> = []
      for (const connection of ["10.0.0.7:50051#3", "[::1]:50051#1", "unix:/run/a.sock#1", "greeter:443#2", ""]) {
        yield* Effect.withTracer(CallTracing.perCall(tracing)(at(connection)).unary(call()), tracer)
        const { attributes } = spans.at(-1)!
        found.push([attributes.get("server.address"), attributes.get("server.port")])
      }
      assert.deepStrictEqual(found, [
        ["10.0.0.7", 50051],
        ["::1", 50051],
        ["unix:/run/a.sock", undefined],
        ["greeter", 443],
        [undefined, undefined]
      ])
    })
  )

  it.effect("is a layer over any channel", () =>
    Effect.gen(function* () {
      const { spans, tracer } = spansTracer()
      const { channel, seen } = scripted("ok")
      const layer = Layer.provide(CallTracing.layer(), Layer.succeed(Channel.Channel, channel))
      const program = Channel.Channel.use((c) => c.unary(call())).pipe(Effect.provide(layer))
      yield* Effect.withTracer(program, tracer)
      assert.lengthOf(spans, 1)
      assert.strictEqual(traceparent(seen[0]), `00-${spans[0]!.traceId}-${spans[0]!.spanId}-01`)
    })
  )

  it("lists everything that is wrong with its options", () => {
    try {
      CallTracing.make({ propagation: ["b3"], sampled: true } as never)
      assert.fail("accepted")
    } catch (error) {
      assert.instanceOf(error, OptionsError.OptionsError)
      assert.deepStrictEqual(
        error.issues.map(({ path }) => path),
        ["propagation", "sampled"]
      )
    }
  })
})
