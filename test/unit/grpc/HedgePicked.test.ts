import { assert, it } from "@effect/vitest"
import { RoundRobin } from "@hawser/core"
import { Hedge } from "@hawser/grpc"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { clientOf, definition, Echo, one, two } from "../../support/testing/echo.ts"

const settle = Effect.repeat(TestClock.adjust(0), { times: 20 })

it.effect(
  "a hedge goes to the endpoint where the call's other attempt does not run, whatever the balancer would choose",
  () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const serve = (address: string) => {
        const say = (text: string) =>
          Effect.suspend(() => {
            seen.push(`${text} ${address}`)
            return Effect.never
          })
        return TestNetwork.serve(definition, { say }, { address })
      }
      yield* Effect.forEach([one, two], serve)
      const client = yield* Echo
      // The servers came after the first dial.
      yield* Effect.repeat(Effect.andThen(TestClock.adjust(100), settle), { times: 30 })
      // In turns: both hedges would go where the first attempts of their calls went.
      const calls = yield* Effect.forEach(["a", "b"], (text) =>
        Effect.andThen(Effect.forkChild(client.say(text)), (fiber) => Effect.as(settle, fiber))
      )
      yield* Effect.andThen(TestClock.adjust(50), settle)
      yield* Fiber.interruptAll(calls)
      assert.sameMembers(seen, [`a ${one}`, `a ${two}`, `b ${one}`, `b ${two}`])
    }).pipe(
      Effect.provide(
        clientOf({
          target: `ipv4:${one},${two}`,
          balancer: RoundRobin.policy,
          perAttempt: Hedge.intercept(Hedge.make({ delay: 50, resendable: true, budget: false }))
        }).pipe(Layer.provideMerge(TestNetwork.layer))
      )
    )
)
