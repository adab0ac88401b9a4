import { assert, describe, it } from "@effect/vitest"
import { RoundRobin } from "@hawser/core"
import { Dns } from "@hawser/grpc"
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import * as Client from "../support/grpc/client.ts"
import * as Dnsmasq from "../support/grpc/dnsmasq.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"

const missing = spawnSync("dnsmasq", ["--version"]).error !== undefined
if (missing) console.warn("SKIPPED: dnsmasq is not installed (dnsmasq-base), so no test asks a real name server")

const hosts = [1, 2, 3].map((i) => `127.0.0.${20 + i}`)

/** Servers on one port of several addresses. */
const servers = Effect.gen(function* () {
  const first = yield* EchoServer.make({ host: hosts[0]!, name: "s1" })
  const { port } = first
  const others = [
    yield* EchoServer.make({ host: hosts[1]!, name: "s2", port }),
    yield* EchoServer.make({ host: hosts[2]!, name: "s3", port })
  ] as const
  return { port, all: [first, ...others] as const }
})

const call = (client: Client.TestClient) =>
  Effect.map(Effect.orDie(client.echo.echo(Client.request({}))), ({ server }) => server)

const answered = (client: Client.TestClient, calls = 60) =>
  Effect.map(
    Effect.forEach(Array.from({ length: calls }), () => call(client)),
    (all) => [...new Set(all)].sort()
  )

describe.skipIf(missing)("a real name server", () => {
  it.live("changes its answer: who comes is called, who stays keeps its socket, who goes is drained", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { all, port } = yield* servers
        const dns = yield* Dnsmasq.make({ names: { "greeter.test": hosts.slice(0, 2) } })
        const client = yield* Client.make({
          balancer: RoundRobin.policy,
          target: `dns://${dns.address}/greeter.test:${port}`,
          dns: { refresh: "1 second", minInterval: "100 millis" }
        })
        yield* client.until("two connections", () => client.count("Connected") === 2)
        assert.deepStrictEqual(yield* answered(client), ["s1", "s2"])
        yield* dns.become({ "greeter.test": hosts.slice(1) })
        const changedAt = performance.now()
        yield* client.until("a third", () => client.count("Connected") === 3)
        assert.isBelow(performance.now() - changedAt, 2_000)
        yield* all[0].until("left", (s) => s.sockets.size === 0)
        assert.deepStrictEqual(yield* answered(client), ["s2", "s3"])
        assert.deepStrictEqual(
          all.map(({ accepted }) => accepted),
          [1, 1, 1]
        )
      })
    )
  )

  it.live("goes away for a while: calls go on, and changes are found when it is back", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { all, port } = yield* servers
        const dns = yield* Dnsmasq.make({ names: { "greeter.test": hosts.slice(0, 1) } })
        const client = yield* Client.make({
          balancer: RoundRobin.policy,
          target: `dns://${dns.address}/greeter.test:${port}`,
          dns: { refresh: "1 second", minInterval: "100 millis", timeout: "200 millis" }
        })
        assert.deepStrictEqual(yield* answered(client), ["s1"])
        yield* dns.freeze
        yield* client.until("a failed lookup", () => client.count("ResolveFailed") > 0)
        assert.deepStrictEqual(yield* answered(client), ["s1"])
        yield* dns.thaw
        yield* dns.become({ "greeter.test": hosts.slice(0, 2) })
        yield* client.until("a second", () => client.count("Connected") === 2)
        assert.deepStrictEqual(yield* answered(client), ["s1", "s2"])
        assert.strictEqual(all[0].accepted, 1)
      })
    )
  )

  it.live("its SRV records give ports and priorities: the next are used when the first are gone", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { all, port } = yield* servers
        const dns = yield* Dnsmasq.make({
          names: { "one.test": hosts.slice(0, 1), "two.test": hosts.slice(1, 2) },
          services: [
            { service: "_grpc._tcp.greeter.test", target: "two.test", port, priority: 20, weight: 1 },
            { service: "_grpc._tcp.greeter.test", target: "one.test", port, priority: 10, weight: 1 }
          ]
        })
        const client = yield* Client.make({ target: `dns://${dns.address}/_grpc._tcp.greeter.test` })
        assert.deepStrictEqual(yield* answered(client), ["s1"])
        all[0].kill()
        yield* client.until("failed over", () => client.count("Failover") > 0)
        assert.deepStrictEqual(yield* answered(client, 5), ["s2"])
      })
    )
  )

  it.live("tells names without such records, and those that do not exist, apart", () =>
    Effect.gen(function* () {
      const dns = yield* Dnsmasq.make({
        names: { "greeter.test": ["127.0.0.21", "fd00::1"], "six.test": ["fd00::2"] },
        ttl: 7
      })
      const { addresses, services, texts } = yield* Dns.DnsService
      const ask = (name: string, family: 4 | 6) => addresses(name, family, dns.address)
      assert.deepStrictEqual(yield* ask("greeter.test", 4), [{ address: "127.0.0.21", ttlSeconds: 7 }])
      assert.deepStrictEqual(yield* ask("greeter.test", 6), [{ address: "fd00::1", ttlSeconds: 7 }])
      assert.deepStrictEqual(yield* ask("six.test", 4), [])
      assert.deepStrictEqual(yield* services("greeter.test", dns.address), [])
      const error = yield* Effect.flip(ask("nobody.test", 4))
      assert.deepStrictEqual(error.reason, { _tag: "Resolution", target: "nobody.test" })
      assert.deepStrictEqual(yield* texts("nobody.test", dns.address), [])
    }).pipe(Effect.scoped)
  )
})

describe("the names of this machine", () => {
  it.live("are found as every program finds them, /etc/hosts included", () =>
    Effect.gen(function* () {
      const { lookup } = yield* Dns.DnsService
      assert.include(yield* lookup("localhost", 4), "127.0.0.1")
      assert.strictEqual((yield* Effect.flip(lookup("nobody.invalid", 0))).reason._tag, "Resolution")
    })
  )

  it.live("one question for a name is on its way, whoever asks", () =>
    Effect.gen(function* () {
      const { lookup } = yield* Dns.DnsService
      const before = process.getActiveResourcesInfo().filter((kind) => kind === "GetAddrInfoReqWrap").length
      const all = Effect.all(
        Array.from({ length: 20 }, () => lookup("localhost", 4)),
        { concurrency: "unbounded" }
      )
      const during = Effect.sync(() => process.getActiveResourcesInfo().filter((kind) => kind === "GetAddrInfoReqWrap"))
      const [answers, open] = yield* Effect.all([all, during], { concurrency: "unbounded" })
      assert.strictEqual(answers.length, 20)
      assert.isAtMost(open.length - before, 1)
    })
  )
})
