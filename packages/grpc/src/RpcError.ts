/**
 * The error of a call: what happened, how far the call got, and where.
 *
 * `reason` says what, one tag per gRPC status. `progress` says whether the server may have acted on the call, which
 * decides whether sending it again is safe. There is one class and one stack per failure; reasons are plain data, so
 * that `Effect.catchReason("RpcError", "NotFound", …)` narrows them.
 */
import type { ConnectError } from "@hawser/core/ConnectError"
import * as Data from "effect/Data"
import { hasProperty } from "effect/Predicate"
import type { Metadata } from "./Metadata.ts"

const TypeId = "~hawser/RpcError"

/**
 * How far the call got. Conservative where it can't be proved.
 *
 * - `NotSent`: it never left this process.
 * - `Refused`: the server's transport turned it away unprocessed.
 * - `MaybeProcessed`: the server may have acted on it.
 * - `Answered`: the gRPC server answered.
 *
 * **Details**: of a call that was sent several times, this is about the last attempt, unless that was not processed and
 * an earlier one, or one beside it, may have been: then it is `MaybeProcessed`.
 */
export type Progress = "NotSent" | "Refused" | "MaybeProcessed" | "Answered"

/**
 * What a call was waiting for when its time was up.
 *
 * | when the time was up | phase | by | progress |
 * |---|---|---|---|
 * | it had passed before the call began | `Queued` | `Us` | `NotSent` |
 * | no connection was there that lends | `Connecting` | `Us` | `NotSent` |
 * | those that were had no stream left | `Queued` | `Us` | `NotSent` |
 * | the call had a connection, and no headers had come | `Sent` | `Us` | `MaybeProcessed` |
 * | headers had come | `Receiving` | `Us` | `Answered` |
 * | the server said so, in a status alone | `Sent` | `Server` | `Answered` |
 * | the server said so, after its headers | `Receiving` | `Server` | `Answered` |
 *
 * **Details**: of several attempts it is about the last one; `progress` is then `MaybeProcessed` where another one may have
 * got so far. A stream that the peer's limit holds back inside the transport counts as `Sent`: whether it was can't be told.
 */
export type Phase = "Queued" | "Connecting" | "Sent" | "Receiving"

/** Who decided it: this client (its deadline, its queue, its limits) or the server. */
export type By = "Us" | "Server"

/** A reason that has only a text. */
export interface Plain<out Tag extends string> {
  readonly _tag: Tag
  readonly details: string
}

/** The time was up. `phase` is what it was spent on last. */
export interface DeadlineExceeded extends Plain<"DeadlineExceeded"> {
  readonly phase: Phase
  readonly by: By
}

/** `Us`: the wait queue is full, or a message is larger than our limit. `Server`: it has too much to do. */
export interface ResourceExhausted extends Plain<"ResourceExhausted"> {
  readonly by: By
}

/** No connection, or it was lost. `connect` says why, where that is known. */
export interface Unavailable extends Plain<"Unavailable"> {
  readonly connect: ConnectError | undefined
}

/** What happened: the gRPC status as plain tagged data. */
export type RpcReason =
  | Plain<"Cancelled">
  | Plain<"Unknown">
  | Plain<"InvalidArgument">
  | DeadlineExceeded
  | Plain<"NotFound">
  | Plain<"AlreadyExists">
  | Plain<"PermissionDenied">
  | ResourceExhausted
  | Plain<"FailedPrecondition">
  | Plain<"Aborted">
  | Plain<"OutOfRange">
  | Plain<"Unimplemented">
  | Plain<"Internal">
  | Unavailable
  | Plain<"DataLoss">
  | Plain<"Unauthenticated">

/** The tag of a reason: the name of a gRPC status other than OK. */
export type Tag = RpcReason["_tag"]

/**
 * The status code of each reason, in order (grpc/doc/statuscodes.md). OK is 0.
 *
 * ```ts import.meta.vitest
 * import { RpcError } from "@hawser/grpc"
 *
 * RpcError.codes.NotFound // => 5
 * ```
 */
export const codes: Readonly<Record<Tag, number>> = {
  Cancelled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16
}

const tags: ReadonlyArray<Tag | undefined> = [undefined, ...(Object.keys(codes) as Array<Tag>)]

/**
 * The reason's tag for a status code; `undefined` for 0 and for codes that do not exist.
 *
 * ```ts import.meta.vitest
 * import { RpcError } from "@hawser/grpc"
 *
 * RpcError.tagOf(14) // => "Unavailable"
 * RpcError.tagOf(0) // => undefined
 * RpcError.tagOf(99) // => undefined
 * ```
 */
export const tagOf = (code: number): Tag | undefined => tags[code]

/**
 * The status names of the gRPC documents, by code: what metrics are labelled with.
 *
 * ```ts import.meta.vitest
 * import { RpcError } from "@hawser/grpc"
 *
 * RpcError.statusNames[0] // => "OK"
 * RpcError.statusNames[RpcError.codes.DeadlineExceeded] // => "DEADLINE_EXCEEDED"
 * ```
 */
export const statusNames: ReadonlyArray<string> = tags.map((tag) =>
  tag === undefined ? "OK" : tag.replace(/(?<=.)[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
)

/**
 * A call that did not end in OK.
 *
 * **When to use**: catch all of it by `Effect.catchTag("RpcError", …)`, or one reason by
 * `Effect.catchReason("RpcError", "NotFound", …)`. Ask `isUnsent` before doing a thing again that must not be done twice.
 *
 * **Details**: `method` is the full path; `attempts` is how often the call was tried; `waitedMillis` is the time in the
 * wait queue; `endpoint` and `connection` say who had it last; `metadata` is what came with the status. `committed` says that
 * the response headers had come, for which retry and hedge let a stream be, and by gRFC A6 every call: a status that came
 * alone is `Answered`, and not committed. Printed or serialised, it shows no metadata values but those of an allow-list.
 *
 * `stalledMillis` is how long this process itself did not run while the call did (its event loop was busy, or the process was
 * stopped), where that may explain the end: 0 unless the call ran out of time or lost its connection, and the stall was at
 * least a tenth of its time. Look at this process before the network or the server.
 *
 * Where a codec threw, `cause` is a `ThrownError`, which names what was thrown and keeps its words redacted: they may quote
 * the payload.
 *
 * **Gotchas**: `reason.details` may be the server's own text.
 *
 * **Example** (What it prints)
 *
 * ```ts import.meta.vitest
 * import { RpcError } from "@hawser/grpc"
 *
 * const error = RpcError.of(
 *   "/demo.Greeter/SayHello",
 *   { _tag: "Unavailable", details: "Connection refused", connect: undefined },
 *   "NotSent",
 *   { connection: "10.0.0.7:50051#3", attempts: 2 }
 * )
 * error.message // => "/demo.Greeter/SayHello: Unavailable Connection refused (NotSent, 10.0.0.7:50051#3, attempt 2)"
 * error.isUnsent // => true
 * ```
 *
 * **Example** (Its own process was busy)
 *
 * ```ts import.meta.vitest
 * import { RpcError } from "@hawser/grpc"
 *
 * const late = { _tag: "DeadlineExceeded", details: "", phase: "Sent", by: "Us" } as const
 * const error = RpcError.of("/demo.Greeter/SayHello", late, "MaybeProcessed", { stalledMillis: 1_900 })
 * error.isStalled // => true
 * error.message // => "/demo.Greeter/SayHello: DeadlineExceeded (MaybeProcessed, this process did not run for 1900 ms)"
 * ```
 *
 * **Example** (One reason is no failure)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { RpcError } from "@hawser/grpc"
 *
 * const priceOf = (article: string): Effect.Effect<number, RpcError.RpcError> =>
 *   Effect.fail(RpcError.of("/demo.Shop/Price", { _tag: "NotFound", details: article }, "Answered"))
 *
 * const program = priceOf("tea").pipe(
 *   Effect.catchReason("RpcError", "NotFound", ({ details }) => Effect.succeed(`no ${details}`))
 * )
 * Effect.runSync(program) // => "no tea"
 * ```
 */
export class RpcError extends Data.TaggedError("RpcError")<{
  readonly reason: RpcReason
  readonly method: string
  readonly progress: Progress
  readonly attempts: number
  readonly waitedMillis: number
  readonly endpoint?: string | undefined
  readonly connection?: string | undefined
  readonly metadata?: Metadata | undefined
  readonly committed?: boolean | undefined
  readonly stalledMillis?: number | undefined
  readonly cause?: unknown
}> {
  get [TypeId](): typeof TypeId {
    return TypeId
  }
  override get message(): string {
    const { _tag, details } = this.reason
    const where = this.connection ?? this.endpoint
    const facts = [
      this.progress,
      ...(where === undefined ? [] : [where]),
      ...(this.attempts > 1 ? [`attempt ${this.attempts}`] : []),
      ...(this.isStalled ? [`this process did not run for ${this.stalledMillis} ms`] : [])
    ]
    return `${this.method}: ${_tag}${details === "" ? "" : ` ${details}`} (${facts.join(", ")})`
  }
  /** The gRPC status code. */
  get code(): number {
    return codes[this.reason._tag]
  }
  /** Whether a stall of this process may explain it. */
  get isStalled(): boolean {
    return this.stalledMillis !== undefined && this.stalledMillis > 0
  }
  /** Whether the server can't have acted on it. */
  get isUnsent(): boolean {
    return this.progress === "NotSent" || this.progress === "Refused"
  }
  override toJSON(): unknown {
    const { _tag, message, method, progress, attempts, waitedMillis, endpoint, connection, committed, stalledMillis } =
      this
    const { details, ...rest } = this.reason
    const reason = { ...rest, ...("connect" in rest ? { connect: rest.connect?.message } : {}), details }
    const cause = this.cause instanceof Error ? this.cause.message : undefined
    return {
      _tag,
      message,
      reason,
      method,
      progress,
      attempts,
      waitedMillis,
      endpoint,
      connection,
      committed,
      stalledMillis,
      metadata: this.metadata,
      cause
    }
  }
  // The default would print every field of the cause and of `reason`; this one says each thing once.
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    const metadata = this.metadata === undefined || this.metadata.size === 0 ? "" : `\n  ${String(this.metadata)}`
    const cause = this.cause instanceof Error ? `\n  [cause]: ${this.cause.name}: ${this.cause.message}` : ""
    return `${this.stack ?? `RpcError: ${this.message}`}${metadata}${cause}`
  }
}

/**
 * Whether a value is an `RpcError`.
 *
 * **When to use**: where the type is lost, as in a cause or in a stream of requests; `Effect.catchTag` otherwise.
 *
 * ```ts import.meta.vitest
 * import { Cause } from "effect"
 * import { RpcError } from "@hawser/grpc"
 *
 * const codeOf = (cause: Cause.Cause<unknown>) => {
 *   const error = Cause.squash(cause)
 *   return RpcError.isRpcError(error) ? error.code : RpcError.codes.Unknown
 * }
 * codeOf(Cause.fail(RpcError.of("/demo.Shop/Buy", { _tag: "Aborted", details: "" }, "Answered"))) // => 10
 * codeOf(Cause.die("a bug")) // => 2
 * ```
 */
export const isRpcError = (u: unknown): u is RpcError => hasProperty(u, TypeId)

/**
 * Whether the call that failed can't have been acted on: sending it again is safe, idempotent or not.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { RpcError } from "@hawser/grpc"
 *
 * let orders = 0
 * const ending = (progress: RpcError.Progress) =>
 *   Effect.suspend(() => {
 *     orders++
 *     return Effect.fail(RpcError.of("/demo.Shop/Buy", { _tag: "Aborted", details: "" }, progress))
 *   })
 * const buy = (progress: RpcError.Progress) => Effect.retry(ending(progress), { times: 3, while: RpcError.isUnsent })
 *
 * Effect.runSync(Effect.flip(buy("MaybeProcessed")))
 * orders // => 1
 * Effect.runSync(Effect.flip(buy("Refused")))
 * orders // => 5
 * ```
 */
export const isUnsent = (error: RpcError): boolean => error.isUnsent

/** What `of` fills in by itself: one attempt, no wait, no headers. */
export interface Facts {
  readonly attempts?: number | undefined
  readonly waitedMillis?: number | undefined
  readonly endpoint?: string | undefined
  readonly connection?: string | undefined
  readonly metadata?: Metadata | undefined
  readonly committed?: boolean | undefined
  readonly stalledMillis?: number | undefined
  readonly cause?: unknown
}

/**
 * Makes an `RpcError` for a method's path.
 *
 * **When to use**: in mocks, and in middleware that fails calls by itself.
 *
 * ```ts import.meta.vitest
 * import { RpcError } from "@hawser/grpc"
 *
 * const error = RpcError.of(
 *   "/demo.Greeter/SayHello",
 *   { _tag: "DeadlineExceeded", details: "", phase: "Queued", by: "Us" },
 *   "NotSent",
 *   { attempts: 0, waitedMillis: 1_500 }
 * )
 * error.code // => 4
 * error.waitedMillis // => 1_500
 * ```
 */
export const of = (method: string, reason: RpcReason, progress: Progress, facts: Facts = {}): RpcError =>
  new RpcError({
    reason,
    method,
    progress,
    attempts: facts.attempts ?? 1,
    waitedMillis: facts.waitedMillis ?? 0,
    endpoint: facts.endpoint,
    connection: facts.connection,
    metadata: facts.metadata,
    committed: facts.committed ?? false,
    stalledMillis: facts.stalledMillis ?? 0,
    cause: facts.cause
  })
