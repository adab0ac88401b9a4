/** What the events of a cluster, taken together, may not say. */
import * as Exit from "effect/Exit"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Envelope } from "@hawser/core/Event"

/** How a borrower ended, in a word or two. */
export const outcomeOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  if (Exit.hasInterrupts(exit)) return "interrupted"
  const reason = exit.cause.reasons[0]
  if (reason?._tag !== "Fail") return `defect ${String(reason?._tag === "Die" ? reason.defect : "")}`
  const error = reason.error as ConnectError | string
  return typeof error === "string" ? error : error.reason._tag === "Saturated" ? error.reason.by : error.reason._tag
}

/** All that is wrong with them. `first`: the endpoints at the start. With `HAWSER_TRACE` they are printed. */
export const problemsOf = (envelopes: ReadonlyArray<Envelope>, first: ReadonlyArray<string>): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const present = new Set(first)
  let open = 0
  for (const [i, { event, monotonicMillis, seq }] of envelopes.entries()) {
    if (seq !== i) problems.push("events are not numbered without gaps")
    if (process.env["HAWSER_TRACE"] !== undefined) console.log(monotonicMillis, JSON.stringify(event))
    switch (event._tag) {
      case "Resolved":
        for (const name of event.removed) if (!present.delete(name)) problems.push("I-14 removed, and was not there")
        for (const name of event.added) {
          if (present.has(name)) problems.push("I-14 added, and was there")
          present.add(name)
        }
        break
      case "Connecting":
        if (!present.has(event.endpoint)) problems.push("I-7 dialled, and was not there")
        break
      case "Connected":
        open++
        break
      case "Disconnected":
        open--
        break
      case "Closed":
        open--
        if (event.why === "Removed" && present.has(event.endpoint)) {
          problems.push("I-14 an endpoint that stays lost a connection")
        }
        break
    }
  }
  if (open !== 0) problems.push(`${open} more Connected than Disconnected or Closed`)
  return problems
}
