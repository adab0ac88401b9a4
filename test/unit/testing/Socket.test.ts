import { assert, describe, it } from "@effect/vitest"
import { calm } from "@hawser/testing/Link"
import { pair, type Packet, type Socket } from "@hawser/testing/Socket"
import { ManualTimers } from "../../support/testing/ManualTimers.ts"

const setup = (latency = 0) => {
  const timers = new ManualTimers()
  const tapped: Array<string> = []
  const line = { timers, random: () => 0, weather: { ...calm, latency }, delayed: () => {}, stopped: () => {} }
  const tap = (to: string, packet: Packet<unknown>) => {
    tapped.push(`${to} ${packet._tag === "Frame" ? String(packet.frame) : packet.how}`)
  }
  return { ...pair<string, string>("client:1", "10.0.0.1:1", line, () => tap), tapped, timers }
}

const heard = (socket: Socket<string, string>): Array<string> => {
  const out: Array<string> = []
  socket.listen({ onFrame: (frame) => out.push(frame), onEnd: (how) => out.push(`end: ${how}`) })
  return out
}

describe("Socket", () => {
  it("carries frames both ways, and the tap sees them", () => {
    const { client, server, tapped, timers } = setup()
    const [atClient, atServer] = [heard(client), heard(server)]
    client.send("hello", 5)
    server.send("welcome", 7)
    timers.finish()
    assert.deepStrictEqual([atClient, atServer], [["welcome"], ["hello"]])
    assert.deepStrictEqual(tapped.toSorted(), ["10.0.0.1:1 hello", "client:1 welcome"])
    assert.strictEqual(client.remote, "10.0.0.1:1")
  })

  it("what came before anybody listened is kept, in order and with the end", () => {
    const { client, server, timers } = setup()
    client.send("a", 1)
    client.send("b", 1)
    client.close()
    timers.finish()
    assert.isTrue(server.open)
    assert.deepStrictEqual(heard(server), ["a", "b", "end: Closed"])
    assert.isFalse(server.open)
  })

  it("what was sent before the end arrives before it", () => {
    for (const how of ["Closed", "Reset"] as const) {
      const { client, server, timers } = setup(10)
      const atServer = heard(server)
      client.send("a", 1)
      if (how === "Closed") client.close()
      else client.reset()
      assert.isFalse(client.open)
      timers.finish()
      assert.deepStrictEqual(atServer, ["a", `end: ${how}`])
    }
  })

  it("after its end it hears nothing, says nothing, and ends once", () => {
    const { client, server, timers } = setup()
    const [atClient, atServer] = [heard(client), heard(server)]
    client.close()
    client.send("late", 4)
    client.reset()
    server.send("to nobody", 9)
    timers.finish()
    server.end("Reset")
    assert.deepStrictEqual([atClient, atServer], [[], ["end: Closed"]])
  })

  it("a listener that ends it hears no more of what was kept", () => {
    const { client, server, timers } = setup()
    client.send("a", 1)
    client.send("b", 1)
    timers.finish()
    const out: Array<string> = []
    server.listen({
      onFrame: (frame) => {
        out.push(frame)
        server.reset()
      },
      onEnd: (how) => out.push(how)
    })
    assert.deepStrictEqual(out, ["a"])
  })

  it("tells when each end is over, once", () => {
    const { client, server, timers } = setup()
    const over: Array<string> = []
    client.whenOver = () => over.push("client")
    server.whenOver = () => over.push("server")
    heard(server)
    client.close()
    client.close()
    assert.deepStrictEqual(over, ["client"])
    timers.finish()
    assert.deepStrictEqual(over, ["client", "server"])
  })
})
