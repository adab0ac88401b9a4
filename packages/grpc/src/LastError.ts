/**
 * The error of a call that was sent several times: the last one, with what only retry and hedge know.
 *
 * It never decides whether there is another attempt.
 */
import * as RpcError from "./RpcError.ts"
import { furthest } from "./Status.ts"

/** `othersMaybe`: whether another attempt may have been processed. `notes`: why there was not one more. */
export const of = (
  error: RpcError.RpcError,
  othersMaybe: boolean,
  attempts: number,
  ...notes: ReadonlyArray<string>
): RpcError.RpcError => {
  const { reason } = error
  const details = [reason.details, ...notes].filter((text) => text !== "").join("; ")
  const progress = furthest(error.progress, othersMaybe)
  const same = error.attempts === attempts && details === reason.details && progress === error.progress
  return same ? error : RpcError.of(error.method, { ...reason, details }, progress, { ...error, attempts })
}
