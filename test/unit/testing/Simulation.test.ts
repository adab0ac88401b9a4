import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Effect, Exit, Random } from "effect"
import * as Simulation from "@hawser/testing/Simulation"
import type { Stuck, World } from "@hawser/testing/Simulation"

const stuck = (exit: Exit.Exit<unknown, unknown>): Stuck => {
  const [reason] = Exit.isFailure(exit) ? exit.cause.reasons : []
  assert.strictEqual(reason?._tag, "Fail")
  return (reason as { readonly error: Stuck }).error
}

/** Three fibers that sleep and note, as their seed draws it. */
const program = (world: World) =>
  Effect.forEach(
    ["a", "b", "c"],
    (name) =>
      Effect.gen(function* () {
        for (let n = 0; n < 5; n++) {
          yield* Effect.sleep(1_000 * (yield* Random.next))
          world.note(`${name}${n}`)
        }
      }),
    { concurrency: "unbounded" }
  )

const play = async (seed: number) => {
  const lines: Array<string> = []
  const result = await Simulation.run({ seed }, (world) => {
    world.trace = (line) => lines.push(line)
    return program(world)
  })
  return { lines, result }
}

describe("Simulation", () => {
  it("equal seeds give equal runs, and others others", async () => {
    const first = await play(1)
    assert.deepStrictEqual(await play(1), first)
    const hashes = new Set<number>()
    for (let seed = 0; seed < 50; seed++) hashes.add((await play(seed)).result.hash)
    assert.strictEqual(hashes.size, 50)
    assert.isTrue(Exit.isSuccess(first.result.exit))
    assert.strictEqual(first.lines.length, 16)
  })

  it("runs that note nothing are told apart by their steps and times", async () => {
    const one = await Simulation.run({ seed: 1 }, () => Effect.sleep(10))
    const other = await Simulation.run({ seed: 1 }, () => Effect.sleep(11))
    assert.notStrictEqual(one.hash, other.hash)
  })

  it("an hour takes no time", async () => {
    const startedAt = performance.now()
    const { exit, millis, timers } = await Simulation.run({ seed: 1 }, () =>
      Effect.andThen(Effect.sleep("1 hour"), Clock.currentTimeMillis)
    )
    assert.deepStrictEqual(exit, Exit.succeed(3_600_000))
    assert.strictEqual(millis, 3_600_000)
    assert.strictEqual(timers, 0)
    assert.isBelow(performance.now() - startedAt, 60_000)
  })

  it("who can't go on is named, with since when, and is not waited for", async () => {
    const released: Array<string> = []
    const { exit } = await Simulation.run({ seed: 3 }, (world) =>
      Effect.gen(function* () {
        const never = yield* Deferred.make<void>()
        yield* world.named("who comes through", Effect.sleep("10 millis"))
        yield* Effect.all(
          [
            world.named("the left one", Deferred.await(never)),
            world.named("the right one", Effect.andThen(Effect.sleep("2 seconds"), Deferred.await(never)))
          ],
          { concurrency: 2 }
        ).pipe(Effect.ensuring(Effect.sync(() => released.push("cleared"))))
      })
    )
    const error = stuck(exit)
    assert.strictEqual(error.why, "Deadlock")
    assert.strictEqual(error.at, 2_010)
    assert.deepStrictEqual(error.waiting.toSorted(), ["the left one, since 10 ms", "the right one, since 10 ms"])
    assert.match(error.message, /^seed 3, 2010 ms: nothing can happen any more\nwaiting: the (left|right) one/)
    assert.deepStrictEqual(released, ["cleared"])
  })

  it("who waits for nothing at all from the start is found too", async () => {
    const { exit } = await Simulation.run({ seed: 1 }, () => Effect.never)
    assert.strictEqual(stuck(exit).why, "Deadlock")
    assert.notInclude(stuck(exit).message, "waiting")
  })

  it("too many steps end it, and too much time does", async () => {
    const busy = await Simulation.run({ seed: 1, maxSteps: 1_000 }, () => Effect.forever(Effect.yieldNow))
    assert.strictEqual(stuck(busy.exit).why, "Steps")
    const idle = await Simulation.run({ seed: 1, maxMillis: 1_000 }, () => Effect.forever(Effect.sleep("300 millis")))
    assert.strictEqual(stuck(idle.exit).why, "Time")
    assert.strictEqual(stuck(idle.exit).at, 1_200)
  })

  it("a check that throws ends the run with what it threw, and the program is ended", async () => {
    for (const where of ["check", "idle"] as const) {
      const broken = new Error("broken")
      let n = 0
      let ended = false
      const guard = () => {
        if (++n > 5) throw broken
      }
      const { exit } = await Simulation.run({ seed: 1, [where]: guard }, () =>
        Effect.forever(Effect.sleep("1 milli")).pipe(
          Effect.ensuring(
            Effect.sync(() => {
              ended = true
            })
          )
        )
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) === broken, where)
      assert.isTrue(ended, where)
    }
  })

  it("checks after every task, and before time passes", async () => {
    let checks = 0
    const idle: Array<number> = []
    const { steps } = await Simulation.run({ seed: 1, check: () => checks++, idle: () => idle.push(idle.length) }, () =>
      Effect.repeat(Effect.sleep("1 milli"), { times: 9 })
    )
    assert.strictEqual(checks, steps)
    assert.strictEqual(idle.length, 10)
  })

  it("promises at the start are waited for, before any time passes", async () => {
    const { exit } = await Simulation.run({ seed: 1 }, () =>
      Effect.gen(function* () {
        yield* Effect.forkChild(Effect.sleep("1 second"))
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        return yield* Clock.currentTimeMillis
      })
    )
    assert.deepStrictEqual(exit, Exit.succeed(0))
  })

  it("timers that nobody cancels are counted", async () => {
    const { timers } = await Simulation.run({ seed: 1 }, (world) =>
      Effect.sync(() => world.clock.after(1_000, () => {}))
    )
    assert.strictEqual(timers, 1)
  })

  it("failures and defects of the program are its own", async () => {
    const failed = await Simulation.run({ seed: 1 }, () => Effect.fail("no"))
    assert.deepStrictEqual(failed.exit, Exit.fail("no"))
    const died = await Simulation.run({ seed: 1 }, () => {
      throw new Error("early")
    })
    assert.isTrue(Exit.isFailure(died.exit) && (Cause.squash(died.exit.cause) as Error).message === "early")
  })

  it("closes the scope of the program, and counts the time of that", async () => {
    const { millis } = await Simulation.run({ seed: 1 }, () => Effect.addFinalizer(() => Effect.sleep("5 seconds")))
    assert.strictEqual(millis, 5_000)
  })

  it("reports every option out of bounds at once", async () => {
    for (const seed of [1.5, NaN, Infinity, "1" as unknown as number]) {
      const error = await Simulation.run({ seed, maxSteps: 0, maxMillis: NaN }, () => Effect.void).catch((e) => e)
      assert.match(String(error.message), /^seed: .*\nmaxSteps: .*\nmaxMillis: /)
    }
  })
})
