/**
 * Calls after the storm: whether the client is as good as new.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { World } from "@hawser/testing/Simulation"
import { asked, type TestClient } from "./calls.ts"
import type { Ledger } from "./ledger.ts"
import type { CallStep } from "./script.ts"
import { describe } from "./settled.ts"

/** By then every backoff is over, and every connection that was put aside is back or replaced. */
const healed = 1_500

const kinds = ["unary", "serverStreaming", "clientStreaming", "bidiStreaming"] as const

/** How many calls that makes. */
export const probes = kinds.length

/** When all is well again, a call of each kind succeeds, and takes what its handler takes. */
export const probe = (client: TestClient, world: World, ledger: Ledger) =>
  Effect.gen(function* () {
    yield* Effect.sleep(healed)
    for (const kind of kinds) {
      const step: CallStep = {
        _tag: "Call",
        at: 0,
        id: 0,
        kind,
        idempotent: true,
        millis: 5,
        messages: 3,
        timeout: 2_000,
        waitForReady: true,
        priority: 1,
        interrupt: 0,
        leave: false,
        affinity: "none"
      }
      const exit = yield* world.named(`probe (${kind})`, Effect.exit(asked(step, client)))
      if (Exit.isFailure(exit)) ledger.problem(`all is well, and a ${kind} call fails: ${describe(exit)}`)
    }
  })
