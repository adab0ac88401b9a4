import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { ConnectError } from "@hawser/core/ConnectError"
import { addresses, interleaved } from "@hawser/core/Race"
import { endpoint, settle } from "../../support/core/parts.ts"
import { ScriptedConnector } from "../../support/core/ScriptedConnector.ts"
import type { ScriptedSession } from "../../support/core/ScriptedSession.ts"

const setup = (...names: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const connector = new ScriptedConnector(yield* Clock.Clock)
    const scope = yield* Scope.make()
    const dial = Scope.provide(addresses(connector.connect)(endpoint(...names)), scope)
    const fiber = yield* Effect.forkChild(dial, { startImmediately: true })
    yield* settle
    return { connector, fiber, scope }
  })

describe("Race", () => {
  it.effect("dials the next address after 250 ms, and the first to be ready wins", () =>
    Effect.gen(function* () {
      const { connector, fiber, scope } = yield* setup("a", "b", "c")
      const started = () => connector.dials.map((d) => d.address)
      assert.deepStrictEqual(started(), ["a"])
      yield* TestClock.adjust(249)
      assert.deepStrictEqual(started(), ["a"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(started(), ["a", "b"])
      yield* TestClock.adjust(250)
      assert.deepStrictEqual(started(), ["a", "b", "c"])
      connector.dials[1]!.open()
      const session = yield* Fiber.join(fiber)
      assert.strictEqual(session.connection.address, "b")
      assert.deepStrictEqual(
        connector.dials.map((d) => d.interrupted),
        [true, false, true]
      )
      assert.strictEqual(connector.sessions.length, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(connector.closed, connector.opened)
    })
  )

  it.effect("dials IPv6 and IPv4 in turns, beginning with the family of the first address (A61)", () =>
    Effect.gen(function* () {
      const { connector } = yield* setup("[::1]:1", "[::2]:1", "10.0.0.1:1", "[::3]:1", "10.0.0.2:1")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(
        connector.dials.map((d) => d.address),
        ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]
      )
    })
  )

  it("families keep their order, and what is no IP address is a family of its own", () => {
    assert.deepStrictEqual(interleaved(["10.0.0.1:1", "10.0.0.2:1", "[::1]:1"]), [
      "10.0.0.1:1",
      "[::1]:1",
      "10.0.0.2:1"
    ])
    assert.deepStrictEqual(interleaved(["a:1", "b:1", "10.0.0.1:1"]), ["a:1", "10.0.0.1:1", "b:1"])
    assert.deepStrictEqual(interleaved(["unix:/a", "unix:/b"]), ["unix:/a", "unix:/b"])
  })

  it.effect("does not wait for the 250 ms when an attempt has failed", () =>
    Effect.gen(function* () {
      const { connector, fiber } = yield* setup("a", "b")
      yield* TestClock.adjust(10)
      connector.dials[0]!.fail()
      yield* connector.dialled(2)
      connector.dials[1]!.open()
      assert.strictEqual((yield* Fiber.join(fiber)).connection.address, "b")
      assert.strictEqual(connector.dials[1]!.startedAt, 10)
    })
  )

  it.effect("a loser that becomes ready all the same is closed before anybody hears of the winner", () =>
    Effect.gen(function* () {
      const connector = new ScriptedConnector(yield* Clock.Clock)
      const scope = yield* Scope.make()
      const stubborn = addresses<ScriptedSession, never>((e) => Effect.uninterruptible(connector.connect(e)))
      const fiber = yield* Effect.forkChild(Scope.provide(stubborn(endpoint("a", "b")), scope))
      yield* TestClock.adjust(250)
      connector.dials[0]!.open()
      yield* settle
      assert.isUndefined(fiber.pollUnsafe())
      connector.dials[1]!.open()
      assert.strictEqual((yield* Fiber.join(fiber)).connection.address, "a")
      assert.strictEqual(connector.opened, 2)
      assert.strictEqual(connector.closed, 1)
      assert.strictEqual(connector.sessions.length, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(connector.closed, 2)
    })
  )

  it.effect("fails with the error of the last to fail, once all have failed", () =>
    Effect.gen(function* () {
      const { connector, fiber } = yield* setup("a", "b")
      yield* TestClock.adjust(250)
      connector.dials[1]!.fail()
      yield* settle
      assert.isUndefined(fiber.pollUnsafe())
      connector.dials[0]!.fail(new ConnectError({ reason: { _tag: "Reset" }, endpoint: "a" }))
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.strictEqual(error.reason._tag, "Reset")
    })
  )

  it.effect("a connector that throws is an attempt that failed", () =>
    Effect.gen(function* () {
      const connector = new ScriptedConnector(yield* Clock.Clock, () => ({ _tag: "Open" }))
      const session = yield* addresses<ScriptedSession, never>((e) => {
        if (e.addresses[0] === "a") throw new Error("no such family")
        return connector.connect(e)
      })(endpoint("a", "b"))
      assert.strictEqual(session.connection.address, "b")
      const exit = yield* Effect.exit(
        addresses<ScriptedSession, never>(() => {
          throw new Error("no such family")
        })(endpoint("a", "b"))
      )
      assert.isTrue(Exit.hasDies(exit))
    })
  )

  it.effect("an interrupt in mid-dial leaves no scope open and no dial under way", () =>
    Effect.gen(function* () {
      const { connector, fiber, scope } = yield* setup("a", "b", "c")
      yield* TestClock.adjust(300)
      assert.strictEqual(connector.pending.length, 2)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(connector.pending.length, 0)
      yield* TestClock.adjust(1_000)
      assert.strictEqual(connector.dials.length, 2)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(connector.opened, connector.closed)
    })
  )

  it.effect("one address is dialled as it is", () =>
    Effect.gen(function* () {
      const { connector, fiber } = yield* setup("a")
      connector.dials[0]!.open()
      yield* Fiber.join(fiber)
      yield* TestClock.adjust(1_000)
      assert.strictEqual(connector.dials.length, 1)
    })
  )
})
