/**
 * What a server that fails costs a client that does not retry, how long it is left alone, and how soon it is back.
 * `HAWSER_SEEDS=20` plays so many seeds of each.
 */
import { assert, describe, it } from "@effect/vitest"
import { Outlier, PeakEwma, RoundRobin } from "@hawser/core"
import { Retry } from "@hawser/grpc"
import * as Faults from "@hawser/testing/Faults"
import {
  address,
  ejections,
  failedShare,
  isOurRefusal,
  type Outlying,
  play,
  type Seen,
  shareOf
} from "../support/testing/outlying.ts"

const seeds = Array.from({ length: Number(process.env["HAWSER_SEEDS"] ?? 1) }, (_, i) => i + 1)
const timeout = 600_000

/** Plays it with each seed, and looks at what came of it. */
const each = (what: Omit<Outlying, "seed">, look: (seen: Seen, seed: string) => void) => async () => {
  for (const seed of seeds) look(await play({ ...what, seed }), `seed ${seed}`)
}

const policies = [
  ["peak-EWMA", PeakEwma.policy],
  ["round robin", RoundRobin.policy]
] as const

describe("one of three servers flaps: a second up, a second down (F-28)", () => {
  const flapping = {
    servers: 3,
    perSecond: 200,
    length: 60_000,
    behave: (server: number, at: number) => ({ millis: 5, fails: server === 0 && at % 2_000 >= 1_000 ? 1 : 0 })
  }
  for (const [name, policy] of policies) {
    it(
      `costs at most 1 % of the calls, and is left alone for longer each time: ${name}`,
      { timeout },
      each({ ...flapping, policy }, (seen, seed) => {
        assert.isAtMost(failedShare(seen), 0.01, seed)
        // Peak-EWMA looks at it so seldom that it may never see five failures in a row.
        if (policy !== RoundRobin.policy) return
        const times = ejections(seen, 0).map(({ millis }) => millis!)
        assert.isAtLeast(times.length, 3, seed)
        assert.deepStrictEqual(
          times,
          times.toSorted((a, b) => a - b),
          seed
        )
        assert.isAtLeast(times.at(-1)!, 16_000, seed)
      })
    )
  }

  it(
    "costs round robin a sixth without ejection",
    { timeout },
    each({ ...flapping, length: 20_000, policy: RoundRobin.policy, options: { outlier: false } }, (seen, seed) => {
      assert.isAbove(failedShare(seen), 0.1, seed)
    })
  )
})

describe("all servers are bad (F-29)", () => {
  for (const [name, policy] of policies) {
    it(
      `what they can still serve is served, by all of them: ${name}`,
      { timeout },
      each(
        { servers: 4, perSecond: 200, length: 20_000, policy, behave: () => ({ millis: 5, fails: 0.7 }) },
        (seen, seed) => {
          assert.isAtLeast(1 - failedShare(seen), 0.27, seed)
          for (let server = 0; server < 4; server++) assert.isAbove(shareOf(seen, server, 2_000, 20_000), 0.1, seed)
          const panics = seen.events.flatMap(({ event }) => (event._tag === "Panic" ? [event.on] : []))
          assert.isTrue(panics[0], seed)
          // It does not flap with every call.
          assert.isAtMost(panics.length, 60, seed)
        }
      )
    )
  }

  it(
    "a total outage of two seconds is over when it is over",
    { timeout },
    each(
      {
        servers: 4,
        perSecond: 200,
        length: 12_000,
        policy: RoundRobin.policy,
        behave: (_, at) => ({ millis: 5, fails: at >= 4_000 && at < 6_000 ? 1 : 0 })
      },
      (seen, seed) => {
        assert.strictEqual(failedShare(seen, 6_000), 0, seed)
        for (let server = 0; server < 4; server++) assert.isAbove(shareOf(seen, server, 8_000, 12_000), 0.2, seed)
        assert.strictEqual(seen.events.filter(({ event }) => event._tag === "Panic").length, 2, seed)
      }
    )
  )
})

describe("one of ten servers fails at once (B12)", () => {
  // Ten at a time, 20 ms each, on one connection: 500 calls per second and server.
  const capacity = (n: number) => ({
    servers: 10,
    maxStreams: 2,
    perSecond: n,
    length: 20_000,
    behave: (server: number) => (server === 0 ? { millis: 1, fails: 1 } : { millis: 20 }),
    options: { connections: { max: 1 } }
  })
  for (const [name, policy] of policies) {
    it(
      `at half of what they can serve it costs at most 0.5 % of the calls: ${name}`,
      { timeout },
      each({ ...capacity(450), policy }, (seen, seed) => {
        assert.isAtMost(failedShare(seen), 0.005, seed)
        assert.isFalse(
          seen.ended.some(({ error }) => error !== undefined && isOurRefusal(error)),
          seed
        )
        assert.isAtLeast(ejections(seen, 0).length, 4, seed)
      })
    )
    it(
      `at 1.3 × too, and the excess is refused by name: ${name}`,
      { timeout },
      each(
        { ...capacity(1_170), length: 10_000, policy, options: { connections: { max: 1 }, queue: { max: 200 } } },
        (seen, seed) => {
          assert.isAtMost(failedShare(seen), 0.005, seed)
          const refused = seen.ended.filter(({ error }) => error !== undefined && isOurRefusal(error)).length
          assert.isAbove(refused / seen.ended.length, 0.1, seed)
          assert.isBelow(refused / seen.ended.length, 0.35, seed)
        }
      )
    )
    it(
      `at 1.3 × with a queue so long that calls are sent too late, the others are not taken for dead: ${name}`,
      { timeout },
      each({ ...capacity(1_170), length: 10_000, policy }, (seen, seed) => {
        const by0 = seen.ended.filter(({ error }) => error?.reason._tag === "Unavailable").length
        assert.isAtMost(by0 / seen.ended.length, 0.005, seed)
        assert.lengthOf(
          seen.events.filter(({ event }) => event._tag === "Panic"),
          0,
          seed
        )
      })
    )
  }
})

describe("one of three servers is ten times as slow (F-27)", () => {
  for (const [name, policy] of policies) {
    it(
      `it is not ejected, nothing is amplified, nobody waits beyond the bound: ${name}`,
      { timeout },
      each(
        {
          servers: 3,
          maxStreams: 5,
          perSecond: 700,
          length: 10_000,
          policy,
          behave: (server) => ({ millis: server === 0 ? 200 : 20 }),
          timeoutMillis: 300,
          options: { retry: Retry.make(), connections: { max: 1 }, queue: { max: 100 } }
        },
        (seen, seed) => {
          assert.isAtMost(seen.reached.length, seen.ended.length * 1.2 + 10 * 10, seed)
          assert.isAtMost(seen.waiting, 100, seed)
          assert.isAtLeast(seen.waiting, 50, `${seed}: it is one`)
          assert.lengthOf(ejections(seen, 0), 0, seed)
        }
      )
    )
  }
})

describe("one of three servers is frozen for ten seconds (F-05)", () => {
  for (const [name, policy] of policies) {
    it(
      `it is back to three quarters of an even share within five seconds: ${name}`,
      { timeout },
      each(
        {
          servers: 3,
          perSecond: 200,
          length: 30_000,
          policy,
          behave: () => ({ millis: 5 }),
          fault: { what: Faults.freeze(address(0)), from: 5_000, to: 15_000 }
        },
        (seen, seed) => {
          assert.isAbove(shareOf(seen, 0, 20_000, 25_000), 0.25, seed)
          assert.strictEqual(failedShare(seen, 20_000), 0, seed)
        }
      )
    )
  }
})

describe("servers that fail now and then are not outliers", () => {
  const noisy = {
    servers: 10,
    perSecond: 300,
    length: 60_000,
    policy: RoundRobin.policy,
    behave: () => ({ millis: 5, fails: 0.02 })
  }
  it(
    "two calls in a hundred fail everywhere: nobody is ejected (F-14)",
    { timeout },
    each(noisy, (seen, seed) => {
      assert.lengthOf(
        seen.events.filter(({ event }) => event._tag === "Ejected"),
        0,
        seed
      )
    })
  )

  it(
    "gRFC A50 to the letter ejects some of them",
    { timeout },
    each({ ...noisy, options: { outlier: Outlier.a50({ successRateEjection: {} }) } }, (seen, seed) => {
      assert.isAbove(seen.events.filter(({ event }) => event._tag === "Ejected").length, 0, seed)
    })
  )

  it(
    "one that fails one call in seven is ejected by its success rate, though seldom five in a row fail",
    { timeout },
    each(
      {
        ...noisy,
        length: 30_000,
        behave: (server) => ({ millis: 5, fails: server === 3 ? 0.15 : 0.001 })
      },
      (seen, seed) => {
        const rules = ejections(seen, 3).map(({ rule }) => rule)
        assert.include(rules, "success-rate", seed)
        assert.isAtMost(failedShare(seen, 10_500), 0.003, seed)
      }
    )
  )
})
