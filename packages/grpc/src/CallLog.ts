/**
 * One log line for each call: what was called, how long it took, how it ended, after how many attempts, and where.
 *
 * Lines are shown to many: messages are never in them, metadata only by the names that the policy allows, and of the
 * words of an error only our own, for a server may repeat what was sent to it.
 */
import { Issues } from "@hawser/core/OptionsError"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as LogLevel from "effect/LogLevel"
import { hasProperty } from "effect/Predicate"
import * as Random from "effect/Random"
import type { Call } from "./Call.ts"
import { type End, endpointOf, wordsOf } from "./CallEnd.ts"
import { observe, type Observed } from "./CallObserver.ts"
import * as Channel from "./Channel.ts"
import * as Metadata from "./Metadata.ts"
import * as RpcError from "./RpcError.ts"

const TypeId = "~hawser/CallLog"

/** What a line says: also the annotations of the line, each under `rpc.` and its name. */
export interface Entry {
  /** `demo.Greeter/SayHello` */
  readonly method: string
  /** The gRPC name: `OK`, `DEADLINE_EXCEEDED`. */
  readonly status: string
  readonly durationMillis: number
  /** `undefined` where nobody counted: see `perAttempt`. */
  readonly attempts: number | undefined
  /** Who had the call last: `10.0.0.7:50051`. */
  readonly endpoint: string | undefined
  /** How far a failed call got. */
  readonly progress: RpcError.Progress | undefined
  /** Our own words on a failure. */
  readonly details: string | undefined
  /** What the policy allows to be shown of the metadata that the call was made with. */
  readonly metadata: Readonly<Record<string, string>>
}

/** How calls are logged. */
export interface CallLog {
  readonly [TypeId]: typeof TypeId
  readonly successes: number
  readonly level: (entry: Entry) => LogLevel.Severity | undefined
  readonly metadata: ReadonlyArray<string>
}

/** What `make` takes. */
export interface CallLogOptions {
  /** The share of the calls ending in OK that are logged, 0 to 1; all others are. Default 1. */
  readonly successes?: number | undefined
  /** The level of a line; `undefined`: none. Default `levelOf`. */
  readonly level?: ((entry: Entry) => LogLevel.Severity | undefined) | undefined
  /**
   * Names of the metadata that may be shown, in lower case: texts, each cut after 100 characters. Names of credentials are
   * refused. Default: none.
   */
  readonly metadata?: ReadonlyArray<string> | undefined
}

// What HTTP itself reserves for credentials, and the commonest of what does not.
const credentials = /^(proxy-)?authorization$|cookie|secret|password|token|api-?key/

const faults: ReadonlySet<string> = new Set(
  ["Unknown", "DeadlineExceeded", "Unimplemented", "Internal", "Unavailable", "DataLoss"].map(
    (tag) => RpcError.statusNames[RpcError.codes[tag as RpcError.Tag]]!
  )
)

/**
 * The default of `level`: `Warn` for what points to a fault (`UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`,
 * `UNAVAILABLE`, `DATA_LOSS`), `Info` for all else.
 *
 * ```ts import.meta.vitest
 * import { CallLog } from "@hawser/grpc"
 *
 * // Successes are not worth a line here.
 * const policy = CallLog.make({ level: (entry) => entry.status === "OK" ? undefined : CallLog.levelOf(entry) })
 * const entry = { method: "demo.Greeter/SayHello", durationMillis: 3, attempts: 1, endpoint: "a:1", metadata: {} }
 * const ended = (status: string) => policy.level({ ...entry, status, progress: undefined, details: undefined })
 * ended("OK") // => undefined
 * ended("NOT_FOUND") // => "Info"
 * ended("UNAVAILABLE") // => "Warn"
 * ```
 */
export const levelOf = ({ status }: Entry): LogLevel.Severity => (faults.has(status) ? "Warn" : "Info")

const known: ReadonlySet<string> = new Set(["successes", "level", "metadata"])

/**
 * Makes a policy; throws an `OptionsError` for options out of bounds.
 *
 * ```ts import.meta.vitest
 * import { CallLog } from "@hawser/grpc"
 *
 * const policy = CallLog.make({ successes: 0.01, metadata: ["x-request-id"] })
 * CallLog.isCallLog(policy) // => true
 * let message = ""
 * try { CallLog.make({ metadata: ["authorization"] }) } catch (error) { message = (error as Error).message }
 * message // => 'metadata[0]: expected the name of a text that is no credential, got "authorization"'
 * ```
 */
export const make = (options: CallLogOptions = {}): CallLog => {
  const { successes = 1, level = levelOf, metadata = [] } = options
  const issues = new Issues()
  issues.check(successes >= 0 && successes <= 1, "successes", "a number from 0 to 1", successes)
  issues.check(typeof level === "function", "level", "a function", level)
  if (issues.check(Array.isArray(metadata), "metadata", "a list of names", metadata)) {
    metadata.forEach((name, i) =>
      issues.check(showable(name), `metadata[${i}]`, "the name of a text that is no credential", name)
    )
  }
  for (const key of Object.keys(options)) issues.check(known.has(key), key, "one of successes, level, metadata", key)
  issues.throwIfAny()
  return { [TypeId]: TypeId, successes, level, metadata: [...metadata] }
}

const showable = (name: unknown): boolean =>
  typeof name === "string" && /^[0-9a-z_.-]+$/.test(name) && !name.endsWith("-bin") && !credentials.test(name)

/** Whether a value is a policy of `make`. */
export const isCallLog = (u: unknown): u is CallLog => hasProperty(u, TypeId)

// Where the attempts of a call are counted.
const countKey: unique symbol = Symbol.for("hawser/CallLog/count")
interface Counted {
  readonly [countKey]?: { attempts: number } | undefined
}

/**
 * Middleware that counts the attempts of calls for their lines. Belongs below retry.
 *
 * **When to use**: with `intercept` above retry. Without it, lines of calls that succeed don't tell `attempts`.
 */
export const perAttempt = <E, R>(self: Channel.Channel.With<E, R>): Channel.Channel.With<E, R> => {
  const count = <I, O, A>(call: Call<I, O>, next: (call: Call<I, O>) => Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      const counter = (call as Counted)[countKey]
      if (counter !== undefined) counter.attempts = Math.max(counter.attempts, call.attempt)
      return next(call)
    })
  return Channel.intercept(self, count)
}

/**
 * Middleware that logs calls. Belongs outermost.
 *
 * **Details**: the line is written when the call has ended, with the loggers of whoever made it. What goes wrong in
 * writing it is not the call's fault, and does not fail it.
 *
 * ```ts import.meta.vitest
 * import { Effect, Logger } from "effect"
 * import { Call, CallLog, Channel, Retry, RpcError } from "@hawser/grpc"
 *
 * const lines: Array<unknown> = []
 * const logger = Logger.make(({ message }) => lines.push(message))
 * const base = Channel.make({
 *   unary: ({ method }) => Effect.fail(RpcError.of(method.path, { _tag: "NotFound", details: "ada" }, "Answered"))
 * })
 * const channel = base.pipe(CallLog.perAttempt, Retry.intercept(Retry.make()), CallLog.intercept(CallLog.make()))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Effect.flip(channel.unary(call)).pipe(Effect.provide(Logger.layer([logger])))
 * Effect.runSync(program).reason._tag // => "NotFound"
 * String(lines[0]).replace(/\d+(\.\d+)? ms/, "3 ms") // => "demo.Greeter/SayHello NOT_FOUND in 3 ms, attempt 1, Answered"
 * ```
 */
export const intercept = (policy: CallLog) =>
  observe((call, fiber) => {
    const counter = { attempts: 0 }
    return new LoggedCall({ ...call, [countKey]: counter } as typeof call, counter, policy, fiber)
  })

class LoggedCall<I, O> implements Observed<I, O> {
  readonly call: Call<I, O>
  private readonly counter: { readonly attempts: number }
  private readonly policy: CallLog
  private readonly fiber: Fiber.Fiber<unknown, unknown>
  private readonly startedAt: number
  constructor(
    call: Call<I, O>,
    counter: { readonly attempts: number },
    policy: CallLog,
    fiber: Fiber.Fiber<unknown, unknown>
  ) {
    this.call = call
    this.counter = counter
    this.policy = policy
    this.fiber = fiber
    this.startedAt = this.now()
  }
  ended(end: End): Effect.Effect<void> | undefined {
    const { level, successes } = this.policy
    if (end.code === 0 && successes < 1 && this.fiber.getRef(Random.Random).nextDoubleUnsafe() >= successes) {
      return undefined
    }
    const line = Effect.suspend(() => {
      const entry = this.entry(end)
      const severity = level(entry)
      if (severity === undefined) return Effect.void
      return Effect.annotateLogs(Effect.logWithLevel(severity)(textOf(entry)), annotationsOf(entry))
    })
    return Effect.ignoreCause(line)
  }
  private now(): number {
    return monotonicMillis(this.fiber.getRef(Clock.Clock))
  }
  private entry(end: End): Entry {
    const { error } = end
    const path = this.call.method.path
    return {
      method: path.startsWith("/") ? path.slice(1) : path,
      status: RpcError.statusNames[end.code]!,
      durationMillis: Math.round((this.now() - this.startedAt) * 1000) / 1000,
      attempts: error?.attempts ?? (this.counter.attempts === 0 ? undefined : this.counter.attempts),
      endpoint: endpointOf(end),
      progress: error?.progress,
      details: error === undefined ? undefined : wordsOf(error) || undefined,
      metadata: shown(this.call.metadata, this.policy.metadata)
    }
  }
}

const shown = (metadata: Metadata.Metadata | undefined, names: ReadonlyArray<string>): Record<string, string> => {
  const out: Record<string, string> = {}
  for (const name of metadata === undefined ? [] : names) {
    const values = Metadata.getAll(metadata!, name)
    // What could not be sent, such as a line feed, has no place in a line either.
    if (values.length > 0) out[name] = values.map((value) => (legal(value) ? value.slice(0, 100) : "<illegal>")).join()
  }
  return out
}

const legal = (value: Metadata.Value): value is string => typeof value === "string" && /^[ -~]*$/.test(value)

const textOf = ({ attempts, details, durationMillis, endpoint, method, progress, status }: Entry): string => {
  const facts = [
    `${method} ${status} in ${durationMillis} ms`,
    ...(attempts === undefined ? [] : [`attempt ${attempts}`]),
    ...(endpoint === undefined ? [] : [endpoint]),
    ...(progress === undefined ? [] : [progress])
  ].join(", ")
  return details === undefined ? facts : `${facts}: ${details}`
}

const annotationsOf = ({ metadata, ...entry }: Entry): Record<string, unknown> => {
  const out: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(entry)) if (value !== undefined) out[`rpc.${name}`] = value
  for (const [name, value] of Object.entries(metadata)) out[`rpc.metadata.${name}`] = value
  return out
}

/**
 * Lines as a layer over another layer's channel.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer, Logger } from "effect"
 * import { Call, CallLog, Channel } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const server = TestChannel.layer({ "/demo.Greeter/SayHello": (name: string) => Effect.succeed(`hello ${name}`) })
 * const layer = Layer.provide(CallLog.layer(CallLog.make({ successes: 1 })), server)
 *
 * const levels: Array<string> = []
 * const loggers = Logger.layer([Logger.make(({ logLevel }) => levels.push(logLevel))])
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide([layer, loggers]))
 * await Effect.runPromise(program)
 * levels // => ["Info"]
 * ```
 */
export const layer = (policy: CallLog = make()): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => intercept(policy)(channel))
  )
