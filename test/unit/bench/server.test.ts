import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { fileURLToPath } from "node:url"
import { connectAll } from "../../bench/backends.ts"
import { killAll } from "../../bench/children.ts"
import { Meter } from "../../bench/client.ts"
import { clients, type ClientName } from "../../bench/clients/clients.ts"
import { connect } from "../../bench/clients/http2.ts"
import { type Server, start } from "../../bench/server/start.ts"

const file = fileURLToPath(new URL("../../bench/server/http2.ts", import.meta.url))
const built = { name: "node:http2", command: process.execPath, args: [file] }

describe("bench server without Go", () => {
  let server: Server
  beforeAll(async () => {
    server = await start(built, 2)
    await server.delay(20)
  })
  afterAll(() => {
    server.stop()
    killAll()
  })

  it("echoes, keeps to its stream limit and counts what it did", async () => {
    const client = await connect(server.address)
    const meter = new Meter(200)
    const from = await server.stats()
    await client.run(6, meter)
    const to = await server.stats()
    assert.isAbove(meter.calls, 6)
    assert.strictEqual(to.calls - from.calls, meter.calls)
    assert.strictEqual(to.maxRunning, 2)
    assert.strictEqual(to.medianRunning, 2)
    assert.strictEqual(to.running, 0)
    assert.strictEqual(to.accepted, 1)
    const mean = (to.runningMillis - from.runningMillis) / (to.atMillis - from.atMillis)
    assert.isTrue(mean > 1 && mean <= 2, `${mean} handlers`)
  })
})

describe("a bench client that is offered calls at a rate", () => {
  let servers: ReadonlyArray<Server>
  beforeAll(async () => {
    servers = await Promise.all([start(built, 0), start(built, 0), start(built, 0)])
  })
  afterAll(() => {
    for (const server of servers) server.stop()
    killAll()
  })
  const calls = async () => (await Promise.all(servers.map((s) => s.stats()))).map((stats) => stats.calls)

  it("makes them all when they are due, and counts from their due time on", async () => {
    await Promise.all(servers.map((server) => server.delay(5)))
    const client = await connectAll(servers)
    const before = await calls()
    const outcome = await client.offer({ perSecond: 200, millis: 400, leadMillis: 100 })
    const after = await calls()
    client.stop()
    assert.strictEqual(outcome.calls, 80)
    assert.strictEqual(outcome.answered, 80)
    assert.strictEqual(outcome.refused, 0)
    assert.deepStrictEqual(outcome.failed, {})
    assert.isAtLeast(outcome.p50, 5)
    assert.isAtLeast(outcome.p99, outcome.p50)
    assert.strictEqual(
      after.reduce((sum, n, i) => sum + n - before[i]!, 0),
      100
    )
  })

  it("tells what the servers refuse from what it refuses itself", async () => {
    await Promise.all(servers.map((server, i) => (i === 0 ? server.delay(50) : server.fail(13))))
    const client = await connectAll(servers.slice(0, 1), {
      retry: false,
      connections: { max: 1, streamsPerConnection: 1 },
      queue: { max: 0 }
    })
    const full = await client.offer({ perSecond: 100, millis: 300, leadMillis: 0 })
    client.stop()
    assert.isAtLeast(full.answered, 1)
    assert.isAtLeast(full.refused, 10)
    assert.deepStrictEqual(full.failed, {})
    const other = await connectAll(servers.slice(1, 2), { retry: false })
    const broken = await other.offer({ perSecond: 100, millis: 100, leadMillis: 0 })
    other.stop()
    assert.deepStrictEqual(broken.failed, { Internal: 10 })
    assert.strictEqual(broken.refused, 0)
  })
})

describe("bench server on several ports", () => {
  it("is one server with one count", async () => {
    const server = await start(built, 0, 3)
    assert.strictEqual(new Set(server.addresses).size, 3)
    assert.strictEqual(server.address, server.addresses[0])
    for (const [i, address] of server.addresses.entries()) {
      const client = await connect(address)
      const before = await server.stats()
      const meter = new Meter(20)
      await client.run(1, meter)
      const after = await server.stats()
      assert.strictEqual(after.accepted, i + 1)
      assert.strictEqual(after.calls - before.calls, meter.calls)
    }
    server.stop()
  })
})

describe("bench clients of other libraries", () => {
  let server: Server
  beforeAll(async () => {
    server = await start(built, 0)
  })
  afterAll(() => {
    server.stop()
    killAll()
  })

  const others: ReadonlyArray<ClientName> = ["niceGrpc", "grpcGcp", "connectNode", "connectNodeStreams"]
  for (const name of others) {
    it(`${name} makes real calls`, async () => {
      const before = await server.stats()
      const client = await (await clients[name]())(server.address)
      const meter = new Meter(50)
      await client.run(2, meter)
      const after = await server.stats()
      assert.isAbove(meter.calls, 1)
      assert.strictEqual(after.calls - before.calls, meter.calls)
      assert.strictEqual(after.accepted - before.accepted, 1)
    })
  }
})
