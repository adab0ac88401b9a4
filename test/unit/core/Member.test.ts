import { assert, describe, it } from "@effect/vitest"
import { make as demand } from "@hawser/core/Demand"
import { Member } from "@hawser/core/Member"
import type { Outcome } from "@hawser/core/Outcome"
import { endpoint, leased } from "../../support/core/parts.ts"
import { StubUpstream } from "../../support/core/StubUpstream.ts"

const setup = () => {
  const time = { now: 0 }
  const told: Array<boolean> = []
  const member = new Member(new StubUpstream("e", time), endpoint("e"), () => told.push(member.failing))
  const lease = () => leased(member.lease(demand()))
  const calls = (outcome: Outcome, n = 1, millis = 0) => {
    for (let i = 0; i < n; i++) {
      const one = lease()
      time.now += millis
      one.release(outcome)
    }
  }
  return { calls, lease, member, time, told }
}

describe("Member", () => {
  it("a borrow from before the verdict puts the trial off no further", () => {
    const { calls, lease, member, time } = setup()
    const old = lease()
    time.now = 10
    calls("Failure", 5)
    assert.strictEqual(member.trialAt, 1_010)
    time.now = 500
    old.release("Failure")
    assert.strictEqual(member.trialAt, 1_010)
  })

  it("trials that fail are ever further apart, up to half a minute, and the next verdict starts afresh", () => {
    const { calls, member, time, told } = setup()
    calls("Failure", 5)
    const waits: Array<number> = []
    for (let i = 0; i < 7; i++) {
      waits.push(member.trialAt - time.now)
      time.now = member.trialAt
      calls("Failure")
    }
    assert.deepStrictEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
    calls("Success")
    calls("Failure", 5)
    assert.strictEqual(member.trialAt - time.now, 1_000)
    assert.deepStrictEqual(told, [true, false, true])
  })

  it("what is cancelled while slow looks slow, where anything is known", () => {
    const { calls, member } = setup()
    calls("Neutral", 1, 500)
    assert.isFalse(member.estimate.known)
    calls("Success", 1, 10)
    calls("Neutral", 1, 500)
    assert.strictEqual(member.estimate.value, 500)
    calls("Neutral", 1, 5)
    assert.strictEqual(member.estimate.value, 500)
  })

  it("no single failure makes it look slower than a minute", () => {
    const { calls, member } = setup()
    calls("Failure", 1, 50_000)
    assert.strictEqual(member.estimate.value, 60_000)
  })

  it("a new connection starts without the failures of the old one", () => {
    const { calls, member } = setup()
    calls("Failure", 4)
    member.reset()
    calls("Failure", 4)
    assert.isFalse(member.failing)
    calls("Failure")
    assert.isTrue(member.failing)
  })

  it("keeps the last report that came with a release, and when", () => {
    const { lease, member, time } = setup()
    time.now = 10
    const report = { utilization: 0.5, requestsPerSecond: 100 }
    lease().release("Success", report)
    time.now = 20
    lease().release("Success")
    assert.strictEqual(member.report, report)
    assert.strictEqual(member.reportedAt, 10)
  })
})
