/**
 * gRFC A50, rule by rule: what its text says, and what it leaves to be read out of it.
 */
import { assert, describe, it } from "@effect/vitest"
import type { OptionsError } from "@hawser/core"
import * as Outlier from "@hawser/core/Outlier"
import { allBut, outliers } from "../../support/core/outliers.ts"

const interval = 10_000
const rate = (options: Partial<Outlier.A50Options> & { readonly rule?: object } = {}) => {
  const { rule, ...rest } = options
  return Outlier.a50({ successRateEjection: { ...rule }, maxEjectionPercent: 100, ...rest })
}
const percentage = (options: Partial<Outlier.A50Options> & { readonly rule?: object } = {}) => {
  const { rule, ...rest } = options
  return Outlier.a50({ failurePercentageEjection: { ...rule }, maxEjectionPercent: 100, ...rest })
}
const pathsOf = (options: Outlier.A50Options): ReadonlyArray<string> => {
  try {
    Outlier.a50(options)
  } catch (e) {
    return (e as OptionsError.OptionsError).issues.map((issue) => issue.path)
  }
  return []
}

describe("gRFC A50: config", () => {
  it("interval defaults to 10 s, base ejection time to 30 s, max ejection time to 300 s, max ejection percent to 10", () => {
    const { baseMillis, intervalMillis, maxMillis, maximumEjected } = Outlier.a50({ successRateEjection: {} })
    assert.deepStrictEqual([intervalMillis, baseMillis, maxMillis, maximumEjected], [10_000, 30_000, 300_000, 0.1])
  })

  it("success rate defaults: stdev factor 1900, enforcement 100 %, 5 hosts, 100 requests", () => {
    const { successRate } = Outlier.a50({ successRateEjection: {} })
    assert.deepInclude(successRate, { stdevFactor: 1900, enforcement: 100, minimumHosts: 5, requestVolume: 100 })
  })

  it("failure percentage defaults: threshold 85, enforcement 100 %, 5 hosts, 50 requests", () => {
    const { failurePercentage } = Outlier.a50({ failurePercentageEjection: {} })
    assert.deepInclude(failurePercentage, { threshold: 85, enforcement: 100, minimumHosts: 5, requestVolume: 50 })
  })

  it("an algorithm runs only if its field is set", () => {
    assert.isUndefined(Outlier.a50({ successRateEjection: {} }).failurePercentage)
    assert.isUndefined(Outlier.a50({ failurePercentageEjection: {} }).successRate)
    const { out, pass, report } = outliers(percentage(), 5)
    // An outlier by its success rate, but not above the threshold.
    report(...allBut(5, 100, { 0: 60 }))
    pass(interval)
    assert.deepStrictEqual(out(), [])
  })

  it("durations must not be negative", () => {
    const bad = { interval: -1, baseEjectionTime: -1, maxEjectionTime: -1, successRateEjection: {} }
    assert.deepStrictEqual(pathsOf(bad), ["interval", "baseEjectionTime", "maxEjectionTime"])
    assert.deepStrictEqual(pathsOf({ ...bad, interval: 0, baseEjectionTime: 0, maxEjectionTime: 0 }), [])
  })

  it("percentages must be at most 100", () => {
    assert.deepStrictEqual(
      pathsOf({
        maxEjectionPercent: 101,
        successRateEjection: { enforcementPercentage: 101 },
        failurePercentageEjection: { threshold: 101, enforcementPercentage: 101 }
      }),
      [
        "maxEjectionPercent",
        "successRateEjection.enforcementPercentage",
        "failurePercentageEjection.threshold",
        "failurePercentageEjection.enforcementPercentage"
      ]
    )
  })

  it("a config with neither algorithm is no policy: `false` says so", () => {
    assert.deepStrictEqual(pathsOf({}), ["options"])
  })
})

describe("gRFC A50: call counter", () => {
  it("counts calls when they finish, not when they start", () => {
    const { at, detector, pass, time } = outliers(rate(), 5)
    time.now = 9_000
    pass(1_000)
    // Began before the interval, and ended in it.
    detector.completed(at(0), "Success", 9_000, 1_500)
    assert.strictEqual(at(0).record!.successes, 1)
    assert.strictEqual(at(1).record, undefined)
  })

  it("the timer swaps the buckets: each interval is judged by its own calls", () => {
    const { at, out, pass, report } = outliers(rate(), 5)
    report(...allBut(5, 100, { 0: 50 }))
    assert.deepStrictEqual(at(0).record!.last, { successes: 0, failures: 0 })
    pass(interval)
    assert.deepStrictEqual(at(0).record!.last, { successes: 50, failures: 50 })
    assert.strictEqual(at(0).record!.successes, 0)
    assert.deepStrictEqual(out(), [0])
    pass(interval)
    assert.deepStrictEqual(at(0).record!.last, { successes: 0, failures: 0 })
  })

  it("calls of two intervals are not added up", () => {
    const { out, pass, report } = outliers(rate(), 5)
    for (let i = 0; i < 4; i++) {
      report(...allBut(5, 99, { 0: 99 }))
      pass(interval)
    }
    assert.deepStrictEqual(out(), [])
  })

  it("nothing is judged before the interval is over", () => {
    const { out, pass, report } = outliers(rate(), 5)
    report(...allBut(5, 1_000, { 0: 1_000 }))
    pass(interval - 1)
    assert.deepStrictEqual(out(), [])
    pass(1)
    assert.deepStrictEqual(out(), [0])
  })

  it("failures are what the endpoint failed: overload and cancelled calls count as nothing", () => {
    const { at, done } = outliers(rate(), 5)
    done(0, "Overloaded", 200)
    done(0, "Neutral", 200)
    done(0, "Failure", 2)
    done(0, "Broken", 1)
    done(0, "Success", 4)
    const { failures, successes } = at(0).record!
    assert.deepStrictEqual([successes, failures], [4, 3])
  })
})

describe("gRFC A50: success rate algorithm", () => {
  it("1: with fewer addresses of enough volume than minimum_hosts, stop", () => {
    const { out, pass, report } = outliers(rate(), 5)
    report([0, 100], [100, 0], [100, 0], [100, 0], [99, 0])
    pass(interval)
    assert.deepStrictEqual(out(), [])
    report([0, 100], [100, 0], [100, 0], [100, 0], [100, 0])
    pass(interval)
    assert.deepStrictEqual(out(), [0])
  })

  it("2: mean and standard deviation are those of the population with enough volume", () => {
    // Rates 1, 1, 1, 1, 0.5: mean 0.9, deviation 0.2; the limit is 0.9 - 0.2 × f.
    const by = (stdevFactor: number) => {
      const { out, pass, report } = outliers(rate({ rule: { stdevFactor } }), 6)
      report([100, 0], [100, 0], [100, 0], [100, 0], [50, 50], [0, 50])
      pass(interval)
      return out()
    }
    assert.deepStrictEqual(by(1_999), [4])
    assert.deepStrictEqual(by(2_000), [], "0.5 is not less than 0.5")
  })

  it("3.1: when the percentage of ejected addresses is at max_ejection_percent, stop", () => {
    // Ten members, two outliers, in the order of addresses.
    const at = (maxEjectionPercent: number) => {
      const { out, pass, report } = outliers(rate({ maxEjectionPercent, rule: { stdevFactor: 1_000 } }), 10)
      report(...allBut(10, 100, { 3: 50, 7: 90 }))
      pass(interval)
      return out()
    }
    assert.deepStrictEqual(at(10), [3])
    assert.deepStrictEqual(at(11), [3, 7])
    assert.deepStrictEqual(at(0), [])
  })

  it("3.1: at least one is ejected, however few addresses there are", () => {
    const { out, pass, report } = outliers(rate({ maxEjectionPercent: 1, rule: { stdevFactor: 500 } }), 5)
    report(...allBut(5, 100, { 1: 90, 2: 90 }))
    pass(interval)
    assert.deepStrictEqual(out(), [1])
  })

  it("3.2: an address with less than request_volume is passed over", () => {
    const { out, pass, report } = outliers(rate(), 6)
    report([0, 99], [100, 0], [100, 0], [100, 0], [100, 0], [100, 0])
    pass(interval)
    assert.deepStrictEqual(out(), [])
  })

  it("3.3: ejected below mean - deviation × factor / 1000", () => {
    const { events, out, pass, report } = outliers(rate(), 5)
    report(...allBut(5, 100, { 2: 100 }))
    pass(interval)
    assert.deepStrictEqual(out(), [2])
    const [event] = events
    assert.strictEqual(event?._tag, "Ejected")
    if (event?._tag !== "Ejected") return
    assert.deepInclude(event, { endpoint: "e2", rule: "success-rate", value: 0, millis: 30_000 })
    assert.closeTo(event.limit, 0.8 - 0.4 * 1.9, 1e-9)
  })

  it("3.3: where all are equally bad, none is an outlier", () => {
    const { out, pass, report } = outliers(rate(), 5)
    report(...allBut(5, 100, { 0: 90, 1: 90, 2: 90, 3: 90, 4: 90 }))
    pass(interval)
    assert.deepStrictEqual(out(), [])
  })

  it("3.3: a random integer in [0, 100) below enforcement_percentage", () => {
    const drawn = (random: number, enforcementPercentage: number) => {
      const { out, pass, report } = outliers(rate({ rule: { enforcementPercentage } }), 5, { random: () => random })
      report(...allBut(5, 100, { 0: 100 }))
      pass(interval)
      return out().length
    }
    assert.strictEqual(drawn(0.299, 30), 1)
    assert.strictEqual(drawn(0.3, 30), 0)
    assert.strictEqual(drawn(0.999, 100), 1)
    assert.strictEqual(drawn(0, 0), 0)
  })
})

describe("gRFC A50: failure percentage algorithm", () => {
  it("1: with fewer addresses of enough volume than minimum_hosts, stop", () => {
    const { out, pass, report } = outliers(percentage(), 5)
    report([0, 50], [50, 0], [50, 0], [50, 0], [49, 0])
    pass(interval)
    assert.deepStrictEqual(out(), [])
    report([0, 50], [50, 0], [50, 0], [50, 0], [50, 0])
    pass(interval)
    assert.deepStrictEqual(out(), [0])
  })

  it("2.1: when the percentage of ejected addresses is at max_ejection_percent, stop", () => {
    const { out, pass, report } = outliers(percentage({ maxEjectionPercent: 40 }), 5)
    report(...allBut(5, 50, { 0: 50, 2: 50, 3: 50, 4: 50 }))
    pass(interval)
    assert.deepStrictEqual(out(), [0, 2])
  })

  it("2.1: those that the success rate has ejected count", () => {
    const policy = Outlier.a50({
      successRateEjection: {},
      failurePercentageEjection: { requestVolume: 1 },
      maxEjectionPercent: 20
    })
    const { out, pass, report, rules } = outliers(policy, 5)
    report([0, 100], [100, 0], [100, 0], [100, 0], [100, 0])
    pass(interval)
    assert.deepStrictEqual([out(), rules()], [[0], ["success-rate"]])
  })

  it("2.2: an address with less than request_volume is passed over", () => {
    const { out, pass, report } = outliers(percentage(), 6)
    report([0, 49], [50, 0], [50, 0], [50, 0], [50, 0], [50, 0])
    pass(interval)
    assert.deepStrictEqual(out(), [])
  })

  it("2.3: ejected above the threshold, not at it", () => {
    const { events, out, pass, report } = outliers(percentage(), 5)
    report([15, 85], [14, 86], [100, 0], [100, 0], [100, 0])
    pass(interval)
    assert.deepStrictEqual(out(), [1])
    assert.deepStrictEqual(events, [
      { _tag: "Ejected", endpoint: "e1", rule: "failure-percentage", value: 86, limit: 85, millis: 30_000 }
    ])
  })

  it("2.3: whatever the others do", () => {
    const { out, pass, report } = outliers(percentage(), 5)
    report(...allBut(5, 50, { 0: 50, 1: 50, 2: 50, 3: 50, 4: 50 }))
    pass(interval)
    assert.deepStrictEqual(out(), [0, 1, 2, 3, 4])
  })

  it("2.3: a random integer in [0, 100) below enforcement_percentage", () => {
    const draws = [0.5, 0.1, 0.9]
    const { out, pass, report } = outliers(percentage({ rule: { enforcementPercentage: 50 } }), 5, {
      random: () => draws.shift()!
    })
    report(...allBut(5, 50, { 0: 50, 1: 50, 2: 50 }))
    pass(interval)
    assert.deepStrictEqual(out(), [1])
  })
})

describe("gRFC A50: ejection and un-ejection", () => {
  const bad = allBut(5, 100, { 0: 100 })

  it("the ejection is stamped with the time of the timer, and lasts base × multiplier", () => {
    const { at, out, pass, report } = outliers(rate(), 5)
    report(...bad)
    pass(interval)
    assert.strictEqual(at(0).record!.verdict!.since, interval)
    pass(interval)
    pass(interval)
    pass(interval)
    assert.deepStrictEqual(out(), [0], "after 30 s, not at them")
    pass(interval)
    assert.deepStrictEqual(out(), [])
  })

  it("only the timer readmits: success does not, and there is no trial", () => {
    const { at, detector, done, out, pass, report, time } = outliers(rate({ interval: 100_000 }), 5)
    report(...bad)
    pass(100_000)
    time.now += 60_000
    assert.isFalse(detector.due(at(0), time.now))
    done(0, "Success", 10)
    assert.deepStrictEqual(out(), [0])
    pass(40_000)
    assert.deepStrictEqual(out(), [])
  })

  it("each ejection raises the multiplier by one, up to max(base, max) in time", () => {
    const times = (maxEjectionTime: number, baseEjectionTime = 30_000) => {
      const { events, out, pass, report } = outliers(rate({ maxEjectionTime, baseEjectionTime }), 5)
      while (events.filter((e) => e._tag === "Ejected").length < 5) {
        if (out().length === 0) report(...bad)
        pass(interval)
      }
      return events.flatMap((e) => (e._tag === "Ejected" ? [e.millis] : []))
    }
    assert.deepStrictEqual(times(300_000), [30_000, 60_000, 90_000, 120_000, 150_000])
    assert.deepStrictEqual(times(70_000), [30_000, 60_000, 70_000, 70_000, 70_000])
    assert.deepStrictEqual(times(0), [30_000, 30_000, 30_000, 30_000, 30_000])
  })

  it("each interval that ends without an ejection lowers the multiplier by one, not below 0", () => {
    const { at, pass, report } = outliers(rate({ baseEjectionTime: 0 }), 5)
    for (let i = 0; i < 3; i++) {
      report(...bad)
      pass(interval)
      pass(1)
      assert.strictEqual(at(0).record!.multiplier, i + 1)
      // Readmitted by the next timer, which does not lower it: the address was ejected when it fired.
      if (i < 2) continue
      pass(interval)
      assert.deepStrictEqual([at(0).record!.multiplier, at(0).record!.verdict], [3, undefined])
    }
    const seen: Array<number> = []
    for (let i = 0; i < 5; i++) {
      pass(interval)
      seen.push(at(0).record!.multiplier)
    }
    assert.deepStrictEqual(seen, [2, 1, 0, 0, 0])
  })

  it("what is ejected already and still an outlier is ejected again: later, and for longer", () => {
    const { at, pass, report } = outliers(rate(), 5)
    report(...bad)
    pass(interval)
    // Calls from before the ejection that end now.
    report(...bad)
    pass(interval)
    const { multiplier, verdict } = at(0).record!
    assert.deepStrictEqual([multiplier, verdict!.since, verdict!.until], [2, 20_000, 80_000])
  })

  it("both algorithms run, in this order, and both may eject the same address", () => {
    const policy = Outlier.a50({
      successRateEjection: {},
      failurePercentageEjection: {},
      maxEjectionPercent: 100
    })
    const { at, pass, report, rules } = outliers(policy, 5)
    report(...bad)
    pass(interval)
    assert.deepStrictEqual(rules(), ["success-rate", "failure-percentage"])
    assert.strictEqual(at(0).record!.multiplier, 2)
  })

  it("a timer that fires late judges once, and the next one keeps its phase", () => {
    const { out, pass, report } = outliers(rate(), 5)
    report(...bad)
    pass(interval + 9_000)
    assert.deepStrictEqual(out(), [0])
    report(...allBut(5, 100, { 0: 100, 1: 100 }))
    pass(999)
    assert.deepStrictEqual(out(), [0])
  })

  it("an address that is removed takes its entry with it", () => {
    const { at, ejection, out, pass, remove, report } = outliers(rate(), 6)
    report(...allBut(6, 100, { 0: 100 }))
    pass(interval)
    assert.strictEqual(ejection.count, 1)
    remove(0)
    assert.strictEqual(ejection.count, 0)
    assert.deepStrictEqual(out(), [])
    assert.strictEqual(at(0).name, "e1")
  })

  it("a new connection to the same address changes nothing", () => {
    const { at, detector, out, pass, report } = outliers(rate(), 5)
    report(...bad)
    pass(interval)
    detector.reconnected(at(0))
    pass(interval)
    assert.deepStrictEqual(out(), [0])
  })

  it("failures in a row do not matter (Envoy's consecutive errors are not part of it)", () => {
    const { done, out } = outliers(rate(), 5)
    done(0, "Failure", 1_000)
    assert.deepStrictEqual(out(), [])
  })

  it("beyond it: the only endpoint is never ejected", () => {
    const { out, pass, report } = outliers(percentage({ rule: { minimumHosts: 1 } }), 1)
    report([0, 100])
    pass(interval)
    assert.deepStrictEqual(out(), [])
  })
})
