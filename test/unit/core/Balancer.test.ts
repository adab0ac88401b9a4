import { assert, describe, it } from "@effect/vitest"
import { Balancer } from "@hawser/core/Balancer"
import { type Demand, make as demand } from "@hawser/core/Demand"
import { makeUnsafe } from "@hawser/core/Endpoint"
import type { Event } from "@hawser/core/Event"
import type { Lease } from "@hawser/core/Lease"
import type { Outcome } from "@hawser/core/Outcome"
import * as PeakEwma from "@hawser/core/PeakEwma"
import { noTrials, type Policy } from "@hawser/core/Policy"
import * as RoundRobin from "@hawser/core/RoundRobin"
import { leased } from "../../support/core/parts.ts"
import { mulberry } from "../../support/core/prng.ts"
import { StubUpstream } from "../../support/core/StubUpstream.ts"

const setup = (n: number, policy: Policy = RoundRobin.policy, state: "Ready" | "Idle" | "Connecting" = "Ready") => {
  const time = { now: 0 }
  const events: Array<Event> = []
  const stubs = Array.from({ length: n }, (_, i) => new StubUpstream(`e${i}`, time, Infinity, state))
  const balancer = new Balancer({
    policy,
    upstreams: stubs,
    random: mulberry(1),
    now: () => time.now,
    publish: (event) => events.push(event),
    empty: () => "nobody"
  })
  const call = (outcome: Outcome = "Success", millis = 0, options?: Partial<Demand>) => {
    const lease = leased(balancer.lease(demand(options)))
    time.now += millis
    lease.release(outcome)
    return lease.id.slice(0, -2)
  }
  /** So many calls to one member: the others are avoided. */
  const only = (name: string, outcome: Outcome, count: number, millis = 0) => {
    const avoid = new Set(stubs.map((s) => s.name).filter((other) => other !== name))
    for (let i = 0; i < count; i++) assert.strictEqual(call(outcome, millis, { avoid }), name)
  }
  const pickSets = () => events.flatMap((e) => (e._tag === "PickSet" ? [e.ready.join(" ")] : []))
  const panics = () => events.flatMap((e) => (e._tag === "Panic" ? [`${e.on} ${e.usable}/${e.ready}`] : []))
  let tickAt = 50
  /** Calls with ticks every 50 ms, as long as `millis` of time pass; answers how many went to each. */
  const traffic = (millis: number, step: number, answer: (name: string) => readonly [Outcome, number]) => {
    const picks: Record<string, number> = {}
    const until = time.now + millis
    const running: Array<{ readonly lease: Lease<unknown>; readonly outcome: Outcome; readonly until: number }> = []
    while (time.now < until) {
      time.now += step
      for (const done of running.filter((r) => r.until <= time.now)) {
        running.splice(running.indexOf(done), 1)
        done.lease.release(done.outcome)
      }
      if (time.now >= tickAt) {
        tickAt = time.now + 50
        balancer.tick(time.now)
      }
      const lease = leased(balancer.lease(demand()))
      const name = lease.id.slice(0, -2)
      picks[name] = (picks[name] ?? 0) + 1
      const [outcome, takes] = answer(name)
      running.push({ lease, outcome, until: time.now + takes })
    }
    for (const { lease, outcome } of running) lease.release(outcome)
    return picks
  }
  return { balancer, call, events, only, panics, pickSets, stubs, time, traffic }
}

describe("Balancer", () => {
  it("publishes the set of members that it picks from when it changes, and only then", () => {
    const { call, pickSets, stubs } = setup(3)
    assert.deepStrictEqual(pickSets(), ["e0 e1 e2"])
    stubs[0]!.changed()
    call()
    stubs[1]!.become("Connecting")
    stubs[1]!.become("TransientFailure")
    stubs[1]!.become("Ready")
    assert.deepStrictEqual(pickSets(), ["e0 e1 e2", "e0 e2", "e0 e1 e2"])
  })

  it("leaves out who is put aside, and who is not Ready", () => {
    const { call, stubs } = setup(4)
    stubs[0]!.putAside(true)
    stubs[1]!.become("TransientFailure")
    const picked = new Set(Array.from({ length: 20 }, () => call()))
    assert.deepStrictEqual([...picked].sort(), ["e2", "e3"])
  })

  it("panics when fewer than half of the Ready members are usable, and uses all Ready ones", () => {
    const { call, panics, stubs } = setup(4)
    stubs[0]!.putAside(true)
    stubs[1]!.putAside(true)
    assert.deepStrictEqual(panics(), [])
    stubs[2]!.putAside(true)
    assert.deepStrictEqual(panics(), ["true 1/4"])
    assert.strictEqual(new Set(Array.from({ length: 20 }, () => call())).size, 4)
    stubs[1]!.putAside(false)
    assert.deepStrictEqual(panics(), ["true 1/4", "false 2/4"])
    const picked = new Set(Array.from({ length: 20 }, () => call()))
    assert.deepStrictEqual([...picked].sort(), ["e1", "e3"])
  })

  it("the only member is used whatever is said about it", () => {
    const { call, only, stubs } = setup(1)
    stubs[0]!.putAside(true)
    call()
    stubs[0]!.putAside(false)
    only("e0", "Failure", 20)
    call()
  })

  describe("says why there is no lease:", () => {
    it("nobody to ask", () => {
      assert.deepStrictEqual(setup(0).balancer.lease(demand()), { _tag: "Failing", error: "nobody" })
      assert.strictEqual(setup(0).balancer.connectivity(), "TransientFailure")
    })

    it("Pending while one may become Ready", () => {
      const { balancer, stubs } = setup(3, RoundRobin.policy, "Connecting")
      stubs[0]!.become("TransientFailure")
      stubs[1]!.become("Shutdown")
      assert.strictEqual(balancer.lease(demand())._tag, "Pending")
      assert.strictEqual(balancer.connectivity(), "Connecting")
    })

    it("Failing with the latest reason", () => {
      const { balancer, stubs } = setup(2, RoundRobin.policy, "Connecting")
      for (const stub of stubs) stub.become("TransientFailure")
      assert.deepStrictEqual(balancer.lease(demand()), { _tag: "Failing", error: "down" })
      for (const stub of stubs) stub.error = "still down"
      assert.deepStrictEqual(balancer.lease(demand()), { _tag: "Failing", error: "still down" })
      stubs[0]!.become("Shutdown")
      assert.strictEqual(balancer.lease(demand())._tag, "Failing")
    })

    it("Closed once all are", () => {
      const { balancer, stubs } = setup(2)
      for (const stub of stubs) stub.become("Shutdown")
      assert.deepStrictEqual(balancer.lease(demand()), { _tag: "Closed", error: "closed" })
      assert.strictEqual(balancer.connectivity(), "Shutdown")
    })

    it("Full when nobody has room", () => {
      const { balancer, stubs } = setup(2)
      for (const stub of stubs) stub.session.setLimit(0)
      assert.strictEqual(balancer.lease(demand())._tag, "Full")
    })
  })

  it("a borrow wakes idle members", () => {
    const { balancer, stubs } = setup(2, RoundRobin.policy, "Idle")
    assert.strictEqual(balancer.lease(demand())._tag, "Pending")
    assert.deepStrictEqual(
      stubs.map((s) => s.asked > 0),
      [true, true]
    )
  })

  it("tells listeners whenever a refusal might now be a lease", () => {
    const { balancer, stubs } = setup(1)
    stubs[0]!.session.setLimit(1)
    const lease = leased(balancer.lease(demand()))
    let told = 0
    const stop = balancer.subscribe(() => told++)
    lease.release("Success")
    assert.strictEqual(told, 1)
    stubs[0]!.session.setLimit(2)
    stubs[0]!.become("Connecting")
    assert.strictEqual(told, 3)
    stop()
    stubs[0]!.become("Ready")
    assert.strictEqual(told, 3)
  })

  it("counts what is in flight", () => {
    const { balancer } = setup(3)
    const leases = Array.from({ length: 7 }, () => leased(balancer.lease(demand())))
    assert.strictEqual(balancer.load(), 7)
    for (const lease of leases) lease.release("Neutral")
    assert.strictEqual(balancer.load(), 0)
    assert.strictEqual(balancer.snapshot().inFlight, 0)
  })

  describe("a member that keeps failing", () => {
    it("is put aside after five failures in a row, not after four and a success", () => {
      const { only, pickSets } = setup(3)
      only("e0", "Failure", 4)
      only("e0", "Success", 1)
      only("e0", "Failure", 4)
      assert.strictEqual(pickSets().length, 1)
      only("e0", "Failure", 1)
      assert.strictEqual(pickSets().at(-1), "e1 e2")
    })

    it("overload and interrupts do not put it aside", () => {
      const { only, pickSets } = setup(3)
      only("e0", "Overloaded", 50)
      only("e0", "Neutral", 50)
      assert.strictEqual(pickSets().length, 1)
    })

    it("is tried after 1 s, then 2 s, 4 s and so on, and comes back with the first success", () => {
      const { only, pickSets, stubs, time, traffic } = setup(3)
      only("e0", "Failure", 5)
      const trials: Array<number> = []
      const start = time.now
      let seen = stubs[0]!.lent
      let healthy = false
      for (let i = 0; i < 1_800; i++) {
        traffic(10, 1, (name) => [name === "e0" && !healthy ? "Failure" : "Success", 0])
        if (stubs[0]!.lent > seen) {
          seen = stubs[0]!.lent
          trials.push(Math.round((time.now - start) / 100) / 10)
        }
      }
      assert.strictEqual(trials.length, 4, trials.join(" "))
      for (const [i, expected] of [1, 3, 7, 15].entries()) assert.closeTo(trials[i]!, expected, 0.3)
      healthy = true
      traffic(20_000, 1, () => ["Success", 0])
      assert.strictEqual(pickSets().at(-1), "e0 e1 e2")
    })

    it("has one trial at a time, however long it takes", () => {
      const { only, stubs, traffic } = setup(3)
      only("e0", "Failure", 5)
      const before = stubs[0]!.lent
      traffic(2_900, 1, (name) => [name === "e0" ? "Failure" : "Success", name === "e0" ? 10_000 : 0])
      assert.isAtMost(stubs[0]!.lent - before, 2)
    })

    it("old calls that succeed do not bring it back", () => {
      const { balancer, only, pickSets, stubs, traffic } = setup(3)
      const avoid = new Set(["e1", "e2"])
      const old = leased(balancer.lease(demand({ avoid })))
      only("e0", "Failure", 5, 1)
      old.release("Success")
      assert.strictEqual(pickSets().at(-1), "e1 e2")
      stubs[0]!.become("Connecting")
      stubs[0]!.become("Ready")
      assert.strictEqual(pickSets().at(-1), "e1 e2")
      traffic(60, 1, () => ["Success", 0])
      assert.strictEqual(pickSets().at(-1), "e0 e1 e2", "a new connection is tried at once")
    })

    it("panic keeps it in use", () => {
      const { balancer, only, panics } = setup(2)
      only("e0", "Failure", 5)
      only("e1", "Failure", 5)
      assert.deepStrictEqual(panics(), ["true 0/2"])
      const lent = [0, 1].map(() => leased(balancer.lease(demand())).id)
      assert.strictEqual(new Set(lent).size, 2)
    })
  })

  it("a tier that was left for failing is tried, and is used again when half of it works", () => {
    const { balancer, stubs, traffic } = setup(4)
    balancer.update(
      stubs.map((upstream, i) => ({
        upstream,
        endpoint: makeUnsafe({ addresses: [upstream.name], priority: i < 3 ? 0 : 1 })
      }))
    )
    let broken = true
    const answer = (name: string) => [broken && name !== "e3" ? "Failure" : "Success", 0] as const
    const { e0 = 0, e1 = 0, e2 = 0, e3 = 0 } = traffic(20_000, 5, answer)
    // Five each, and trials after 1, 3, 7 and 15 s.
    assert.isAtMost(e0 + e1 + e2, 3 * 10)
    assert.isAtLeast(e3, 3_900)
    assert.strictEqual(balancer.snapshot().details["priority"], 1)
    broken = false
    traffic(15_000, 5, answer)
    assert.strictEqual(balancer.snapshot().details["priority"], 0)
    assert.strictEqual(balancer.usable().length, 4)
    const later = traffic(10_000, 5, answer)
    assert.deepStrictEqual(Object.keys(later).sort(), ["e0", "e1", "e2"])
  })

  describe("with p2c", () => {
    it("a member that was slow once comes back by a trial within two seconds", () => {
      const { time, traffic } = setup(3, PeakEwma.policy)
      traffic(1_000, 1, () => ["Success", 5])
      let slow = true
      traffic(3_000, 1, (name) => ["Success", slow && name === "e0" ? 3_000 : 5])
      traffic(5_000, 1, (name) => ["Success", name === "e0" ? 3_000 : 5])
      slow = false
      const start = time.now
      traffic(2_000, 1, () => ["Success", 5])
      const picks = traffic(2_000, 1, () => ["Success", 5])
      assert.isAbove(picks["e0"]! / 2_000, 0.2, `since ${start}`)
    })

    it("trials are at most one pick in a hundred", () => {
      const { traffic } = setup(10, PeakEwma.policy)
      traffic(1_000, 1, () => ["Success", 5])
      // One member is hopeless: all that it gets are trials.
      const picks = traffic(30_000, 1, (name) => ["Success", name === "e0" ? 60_000 : 5])
      assert.isAtLeast(picks["e0"]!, 5)
      assert.isAtMost(picks["e0"]!, 300 + 2)
    })

    it("trials are that rare also when there is little traffic and much neglect", () => {
      // A policy that takes the first member only: whatever goes to the others is a trial.
      const { traffic } = setup(10, {
        name: "first",
        picker:
          ([member]) =>
          (d, now) =>
            member!.lease(d, now)
      })
      const picks = traffic(200_000, 100, () => ["Success", 5])
      const trials = Object.entries(picks).reduce((n, [name, count]) => (name === "e0" ? n : n + count), 0)
      assert.isAtLeast(trials, 15)
      assert.isAtMost(trials, 21)
    })

    it("who is put aside gets no trial", () => {
      const { stubs, traffic } = setup(3, PeakEwma.policy)
      stubs[0]!.putAside(true)
      const picks = traffic(5_000, 1, () => ["Success", 5])
      assert.isUndefined(picks["e0"])
    })

    it("a trial does not go to whom this call avoids", () => {
      const { balancer, stubs, time } = setup(2, PeakEwma.policy)
      time.now = 5_000
      balancer.tick(time.now)
      for (let i = 0; i < 5; i++) {
        assert.strictEqual(leased(balancer.lease(demand({ avoid: new Set(["e0"]) }))).id, "e1#1")
      }
      assert.strictEqual(stubs[0]!.lent, 0)
    })

    it("frozen calls that are given up make a member dear, not cheap", () => {
      const { traffic } = setup(4, PeakEwma.policy)
      traffic(1_000, 1, () => ["Success", 5])
      const picks = traffic(5_000, 1, (name) => (name === "e0" ? ["Neutral", 400] : ["Success", 5]))
      assert.isBelow(picks["e0"]! / 5_000, 0.03)
    })
  })

  it("a snapshot shows why a member is picked or not", () => {
    const { balancer, only, stubs } = setup(3)
    only("e0", "Failure", 5)
    stubs[1]!.putAside(true)
    const { children, details } = balancer.snapshot()
    assert.deepStrictEqual(
      children.map((c) => [c.details["ejected"], c.details["penalised"], c.details["rule"], c.details["value"]]),
      [
        [true, false, "consecutive-failures", 5],
        [false, true, undefined, undefined],
        [false, false, undefined, undefined]
      ]
    )
    assert.strictEqual(details["panic"], true)
  })

  it("a policy says who gets trials: by default all that were not picked for a second", () => {
    const first = (trials?: Policy["trials"]): Policy => ({
      name: "first",
      trials,
      picker: (members) => (demand, now) => members[0]!.lease(demand, now)
    })
    const tried = (policy: Policy) => Object.keys(setup(3, policy).traffic(10_000, 5, () => ["Success", 1])).toSorted()
    assert.deepStrictEqual(tried(first()), ["e0", "e1", "e2"])
    assert.deepStrictEqual(tried(first((members) => members.slice(2))), ["e0", "e2"])
    assert.deepStrictEqual(tried(first(noTrials)), ["e0"])
  })
})
