import { assert, describe, it } from "@effect/vitest"
import type { OptionsError } from "@hawser/core/OptionsError"
import * as Outlier from "@hawser/core/Outlier"

const issues = (options: unknown): ReadonlyArray<string> => {
  try {
    Outlier.make(options as Outlier.OutlierOptions)
  } catch (e) {
    return (e as OptionsError).message.split("\n")
  }
  return []
}

describe("Outlier.make", () => {
  it("has the defaults of gRFC A50 and Finagle", () => {
    const { a50, consecutiveFailures, failurePercentage, latency, successRate } = Outlier.make()
    assert.deepStrictEqual(consecutiveFailures, { failures: 5, firstTrialMillis: 1_000 })
    assert.deepInclude(successRate, { stdevFactor: 1_900, enforcement: 100, minimumHosts: 5, requestVolume: 100 })
    assert.deepStrictEqual([failurePercentage, latency, a50], [undefined, undefined, false])
  })

  it("rules are switched on and off one by one", () => {
    const policy = Outlier.make({ successRate: false, failurePercentage: {}, latency: { factor: 10 } })
    assert.isUndefined(policy.successRate)
    assert.deepStrictEqual(policy.failurePercentage, {
      threshold: 85,
      enforcement: 100,
      minimumHosts: 5,
      requestVolume: 50
    })
    assert.strictEqual(policy.latency?.factor, 10)
  })

  it("lists all that is wrong, with path, rule and value", () => {
    assert.deepStrictEqual(
      issues({
        interval: "soon",
        ejectionTime: { base: -1, most: 3 },
        maximumEjected: 0,
        successRate: { margin: 101, stdevFactor: 1.5, minimumHosts: 0 },
        failurePercentage: { threshold: 100, enforcement: 0 },
        consecutiveFailures: { failures: 0, firstTrial: 1 },
        latency: { factor: 1, intervals: 0, atLeast: NaN, minimumHosts: 1 },
        sucessRate: false
      }).map((line) => line.split(":")[0]),
      [
        "sucessRate",
        "ejectionTime.most",
        "interval",
        "ejectionTime.base",
        "maximumEjected",
        "successRate.stdevFactor",
        "successRate.margin",
        "successRate.minimumHosts",
        "failurePercentage.threshold",
        "failurePercentage.enforcement",
        "consecutiveFailures.failures",
        "consecutiveFailures.firstTrial",
        "latency.factor",
        "latency.intervals",
        "latency.atLeast",
        "latency.minimumHosts"
      ]
    )
    assert.deepStrictEqual(issues({ maximumEjected: 50 }), [
      "maximumEjected: expected a number above 0, at most 1, got 50"
    ])
  })

  it("a policy without a rule is none", () => {
    assert.deepStrictEqual(issues({ successRate: false, consecutiveFailures: false }), [
      'options: expected at least one rule, or `outlier: false`, got "no rule"'
    ])
  })
})
