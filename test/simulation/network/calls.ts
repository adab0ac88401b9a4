/**
 * What callers do: calls of every kind, some given up, and borrows by hand.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { Lease } from "@hawser/core/Lease"
import type { CallOptions } from "@hawser/grpc/Call"
import type { Client } from "@hawser/grpc/Client"
import type { Connection } from "@hawser/grpc/Connection"
import * as Deadline from "@hawser/grpc/Deadline"
import type { GrpcCluster } from "@hawser/grpc/Grpc"
import type { RpcError } from "@hawser/grpc/RpcError"
import type { World } from "@hawser/testing/Simulation"
import type { Ledger } from "./ledger.ts"
import { key } from "./phases.ts"
import type { BorrowStep, CallStep, Settings } from "./script.ts"
import type { definition, Told } from "./service.ts"
import { settled } from "./settled.ts"
import type { Watch } from "./watch.ts"

export type TestClient = Client<typeof definition>

/** The same time in each of the forms in which callers say it. */
const limit = (id: number, millis: number): CallOptions["timeout"] =>
  millis === 0 ? Deadline.none : id % 3 === 0 ? millis : id % 3 === 1 ? Duration.millis(millis) : `${millis} millis`

/** Makes a call, as its step says. */
export const asked = (step: CallStep, client: TestClient): Effect.Effect<ReadonlyArray<Told>, RpcError> => {
  const { affinity, id, idempotent, kind, leave, messages, millis, priority, timeout, waitForReady } = step
  const options: CallOptions = {
    priority,
    waitForReady,
    timeout: limit(id, timeout),
    metadata: { [key]: String(id) },
    affinity: affinity === "none" ? undefined : { key: String(id % 5), hard: affinity === "hard" }
  }
  const ask = { id, millis, messages }
  const asks = Stream.range(1, messages).pipe(
    Stream.mapEffect((nth) => Effect.as(Effect.sleep(millis / 8), { id, millis, messages: nth }))
  )
  const many = (stream: Stream.Stream<Told, RpcError>) => Stream.runCollect(leave ? Stream.take(stream, 1) : stream)
  const single = (effect: Effect.Effect<Told, RpcError>) => Effect.map(effect, (told) => [told])
  switch (kind) {
    case "unary":
      return single(idempotent ? client.unary1(ask, options) : client.unary0(ask, options))
    case "clientStreaming":
      return single(idempotent ? client.clientStreaming1(asks, options) : client.clientStreaming0(asks, options))
    case "serverStreaming":
      return many(idempotent ? client.serverStreaming1(ask, options) : client.serverStreaming0(ask, options))
    case "bidiStreaming":
      return many(idempotent ? client.bidiStreaming1(asks, options) : client.bidiStreaming0(asks, options))
  }
}

/** One call, from its beginning to its books. */
export const one = (
  step: CallStep,
  client: TestClient,
  world: World,
  watch: Watch,
  ledger: Ledger,
  settings: Settings
) =>
  Effect.gen(function* () {
    const startedAt = world.clock.now
    ledger.operations++
    ledger.inFlight++
    const call = Effect.forkChild(asked(step, client), { startImmediately: true })
    const fiber = yield* call
    if (step.interrupt > 0) {
      yield* Effect.forkChild(
        Effect.andThen(
          Effect.sleep(step.interrupt),
          Effect.suspend(() => {
            if (fiber.pollUnsafe() !== undefined) return Effect.void
            ledger.operations++
            ledger.suffered("interrupt")
            world.note(`interrupt ${step.id}`)
            watch.interrupting = true
            fiber.interruptUnsafe()
            watch.interrupting = false
            return Effect.void
          })
        )
      )
    }
    const exit = yield* world.named(`call ${step.id} (${step.kind})`, Fiber.await(fiber))
    ledger.inFlight--
    settled(step, exit, world.clock.now - startedAt, world, ledger, settings)
  })

/** A borrow by hand, given back twice: the second time must change nothing (I-2). */
export const borrow = ({ hold, scoped }: BorrowStep, cluster: GrpcCluster, world: World, ledger: Ledger) =>
  Effect.gen(function* () {
    ledger.operations++
    const held = (lease: Lease<Connection>) =>
      Effect.andThen(
        Effect.sleep(hold),
        Effect.sync(() => {
          lease.release("Success")
          lease.release("Failure")
        })
      )
    const demand = { deadline: world.clock.now + 1_000 }
    const effect = scoped ? Effect.scoped(Effect.flatMap(cluster.get(demand), held)) : cluster.use(held, demand)
    const exit = yield* world.named("a borrow", Effect.exit(effect))
    ledger.count(Exit.isSuccess(exit) ? "borrowed" : "not borrowed")
  })
