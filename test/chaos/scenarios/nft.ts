/** One endpoint whose established flows are dropped, while new connections pass. */
import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Namespaces from "../kit/namespaces.ts"
import { byDeadline, type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const deadlineMillis = 1_000

const play = (stage: Parameters<Scenario["play"]>[0], options: Readonly<Record<string, unknown>>) =>
  Effect.gen(function* () {
    const namespace = yield* Namespaces.make()
    const server = yield* Servers.start({ namespace, port: 50_051 })
    const client = yield* Clients.start(stage, {
      target: Servers.targetOf([server]),
      namespace,
      options: { deadline: deadlineMillis, drain: 500, ...options }
    })
    yield* client.ready(1)
    yield* client.load({ rps: 100 })
    yield* Effect.sleep("2 seconds")
    const ports = yield* namespace.ports(server.address)
    const cutAt = yield* Clients.now
    for (const port of ports) {
      yield* namespace.rule(`tcp sport ${port} drop`)
      yield* namespace.rule(`tcp dport ${port} drop`)
    }
    yield* Effect.sleep(6_000 * stage.scale)
    const ledger = yield* client.finish()
    return { client, cutAt, ledger, flows: ports.length }
  })

export const nft: Scenario = {
  id: "NFT",
  title: "the established flow to the only endpoint is dropped (nft), new connections pass",
  expect: "calls succeed again within 2 s",
  needs: ["namespaces"],
  quick: true,
  play: (stage) =>
    Effect.gen(function* () {
      const { client, cutAt, flows, ledger } = yield* play(stage, {})
      const after = ledger.between(cutAt)
      return verdict(ledger, after.between(0, cutAt + 2_000).failed, [
        { what: "flows cut", value: flows, least: 1 },
        {
          what: "first call to succeed again began after, s",
          value: ((ledger.firstOk(cutAt) ?? Infinity) - cutAt) / 1_000,
          most: 2
        },
        { what: "last call to fail began after, s", value: Math.max(0, (ledger.lastFailed - cutAt) / 1_000), most: 2 },
        { what: "connections opened", value: client.count("Connected"), least: 2, most: 3 },
        byDeadline(ledger, deadlineMillis)
      ])
    })
}

export const nftOff: Scenario = {
  id: "NFT-OFF",
  title: "the same with silence: false",
  expect: "calls go on failing: it is the detection that saves them",
  needs: ["namespaces"],
  play: (stage) =>
    Effect.gen(function* () {
      const { cutAt, flows, ledger } = yield* play(stage, { silence: false })
      const late = ledger.between(cutAt + 2_000)
      return verdict(ledger, ledger.calls, [
        { what: "flows cut", value: flows, least: 1 },
        {
          what: "% of the calls begun 2 s later that fail",
          value: (100 * late.failed) / Math.max(1, late.calls),
          least: 50
        }
      ])
    })
}
