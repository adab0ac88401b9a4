import { assert, describe, it } from "@effect/vitest"
import * as Handlers from "../support/grpc/CrossHandlers.ts"
import * as Real from "../support/grpc/CrossPeerReal.ts"
import * as Virtual from "../support/grpc/CrossPeerVirtual.ts"
import { scripts } from "../support/grpc/CrossScripts.ts"

/** Orders in which the virtual network is played: what is seen must be the same in all. */
const seeds = [1, 2, 3, 4, 5]

describe("on the virtual network and on real sockets alike", () => {
  for (const { name, play } of scripts) {
    it(name, async () => {
      const real = await Real.run(play)
      for (const seed of seeds) assert.deepStrictEqual(await Virtual.run(seed, play), real, `seed ${seed}`)
    })
  }
})

describe("on the virtual network and on the server of grpc-js alike, a handler", () => {
  for (const one of Handlers.handlings) {
    it(one.name, async () => {
      const real = await Handlers.real(one)
      for (const seed of seeds) assert.deepStrictEqual(await Handlers.virtual(one, seed), real, `seed ${seed}`)
    })
  }
})
