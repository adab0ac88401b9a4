/**
 * What grpc-js, Node and OpenSSL say about a failed connection, as a `ConnectError` that says what to do.
 *
 * OpenSSL's codes differ between the versions of Node. The numbers of alerts are TLS's own and do not.
 */
import { ConnectError, type ConnectReason, type TlsProblem } from "@hawser/core/ConnectError"
import type { TLSSocket } from "node:tls"

/** How a connection is secured, and whether this side has a certificate to show. */
export type Security = "Plaintext" | "Tls" | "Mutual"

/** What else is known of a connection. */
export interface Circumstances {
  readonly security: Security
  /** Whether the peer's part of the handshake had begun. */
  readonly begun: boolean
  /** Whether the connection was Ready. */
  readonly ready: boolean
}

/** What Node and OpenSSL put on an error. */
interface Failed extends Error {
  readonly code: string
  readonly reason?: string
  readonly host?: string
  readonly cert?: { readonly subjectaltname?: string; readonly subject?: { readonly CN?: string } }
}

const codes: Readonly<Record<string, TlsProblem>> = {
  CERT_HAS_EXPIRED: "Expired",
  CERT_NOT_YET_VALID: "NotYetValid",
  CERT_REJECTED: "UnknownIssuer",
  CERT_SIGNATURE_FAILURE: "UnknownIssuer",
  CERT_UNTRUSTED: "UnknownIssuer",
  DEPTH_ZERO_SELF_SIGNED_CERT: "UnknownIssuer",
  SELF_SIGNED_CERT_IN_CHAIN: "UnknownIssuer",
  UNABLE_TO_GET_ISSUER_CERT: "UnknownIssuer",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "UnknownIssuer",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "UnknownIssuer",
  ERR_TLS_CERT_ALTNAME_INVALID: "WrongHost",
  INVALID_CA: "WrongPurpose",
  INVALID_PURPOSE: "WrongPurpose",
  PATH_LENGTH_EXCEEDED: "WrongPurpose",
  ERR_SSL_UNSUPPORTED_PROTOCOL: "Incompatible",
  ERR_SSL_HTTP_REQUEST: "NotTls",
  ERR_SSL_WRONG_VERSION_NUMBER: "NotTls",
  ERR_ALPN: "Alpn"
}

/** Alerts that are about the certificate of whoever receives them. */
const aboutCertificate = new Set([41, 42, 43, 44, 45, 46, 48, 49, 116])
const handshakeFailure = 40
const alerts: Readonly<Record<number, TlsProblem>> = {
  47: "Incompatible",
  70: "Incompatible",
  71: "Incompatible",
  86: "Incompatible",
  109: "Incompatible",
  110: "Incompatible",
  112: "WrongHost",
  120: "Alpn"
}

const advice: Readonly<Record<Exclude<TlsProblem, "Other">, string>> = {
  Expired: "renew the server's certificate, or the one in its chain that has expired",
  NotYetValid: "compare the clocks of both machines with the dates of the server's certificates",
  UnknownIssuer: "give the certificate of the server's authority as `ca`, and let the server send its whole chain",
  WrongHost: "set `authority`, or the `serverName` of the credentials, to a name of the server",
  WrongPurpose:
    "the server needs a certificate for servers (extended key usage serverAuth), from an authority that may sign",
  Weak: "the server needs a certificate with a longer key, or with a signature by SHA-256 or better",
  NoClientCertificate: "give the certificate and the key of this client as `cert` and `key`",
  ClientCertificateRefused: "the server must trust who signed `cert`, which must be valid, and for clients",
  Incompatible: "let both sides have a TLS version and a cipher in common",
  Alpn: "gRPC over TLS needs a server, and proxies before it, that agree to h2 by ALPN",
  NotTls: "secure the server's port, or use Credentials.insecure"
}

/** Throws unless HTTP/2 was agreed on: without, the first call would be read by something else. */
export const requireHttp2 = ({ alpnProtocol }: TLSSocket): void => {
  if (alpnProtocol === "h2") return
  const chosen = typeof alpnProtocol === "string" ? alpnProtocol : "no protocol"
  throw Object.assign(new Error(`the server chose ${chosen} instead of h2`), { code: "ERR_ALPN" })
}

/** Why a dial failed or a connection ended, from the error that was seen; `undefined`: the peer just closed. */
export const connectError = (endpoint: string, error: unknown, about: Circumstances): ConnectError => {
  const code = codeOf(error)
  const alert = alertOf(error)
  const problem = alert === undefined ? byCode(error, code) : byAlert(alert.number, about)
  if (problem !== undefined) {
    const text = alert === undefined ? said(error as Failed, problem) : `the server says "${alert.text}"`
    const cause = explained(error, code, problem === "Other" ? text : `${text}; ${advice[problem]}`)
    const reason = { _tag: "Tls", problem, ...(alert === undefined ? {} : { alert: alert.text }) } as const
    return new ConnectError({ reason, endpoint, cause })
  }
  const reason = other(error, code)
  const hungUp = !about.ready && (error === undefined || code === "ECONNRESET" || code === "EPIPE")
  const cause = hungUp ? explained(error, code, hints[about.security]) : error
  return new ConnectError({ reason, endpoint, ...(cause === undefined ? {} : { cause }) })
}

const first = "the server hung up before its first word of HTTP/2"
const hints: Readonly<Record<Security, string>> = {
  Plaintext: `${first}, as servers of TLS do; these credentials are plaintext`,
  Tls: first,
  Mutual: `${first}, as some servers do that refuse the certificate of a client`
}

const other = (error: unknown, code: string): ConnectReason => {
  if (error === undefined) return { _tag: "Closed" }
  return code === "ECONNREFUSED" ? { _tag: "Refused" } : { _tag: "Reset" }
}

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error ? String(error.code) : ""

/** The alert by which the peer ended a handshake. */
const alertOf = (error: unknown): { readonly number: number; readonly text: string } | undefined => {
  if (!(error instanceof Error)) return undefined
  const found = /SSL alert number (\d+)/.exec(error.message)
  if (found === null) return undefined
  const text = (error as Failed).reason ?? `alert ${found[1]}`
  return { number: Number(found[1]), text: text.replace(/^(?:ssl\/tls|sslv3|tlsv1\d?) (?:alert )?/, "") }
}

const byAlert = (number: number, { begun, security }: Circumstances): TlsProblem => {
  // Right at the start it says that the two have nothing in common. Later only the certificate of the client is new.
  if (number === handshakeFailure && !begun) return "Incompatible"
  if (number !== handshakeFailure && !aboutCertificate.has(number)) return alerts[number] ?? "Other"
  return security === "Mutual" ? "ClientCertificateRefused" : "NoClientCertificate"
}

// Node's names for what is wrong with a certificate, such as INVALID_PURPOSE: no error of the system looks like that.
const ofTls = /^(?:ERR_(?:SSL|TLS)_|EPROTO$|UNSPECIFIED$|(?!ERR_|EAI_)[A-Z]+_)/

const byCode = (error: unknown, code: string): TlsProblem | undefined => {
  const problem = codes[code]
  if (problem !== undefined) return problem
  if (!ofTls.test(code)) return undefined
  return /too (?:weak|small)/i.test((error as Failed).message) || /_TOO_(?:SMALL|WEAK)$/.test(code) ? "Weak" : "Other"
}

/** A certificate may have a thousand names. */
const enough = 200

const said = (error: Failed, problem: TlsProblem): string => {
  if (problem === "NotTls") return "the server does not speak TLS"
  if (problem !== "WrongHost") return error.reason ?? error.message
  const { subject, subjectaltname } = error.cert ?? {}
  const names = subjectaltname ?? (subject?.CN === undefined ? "no host" : `CN:${subject.CN}`)
  const short = names.length > enough ? `${names.slice(0, enough)}…` : names
  return `the certificate is for ${short}, and not for ${error.host}`
}

const explained = (cause: unknown, code: string, message: string): Error =>
  Object.assign(new Error(message, cause === undefined ? {} : { cause }), code === "" ? {} : { code })
