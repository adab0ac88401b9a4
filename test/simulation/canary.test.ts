/**
 * Secrets stay where they belong, whatever goes wrong on the network: every secret that a call carries is looked for in
 * everything that the client shows.
 */
import { assert, describe, it } from "@effect/vitest"
import { Event, type OptionsError } from "@hawser/core"
import {
  Auth,
  CallLog,
  CallTracing,
  Channel,
  Client,
  Credentials,
  Grpc,
  Metadata,
  RequestId,
  Retry,
  RpcError
} from "@hawser/grpc"
import { Faults, TestNetwork } from "@hawser/testing"
import { World } from "@hawser/testing/Simulation"
import * as Route from "@hawser/testing/Route"
import { Cause, Context, Effect, Exit, Fiber, Layer, Logger, Metric, Redacted, References, Stream } from "effect"
import { inspect } from "node:util"
import { spansTracer } from "../support/grpc/spans.ts"
import { Dice } from "../support/core/prng.ts"
import { type FaultName, faults } from "./network/script.ts"

const seeds = 160
const hosts = ["10.0.0.1:50051", "10.0.0.2:50051"] as const

/** Where a secret was put. Each is a word that occurs nowhere else. */
const secrets = {
  metadata: "canary-metadata",
  binary: "canary-binary",
  token: "canary-token",
  thrown: "canary-thrown",
  authority: "canary-authority",
  request: "canary-request",
  answer: "canary-answer",
  trailer: "canary-trailer"
} as const
/** What a server says in a status is part of the error, and of nothing else. */
const echo = "canary-echo"

const text = { write: (value: string): Buffer => Buffer.from(value), read: String }
const method = <Req extends boolean, Res extends boolean>(name: string, requestStream: Req, responseStream: Res) => ({
  path: `/canary.Cage/${name}`,
  requestStream,
  responseStream,
  requestSerialize: text.write,
  requestDeserialize: text.read as (bytes: Buffer) => string,
  responseSerialize: text.write,
  responseDeserialize: text.read as (bytes: Buffer) => string,
  options: { idempotency_level: "IDEMPOTENT" }
})
const plain = {
  unary: method("Unary", false, false),
  server: method("Server", false, true),
  client: method("Client", true, false),
  bidi: method("Bidi", true, true)
} as const

/** What a codec may throw of a payload: it is in the message, in the stack, in the name, in fields, or it is all there is. */
const quoting: ReadonlyArray<(payload: string) => unknown> = [
  (payload) => new TypeError(`can't take ${payload}\n    at ${payload} (${payload}:1:1)`, { cause: { payload } }),
  (payload) => Object.assign(new Error("no"), { name: payload, payload, stack: `${payload}\n    at ${payload}` }),
  (payload) => Object.assign(new RangeError(payload), { message: `${payload} is out of range`, code: payload }),
  (payload) => payload,
  (payload) => ({ payload, toString: () => payload, message: payload, name: payload }),
  (payload) => new AggregateError([new Error(payload)], payload)
]
let thrown = 0
const refuse = (payload: string): never => {
  throw quoting[thrown++ % quoting.length]!(payload)
}
/** As the client has them: some can't write what they are given, others can't read what comes, one throws of JSON itself. */
const badWriter = <M extends object>(method: M) => ({
  ...method,
  requestSerialize: (value: string): Buffer => refuse(value)
})
const badReader = <M extends object>(method: M) => ({
  ...method,
  responseDeserialize: (bytes: Buffer): string =>
    thrown++ % 3 === 0 ? (JSON.parse(String(bytes)) as string) : refuse(String(bytes))
})
const definition = {
  ...plain,
  unaryWriter: badWriter(plain.unary),
  unaryReader: badReader(plain.unary),
  serverWriter: badWriter(plain.server),
  serverReader: badReader(plain.server),
  clientWriter: badWriter(plain.client),
  clientReader: badReader(plain.client),
  bidiWriter: badWriter(plain.bidi),
  bidiReader: badReader(plain.bidi)
} as const

const trailers = Metadata.fromRecord({ "x-answer": secrets.trailer, "grpc-x": "1" })

const routes = (dice: Dice) => {
  const answer = () =>
    Effect.suspend(() => {
      const slow = Effect.sleep(dice.below(60))
      return dice.chance(0.2)
        ? Effect.andThen(slow, Effect.fail({ _tag: dice.oneOf(tags), details: echo, metadata: trailers }))
        : Effect.as(slow, secrets.answer)
    })
  const many = Stream.fromEffectRepeat(answer()).pipe(Stream.take(4))
  const drained = (requests: Stream.Stream<string>) => Stream.runDrain(requests)
  return Route.ofService(plain, {
    unary: answer,
    server: () => many,
    client: (requests) => Effect.andThen(drained(requests), answer()),
    bidi: (requests) => Stream.concat(Stream.fromEffectDrain(drained(requests)), many)
  })
}

const tags = [
  "NotFound",
  "Unavailable",
  "Internal",
  "Unauthenticated",
  "ResourceExhausted",
  "PermissionDenied"
] as const

/** Every kind of fault of the simulation; one that is new there is missed by the types here. */
const kinds: Record<FaultName, (at: string, amount: number) => Faults.Fault> = {
  refuse: Faults.refuse,
  blackHole: Faults.blackHole,
  mute: Faults.mute,
  slowSettings: Faults.slowSettings,
  cut: Faults.cut,
  silence: (at, amount) => Faults.silence(at, (["both", "toServer", "toClient"] as const)[amount]),
  latency: (at, amount) => Faults.latency(at, amount, amount / 4),
  loss: Faults.loss,
  resetStreams: Faults.resetStreams,
  goAway: (at) => Faults.goAway(at),
  goAwayLast: (at, amount) => Faults.goAway(at, { abrupt: true, code: amount }),
  refuseStreams: Faults.refuseStreams,
  limitLowered: Faults.limit,
  limitZero: (at) => Faults.limit(at, 0),
  kill: Faults.kill,
  freeze: Faults.freeze,
  notServing: (at) => Faults.notServing(at),
  flapping: (at, amount) => Faults.flapping(at, amount),
  healthHangs: (at) => Faults.health(at, "Hangs"),
  healthFails: (at) => Faults.health(at, { _tag: "Fails", status: { _tag: "Unavailable", details: echo } }),
  healthFloods: (at) => Faults.health(at, "Floods"),
  failCalls: (at, amount) => Faults.failCalls(at, (["Unavailable", "Internal", "ResourceExhausted"] as const)[amount])
}
const names = Object.keys(kinds) as ReadonlyArray<FaultName>

/** What was shown, by where. */
class Shown {
  readonly errors: Array<string> = []
  readonly spans: Array<string> = []
  readonly logs: Array<string> = []
  readonly others: Array<string> = []
  readonly outcomes = new Set<string>()

  exit(exit: Exit.Exit<unknown, unknown>): void {
    if (Exit.isSuccess(exit)) return void this.outcomes.add("OK")
    this.errors.push(Cause.pretty(exit.cause), every(exit), every(exit.cause))
    for (const reason of exit.cause.reasons) {
      const error = reason._tag === "Fail" ? reason.error : reason._tag === "Die" ? reason.defect : undefined
      if (error === undefined) continue
      const { cause, message, metadata, reason: why, stack } = Object(error) as Partial<RpcError.RpcError>
      this.errors.push(every(error), String(message), String(stack))
      if (RpcError.isRpcError(error)) this.outcomes.add(`${error.reason._tag} ${error.progress}`)
      // For those who catch it and log it.
      this.errors.push(every({ error }), every(why), every(cause), every(metadata))
    }
  }
}

const every = (value: unknown): string =>
  [inspect(value, { depth: 20, maxStringLength: null, maxArrayLength: null }), json(value), String(value)].join("\n")

const json = (value: unknown): string | undefined =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === "bigint" ? String(part) : part instanceof Map || part instanceof Set ? [...part] : part
  )

/** A token service with troubles of its own. */
const token = (dice: Dice): Effect.Effect<Auth.Token, Cause.UnknownError> =>
  Effect.suspend(() => {
    const all: ReadonlyArray<Effect.Effect<Auth.Token, Cause.UnknownError>> = [
      Effect.fail(new Cause.UnknownError(secrets.thrown, secrets.thrown)),
      Effect.die(new Error(secrets.thrown)),
      Effect.never,
      Effect.succeed({ token: Redacted.make(`${secrets.token}\n`) })
    ]
    return dice.chance(0.7)
      ? Effect.delay(Effect.succeed({ token: Redacted.make(secrets.token), timeToLive: 300 }), dice.below(20))
      : dice.oneOf(all)
  })

const stack = (dice: Dice) => {
  const tracing = CallTracing.make({ propagation: ["traceparent", "grpc-trace-bin"] })
  return Grpc.layer({
    target: `ipv4:${hosts.join()}`,
    credentials: Credentials.insecure,
    authority: secrets.authority,
    connections: { connectTimeout: 300 },
    queue: { max: 6, timeout: 500 },
    deadline: 700,
    retry: Retry.make(),
    drain: 100,
    perCall: (self) =>
      self.pipe(
        CallTracing.perCall(tracing),
        CallLog.intercept(CallLog.make({ metadata: ["x-request-id"] })),
        RequestId.intercept(RequestId.make())
      ),
    perAttempt: (self) =>
      self.pipe(
        CallTracing.perAttempt(tracing),
        CallLog.perAttempt,
        Auth.intercept(Auth.make({ token: token(dice), timeout: 100, allowInsecure: true }))
      )
  })
}

/** One run: calls of all kinds, and a few faults. */
const run = async (seed: number, shown: Shown, felt: Set<string>) => {
  const dice = new Dice(seed)
  const { spans, tracer } = spansTracer()
  const logger = Logger.make((options) => {
    shown.logs.push(Logger.formatLogFmt.log(options), Logger.formatJson.log(options), Logger.formatSimple.log(options))
  })
  const bus: Event.Events = {
    publish: (stamped) => void shown.others.push(every(stamped)),
    listen: () => Effect.void
  }
  const program = Effect.gen(function* () {
    const net = yield* TestNetwork.make
    for (const address of hosts) {
      yield* net.serve({ address, routes: routes(dice), maxStreams: dice.chance(0.5) ? 2 : undefined })
    }
    // Now and then nobody is there at all.
    const away = seed % 20 === 0 ? hosts.map((address) => Faults.refuse(address)) : []
    for (const fault of away) {
      yield* Effect.forkChild(Effect.provideService(Faults.during(fault, "10 seconds"), TestNetwork.TestNetwork, net), {
        startImmediately: true
      })
    }
    const context = yield* Layer.build(Layer.provide(stack(dice), TestNetwork.layerOf(net)))
    const client = Client.make(definition, Context.get(context, Channel.Channel))
    const options = {
      metadata: { "x-secret": secrets.metadata, "x-secret-bin": Buffer.from(secrets.binary) },
      waitForReady: dice.chance(0.3)
    }
    const broken = { metadata: { "x-secret": `${secrets.metadata}\n` } }
    const requests = Stream.make(secrets.request, secrets.request)
    const calls: ReadonlyArray<() => Effect.Effect<unknown, RpcError.RpcError>> = [
      () => client.unary(secrets.request, options),
      () => client.unary(secrets.request, broken),
      () => Stream.runDrain(client.server(secrets.request, options)),
      () => client.client(requests, options),
      () => Stream.runDrain(Stream.take(client.bidi(requests, options), 2))
    ]
    const unable: typeof calls = [
      () => client.unaryWriter(secrets.request, options),
      () => client.unaryReader(secrets.request, options),
      () => Stream.runDrain(client.serverWriter(secrets.request, options)),
      () => Stream.runDrain(client.serverReader(secrets.request, options)),
      () => client.clientWriter(requests, options),
      () => client.clientReader(requests, options),
      () => Stream.runDrain(client.bidiWriter(requests, options)),
      () => Stream.runDrain(client.bidiReader(requests, options))
    ]
    const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
    for (let n = 0; n < 5; n++) {
      const name = names[(seed * 5 + n) % names.length]!
      const fault = kinds[name](dice.oneOf(hosts), faults[name](dice))
      felt.add(name)
      const quoted = unable[(seed + n) % unable.length]!
      fibers.push(yield* Effect.forkChild(Effect.map(Effect.exit(quoted()), (exit) => shown.exit(exit))))
      fibers.push(
        yield* Effect.forkChild(
          Effect.provideService(Faults.during(fault, 50 + dice.below(300)), TestNetwork.TestNetwork, net)
        )
      )
      for (let m = 0; m < 6; m++) {
        const one = dice.oneOf(calls)
        const call = Effect.map(Effect.exit(one()), (exit) => shown.exit(exit))
        const fiber = yield* Effect.forkChild(call)
        fibers.push(fiber)
        if (dice.chance(0.1)) yield* Effect.forkChild(Effect.andThen(Effect.sleep(20), Fiber.interrupt(fiber)))
        yield* Effect.sleep(dice.below(20))
      }
    }
    yield* Fiber.awaitAll(fibers)
    const cluster = Context.get(context, Grpc.GrpcCluster)
    shown.others.push(every(yield* cluster.snapshot), every(yield* Metric.snapshot))
  })
  const { exit } = await new World({ seed }).run(
    Effect.scoped(program).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "All"),
      Effect.provideService(Event.Events, bus),
      Effect.provideService(Metric.MetricRegistry, new Map()),
      Effect.withTracer(tracer)
    ) as Effect.Effect<void, OptionsError.OptionsError>
  )
  assert.isTrue(Exit.isSuccess(exit), `seed ${seed}: ${Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""}`)
  for (const span of spans) {
    const ended = span.status._tag === "Ended" ? span.status.exit : undefined
    shown.spans.push(every(span), every([...span.attributes]), every(span.events), every(ended))
    if (ended !== undefined && Exit.isFailure(ended)) shown.spans.push(Cause.pretty(ended.cause))
  }
}

describe("secrets", () => {
  it("are in no log, span, metric, event, snapshot or error, whatever fails", { timeout: 300_000 }, async () => {
    const outcomes = new Set<string>()
    const felt = new Set<string>()
    let echoed = 0
    for (let seed = 1; seed <= seeds; seed++) {
      const shown = new Shown()
      await run(seed, shown, felt)
      for (const [where, all] of Object.entries(shown)) {
        if (all instanceof Set) continue
        const whole = (all as ReadonlyArray<string>).join("\n")
        for (const secret of [...Object.values(secrets), ...(where === "errors" ? [] : [echo])]) {
          const at = whole.indexOf(secret)
          assert.isTrue(at < 0, `seed ${seed}, ${where}: ${whole.slice(Math.max(0, at - 300), at + 60)}`)
          // As bytes are printed.
          assert.notInclude(whole, Buffer.from(secret).toString("hex").match(/../g)!.join(" "))
          assert.notInclude(whole, Buffer.from(secret).toString("base64").slice(0, -4))
        }
      }
      for (const outcome of shown.outcomes) outcomes.add(outcome)
      if (shown.errors.join().includes(echo)) echoed++
      for (const all of [shown.logs, shown.spans, shown.others]) assert.isNotEmpty(all)
    }
    // The search would find what is there, and there was much to find.
    assert.isAbove(echoed, seeds / 4)
    assert.deepStrictEqual([...felt].sort(), [...names].sort())
    for (const outcome of [
      "OK",
      "InvalidArgument NotSent",
      "Unauthenticated NotSent",
      "Unauthenticated Answered",
      "Unavailable NotSent",
      "Unavailable Refused",
      "Unavailable MaybeProcessed",
      "ResourceExhausted NotSent",
      "DeadlineExceeded NotSent",
      "DeadlineExceeded MaybeProcessed",
      "NotFound Answered",
      "Internal NotSent",
      "Internal MaybeProcessed",
      "Internal Answered"
    ]) {
      assert.isTrue(outcomes.has(outcome), `${outcome} is not among ${[...outcomes].join(", ")}`)
    }
  })
})
