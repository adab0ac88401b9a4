import { assert, describe, it } from "@effect/vitest"
import { Transparent } from "@hawser/grpc/RetryTransparent"
import type { Random } from "effect/Random"
import { unavailable } from "../../support/channels.ts"

const always = (n: number): typeof Random.Service => ({ nextDoubleUnsafe: () => n, nextIntUnsafe: () => 0 })
const waits = (random: number, many: number) => {
  const free = new Transparent(60_000)
  return Array.from({ length: many }, () => Math.round(free.next(unavailable("NotSent"), always(random))!))
}

describe("what never left this process", () => {
  it("is sent again at once, and then after 10 ms × 2 up to a second", () => {
    assert.deepStrictEqual(waits(0.5, 10), [0, 10, 20, 40, 80, 160, 320, 640, 1_000, 1_000])
  })

  it("is spread by a fifth both ways, so that those who lost one connection don't meet again", () => {
    assert.deepStrictEqual(waits(0, 3), [0, 8, 16])
    assert.deepStrictEqual(waits(1, 3), [0, 12, 24])
  })
})
