/**
 * The two messages of `grpc.health.v1`, by hand: one field each. What comes from a peer may be anything, and is never more
 * than "not serving" when it can't be read.
 */
import type { Method } from "./Method.ts"
import { read } from "./Protobuf.ts"

/** What a server says of a service; other numbers and bytes are texts, too, and mean the same as `NOT_SERVING`. */
export type ServingStatus = "UNKNOWN" | "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN" | (string & {})

const statuses: ReadonlyArray<ServingStatus> = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]

/** HealthCheckRequest. */
const encode = (service: string): Uint8Array => {
  const text = Buffer.from(service)
  const n = text.length
  if (n === 0) return text
  return Buffer.concat([Buffer.from([0x0a, ...varint(n)]), text])
}

const varint = (n: number): ReadonlyArray<number> => (n < 128 ? [n] : [(n & 0x7f) | 0x80, ...varint(n >> 7)])

/** HealthCheckResponse. */
const decode = (bytes: Uint8Array): ServingStatus => {
  const status = read(bytes, { 1: ["status", "integer"] })?.["status"] as bigint | undefined
  if (status === undefined) return "an answer that can't be read"
  return (status >= 0n ? statuses[Number(status)] : undefined) ?? `status ${status}`
}

/** The longest name of a service that is asked for. */
export const maxServiceLength = 1_024

const codec = { encode, decode, idempotency: "NoSideEffects" } as const

/** Asks once. */
export const checkMethod: Method<string, ServingStatus> = {
  ...codec,
  path: "/grpc.health.v1.Health/Check",
  kind: "unary"
}

/** Is told the state, and each change of it. */
export const watchMethod: Method<string, ServingStatus> = {
  ...codec,
  path: "/grpc.health.v1.Health/Watch",
  kind: "serverStreaming"
}
