/**
 * Why there is no connection, or no more.
 *
 * Reasons are plain tagged data under one error class, so that a failure costs one stack and `Effect.catchReason`
 * narrows it.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** Why there is no secured connection: what we refused in the peer, or the peer in us. */
export type TlsProblem =
  /** A certificate of the peer's chain has expired. */
  | "Expired"
  /** A certificate of the peer's chain is not valid yet: mostly a clock that is wrong. */
  | "NotYetValid"
  /** Nobody whom we trust has signed the peer's certificate. */
  | "UnknownIssuer"
  /** The peer's certificate is for other names, or it says that it does not serve the name. */
  | "WrongHost"
  /** The peer's certificate is not one for servers, or it is signed with one that may not sign. */
  | "WrongPurpose"
  /** A key or a signature of the peer's chain is too weak. */
  | "Weak"
  /** The peer demands a certificate, and there is none to show. */
  | "NoClientCertificate"
  /** The peer does not accept the certificate that it was shown. */
  | "ClientCertificateRefused"
  /** No version, cipher or parameter in common. */
  | "Incompatible"
  /** The peer did not agree to the protocol that is spoken inside (ALPN). */
  | "Alpn"
  /** The peer does not speak TLS. */
  | "NotTls"
  | "Other"

/** The reasons, as plain data. */
export type ConnectReason =
  /** Nobody listens there. */
  | { readonly _tag: "Refused" }
  /** No usable connection after this long. */
  | { readonly _tag: "TimedOut"; readonly after: Duration.Duration }
  /** `alert` is what the peer said of it, in the words of TLS: `unknown ca`. */
  | { readonly _tag: "Tls"; readonly problem: TlsProblem; readonly alert?: string }
  /** It did not answer a ping in this time. */
  | { readonly _tag: "Unanswered"; readonly after: Duration.Duration }
  /** The peer ended it because it was pinged more often than it allows. */
  | { readonly _tag: "TooManyPings" }
  /** The connection broke, while dialling or later. */
  | { readonly _tag: "Reset" }
  /** The peer, or we, ended it in an orderly way. */
  | { readonly _tag: "Closed" }
  /** It is connected, and its health check says that it can't serve. */
  | { readonly _tag: "Unhealthy"; readonly said: string }
  | { readonly _tag: "Resolution"; readonly target: string }
  | { readonly _tag: "NoEndpoints"; readonly target: string }
  /** The wait queue is full (`QueueLength`), or this waiter's time in it has passed (`QueueTime`). */
  | {
      readonly _tag: "Saturated"
      readonly by: "QueueLength" | "QueueTime"
      readonly waiting: number
      /** What the waiter waited for: a free permit, or a first connection. */
      readonly on: "Permit" | "Connection"
    }

/**
 * Why there is no connection, or no more. `cause` keeps what the transport said.
 *
 * ```ts import.meta.vitest
 * import { ConnectError } from "@hawser/core"
 *
 * const error = new ConnectError.ConnectError({ reason: { _tag: "Refused" }, endpoint: "10.0.0.7:50051" })
 * error.message // => "Refused (10.0.0.7:50051)"
 * ```
 */
export class ConnectError extends Data.TaggedError("ConnectError")<{
  readonly reason: ConnectReason
  readonly endpoint?: string | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    const where = this.endpoint === undefined ? "" : ` (${this.endpoint})`
    const because = this.cause instanceof Error ? `: ${this.cause.message}` : ""
    return `${describe(this.reason)}${where}${because}`
  }
}

/**
 * A dial that took too long.
 *
 * ```ts import.meta.vitest
 * import { Duration } from "effect"
 * import { ConnectError } from "@hawser/core"
 *
 * ConnectError.timedOut(Duration.seconds(20), "10.0.0.7:50051").message // => "TimedOut (10.0.0.7:50051)"
 * ```
 */
export const timedOut = (after: Duration.Duration, endpoint: string): ConnectError =>
  new ConnectError({ reason: { _tag: "TimedOut", after }, endpoint })

const describe = (reason: ConnectReason): string => {
  switch (reason._tag) {
    case "Tls":
      return `Tls ${reason.problem}`
    case "Unhealthy":
      return `Unhealthy: ${reason.said}`
    case "Unanswered":
      return `No answer to a ping within ${Duration.format(reason.after)}`
    case "Resolution":
    case "NoEndpoints":
      return `${reason._tag} ${reason.target}`
    case "Saturated":
      return `Saturated by ${reason.by}, ${reason.waiting} waiting for a ${reason.on.toLowerCase()}`
    default:
      return reason._tag
  }
}

/**
 * The typed error of a failed dial; a defect as one, so that no connector takes the fiber that dials down.
 *
 * ```ts import.meta.vitest
 * import { Cause } from "effect"
 * import { ConnectError } from "@hawser/core"
 *
 * ConnectError.ofCause(Cause.die(new Error("bug")), "a:1").message // => "Closed (a:1): bug"
 * ```
 */
export const ofCause = (cause: Cause.Cause<ConnectError>, endpoint: string): ConnectError =>
  Option.getOrElse(
    Cause.findErrorOption(cause),
    () => new ConnectError({ reason: { _tag: "Closed" }, endpoint, cause: Cause.squash(cause) })
  )
