/** How dials to an address that can't be reached have ended. */
import type { Client } from "./clients.ts"
import type { Check } from "./scenario.ts"

/** Each has failed at its timeout, 100 ms and what the client was stalled for later at most. */
export const dialEnds = (
  client: Client,
  endpoint: string,
  timeoutMillis: number,
  lagMillis: number
): ReadonlyArray<Check> => {
  const durations: Array<number> = []
  let began: number | undefined
  for (const { at, event } of client.events) {
    if (event._tag === "Connecting" && event.endpoint === endpoint) began = at
    if (event._tag === "ConnectFailed" && event.endpoint === endpoint && began !== undefined) durations.push(at - began)
  }
  return [
    { what: "dials that failed", value: durations.length, least: 2 },
    { what: "longest dial, ms", value: Math.max(0, ...durations), most: timeoutMillis + 100 + lagMillis }
  ]
}
