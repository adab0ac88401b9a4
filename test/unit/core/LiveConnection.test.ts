import { assert, describe, it } from "@effect/vitest"
import { Scope } from "effect"
import { make as demand } from "@hawser/core/Demand"
import { MethodEstimates } from "@hawser/core/Estimate"
import type { LeaseObserver } from "@hawser/core/Lease"
import { LiveConnection } from "@hawser/core/LiveConnection"
import { endpoint, leased } from "../../support/core/parts.ts"
import { ScriptedSession } from "../../support/core/ScriptedSession.ts"

const setup = (limit = 2, maxStreams = Infinity) => {
  const time = { now: 0 }
  const log: Array<string> = []
  const methods = new MethodEstimates()
  const session = new ScriptedSession("a", limit, 0)
  const live: LiveConnection<ScriptedSession> = new LiveConnection({
    endpoint: endpoint("a"),
    id: "a#1",
    session,
    scope: Scope.makeUnsafe(),
    owner: { returned: () => log.push(`woken ${live.inFlight}`), changedAt: () => log.push("changed") },
    methods,
    maxStreams,
    now: () => time.now
  })
  return { live, log, methods, session, time }
}

describe("LiveConnection", () => {
  it("lends up to its limit, and again after a release", () => {
    const { live } = setup(2)
    const first = leased(live.lease(demand()))
    leased(live.lease(demand()))
    assert.strictEqual(live.lease(demand())._tag, "Full")
    first.release("Success")
    assert.strictEqual(live.inFlight, 1)
    leased(live.lease(demand()))
  })

  it("obeys the lower one of the peer's limit and ours, as they are now", () => {
    const { live, session } = setup(5, 3)
    assert.strictEqual(live.limit(), 3)
    session.setLimit(1)
    leased(live.lease(demand()))
    assert.strictEqual(live.lease(demand())._tag, "Full")
    session.setLimit(10)
    assert.strictEqual(live.limit(), 3)
  })

  it("the first release wins", () => {
    const { live, log } = setup()
    const lease = leased(live.lease(demand()))
    leased(live.lease(demand()))
    lease.release("Success")
    lease.release("Broken")
    lease.release("Failure")
    assert.strictEqual(live.inFlight, 1)
    assert.strictEqual(live.answered, 1)
    assert.strictEqual(live.failed, 0)
    assert.isTrue(live.lending)
    assert.deepStrictEqual(log, ["woken 1"])
  })

  it("the first release wins, whatever time the clock says it is", () => {
    for (const now of [0, -5, NaN, Infinity]) {
      const { live, time } = setup()
      const lease = leased(live.lease(demand()))
      time.now = now
      lease.release("Success")
      lease.release("Success")
      assert.strictEqual(live.inFlight, 0, String(now))
    }
  })

  it("a lease says where it was, also after its release", () => {
    const { live, session } = setup()
    const lease = leased(live.lease(demand()))
    lease.release("Broken")
    assert.deepStrictEqual([lease.id, lease.endpoint, lease.connection], ["a#1", live.endpoint, session.connection])
  })

  it("tells observers innermost first, all before the wake-up, with counts already lowered", () => {
    const { live, log, time } = setup()
    const observer = (name: string): LeaseObserver => ({
      released: (_, outcome, millis, report) =>
        log.push(`${name} ${outcome} ${millis} ${report?.utilization} ${live.inFlight}`)
    })
    const lease = leased(live.lease(demand()))
    for (const name of ["one", "two", "three"]) lease.observe(observer(name))
    time.now = 30
    lease.release("Success", { utilization: 0.5, requestsPerSecond: 1 })
    assert.deepStrictEqual(log, ["one Success 30 0.5 0", "two Success 30 0.5 0", "three Success 30 0.5 0", "woken 0"])
  })

  it("latency runs to the first response", () => {
    const { live, log, time } = setup()
    const lease = leased(live.lease(demand()))
    lease.observe({ released: (_, __, millis) => log.push(String(millis)) })
    time.now = 10
    lease.responded()
    time.now = 20
    lease.responded()
    time.now = 500
    lease.release("Success")
    assert.strictEqual(log[0], "10")
  })

  it("lends no more once broken", () => {
    const { live } = setup()
    leased(live.lease(demand())).release("Broken")
    assert.strictEqual(live.lease(demand())._tag, "Full")
    assert.strictEqual(live.failed, 1)
  })

  it("an answer is a word from the peer, a failure is not", () => {
    const { live, time } = setup(9)
    for (const [outcome, heard] of [
      ["Failure", 0],
      ["Neutral", 0],
      ["Success", 30],
      ["Overloaded", 40]
    ] as const) {
      const lease = leased(live.lease(demand()))
      time.now += 10
      lease.release(outcome)
      assert.strictEqual(live.heardAt(), heard, outcome)
    }
  })

  it("keeps those that can be overdue in order of age, and only those", () => {
    const { live, time } = setup(9)
    const leases = [1, 2, 3].map((now) => {
      time.now = now
      return leased(live.lease(demand({ method: "m" })))
    })
    leased(live.lease(demand()))
    const ages = () => {
      const out: Array<number> = []
      for (let lease = live.oldest; lease !== undefined; lease = lease.next) out.push(lease.startedAt)
      return out
    }
    assert.deepStrictEqual(ages(), [1, 2, 3])
    leases[1]!.release("Success")
    assert.deepStrictEqual(ages(), [1, 3])
    leases[0]!.release("Success")
    leases[2]!.release("Success")
    assert.deepStrictEqual(ages(), [])
    assert.strictEqual(live.inFlight, 1)
  })

  it("learns the latency of methods from answers, but not from those that a silent path held up", () => {
    const { live, methods, time } = setup(9)
    const answer = (millis: number) => {
      const lease = leased(live.lease(demand({ method: "m" })))
      time.now += millis
      lease.release("Success")
    }
    answer(10)
    live.quarantinedAt = time.now
    answer(5_000)
    assert.isBelow(methods.get("m")!, 20)
  })

  it("learns from a held-up answer what was not known at all", () => {
    const { live, methods, time } = setup(9)
    const lease = leased(live.lease(demand({ method: "slow" })))
    live.quarantinedAt = 1
    time.now = 10_000
    lease.release("Success")
    assert.isAtLeast(methods.get("slow")!, 10_000)
  })

  it("giving up tells each borrower that can be overdue once, also those that release on it", () => {
    const { live } = setup(9)
    const told: Array<string> = []
    const first = leased(
      live.lease(
        demand({
          method: "m",
          lost: () => {
            told.push("first")
            first.release("Failure")
          }
        })
      )
    )
    leased(live.lease(demand({ method: "m", lost: () => void told.push("second") })))
    leased(live.lease(demand({ lost: () => void told.push("stream") })))
    leased(live.lease(demand({ method: "m" })))
    live.giveUp()
    live.giveUp()
    assert.deepStrictEqual(told, ["first", "second"])
    assert.strictEqual(live.inFlight, 3)
  })
})
