import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Names from "../kit/names.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const refreshSeconds = 2

export const F19: Scenario = {
  id: "F-19",
  title: `DNS: an address goes and another one comes (dnsmasq and SIGHUP), refresh of ${refreshSeconds} s`,
  expect:
    "the new one is used within the refresh and 1 s, no call fails, no socket of who stays is touched, the old one drains",
  needs: ["namespaces", "dnsmasq"],
  play: (stage) =>
    Effect.gen(function* () {
      const hosts = [1, 2, 3].map((i) => `127.0.0.${10 + i}`)
      const { become, namespace } = yield* Names.dnsmasq(stage.folder, hosts.slice(0, 2))
      const servers = yield* Servers.startMany(3, { namespace, delayMillis: 10 })
      const client = yield* Clients.start(stage, {
        target: `dns:///${Names.name}:${servers[0]!.port}`,
        namespace,
        options: { dns: { refresh: `${refreshSeconds} seconds` } }
      })
      yield* client.ready(2)
      yield* client.load({ name: "load", rps: 200 })
      // In flight on those who stay and on who goes: neither may be cut.
      yield* client.load({ name: "long", method: "put", rps: 10, delayMillis: 3_000 })
      yield* Effect.sleep("2 seconds")
      const [, stays] = yield* Effect.forEach(servers, ({ count }) => count)
      const changedAt = yield* Clients.now
      yield* become(hosts.slice(1))
      const used = yield* client.until("Connected", changedAt, 10, ({ endpoint }) => endpoint.startsWith(hosts[2]!))
      yield* Effect.sleep(2_000 + 4_000 * stage.scale)
      const long = yield* client.finish("long")
      const ledger = yield* client.finish()
      const [goneAfter, staysAfter] = yield* Effect.forEach(servers, ({ count }) => count)
      const settled = changedAt + (refreshSeconds + 1) * 1_000
      return verdict(ledger, 0, [
        { what: "used after, s", value: ((used?.at ?? Infinity) - changedAt) / 1_000, most: refreshSeconds + 1 },
        { what: "share of the new one", value: ledger.between(settled).share("s3"), least: 0.25 },
        { what: "share of the old one", value: ledger.between(settled).share("s1"), most: 0 },
        { what: "long calls failed", value: long.failed, most: 0 },
        { what: "sockets of who stays, opened anew", value: staysAfter!.accepted - stays!.accepted, most: 0 },
        { what: "sockets of the old one", value: goneAfter!.sockets, most: 0 }
      ])
    })
}
