/** One of three frozen, without retries and keepalive: what that costs with each policy. */
import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import type { Ledger } from "../kit/ledger.ts"
import type { ClientConfig } from "../kit/messages.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const rps = 500
const limitMillis = 1_000

interface Variant {
  readonly id: string
  readonly balancer: NonNullable<ClientConfig["balancer"]>
  readonly delayMillis: number
}

/** Plays both kinds of users against the same servers: one with deadlines, one with `Effect.timeout` and none. */
const freeze = (
  { balancer, delayMillis }: Variant,
  seconds: number,
  options: Readonly<Record<string, unknown>>,
  stage: Parameters<Scenario["play"]>[0]
) =>
  Effect.gen(function* () {
    const servers = yield* Servers.startMany(3, { delayMillis })
    const config = { target: Servers.targetOf(servers), balancer, options: { retry: false, ...options } }
    const clients = [yield* Clients.start(stage, config), yield* Clients.start(stage, config)] as const
    yield* Effect.forEach(clients, ({ ready }) => ready(3))
    yield* clients[0].load({ rps, timeoutMillis: limitMillis })
    yield* clients[1].load({ rps, timeoutMillis: "none", effectTimeoutMillis: limitMillis })
    yield* Effect.sleep("3 seconds")
    const frozenAt = yield* Clients.now
    yield* servers[0]!.freeze
    yield* Effect.sleep(seconds * 1_000)
    const thawedAt = yield* Clients.now
    const ledgers = yield* Effect.forEach(clients, ({ finish }) => finish())
    yield* servers[0]!.thaw
    const during = (ledger: Ledger) => ledger.between(frozenAt, thawedAt)
    const notes = {
      frozenSeconds: seconds,
      failedByTimeout: ledgers[1]!.failed,
      quarantined: clients.map(({ count }) => count("Quarantined")),
      ejected: clients.map(({ count }) => count("Ejected"))
    }
    return { deadline: during(ledgers[0]!), timeout: during(ledgers[1]!), notes }
  })

const percentLost = (ledger: Ledger): number => (100 * ledger.failed) / Math.max(1, ledger.calls)

const lossy = (variant: Variant): Scenario => ({
  id: variant.id,
  title: `one of three frozen for 30 s at ${rps} calls/s, ${variant.balancer} at ${variant.delayMillis} ms, no retries`,
  expect: "at most 0.6 % of the calls begun meanwhile fail, with deadlines of 1 s and with Effect.timeout alike",
  play: (stage) =>
    Effect.gen(function* () {
      const { deadline, notes, timeout } = yield* freeze(variant, 30 * Math.max(1, stage.scale), {}, stage)
      return verdict(
        deadline,
        0.006 * deadline.calls,
        [
          { what: "% lost with deadlines", value: percentLost(deadline), most: 0.6 },
          { what: "% lost with Effect.timeout", value: percentLost(timeout), most: 0.6 },
          byDeadline(deadline, limitMillis)
        ],
        notes
      )
    })
})

export const frozenEwma = lossy({ id: "FROZEN-EWMA", balancer: "peak EWMA", delayMillis: 2 })
export const frozenRoundRobin = lossy({ id: "FROZEN-RR", balancer: "round robin", delayMillis: 2 })
export const frozenEwmaSlow = lossy({ id: "FROZEN-EWMA-100", balancer: "peak EWMA", delayMillis: 100 })

/** The other side of the proof: without detection it is not so. */
export const frozenOff: Scenario = {
  id: "FROZEN-OFF",
  title: `the same with round robin and silence: false, for 8 s`,
  expect: "more is lost than may be: it is the detection that saves the calls",
  play: (stage) =>
    Effect.gen(function* () {
      const variant = { id: "", balancer: "round robin", delayMillis: 2 } as const
      const { deadline, notes, timeout } = yield* freeze(variant, 8, { silence: false }, stage)
      return verdict(
        deadline,
        deadline.calls,
        [
          { what: "% lost with deadlines", value: percentLost(deadline), least: 0.6 },
          { what: "% lost with Effect.timeout", value: percentLost(timeout), least: 0.6 }
        ],
        notes
      )
    })
}
