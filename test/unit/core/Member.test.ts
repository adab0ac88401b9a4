import { assert, describe, it } from "@effect/vitest"
import { make as demand } from "@hawser/core/Demand"
import { Member } from "@hawser/core/Member"
import type { Outcome } from "@hawser/core/Outcome"
import { endpoint, leased } from "../../support/core/parts.ts"
import { StubUpstream } from "../../support/core/StubUpstream.ts"

const setup = () => {
  const time = { now: 0 }
  const member = new Member(new StubUpstream("e", time), endpoint("e"))
  const lease = () => leased(member.lease(demand()))
  const calls = (outcome: Outcome, n = 1, millis = 0) => {
    for (let i = 0; i < n; i++) {
      const one = lease()
      time.now += millis
      one.release(outcome)
    }
  }
  return { calls, lease, member, time }
}

describe("Member", () => {
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
