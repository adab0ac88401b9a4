import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import type { Host } from "@hawser/testing/Host"
import { Faults, Simulation, TestNetwork } from "@hawser/testing"
import { echo, one } from "../../support/testing/echo.ts"

const seeds = 300

/** What lies between the dials after the loss of a young connection, and after that of an old one. */
const gaps = (seed: number) => {
  let host: Host | undefined
  let most = 0
  const check = () => {
    if (host !== undefined) most = Math.max(most, host.knocking.size + host.openClients)
  }
  const program = Effect.gen(function* () {
    const { network } = yield* TestNetwork.TestNetwork
    const clock = yield* Clock.Clock
    host = (yield* TestNetwork.server(one)).host
    const at: Array<number> = []
    network.observe((felt) => {
      if (felt === "refused") at.push(clock.currentTimeMillisUnsafe())
    })
    /** A connection that lasts, and is lost to a server that refuses, and at the end swallows. */
    const lose = Effect.gen(function* () {
      at.splice(0, Infinity, clock.currentTimeMillisUnsafe())
      yield* Faults.during(Faults.all(Faults.refuse(one), Faults.cut(one)), "10 minutes")
      const between = at.slice(1).map((moment, i) => moment - at[i]!)
      yield* Faults.during(Faults.blackHole(one), "5 minutes")
      yield* Effect.sleep("5 minutes")
      return between
    })
    yield* Effect.sleep("1 second")
    return { young: yield* lose, old: yield* lose }
  })
  return Effect.promise(() => Simulation.run({ seed, check }, () => Effect.provide(program, echo({})))).pipe(
    Effect.flatMap(({ exit }) => exit),
    Effect.map((found) => ({ ...found, most }))
  )
}

const middle = (n: number) => Math.min(1_000 * 1.6 ** n, 120_000)

describe("reconnecting (I-12)", () => {
  it.live("keeps to its backoff, which starts afresh after a connection that lasted, and dials one at a time", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= seeds; seed++) {
        const { most, old, young } = yield* gaps(seed)
        // Of a connection that lasted, the first redial is at once. Of one that did not, the time of its dial is over.
        assert.strictEqual(old[0], 0, `seed ${seed}`)
        assert.isAtMost(young[0]!, 200, `seed ${seed}`)
        assert.isAbove(old.length, 12)
        const within = (gap: number, n: number) => {
          assert.isAtLeast(gap, 0.8 * middle(n) - 0.001, `seed ${seed}, delay ${n}`)
          assert.isAtMost(gap, 1.2 * middle(n) + 0.001, `seed ${seed}, delay ${n}`)
        }
        old.slice(1).forEach((gap, n) => within(gap, n))
        young.slice(1).forEach((gap, n) => within(gap, n + 1))
        assert.strictEqual(most, 1, `seed ${seed}`)
      }
    })
  )
})
