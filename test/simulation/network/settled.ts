/**
 * What must be so for every call that has ended.
 */
import * as Exit from "effect/Exit"
import { isRpcError, type RpcError } from "@hawser/grpc/RpcError"
import type { World } from "@hawser/testing/Simulation"
import type { Ledger } from "./ledger.ts"
import type { CallStep, Settings } from "./script.ts"
import type { Told } from "./service.ts"

/** A call must end so long after its deadline, at the latest. */
export const slack = 100

/** Why something failed, in words. */
export const describe = (exit: Exit.Failure<unknown, unknown>): string => {
  const [reason] = exit.cause.reasons
  if (reason?._tag === "Fail") return String((reason.error as Error).message)
  if (reason?._tag === "Die") return String((reason.defect as Error).stack ?? reason.defect)
  return "interrupted"
}

/** I-8, I-9: judges one call. */
export const settled = (
  step: CallStep,
  exit: Exit.Exit<ReadonlyArray<Told>, RpcError>,
  elapsed: number,
  world: World,
  ledger: Ledger,
  { hedge, maxWait }: Settings
): void => {
  const { id, idempotent, interrupt, kind, leave, messages, timeout } = step
  const where = `call ${id} (${kind})`
  const begun = ledger.began.get(id) ?? 0
  if (!idempotent && begun > 1) ledger.problem(`I-8 ${where} is not idempotent and was begun ${begun} times`)
  if (timeout > 0 && elapsed > timeout + slack) {
    ledger.problem(`I-9 ${where} took ${Math.round(elapsed)} ms, its deadline was ${timeout} ms`)
  }
  if (Exit.isSuccess(exit)) {
    ledger.count("ok")
    world.note(`ok ${id}`)
    const expected = kind === "unary" || kind === "clientStreaming" ? 1 : leave ? Math.min(1, messages) : messages
    const told = exit.value
    if (told.length !== expected) ledger.problem(`${where} got ${told.length} messages of ${expected}`)
    told.forEach((message, i) => {
      const nth = kind === "unary" ? 0 : kind === "clientStreaming" ? messages : i + 1
      if (message.nth !== nth || (message.id !== id && messages > 0)) ledger.problem(`${where} got another's message`)
    })
    // With nothing to send, no handler knows whose call it was.
    const anonymous = messages === 0 && (kind === "clientStreaming" || kind === "bidiStreaming")
    if (begun === 0 && !anonymous) ledger.problem(`${where} was answered by nobody`)
    return
  }
  if (Exit.hasInterrupts(exit)) {
    ledger.count("interrupted")
    world.note(`interrupted ${id}`)
    if (interrupt === 0) ledger.problem(`${where} was interrupted by nobody`)
    return
  }
  const [reason] = exit.cause.reasons
  const error: unknown = reason?._tag === "Fail" ? reason.error : undefined
  if (!isRpcError(error)) {
    ledger.problem(`${where} ended with a defect: ${describe(exit)}`)
    return
  }
  const { _tag } = error.reason
  if (_tag === "InvalidArgument") ledger.problem(`${where} was well made, and is ${error.message}`)
  ledger.count(_tag)
  world.note(`${_tag} ${id}`)
  if (_tag === "DeadlineExceeded") ledger.suffered("deadline")
  const hedged = hedge > 0
  const wrong = ledger.phases.problem(id, error, hedged)
  if (wrong !== undefined) ledger.problem(`I-9 ${where} says ${wrong}`)
  if (error.waitedMillis > elapsed + 1) ledger.problem(`I-9 ${where} waited longer than it took`)
  if (error.isUnsent && begun > 0) {
    ledger.problem(`${where} was not sent, they say, but a handler began`)
  }
  if (_tag === "DeadlineExceeded" && error.reason.by === "Us" && timeout > 0 && elapsed < timeout - 1) {
    const queued = error.reason.phase === "Queued" || error.reason.phase === "Connecting"
    const ownTime = error.reason.details.includes("the attempt's own time")
    if (!ownTime && (!queued || error.waitedMillis < maxWait - 1)) {
      ledger.problem(`I-9 ${where} was cut ${timeout - elapsed} ms early`)
    }
  }
}
