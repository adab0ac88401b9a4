/**
 * The open loop, the same for both clients: call number i is due at start + i / rate and starts then, whether or not
 * earlier ones have ended, so a slow server can't slow the load down and hide itself.
 */
import { deadlineMillis } from "./echo.ts"
import { Ledger } from "./ledger.ts"
import type { Ending } from "./ledger.ts"
import type { EndpointView, EventView, FromClient, ToClient } from "./messages.ts"

export interface Client {
  readonly rps: number
  /** Starts one call, and says once how it ended. */
  readonly call: (end: (ending: Ending) => void) => void
  readonly look?: () => { readonly endpoints: ReadonlyArray<EndpointView>; readonly events: ReadonlyArray<EventView> }
}

const tell = (message: FromClient) => process.send!(message)

/** Plays what the parent says: start, the phases, stop. */
export const play = (client: Client): void => {
  const ledger = new Ledger()
  const open = new Set<(ending: Ending) => void>()
  let timer: NodeJS.Timeout | undefined
  let unsettled: number | undefined

  const settle = () => {
    if (unsettled === undefined || !ledger.settled) return
    tell({ tag: "settled", index: unsettled })
    unsettled = undefined
  }

  const begin = (due: number) => {
    const note = ledger.start(due)
    const end = (ending: Ending) => {
      if (!open.delete(end)) return
      note(ending)
      settle()
    }
    open.add(end)
    client.call(end)
  }

  const start = () => {
    const origin = performance.now()
    let started = 0
    const dueAt = (n: number) => origin + (n * 1000) / client.rps
    const loop = () => {
      const now = performance.now()
      while (dueAt(started) <= now) begin(dueAt(started++))
      timer = setTimeout(loop, dueAt(started) - now)
    }
    loop()
  }

  const tick = () => {
    const { answered, calls, failed, inFlight, recent } = ledger
    ledger.recent = []
    const { endpoints, events } = client.look?.() ?? { endpoints: [], events: [] }
    tell({ tag: "tick", calls, failed, inFlight, answered, recent, endpoints, events })
  }
  const ticker = setInterval(tick, 250)

  const stop = () => {
    clearTimeout(timer)
    // Every call has a deadline, so this wait ends by itself. If one does not end, that is a failure to be shown.
    const limit = performance.now() + 3 * deadlineMillis
    const poll = setInterval(() => {
      if (open.size > 0 && performance.now() < limit) return
      clearInterval(poll)
      clearInterval(ticker)
      for (const end of open) end({ tag: "failed", why: "never ended" })
      tick()
      tell({ tag: "summary", summary: ledger.summary() })
    }, 10)
  }

  process.on("message", (message: ToClient) => {
    if (message.tag === "start") return start()
    if (message.tag === "stop") return stop()
    ledger.turn()
    unsettled = message.index
    settle()
  })
  process.on("disconnect", () => process.exit())
  tell({ tag: "ready" })
}
