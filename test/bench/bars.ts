/**
 * The bars of the design that the bench measures, each with its own direction.
 */
export interface Rule {
  readonly what: string
  readonly holds: "atMost" | "atLeast"
  readonly bar: number
  /** The bar of `--quick`, where fewer rounds leave more noise. */
  readonly quick?: number
}

export const rules = {
  B1: {
    what: "unary, Hawser's defaults: paired CPU, mean of the medians at 16 and 128",
    holds: "atMost",
    bar: 0.95,
    quick: 1.05
  },
  B2: {
    what: "unary, a tracer recording a span for every call and attempt: paired CPU, as in B1",
    holds: "atMost",
    bar: 1.05,
    quick: 1.15
  },
  B3: {
    what: "server streaming, one stream of 1,000 messages at once: paired CPU per message",
    holds: "atMost",
    bar: 1.1
  },
  // Of absolute times, and of rates that two cores share with their server, a quick run only says that nothing is grossly wrong.
  B4: { what: "lease + release through the whole core at 1,000 endpoints, ns", holds: "atMost", bar: 400, quick: 800 },
  B4b: { what: "the bridge's own cost per unary, ns", holds: "atMost", bar: 1000 },
  B5: {
    what: "limit 100, 1,000 at once: handlers running in steady state (median over time)",
    holds: "atLeast",
    bar: 360,
    quick: 250
  },
  B5x: { what: "the same: calls/s as a multiple of one raw channel's", holds: "atLeast", bar: 3.4, quick: 2.5 },
  B5c: { what: "the same: connections opened", holds: "atMost", bar: 4 },
  B6: { what: "no stream limit in the way: connections opened", holds: "atMost", bar: 1 },
  B6x: { what: "the same: paired CPU, as in B1", holds: "atMost", bar: 1, quick: 1.05 },
  B7: {
    what: "a call that waits in the bridge: bytes of heap, fiber included",
    holds: "atMost",
    bar: 1200,
    quick: 1300
  },
  B7b: { what: "cancelling 20,000 waiting calls of a client, ms", holds: "atMost", bar: 100, quick: 300 },
  B7c: { what: "the same per call, as a multiple of cancelling 5,000 (1 is linear)", holds: "atMost", bar: 2 },
  B11: {
    what: "one of ten backends 10 times slower: p99 as a multiple of that with all of them healthy",
    holds: "atMost",
    bar: 1.3
  },
  B12: {
    what: "one of ten backends fails fast, at half and at 1.3 times their capacity: % of calls that fail, no retries",
    holds: "atMost",
    bar: 0.5
  },
  B13: { what: "import of @hawser/grpc beyond grpc-js, ms", holds: "atMost", bar: 90, quick: 300 },
  B14: { what: "an idle member: bytes of heap beyond grpc-js's own", holds: "atMost", bar: 4000, quick: 4500 },
  B14b: { what: "a call in flight: bytes of heap beyond grpc-js's own", holds: "atMost", bar: 10_000 }
} as const satisfies Record<string, Rule>

export type BarId = keyof typeof rules

export interface Bar {
  readonly id: BarId
  readonly value: number
  readonly bar: number
  readonly ok: boolean
}

/** Judged as printed: three decimals. A value that is not a number meets no bar. */
export const judge = (id: BarId, measured: number, quick: boolean): Bar => {
  const rule: Rule = rules[id]
  const value = Math.round(measured * 1000) / 1000
  const bar = quick ? (rule.quick ?? rule.bar) : rule.bar
  return { id, value, bar, ok: rule.holds === "atMost" ? value <= bar : value >= bar }
}
