import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { fileURLToPath } from "node:url"
import { killAll } from "../../bench/children.ts"
import { Meter } from "../../bench/client.ts"
import { connect } from "../../bench/clients/http2.ts"
import { type Server, start } from "../../bench/server/start.ts"

describe("bench server without Go", () => {
  let server: Server
  beforeAll(async () => {
    const file = fileURLToPath(new URL("../../bench/server/http2.ts", import.meta.url))
    const built = { name: "node:http2", command: process.execPath, args: [file] }
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
