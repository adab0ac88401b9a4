/**
 * What grpc-js, Node and OpenSSL say about a failed connection, as a `ConnectError`.
 */
import { ConnectError, type ConnectReason, type TlsProblem } from "@hawser/core/ConnectError"

const tls: Readonly<Record<string, TlsProblem>> = {
  CERT_HAS_EXPIRED: "Expired",
  CERT_NOT_YET_VALID: "Expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "UnknownIssuer",
  SELF_SIGNED_CERT_IN_CHAIN: "UnknownIssuer",
  UNABLE_TO_GET_ISSUER_CERT: "UnknownIssuer",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "UnknownIssuer",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "UnknownIssuer",
  ERR_TLS_CERT_ALTNAME_INVALID: "WrongHost",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: "NoClientCertificate"
}

/** Why a dial failed or a connection ended, from the error that was seen; `undefined`: the peer just closed. */
export const connectError = (endpoint: string, error: unknown): ConnectError =>
  new ConnectError({ reason: reason(error), endpoint, ...(error === undefined ? {} : { cause: error }) })

const reason = (error: unknown): ConnectReason => {
  if (error === undefined) return { _tag: "Closed" }
  const code = typeof error === "object" && error !== null && "code" in error ? String(error.code) : ""
  const problem = tls[code]
  if (problem !== undefined) return { _tag: "Tls", problem }
  if (code.startsWith("ERR_SSL_") || code.startsWith("ERR_TLS_") || code === "EPROTO") {
    return { _tag: "Tls", problem: "Other" }
  }
  return code === "ECONNREFUSED" ? { _tag: "Refused" } : { _tag: "Reset" }
}
