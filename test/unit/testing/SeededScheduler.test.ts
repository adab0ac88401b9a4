import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Scheduler } from "effect"
import { SeededScheduler } from "@hawser/testing/SeededScheduler"

const finish = (scheduler: SeededScheduler): void => {
  while (scheduler.step());
}

/** The order in which ten tasks of one priority run. */
const order = (seed: number): ReadonlyArray<number> => {
  const scheduler = new SeededScheduler(seed)
  const seen: Array<number> = []
  for (let id = 0; id < 10; id++) scheduler.schedule(() => seen.push(id), 0)
  finish(scheduler)
  return seen
}

describe("SeededScheduler", () => {
  it("runs everything once, in an order of its seed", () => {
    const orders = Array.from({ length: 50 }, (_, seed) => order(seed))
    for (const one of orders) {
      assert.deepStrictEqual(
        one.toSorted((a, b) => a - b),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
      )
    }
    assert.isAbove(new Set(orders.map(String)).size, 45)
    assert.deepStrictEqual(order(7), order(7))
    assert.strictEqual(new Set(orders.map((one) => one[0])).size, 10)
  })

  it("lower priorities first, those that come meanwhile too", () => {
    const scheduler = new SeededScheduler(1)
    const seen: Array<string> = []
    const { scheduleTask } = scheduler.makeDispatcher()
    scheduleTask(() => seen.push("last"), 10)
    scheduleTask(() => {
      seen.push("first")
      scheduleTask(() => seen.push("second"), 5)
    }, 5)
    assert.strictEqual(scheduler.ready, 2)
    finish(scheduler)
    assert.deepStrictEqual(seen, ["first", "second", "last"])
    assert.strictEqual(scheduler.steps, 3)
  })

  it("runs nothing by itself, and says when nothing is ready", () => {
    const scheduler = new SeededScheduler(1)
    assert.isFalse(scheduler.step())
    let ran = false
    scheduler.schedule(() => {
      ran = true
    }, 0)
    scheduler.makeDispatcher().flush()
    assert.isFalse(ran)
    assert.isTrue(scheduler.step())
    assert.isTrue(ran)
    assert.isFalse(scheduler.step())
  })

  it("holds fibers up between any two steps, but the first two", () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 100; seed++) {
      const scheduler = new SeededScheduler(seed)
      const log: Array<string> = []
      const say = (text: string) => Effect.sync(() => log.push(text))
      const fiber = (name: string) => Effect.all([say(`${name}1`), say(`${name}2`), say(`${name}3`)])
      const both = Effect.all([fiber("a"), fiber("b")], { concurrency: 2 })
      const run = Effect.runFork(Effect.provideService(both, Scheduler.Scheduler, scheduler))
      finish(scheduler)
      assert.isDefined(run.pollUnsafe())
      seen.add(log.join())
    }
    // Two, if only whole fibers were drawn.
    assert.isAbove(seen.size, 4)
  })

  it("a fiber that is interrupted before it starts does not run", () => {
    let early = 0
    for (let seed = 0; seed < 100; seed++) {
      const scheduler = new SeededScheduler(seed)
      let began = false
      const begin = Effect.sync(() => {
        began = true
      })
      const program = Effect.gen(function* () {
        const child = yield* Effect.forkChild(begin)
        if (began) return
        early++
        child.interruptUnsafe()
        yield* Fiber.await(child)
        assert.isFalse(began, `seed ${seed}`)
      })
      const run = Effect.runFork(Effect.provideService(program, Scheduler.Scheduler, scheduler))
      finish(scheduler)
      assert.strictEqual(run.pollUnsafe()?._tag, "Success", `seed ${seed}`)
    }
    assert.isAbove(early, 50)
  })
})
