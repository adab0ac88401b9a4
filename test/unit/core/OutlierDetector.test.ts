import { assert, describe, it } from "@effect/vitest"
import * as Outlier from "@hawser/core/Outlier"
import { details } from "@hawser/core/OutlierRecord"
import { allBut, outliers } from "../../support/core/outliers.ts"

const interval = 10_000
/** Only failures in a row. */
const row = Outlier.make({ successRate: false })

describe("failures in a row", () => {
  it("five eject, four and a success do not", () => {
    const { done, events, out } = outliers(row, 3)
    done(0, "Failure", 4)
    done(0, "Success")
    done(0, "Failure", 4)
    assert.deepStrictEqual(out(), [])
    done(0, "Failure")
    assert.deepStrictEqual(out(), [0])
    assert.deepStrictEqual(events, [
      { _tag: "Ejected", endpoint: "e0", rule: "consecutive-failures", value: 5, limit: 5, millis: 1_000 }
    ])
  })

  it("overload and cancelled calls neither add to them nor end them", () => {
    const { done, out } = outliers(row, 3)
    done(0, "Overloaded", 100)
    done(0, "Neutral", 100)
    done(0, "Failure", 4)
    done(0, "Overloaded", 100)
    done(0, "Neutral", 100)
    assert.deepStrictEqual(out(), [])
    done(0, "Failure")
    assert.deepStrictEqual(out(), [0])
  })

  it("calls that end with their connection do not add to them: the loss is seen anyway", () => {
    const { done, out } = outliers(row, 3)
    done(0, "Broken", 100)
    assert.deepStrictEqual(out(), [])
  })

  it("a trial comes after 1 s, 2 s, 4 s and so on, up to the ejection time of 300 s", () => {
    const { at, detector, done, time } = outliers(row, 3)
    done(0, "Failure", 5)
    const waits: Array<number> = []
    for (let i = 0; i < 11; i++) {
      const { since, until } = at(0).record!.verdict!
      waits.push((until - since) / 1_000)
      time.now = until - 1
      assert.isFalse(detector.due(at(0), time.now))
      time.now = until
      assert.isTrue(detector.due(at(0), time.now))
      done(0, "Failure")
    }
    assert.deepStrictEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
  })

  it("never later than 30 s × n", () => {
    const { done, events, time } = outliers(
      Outlier.make({ successRate: false, consecutiveFailures: { firstTrial: "25 seconds" } }),
      3
    )
    done(0, "Failure", 5)
    for (let i = 0; i < 3; i++) {
      time.now += 300_000
      done(0, "Failure")
    }
    assert.deepStrictEqual(
      events.flatMap((e) => (e._tag === "Ejected" ? [e.millis] : [])),
      [25_000, 50_000, 90_000, 120_000]
    )
  })

  it("the first success of a call that began when its time was over readmits", () => {
    const { at, detector, done, events, out, time } = outliers(row, 3)
    done(0, "Failure", 5)
    time.now = 1_500
    // It began before.
    detector.completed(at(0), "Success", 999, 501)
    assert.deepStrictEqual(out(), [0])
    done(0, "Success")
    assert.deepStrictEqual(out(), [])
    assert.deepStrictEqual(events.at(-1), {
      _tag: "Readmitted",
      endpoint: "e0",
      rule: "consecutive-failures",
      millis: 1_500
    })
  })

  it("calls from before say nothing: one verdict for what fails together", () => {
    const { at, done, time } = outliers(row, 3)
    done(0, "Failure", 500)
    assert.strictEqual(at(0).record!.multiplier, 1)
    time.now = 1_500
    done(0, "Failure", 100, 1_000)
    assert.strictEqual(at(0).record!.multiplier, 1)
  })

  it("there is one trial at a time, and one that says nothing is followed by another after 1 s", () => {
    const { at, detector, done, time } = outliers(row, 3)
    done(0, "Failure", 5)
    time.now = 1_000
    assert.isTrue(detector.due(at(0), time.now))
    detector.tried(at(0).record!, time.now)
    time.now = 1_500
    assert.isFalse(detector.due(at(0), time.now))
    done(0, "Overloaded", 1, 500)
    time.now = 2_499
    assert.isFalse(detector.due(at(0), time.now))
    time.now = 2_500
    assert.isTrue(detector.due(at(0), time.now))
  })

  it("the next ejection is longer, until healthy intervals have made good for the last one", () => {
    const times: Array<number | undefined> = []
    for (const healthy of [0, 1, 2, 3]) {
      const { done, events, pass } = outliers(row, 3)
      done(0, "Failure", 5)
      for (let i = 0; i < 2; i++) {
        pass(5_000)
        done(0, "Failure")
      }
      pass(5_000)
      done(0, "Success")
      // Readmitted at 15 s: the interval that ends at 20 s was not healthy as a whole.
      pass(5_000)
      for (let i = 0; i < healthy; i++) pass(interval)
      done(0, "Failure", 5)
      times.push(events.flatMap((e) => (e._tag === "Ejected" ? [e.millis] : [])).at(-1))
    }
    assert.deepStrictEqual(times, [8_000, 4_000, 2_000, 1_000])
  })

  it("intervals without any traffic are healthy", () => {
    const { at, done, pass, time } = outliers(row, 3)
    done(0, "Failure", 5)
    time.now = 1_000
    done(0, "Failure")
    time.now = 5_000
    done(0, "Success")
    assert.strictEqual(at(0).record!.multiplier, 2)
    pass(60_000)
    assert.strictEqual(at(0).record!.multiplier, 0)
  })

  it("a new connection has a clean sheet, and what was ejected is tried at once", () => {
    const { at, detector, done, out, time } = outliers(row, 3)
    done(0, "Failure", 4)
    detector.reconnected(at(0))
    done(0, "Failure", 4)
    assert.deepStrictEqual(out(), [])
    done(0, "Failure")
    time.now = 10
    assert.isFalse(detector.due(at(0), time.now))
    detector.reconnected(at(0))
    assert.isTrue(detector.due(at(0), time.now))
    done(0, "Success")
    assert.deepStrictEqual(out(), [])
  })
})

describe("the cap", () => {
  it("at most half are ejected; what else fails is spared, and counts", () => {
    const { at, changes, done, out } = outliers(row, 4)
    for (const i of [0, 1, 2]) done(i, "Failure", 5)
    assert.deepStrictEqual(out(), [0, 1])
    assert.isFalse(at(2).record!.verdict!.ejected)
    assert.strictEqual(changes(), 3)
  })

  it("what is spared is judged anew after a second, and is ejected as soon as there is room", () => {
    const { done, out, time } = outliers(row, 4)
    for (const i of [0, 1, 2]) done(i, "Failure", 5)
    time.now = 1_000
    done(1, "Success")
    assert.deepStrictEqual(out(), [0])
    done(2, "Failure")
    assert.deepStrictEqual(out(), [0, 2])
  })

  it("what is spared is cleared by a success after a second", () => {
    const { at, done, time } = outliers(row, 4)
    for (const i of [0, 1, 2]) done(i, "Failure", 5)
    time.now = 999
    done(2, "Success")
    assert.isDefined(at(2).record!.verdict)
    time.now = 1_000
    done(2, "Success")
    assert.isUndefined(at(2).record!.verdict)
  })

  it("the only one is never ejected, but something is found against it, so that its connection can be exchanged", () => {
    const { at, changes, detector, done, out } = outliers(row, 1)
    done(0, "Failure", 50)
    assert.deepStrictEqual([out(), at(0).record!.verdict!.rule, changes()], [[], "consecutive-failures", 1])
    detector.forgiven(at(0))
    assert.isUndefined(at(0).record!.verdict)
    assert.strictEqual(changes(), 2)
  })

  it("whatever leads elsewhere now is readmitted, and starts afresh", () => {
    const { at, detector, done, out, rules } = outliers(row, 3)
    done(0, "Failure", 5)
    detector.forgiven(at(0))
    assert.deepStrictEqual(out(), [])
    done(0, "Failure", 4)
    assert.lengthOf(rules(), 1)
  })

  it("who is ejected for silence counts", () => {
    const { at, done, ejection, out } = outliers(row, 4)
    ejection.add(at(0).upstream, "silence")
    done(1, "Failure", 5)
    done(2, "Failure", 5)
    assert.deepStrictEqual(out(), [1])
    assert.strictEqual(ejection.count, 2)
    // It is out already: another reason changes nothing for the others.
    done(0, "Failure", 5)
    assert.deepStrictEqual(out(), [0, 1])
    assert.strictEqual(ejection.count, 2)
    ejection.remove(at(0).upstream, "silence")
    assert.strictEqual(ejection.count, 2)
  })

  it("when endpoints leave, those ejected first come back until the cap holds", () => {
    const { done, events, out, remove, time } = outliers(row, 6)
    for (const i of [3, 1, 2]) {
      time.now++
      done(i, "Failure", 5)
    }
    assert.deepStrictEqual(out(), [1, 2, 3])
    remove(0)
    assert.deepStrictEqual(
      events.flatMap((e) => (e._tag === "Readmitted" ? [e.endpoint] : [])),
      ["e3"]
    )
    remove(3)
    assert.lengthOf(out(), 2)
    remove(2)
    assert.lengthOf(out(), 1)
  })

  it("in panic nobody is on trial: failures make no ejection longer, and success readmits in its time", () => {
    let panic = false
    const { at, done, out, time } = outliers(row, 4, { panic: () => panic })
    for (const i of [0, 1, 2, 3]) done(i, "Failure", 5)
    panic = true
    for (let i = 0; i < 100; i++) {
      time.now += 500
      for (const k of [0, 1, 2, 3]) done(k, "Failure", 10)
    }
    assert.strictEqual(at(0).record!.multiplier, 1)
    for (const k of [0, 1, 2, 3]) done(k, "Success")
    assert.deepStrictEqual(out(), [])
  })
})

describe("a stall of our own", () => {
  it("excuses what it made fail, and nothing else", () => {
    const { detector, done, out, time } = outliers(row, 4)
    time.now = 20_000
    detector.tick(time.now, 10_000)
    // Began before it, failed by it.
    for (const i of [0, 1, 2, 3]) done(i, "Failure", 20, 15_000)
    assert.deepStrictEqual(out(), [])
    time.now = 20_100
    done(0, "Failure", 5, 50)
    assert.deepStrictEqual(out(), [0])
    time.now = 31_000
    done(1, "Failure", 5, 15_000)
    assert.deepStrictEqual(out(), [0, 1], "that long afterwards it has other reasons")
  })
})

describe("a call that was sent too late", () => {
  it("to end in time says nothing of who was to answer it", () => {
    const { detector, done, at, out, time } = outliers(row, 3)
    time.now = 10_000
    done(0, "Success", 100, 40)
    // 30 ms were left, and 40 is what it takes.
    for (let i = 0; i < 20; i++) detector.completed(at(0), "Failure", time.now, 30, time.now + 30)
    assert.deepStrictEqual(out(), [])
    // It failed at once, whatever was left.
    for (let i = 0; i < 4; i++) detector.completed(at(0), "Failure", time.now, 1, time.now + 30)
    assert.deepStrictEqual(out(), [])
    // It had time enough.
    detector.completed(at(0), "Failure", time.now, 50, time.now + 50)
    assert.deepStrictEqual(out(), [0])
  })
})

describe("success rate", () => {
  const rate = Outlier.make({ consecutiveFailures: false })

  it("ejects as gRFC A50 does, for 30 s × n", () => {
    const { events, out, pass, report } = outliers(rate, 5)
    report(...allBut(5, 100, { 2: 50 }))
    pass(interval)
    assert.deepStrictEqual(out(), [2])
    const [event] = events
    assert.strictEqual(event?._tag === "Ejected" && event.millis, 30_000)
  })

  it("chance ejects nobody: five points below the mean, and more than three standard errors", () => {
    const { out, pass, report } = outliers(rate, 10)
    report(...allBut(10, 100, { 0: 1 }))
    pass(interval)
    assert.deepStrictEqual(out(), [], "one failure in a hundred")
    report(...allBut(10, 100, { 0: 4 }))
    pass(interval)
    assert.deepStrictEqual(out(), [], "four")
    report(...allBut(10, 1_000, { 0: 60 }))
    pass(interval)
    assert.deepStrictEqual(out(), [0])
    // All fail every second call; one has 38 of 100.
    const noisy = outliers(rate, 10)
    noisy.report(...Array.from({ length: 10 }, (_, i) => (i === 0 ? ([38, 62] as const) : ([50, 50] as const))))
    noisy.pass(interval)
    assert.deepStrictEqual(noisy.out(), [])
  })

  it("only margin 0 is A50's arithmetic", () => {
    const { out, pass, report } = outliers(Outlier.make({ consecutiveFailures: false, successRate: { margin: 0 } }), 10)
    report(...allBut(10, 100, { 0: 1 }))
    pass(interval)
    assert.deepStrictEqual(out(), [0])
  })

  it("where not all outliers may be ejected, the worst are", () => {
    const policy = Outlier.make({
      consecutiveFailures: false,
      successRate: { stdevFactor: 500 },
      maximumEjected: 0.2
    })
    const { out, pass, report } = outliers(policy, 6)
    report(...allBut(6, 100, { 1: 60, 4: 90 }))
    pass(interval)
    assert.deepStrictEqual(out(), [4])
  })

  it("after its time it is on trial, and its first success readmits it", () => {
    const { at, detector, done, out, pass, report } = outliers(rate, 5)
    report(...allBut(5, 100, { 2: 50 }))
    pass(interval)
    pass(29_999)
    assert.isFalse(detector.due(at(2), 39_999))
    pass(1)
    assert.isTrue(detector.due(at(2), 40_000))
    done(2, "Success")
    assert.deepStrictEqual(out(), [])
  })

  it("a trial that fails ejects for longer", () => {
    const { done, events, pass, report } = outliers(rate, 5)
    report(...allBut(5, 100, { 2: 50 }))
    pass(interval)
    pass(30_000)
    done(2, "Failure")
    assert.deepInclude(events.at(-1), { endpoint: "e2", rule: "trial", limit: 1, millis: 60_000 })
  })
})

describe("latency", () => {
  const slow = Outlier.make({ successRate: false, consecutiveFailures: false, latency: { intervals: 3 } })
  const play = (intervals: number, millis: ReadonlyArray<number>, policy = slow) => {
    const world = outliers(policy, millis.length)
    for (let i = 0; i < intervals; i++) {
      millis.forEach((m, k) => world.done(k, "Success", 60, m))
      world.pass(interval)
    }
    return world
  }

  it("ejects who takes more than five times the others' median in three intervals in a row", () => {
    const millis = [20, 20, 1_000, 25, 30]
    assert.deepStrictEqual(play(2, millis).out(), [])
    const { events, out } = play(3, millis)
    assert.deepStrictEqual(out(), [2])
    const [event] = events
    if (event?._tag !== "Ejected") return assert.fail("an ejection")
    assert.deepInclude(event, { rule: "latency", millis: 30_000 })
    assert.closeTo(event.value, 1_024, 1)
    assert.closeTo(event.limit, 113, 1)
  })

  it("nobody who is faster than 100 ms, and nobody for being as slow as all", () => {
    assert.deepStrictEqual(play(3, [1, 1, 90, 1, 1]).out(), [])
    assert.deepStrictEqual(play(3, [900, 1_000, 1_100, 900, 1_000]).out(), [])
  })

  it("two that are slow do not excuse one another", () => {
    assert.deepStrictEqual(play(3, [20, 20, 1_000, 1_000, 30]).out(), [2, 3])
  })

  it("says nothing with too few endpoints or calls", () => {
    assert.deepStrictEqual(play(3, [20, 20, 1_000, 20]).out(), [])
    const few = Outlier.make({ successRate: false, latency: { requestVolume: 61 } })
    assert.deepStrictEqual(play(3, [20, 20, 1_000, 20, 20], few).out(), [])
  })

  it("an interval in which it was as fast as the others breaks the row", () => {
    const { done, out, pass } = play(2, [20, 20, 1_000, 20, 20])
    for (let k = 0; k < 5; k++) done(k, "Success", 60, 20)
    pass(interval)
    for (let k = 0; k < 5; k++) done(k, "Success", 60, k === 2 ? 1_000 : 20)
    pass(interval)
    assert.deepStrictEqual(out(), [])
  })
})

describe("what a snapshot shows", () => {
  it("nothing of an endpoint that was never called", () => {
    assert.deepStrictEqual(details(undefined, 0), { ejected: false })
  })

  it("who is ejected, by which figures, since when, and when it is tried", () => {
    const { at, done, time } = outliers(row, 4)
    done(0, "Success", 5)
    done(0, "Failure", 5)
    time.now = 400
    assert.deepStrictEqual(details(at(0).record, time.now), {
      ejected: true,
      failuresInARow: 5,
      multiplier: 1,
      rule: "consecutive-failures",
      value: 5,
      limit: 5,
      sinceMillis: 400,
      triedInMillis: 600
    })
  })

  it("the success rate of the last interval, and whether it is spared for the cap", () => {
    const { at, done, pass } = outliers(row, 1)
    done(0, "Success", 7)
    done(0, "Failure", 3)
    pass(interval)
    done(0, "Failure", 2)
    const { calls, ejected, spared, successRate } = details(at(0).record, 0)
    assert.deepStrictEqual([ejected, spared, calls, successRate], [false, true, 10, 0.7])
  })
})

describe("ticks", () => {
  it("must go on until the interval is judged, and no longer", () => {
    const { detector, done, pass } = outliers(row, 2)
    assert.isFalse(detector.pending())
    done(0, "Success")
    pass(9_999)
    assert.isTrue(detector.pending())
    pass(1)
    assert.isFalse(detector.pending())
  })
})
