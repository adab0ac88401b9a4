import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Felt, Listener } from "@hawser/testing/Host"
import * as Network from "@hawser/testing/Network"
import * as Simulation from "@hawser/testing/Simulation"
import type { Socket } from "@hawser/testing/Socket"

const at = "10.0.0.1:50051"

/** Sends back what comes. */
const echo: Listener = {
  security: "Plaintext",
  accept: (socket) => {
    socket.listen({ onFrame: (frame) => socket.send(frame, 10), onEnd: () => socket.close() })
  }
}

const setup = Effect.gen(function* () {
  const network = yield* Network.make
  const felt: Array<Felt> = []
  network.observe((what) => felt.push(what))
  const host = yield* network.listen(at, echo)
  return { felt, host, network }
})

const heard = (socket: Socket<unknown, unknown>): Array<unknown> => {
  const out: Array<unknown> = []
  socket.listen({ onFrame: (frame) => out.push(frame), onEnd: (how) => out.push(how) })
  return out
}

const reason = (exit: Exit.Exit<unknown, ConnectError> | undefined) => {
  const [first] = exit !== undefined && Exit.isFailure(exit) ? exit.cause.reasons : []
  return first?._tag === "Fail" ? first.error.reason._tag : undefined
}

describe("Network", () => {
  it.effect("carries frames to a host and back, each way in its time", () =>
    Effect.gen(function* () {
      const { host, network } = yield* setup
      host.weather.latency = 20
      const dial = yield* Effect.forkChild(network.dial(at), { startImmediately: true })
      yield* TestClock.adjust(39)
      assert.isUndefined(dial.pollUnsafe())
      yield* TestClock.adjust(1)
      const socket = yield* Fiber.join(dial)
      const out = heard(socket)
      socket.send("ping", 4)
      yield* TestClock.adjust(39)
      assert.deepStrictEqual(out, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(out, ["ping"])
      assert.strictEqual(host.openClients, 1)
    })
  )

  it.effect("nobody listens: refused; a second one can't listen where one does", () =>
    Effect.gen(function* () {
      const { felt, network } = yield* setup
      assert.strictEqual(reason(yield* Effect.exit(network.dial("10.0.0.9:1"))), "Refused")
      const error = yield* Effect.flip(network.listen(at, echo))
      assert.include(error.message, "an address that nobody listens at yet")
      assert.deepStrictEqual(felt, [])
    })
  )

  it.effect("a host that refuses does so until the last reason is gone", () =>
    Effect.gen(function* () {
      const { felt, host, network } = yield* setup
      host.refusing = 2
      assert.strictEqual(reason(yield* Effect.exit(network.dial(at))), "Refused")
      host.refusing = 1
      assert.strictEqual(reason(yield* Effect.exit(network.dial(at))), "Refused")
      host.refusing = 0
      yield* network.dial(at)
      assert.deepStrictEqual(felt, ["refused", "refused"])
    })
  )

  it.effect("a swallowed connect is sent again after 1, 2 and 4 seconds, and gets through when there is a way", () =>
    Effect.gen(function* () {
      const { felt, host, network } = yield* setup
      host.swallowing = 1
      const dial = yield* Effect.forkChild(network.dial(at), { startImmediately: true })
      yield* TestClock.adjust(2_999)
      assert.lengthOf(felt, 2)
      yield* TestClock.adjust(1)
      assert.lengthOf(felt, 3)
      host.swallowing = 0
      yield* TestClock.adjust(3_999)
      assert.isUndefined(dial.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(dial)
      assert.strictEqual(host.knocking.size, 0)
      assert.deepStrictEqual(new Set(felt), new Set(["black-holed connect"]))
    })
  )

  it.effect("connects that wait for an answer get one as soon as a line is no longer silent", () =>
    Effect.gen(function* () {
      const { host, network } = yield* setup
      const end = host.silence("both")
      const dials = yield* Effect.forEach([1, 2], () => Effect.forkChild(network.dial(at), { startImmediately: true }))
      yield* TestClock.adjust(10)
      assert.strictEqual(host.knocking.size, 2)
      end()
      for (const dial of dials) yield* Fiber.join(dial)
      assert.strictEqual(host.openClients, 2)
    })
  )

  it.effect("whoever stops connecting leaves nothing behind", () =>
    Effect.gen(function* () {
      const { host, network } = yield* setup
      host.swallowing = 1
      const swallowed = yield* Effect.forkChild(network.dial(at), { startImmediately: true })
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(swallowed)
      assert.strictEqual(host.knocking.size, 0)
      host.swallowing = 0
      host.weather.latency = 10
      const late = yield* Effect.forkChild(network.dial(at), { startImmediately: true })
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(late)
      yield* TestClock.adjust(1_000)
      assert.strictEqual(host.pairs.size, 0)
    })
  )

  it("an interrupt between the connect and its owner leaves no connection, in any order of things", async () => {
    let connected = 0
    for (let seed = 0; seed < 300; seed++) {
      const { exit } = await Simulation.run({ seed }, () =>
        Effect.gen(function* () {
          const { host, network } = yield* setup
          const dial = yield* Effect.forkChild(Effect.scoped(Effect.andThen(network.dial(at), Effect.yieldNow)))
          for (let n = seed % 8; n > 0; n--) yield* Effect.yieldNow
          if (host.pairs.size > 0) connected++
          yield* Fiber.interrupt(dial)
          yield* Effect.sleep(1)
          return host.pairs.size
        })
      )
      assert.deepStrictEqual(exit, Exit.succeed(0), `seed ${seed}`)
    }
    assert.isAbove(connected, 30)
  })

  it.effect("a connection breaks with the scope of its dial, unless it was closed in order", () =>
    Effect.gen(function* () {
      const ends: Array<string> = []
      const network = yield* Network.make
      yield* network.listen(at, {
        security: "Plaintext",
        accept: (socket) => socket.listen({ onFrame: () => {}, onEnd: (how) => ends.push(how) })
      })
      yield* Effect.scoped(network.dial(at))
      yield* Effect.scoped(Effect.map(network.dial(at), (socket) => socket.close()))
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(ends, ["Reset", "Closed"])
      assert.strictEqual(network.host(at).pairs.size, 0)
    })
  )

  it.effect("a listener that ends breaks its connections, and leaves alone whoever came after it", () =>
    Effect.gen(function* () {
      const network = yield* Network.make
      const first = yield* Scope.make()
      const host = yield* Scope.provide(network.listen(at, echo), first)
      const out = heard(yield* network.dial(at))
      // Killed: the address is free, though the scope is open.
      host.listener = undefined
      yield* network.listen(at, { ...echo })
      const other = heard(yield* network.dial(at))
      yield* Scope.close(first, Exit.void)
      yield* TestClock.adjust(0)
      assert.isDefined(host.listener)
      assert.deepStrictEqual([out, other], [[], []])
      host.cut()
      yield* TestClock.adjust(0)
      assert.deepStrictEqual([out, other], [["Reset"], ["Reset"]])
    })
  )

  it.effect("a cut breaks both ends of every connection, and what was on its way is gone", () =>
    Effect.gen(function* () {
      const { felt, host, network } = yield* setup
      const outs = [heard(yield* network.dial(at)), heard(yield* network.dial(at))]
      host.weather.latency = 50
      const late = yield* Effect.forkChild(network.dial(at), { startImmediately: true })
      yield* TestClock.adjust(100)
      const socket = yield* Fiber.join(late)
      const out = heard(socket)
      socket.send("gone", 4)
      yield* TestClock.adjust(20)
      host.cut()
      yield* TestClock.adjust(1_000)
      assert.deepStrictEqual([...outs, out], [["Reset"], ["Reset"], ["Reset"]])
      assert.deepStrictEqual(
        felt.filter((what) => what === "cut"),
        ["cut", "cut", "cut"]
      )
      assert.strictEqual(host.pairs.size, 0)
    })
  )

  for (const direction of ["toServer", "toClient", "both"] as const) {
    it.effect(
      `a half-open connection (${direction}) holds back, and delivers what was sent when it is whole again`,
      () =>
        Effect.gen(function* () {
          const network = yield* Network.make
          const atServer: Array<unknown> = []
          let server: Socket<unknown, unknown> | undefined
          const host = yield* network.listen(at, {
            security: "Plaintext",
            accept: (socket) => {
              server = socket
              socket.listen({ onFrame: (frame) => atServer.push(frame), onEnd: () => {} })
            }
          })
          const socket = yield* network.dial(at)
          const atClient = heard(socket)
          const end = host.silence(direction)
          socket.send("up", 2)
          server!.send("down", 4)
          yield* TestClock.adjust("1 hour")
          assert.deepStrictEqual(atServer, direction === "toClient" ? ["up"] : [])
          assert.deepStrictEqual(atClient, direction === "toServer" ? ["down"] : [])
          end()
          yield* TestClock.adjust(0)
          assert.deepStrictEqual([atServer, atClient], [["up"], ["down"]])
        })
    )
  }

  it.effect("the system accepts for a process that is stopped, which then works on what was sent", () =>
    Effect.gen(function* () {
      const { felt, host, network } = yield* setup
      const thaw = host.freeze()
      const socket = yield* network.dial(at)
      const out = heard(socket)
      socket.send("ping", 4)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(network.arrived, 0)
      thaw()
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(out, ["ping"])
      assert.deepStrictEqual(felt, ["frozen", "thawed"])
    })
  )

  it.effect("names: what they stand for changes, and the port is the client's", () =>
    Effect.gen(function* () {
      const { network } = yield* setup
      network.name("greeter", ["10.0.0.1", "10.0.0.2"])
      assert.deepStrictEqual(yield* network.lookup("greeter:50051"), [at, "10.0.0.2:50051"])
      network.name("greeter", ["10.0.0.3"])
      assert.deepStrictEqual(yield* network.lookup("greeter:1"), ["10.0.0.3:1"])
      network.name("greeter", undefined)
      assert.strictEqual(reason(yield* Effect.exit(network.lookup("greeter:1"))), "Resolution")
    })
  )

  it.effect("addresses stand for themselves, whether anybody is there or not", () =>
    Effect.gen(function* () {
      const { network } = yield* setup
      yield* network.listen("cache:1", echo)
      for (const address of [at, "10.9.9.9:1", "[::1]:1", "unix:/run/a.sock", "cache:1"]) {
        assert.deepStrictEqual(yield* network.lookup(address), [address])
      }
      assert.strictEqual(reason(yield* Effect.exit(network.lookup("cache:2"))), "Resolution")
    })
  )

  it.effect("names: not found, a server that fails and no addresses are errors of the lookup; silence is none", () =>
    Effect.gen(function* () {
      const { felt, network } = yield* setup
      for (const answer of ["NotFound", "ServerFailure", []] as const) {
        network.name("greeter", answer)
        assert.strictEqual(reason(yield* Effect.exit(network.lookup("greeter:1"))), "Resolution", String(answer))
      }
      network.name("greeter", "Silence")
      const lookup = yield* Effect.forkChild(network.lookup("greeter:1"), { startImmediately: true })
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(lookup.pollUnsafe())
      assert.deepStrictEqual(felt, ["resolution", "resolution", "resolution", "resolution"])
    })
  )

  it.effect("a lookup takes its time, and ends with what holds then; interrupted, it ends with nothing", () =>
    Effect.gen(function* () {
      const { felt, network } = yield* setup
      network.lookupMillis = 100
      const [lookup, other] = yield* Effect.forEach(["a:1", "b:1"], (name) =>
        Effect.forkChild(network.lookup(name), { startImmediately: true })
      )
      yield* TestClock.adjust(99)
      assert.isUndefined(lookup!.pollUnsafe())
      network.name("a", ["10.0.0.7"])
      yield* Fiber.interrupt(other!)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(lookup!), ["10.0.0.7:1"])
      assert.deepStrictEqual(felt, [])
    })
  )

  it.effect("whoever observes hears where, until it leaves", () =>
    Effect.gen(function* () {
      const { host, network } = yield* setup
      const seen: Array<string> = []
      const leave = network.observe((what, address) => seen.push(`${what} ${address}`))
      host.felt("loss")
      leave()
      host.felt("loss")
      assert.deepStrictEqual(seen, [`loss ${at}`])
    })
  )

  it.effect("an unknown host is an error that names those there are", () =>
    Effect.gen(function* () {
      const { host, network } = yield* setup
      assert.strictEqual(yield* network.known(at), host)
      const error = yield* Effect.flip(network.known("10.0.0.2:1"))
      assert.strictEqual(error.message, `address: expected a host of the network: ${at}, got "10.0.0.2:1"`)
      const empty = yield* Effect.flip((yield* Network.make).known(at))
      assert.include(empty.message, "which has none")
    })
  )
})
