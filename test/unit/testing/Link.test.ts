import { assert, describe, it } from "@effect/vitest"
import { calm, Link, type Weather } from "@hawser/testing/Link"
import { Dice, mulberry } from "../../support/core/prng.ts"
import { ManualTimers } from "../../support/testing/ManualTimers.ts"

const setup = (weather: Partial<Weather> = {}, random: () => number = mulberry(1)) => {
  const timers = new ManualTimers()
  const arrived: Array<readonly [frame: number, at: number]> = []
  const told: Array<string> = []
  const now: Weather = { ...calm, ...weather }
  const link = new Link<number>({
    timers,
    random,
    weather: now,
    deliver: (frame) => arrived.push([frame, timers.now()]),
    delayed: (why) => told.push(why),
    stopped: () => told.push("stopped")
  })
  return { arrived, link, timers, told, weather: now }
}

describe("Link", () => {
  it("in calm weather a frame arrives in a turn of its own, and takes no time", () => {
    const { arrived, link, timers, told } = setup()
    link.send(1, 10)
    link.send(2, 10)
    assert.deepStrictEqual(arrived, [])
    timers.settle()
    assert.deepStrictEqual(arrived, [
      [1, 0],
      [2, 0]
    ])
    assert.deepStrictEqual(told, [])
  })

  it("whatever the weather, nothing is lost and the order is kept", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const dice = new Dice(seed)
      const { arrived, link, timers, weather } = setup({}, mulberry(seed))
      for (let frame = 0; frame < 100; frame++) {
        if (dice.chance(0.2)) {
          weather.latency = dice.below(50)
          weather.jitter = dice.below(50)
          weather.loss = dice.below(10) / 10
          weather.bandwidth = dice.chance(0.5) ? Infinity : 100 + dice.below(10_000)
        }
        if (dice.chance(0.05)) {
          link.hold()
          timers.after(dice.below(100), () => link.release())
        }
        link.send(frame, dice.below(100))
        timers.until(timers.now() + dice.below(20))
      }
      timers.finish()
      assert.deepStrictEqual(
        arrived.map(([frame]) => frame),
        Array.from({ length: 100 }, (_, frame) => frame),
        `seed ${seed}`
      )
      assert.strictEqual(link.inFlight, 0)
    }
  })

  it("latency delays each by itself, so that many are on their way", () => {
    const { arrived, link, timers, told } = setup({ latency: 30 })
    link.send(1, 10)
    timers.until(10)
    link.send(2, 10)
    timers.finish()
    assert.deepStrictEqual(arrived, [
      [1, 30],
      [2, 40]
    ])
    assert.deepStrictEqual(told, ["latency", "latency"])
  })

  it("jitter is between none and all of it", () => {
    const { arrived, link, timers } = setup({ latency: 10, jitter: 20 })
    for (let frame = 0; frame < 200; frame++) {
      timers.until(frame * 100)
      link.send(frame, 10)
    }
    timers.finish()
    const waits = arrived.map(([frame, at]) => at - frame * 100)
    assert.isAtLeast(Math.min(...waits), 10)
    assert.isBelow(Math.min(...waits), 12)
    assert.isAbove(Math.max(...waits), 28)
    assert.isBelow(Math.max(...waits), 30)
  })

  it("a line that gets faster lets nobody overtake", () => {
    const { arrived, link, timers, weather } = setup({ latency: 100 })
    link.send(1, 10)
    weather.latency = 0
    link.send(2, 10)
    timers.finish()
    assert.deepStrictEqual(arrived, [
      [1, 100],
      [2, 100]
    ])
  })

  it("bandwidth is shared by what is sent at once, and is not saved up", () => {
    const { arrived, link, timers, told } = setup({ bandwidth: 1_000, latency: 5 })
    link.send(1, 100)
    link.send(2, 50)
    timers.until(1_000)
    link.send(3, 100)
    timers.finish()
    assert.deepStrictEqual(arrived, [
      [1, 105],
      [2, 155],
      [3, 1_105]
    ])
    assert.include(told, "bandwidth")
  })

  it("a lost frame comes after 200 ms, then 400 ms and 800 ms more, and holds up those behind it", () => {
    const draws = [0.1, 0.1, 0.9, 0.9, 0, 0, 0, 0]
    const { arrived, link, timers, told } = setup({ loss: 0.5 }, () => draws.shift()!)
    link.send(1, 10)
    link.send(2, 10)
    timers.finish()
    link.send(3, 10)
    timers.finish()
    assert.deepStrictEqual(arrived, [
      [1, 600],
      [2, 600],
      [3, 600 + 1_400]
    ])
    assert.deepStrictEqual(told, ["loss", "loss", "loss", "loss", "loss"])
  })

  it("a held line delivers nothing until as many releases, then what is due at once and the rest in its time", () => {
    const { arrived, link, timers, told } = setup({ latency: 10 })
    link.send(1, 10)
    link.hold()
    link.hold()
    timers.until(50)
    link.send(2, 10)
    link.release()
    assert.isTrue(link.held)
    timers.until(55)
    assert.deepStrictEqual(arrived, [])
    assert.strictEqual(link.inFlight, 2)
    link.release()
    assert.isFalse(link.held)
    timers.finish()
    assert.deepStrictEqual(arrived, [
      [1, 55],
      [2, 60]
    ])
    assert.include(told, "stopped")
  })

  it("a hold in the turn of a delivery stops it", () => {
    const { arrived, link, timers } = setup()
    link.send(1, 10)
    link.hold()
    timers.finish()
    assert.deepStrictEqual(arrived, [])
    link.release()
    timers.finish()
    assert.deepStrictEqual(arrived, [[1, 0]])
  })

  it("what is on its way over a line that is cut is gone, and so is what comes later", () => {
    const { arrived, link, timers } = setup({ latency: 10 })
    link.send(1, 10)
    timers.until(5)
    link.cut()
    link.send(2, 10)
    timers.finish()
    assert.deepStrictEqual(arrived, [])
    assert.strictEqual(link.inFlight, 0)
    assert.strictEqual(timers.clock.waiting, 0)
  })
})
