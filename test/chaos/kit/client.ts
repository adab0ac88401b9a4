/**
 * Child: Hawser's whole default stack under load. It does what the conductor says, and writes all that it can show (logs
 * of all levels, events, snapshots, errors, metrics) to a file in which the canary is looked for afterwards.
 */
import { createWriteStream } from "node:fs"
import { inspect } from "node:util"
import { PeakEwma, RoundRobin } from "@hawser/core"
import * as Event from "@hawser/core/Event"
import { Auth, CallLog, Client, Credentials, Deadline, Grpc } from "@hawser/grpc"
import type { CallOptions } from "@hawser/grpc/Call"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import { Cause, Effect, Exit, Layer, Logger, Metric, Redacted, References, Scope, Stream } from "effect"
import { type EchoRequest, EchoService } from "../../generated/echo.ts"
import { cert } from "../../support/grpc/certificate.ts"
import { extras } from "./extras.ts"
import { Lag } from "./lag.ts"
import { type Call, Load } from "./load.ts"
import {
  type ClientConfig,
  type Ending,
  type FromClient,
  interrupted,
  type Left,
  type LoadConfig,
  type ToClient,
  wallMillis
} from "./messages.ts"

const config = JSON.parse(process.argv[2]!) as ClientConfig
const tell = (message: FromClient) => process.send!(message)
const { canary } = config

// ---------------------------------------------------------------------------------------------------- what is shown

const file = createWriteStream(config.log, { flags: "a" })
const show = (what: string, value: unknown): void =>
  void file.write(`${what}: ${typeof value === "string" ? value : everything(value)}\n`)
const json = (value: unknown): string | undefined =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === "bigint" ? String(part) : part instanceof Map || part instanceof Set ? [...part] : part
  )
const everything = (value: unknown): string =>
  [inspect(value, { depth: 20, maxStringLength: null, maxArrayLength: null }), json(value), String(value)].join("\n")

process.on("uncaughtExceptionMonitor", (error) => show("uncaught", error))

/** Of each kind of failure the first few are shown in every way there is. */
const shownOf = new Map<string, number>()
const showFailure = (kind: string, cause: Cause.Cause<unknown>): void => {
  const times = shownOf.get(kind) ?? 0
  shownOf.set(kind, times + 1)
  if (times >= 20) return
  const error = Cause.squash(cause)
  show("failure", Cause.pretty(cause))
  show("cause", cause)
  show("error", error)
  if (error instanceof Error) show("stack", `${error.message} ${error.stack}`)
}

const logger = Logger.make<unknown, void>((options) => show("log", Logger.formatLogFmt.log(options)))
const bus: Event.Events = {
  publish: (envelope) => {
    show("event", envelope)
    tell({ tag: "event", at: wallMillis(), event: plain(envelope.event) })
  },
  listen: () => Effect.void
}

/** As the channel between processes takes it: errors become their texts. */
const plain = (event: Event.Event): Event.Event =>
  JSON.parse(JSON.stringify(event, (_, part: unknown) => (part instanceof Error ? part.message : part))) as Event.Event

// ------------------------------------------------------------------------------------------------------------- calls

class Echo extends Client.Service<Echo>()("chaos/Echo", EchoService, { idempotent: ["echo"] }) {}

const token = Effect.succeed({ token: Redacted.make(`token-${canary}`), timeToLive: "1 hour" } as const)
const policies = { "peak EWMA": PeakEwma.policy, "round robin": RoundRobin.policy }
const options: GrpcOptions = {
  target: config.target,
  credentials: config.tls === true ? Credentials.tls({ ca: cert }) : Credentials.insecure,
  ...(config.balancer === undefined ? {} : { balancer: policies[config.balancer] }),
  ...(config.tls === true ? { authority: "localhost" } : {}),
  ...config.options,
  ...extras(config),
  perCall: CallLog.intercept(CallLog.make({ successes: 0.02, metadata: ["x-request-id"] })),
  perAttempt: (self) =>
    self.pipe(CallLog.perAttempt, Auth.intercept(Auth.make({ token, scheme: "Bearer", allowInsecure: true })))
}
const live = Echo.layer.pipe(Layer.provideMerge(Grpc.layer(options)))

const metadata = {
  cookie: `session=${canary}`,
  "x-api-key": canary,
  "x-secret-bin": Buffer.from(canary)
}

const endingOf = (exit: Exit.Exit<{ readonly server: string }, unknown>): Ending =>
  Exit.isSuccess(exit) ? { ok: true, text: exit.value.server, attempts: 0 } : failureOf(exit.cause)

const failureOf = (cause: Cause.Cause<unknown>): Ending => {
  if (Cause.hasInterruptsOnly(cause)) return { ok: false, text: interrupted, attempts: 0 }
  const error = Cause.squash(cause) as {
    readonly _tag?: string
    readonly reason?: { readonly _tag: string; readonly by?: string; readonly phase?: string }
    readonly progress?: string
    readonly attempts?: number
  }
  const { reason } = error
  const text =
    reason === undefined
      ? String(error._tag ?? error)
      : [reason._tag, reason.by, reason.phase, error.progress].filter((word) => word !== undefined).join(" ")
  showFailure(text, cause)
  return { ok: false, text, attempts: error.attempts ?? 0 }
}

const program = Effect.gen(function* () {
  const { echo, put, watch } = yield* Echo
  const cluster = yield* Grpc.GrpcCluster
  const run = Effect.runForkWith(yield* Effect.context<never>())

  const callOf = (load: LoadConfig): Call => {
    const { bytes = 100, delayMillis = 0, effectTimeoutMillis, method, timeoutMillis } = load
    const request: EchoRequest = { id: "", payload: Buffer.alloc(bytes), delayMillis, failCode: 0 }
    const callOptions: CallOptions = { metadata, timeout: timeoutMillis === "none" ? Deadline.none : timeoutMillis }
    const call = Effect.suspend((): Effect.Effect<{ readonly server: string }, unknown> =>
      method === "echo" ? echo(request, callOptions) : put({ id: "", delayMillis, failCode: 0 }, callOptions)
    )
    const bounded = effectTimeoutMillis === undefined ? call : Effect.timeout(call, effectTimeoutMillis)
    return (end) => {
      const fiber = run(bounded)
      fiber.addObserver((exit) => end(endingOf(exit)))
      return () => fiber.interruptUnsafe()
    }
  }

  const loads = new Map<string, Load>()
  const lag = new Lag()

  const onMessage = (message: ToClient): void => {
    switch (message.tag) {
      case "load":
        lag.reset()
        return void loads.set(message.load.name, new Load(message.load, callOf(message.load)))
      case "stop":
        return loads.get(message.name)?.stop((columns) => {
          const lags = { lagMillis: lag.max(), lagP99: lag.p99() }
          tell({ tag: "columns", name: message.name, columns: { ...columns, ...lags } })
        })
      case "watch": {
        let messages = 0
        const { delayMillis, name } = message
        const reading = Stream.runForEach(
          watch({ id: "", count: 0, delayMillis, payload: Buffer.alloc(0), failCode: 0 }, { metadata }),
          () => Effect.sync(() => messages++)
        )
        return void run(reading).addObserver((exit) => {
          const why = Exit.isSuccess(exit) ? "OK" : failureOf(exit.cause).text
          tell({ tag: "watched", name, messages, at: wallMillis(), why })
        })
      }
      case "ready":
        return void run(cluster.awaitReady(message.count)).addObserver((exit) =>
          tell({ tag: "ready", ok: Exit.isSuccess(exit) })
        )
      case "snapshot":
        // What the first round frees is given back in the background.
        if (message.collect === true) globalThis.gc?.()
        return void run(Effect.delay(cluster.snapshot, message.collect === true ? 100 : 0)).addObserver((exit) => {
          if (Exit.isFailure(exit)) throw new Error("no snapshot")
          show("snapshot", exit.value)
          const { system, user } = process.cpuUsage()
          if (message.collect === true) globalThis.gc?.()
          const { external, heapUsed, rss } = process.memoryUsage()
          tell({
            tag: "snapshot",
            snapshot: exit.value,
            cpuMillis: (system + user) / 1_000,
            rssMiB: rss / 2 ** 20,
            heldMiB: (heapUsed + external) / 2 ** 20
          })
        })
      case "stall": {
        const until = performance.now() + message.millis
        while (performance.now() < until);
        return
      }
      case "close":
        return
    }
  }
  process.on("message", onMessage)
  tell({ tag: "built" })
  yield* Effect.callback<void>((resume) => {
    process.on("message", (message: ToClient) => message.tag === "close" && resume(Effect.void))
  })
  const snapshot = yield* cluster.snapshot
  show("snapshot", snapshot)
  show("metrics", yield* Metric.snapshot)
  process.off("message", onMessage)
  return snapshot.root.inFlight
})

/** Builds the layer, and closes it with a look at what is left. */
const main = Effect.gen(function* () {
  const scope = yield* Scope.make()
  const context = yield* Effect.orDie(Layer.buildWithScope(live, scope))
  const cancelled = yield* Effect.provide(program, context)
  yield* Scope.close(scope, Exit.void)
  yield* Effect.sleep("100 millis")
  const open = process.getActiveResourcesInfo()
  const left: Left = {
    sockets: open.filter((kind) => kind.startsWith("TCP")).length,
    timers: open.filter((kind) => kind === "Timeout").length,
    cancelled,
    rssMiB: process.memoryUsage.rss() / 2 ** 20
  }
  file.end(() => {
    tell({ tag: "closed", left })
    process.disconnect()
  })
})

process.on("disconnect", () => setTimeout(() => process.exit(), 200).unref())
Effect.runFork(
  main.pipe(
    Effect.provide(Logger.layer([logger])),
    Effect.provideService(References.MinimumLogLevel, "All"),
    Effect.provideService(Event.Events, bus)
  )
)
