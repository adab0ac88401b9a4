/**
 * What a status means: the only place where codes, texts and progress are read.
 *
 * Three pure, total functions, each one table: how far a call got (`progressOf`), what happened (`reason`), and what
 * that says about the endpoint (`outcome`). A status of the wire may have been made by the server, by a proxy, by
 * grpc-js for a lost connection, or by us; the tables tell them apart by what was sent and received, and by text only
 * where nothing else is left.
 */
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Outcome } from "@hawser/core/Outcome"
import type { Metadata } from "./Metadata.ts"
import type { By, Phase, Progress, RpcReason, Tag } from "./RpcError.ts"
import { tagOf } from "./RpcError.ts"

/**
 * The details of a call that was ended because the path under it was given up. Retry resends such a call at once.
 *
 * ```ts import.meta.vitest
 * import { Status } from "@hawser/grpc"
 *
 * Status.reason(14, Status.pathGivenUp, undefined, "MaybeProcessed", true, "Sent")._tag // => "Unavailable"
 * ```
 */
export const pathGivenUp = "Path given up"

/** What grpc-js says of a call that the server never looked at. */
export const refused = "Stream refused by server"

/**
 * The details of a call that a server refused because it was saying goodbye: the next connection takes it.
 *
 * **Details**: sent again once, for it can't add to anybody's load, without a withdrawal from the budget of retries (gRFC A6
 * calls that a transparent retry).
 *
 * ```ts import.meta.vitest
 * import { Status } from "@hawser/grpc"
 *
 * const facts = { sent: true, headersSeen: false, code: 14, metadataEmpty: true, grpcContentType: false }
 * Status.progressOf({ ...facts, details: Status.refusedByGoaway }) // => "Refused"
 * Status.progressOf({ ...facts, details: Status.refused }) // => "Refused"
 * Status.progressOf({ ...facts, details: "Connection dropped" }) // => "MaybeProcessed"
 * ```
 */
export const refusedByGoaway = "Stream refused by server, which was going away"

// --------------------------------------------------------------------------------------------------------- progress

/** What is known of a call when its status arrives. */
export interface Evidence {
  /** Whether the call was handed to a connection: in grpc-js, whether it has an auth context. */
  readonly sent: boolean
  /** Whether response headers were received, of any kind. */
  readonly headersSeen: boolean
  readonly code: number
  readonly details: string
  /** Whether the status came without metadata. */
  readonly metadataEmpty: boolean
  /** Whether headers or status metadata carry a content-type of `application/grpc…`. */
  readonly grpcContentType: boolean
}

/**
 * How far a call got.
 *
 * | progress | iff |
 * |---|---|
 * | `NotSent` | it was not sent |
 * | `Refused` | sent, no headers, code 14 with the text `Stream refused by server` and no metadata |
 * | `Answered` | headers or status metadata say `application/grpc…` |
 * | `MaybeProcessed` | otherwise |
 *
 * **Details**: the text of a refusal is grpc-js's own; a server that sends the same text has metadata. An HTML page
 * from a proxy is no answer.
 *
 * ```ts import.meta.vitest
 * import { Status } from "@hawser/grpc"
 *
 * const lost = { sent: true, headersSeen: false, code: 14, details: "Connection dropped", metadataEmpty: true }
 * Status.progressOf({ ...lost, grpcContentType: false }) // => "MaybeProcessed"
 * Status.progressOf({ ...lost, grpcContentType: false, sent: false }) // => "NotSent"
 * ```
 */
export const progressOf = (evidence: Evidence): Progress => {
  if (!evidence.sent) return "NotSent"
  const { headersSeen, code, details, metadataEmpty } = evidence
  const said = details === refused || details === refusedByGoaway
  if (!headersSeen && code === 14 && said && metadataEmpty) return "Refused"
  return evidence.grpcContentType ? "Answered" : "MaybeProcessed"
}

/**
 * How far a call got that was sent several times: as far as its last attempt, but `MaybeProcessed` where that was not
 * processed and another one may have been.
 *
 * **When to use**: in middleware that sends calls again, so that nobody takes its error for leave to send once more.
 *
 * ```ts import.meta.vitest
 * import { Status } from "@hawser/grpc"
 *
 * // The first attempt was lost on its way, the second one had no connection.
 * Status.furthest("NotSent", true) // => "MaybeProcessed"
 * Status.furthest("NotSent", false) // => "NotSent"
 * Status.furthest("Answered", true) // => "Answered"
 * ```
 */
export const furthest = (last: Progress, othersMaybe: boolean): Progress =>
  othersMaybe && (last === "NotSent" || last === "Refused") ? "MaybeProcessed" : last

/**
 * Whether metadata names a gRPC content type: the mark of an answer from the server itself.
 *
 * ```ts import.meta.vitest
 * import { Metadata, Status } from "@hawser/grpc"
 *
 * Status.isGrpc(Metadata.received(() => [["content-type", "application/grpc+proto"]], undefined)) // => true
 * Status.isGrpc(Metadata.received(() => [["content-type", "text/html"]], undefined)) // => false
 * ```
 */
export const isGrpc = (metadata: Metadata | undefined): boolean => {
  const type = metadata?.get("content-type")
  return typeof type === "string" && /^application\/grpc(?:$|[+;])/i.test(type)
}

// ----------------------------------------------------------------------------------------------------------- reason

// Texts of grpc-js 1.14, for statuses that it makes itself.
const transportMade =
  /^(?:Received RST_STREAM with code |Bandwidth exhausted or memory limit exceeded$|Call cancelled$|Connection dropped$)/
// Its own server says the same, without "after".
const ourDeadline = /^Deadline exceeded after /
const sentTooLarge = /^Attempted to send message with a size larger than /
const receivedTooLarge = /^Received message (?:larger than max|that decompresses to a size larger than) /
const httpStatus = /^Received HTTP status code /

/**
 * What happened, for a status that is not OK.
 *
 * | code | when | reason |
 * |---|---|---|
 * | 1 | we cancelled, or the server said so itself | `Cancelled` |
 * | 1 | otherwise: the connection was lost | `Unavailable` |
 * | 4 | the server said so itself | `DeadlineExceeded` by `Server` |
 * | 4 | otherwise | `DeadlineExceeded` by `Us`, with `phase` |
 * | 8 | a message above our own limit | `ResourceExhausted` by `Us` |
 * | 8, 13 | made by the transport: no metadata, no answer | `Unavailable`: a lost connection is not overload |
 * | 8 | otherwise | `ResourceExhausted` by `Server` |
 * | 14 | | `Unavailable`, with `connect` where it is known |
 * | other legal codes | | the reason of that name |
 * | 0 | a call that failed with OK: it had no answer | `Internal` |
 * | `undefined` | a message that grpc-js could not read | `Internal` |
 * | NaN, 999, … | | `Unknown`, the details name the raw code |
 *
 * **Details**: "the server said so itself" means `Answered`, with a gRPC content type in the status metadata, or other
 * metadata, or a text that is not one of grpc-js's own: a status in trailers after headers brings no content type.
 * A status that a proxy made in HTTP (`Received HTTP status code …`) keeps the code that gRPC gives it.
 *
 * ```ts import.meta.vitest
 * import { Status } from "@hawser/grpc"
 *
 * const lost = Status.reason(13, "Received RST_STREAM with code 2", undefined, "MaybeProcessed", false, "Sent")
 * lost._tag // => "Unavailable"
 * Status.reason(999, "odd", undefined, "Answered", false, "Sent").details // => "odd (illegal status code 999)"
 * ```
 */
export const reason = (
  code: number | undefined,
  details: string | undefined,
  metadata: Metadata | undefined,
  progress: Progress,
  cancelledByUs: boolean,
  phase: Phase,
  connect?: ConnectError | undefined
): RpcReason => {
  const text = details ?? ""
  const tag = code === undefined ? undefined : tagOf(code)
  if (tag === undefined) return illegal(code, text)
  const bare = metadata === undefined || metadata.size === 0
  const byServer = progress === "Answered" && (isGrpc(metadata) || !bare || !transportMade.test(text))
  switch (tag) {
    case "Cancelled":
      return cancelledByUs || byServer ? { _tag: tag, details: text } : unavailable(text, connect)
    case "DeadlineExceeded": {
      const by: By = !cancelledByUs && byServer && !(bare && ourDeadline.test(text)) ? "Server" : "Us"
      return { _tag: tag, details: text, phase, by }
    }
    case "ResourceExhausted":
      if (bare && (sentTooLarge.test(text) || (progress === "Answered" && receivedTooLarge.test(text)))) {
        return { _tag: tag, details: text, by: "Us" }
      }
      return byServer || !bare ? { _tag: tag, details: text, by: "Server" } : unavailable(text, connect)
    case "Internal":
      return byServer || !bare || httpStatus.test(text) ? { _tag: tag, details: text } : unavailable(text, connect)
    case "Unavailable":
      return unavailable(text, connect)
    default:
      return { _tag: tag, details: text }
  }
}

const unavailable = (details: string, connect: ConnectError | undefined): RpcReason => ({
  _tag: "Unavailable",
  details,
  connect
})

// grpc-js gives such a call neither a code nor a text, and has removed the header by then.
const unreadable = "Received a compressed message whose grpc-encoding is missing or none of identity, deflate and gzip"

const illegal = (code: number | undefined, details: string): RpcReason => {
  if (code === 0) return { _tag: "Internal", details: details === "" ? "Status OK without an answer" : details }
  if (code === undefined) return { _tag: "Internal", details: details === "" ? unreadable : details }
  const note = `illegal status code ${String(code)}`
  return { _tag: "Unknown", details: details === "" ? note : `${details} (${note})` }
}

// ---------------------------------------------------------------------------------------------------------- outcome

/** Who ended a call: this client by cancelling it, its peer by a status, or the loss of the connection. */
export type EndedBy = "Us" | "Server" | "Connection"

/**
 * What an answer from the server says about the endpoint. `Success` means that it did its work, whatever the call
 * thinks of the result.
 */
const answered: Readonly<Record<Tag, Outcome>> = {
  // The caller's fault, or a plain answer of the application: any healthy backend says the same.
  InvalidArgument: "Success",
  NotFound: "Success",
  AlreadyExists: "Success",
  PermissionDenied: "Success",
  Unauthenticated: "Success",
  FailedPrecondition: "Success",
  Aborted: "Success",
  OutOfRange: "Success",
  Unimplemented: "Success",
  // The handler gave up by itself; nothing was wrong with getting there.
  Cancelled: "Success",
  // Mostly bugs of a handler, and then equal on all endpoints, where penalties cancel out (panic uses all Ready ones).
  // Where they are not equal, one backend is broken: its disk, its configuration, its deploy. That must be seen.
  Unknown: "Failure",
  Internal: "Failure",
  DataLoss: "Failure",
  // It says itself that it can't serve: shutting down, or its own backend is gone.
  Unavailable: "Failure",
  // Too slow for the caller. That the server noticed first changes nothing.
  DeadlineExceeded: "Failure",
  // Load, not death: slow down, never eject.
  ResourceExhausted: "Overloaded"
}

/**
 * What the end of a call says about the endpoint that had it.
 *
 * | ended by | progress | reason | outcome |
 * |---|---|---|---|
 * | | | none: OK | `Success` |
 * | | sent | `DeadlineExceeded`, by whomever | `Failure`: it was not in time |
 * | us | | any other | `Neutral`: we cancelled |
 * | | | `ResourceExhausted` by `Us` | `Neutral`: our limit |
 * | the connection | | | `Broken`: it must not be lent again |
 * | the server | `NotSent` | | `Neutral`: the endpoint never saw it |
 * | the server | `Refused` | | `Overloaded`: its stream limit. Were it neutral, whoever refuses fastest would get all calls |
 * | the server | `MaybeProcessed` | | `Failure`: no gRPC server answered, so even a 404 or 401 is a proxy's |
 * | the server | `Answered` | `NotFound`, `InvalidArgument`, `AlreadyExists`, `PermissionDenied`, `Unauthenticated`, `FailedPrecondition`, `Aborted`, `OutOfRange`, `Unimplemented`, `Cancelled` | `Success`: it did its work |
 * | the server | `Answered` | `Unknown`, `Internal`, `DataLoss`, `Unavailable` | `Failure` |
 * | the server | `Answered` | `ResourceExhausted` | `Overloaded` |
 *
 * **Details**: elapsed time is no input. The lease knows when it was taken, and core weighs slowness.
 *
 * ```ts import.meta.vitest
 * import { Status } from "@hawser/grpc"
 *
 * Status.outcome({ _tag: "NotFound", details: "" }, "Answered", "Server") // => "Success"
 * Status.outcome({ _tag: "NotFound", details: "" }, "MaybeProcessed", "Server") // => "Failure"
 * ```
 */
export const outcome = (reason: RpcReason | undefined, progress: Progress, endedBy: EndedBy): Outcome => {
  if (reason === undefined) return "Success"
  if (endedBy === "Connection") return "Broken"
  if (progress !== "NotSent" && reason._tag === "DeadlineExceeded") return "Failure"
  if (endedBy === "Us" || progress === "NotSent") return "Neutral"
  if (reason._tag === "ResourceExhausted" && reason.by === "Us") return "Neutral"
  if (progress === "Refused") return "Overloaded"
  return progress === "Answered" ? answered[reason._tag] : "Failure"
}
