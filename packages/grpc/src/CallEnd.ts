/**
 * How a call ended, told in one way to whatever follows calls: metrics, spans, logs.
 */
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import * as RpcError from "./RpcError.ts"

/** How a call ended. */
export interface End {
  /** The status; 0 is OK. */
  readonly code: number
  /** Who answered, as in `Reply.connection`. */
  readonly connection: string | undefined
  /** What it failed with, if it failed with one of ours. */
  readonly error: RpcError.RpcError | undefined
  readonly interrupted: boolean
}

/** It ended with OK. */
export const succeeded = (connection: string): End => ({ code: 0, connection, error: undefined, interrupted: false })

/** Its reader left, after the status that it had been told, or without one. */
export const leaving = (told: number | undefined, connection: string): End =>
  told === undefined ? { ...interrupted, connection } : { code: told, connection, error: undefined, interrupted: false }

/** Whoever wanted it gave it up. */
export const interrupted: End = {
  code: RpcError.codes.Cancelled,
  connection: undefined,
  error: undefined,
  interrupted: true
}

/** Something in its way threw. */
export const died: End = { code: RpcError.codes.Unknown, connection: undefined, error: undefined, interrupted: false }

/** It failed with one of our errors. */
export const refused = (error: RpcError.RpcError): End => ({
  code: error.code,
  connection: error.connection,
  error,
  interrupted: false
})

/** It failed. */
export const failed = (cause: Cause.Cause<unknown>, connection: string | undefined): End => {
  if (Cause.hasInterrupts(cause)) return { ...interrupted, connection }
  const found = cause.reasons.find(Cause.isFailReason)?.error
  const error = RpcError.isRpcError(found) ? found : undefined
  const code = error?.code ?? RpcError.codes.Unknown
  return { code, connection: error?.connection ?? connection, error, interrupted: false }
}

/** How a call of one answer ended. */
export const endOf = (exit: Exit.Exit<{ readonly connection: string }, unknown>): End =>
  exit._tag === "Success" ? succeeded(exit.value.connection) : failed(exit.cause, undefined)

/** The endpoint of a connection: `10.0.0.7:50051` of `10.0.0.7:50051#3`. */
export const endpointOf = ({ connection, error }: End): string | undefined => {
  if (connection === undefined || connection === "") return error?.endpoint
  const hash = connection.lastIndexOf("#")
  return hash < 0 ? connection : connection.slice(0, hash)
}

/**
 * What an error says in words of this side. The server's own may repeat what was sent to it, secrets included, and are
 * left out.
 */
export const wordsOf = (error: RpcError.RpcError): string => (error.progress === "Answered" ? "" : error.reason.details)
