/**
 * A client's own process that makes calls when they are due, and tells what became of them.
 */
import * as Client from "@hawser/grpc/Client"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import { isRpcError } from "@hawser/grpc/RpcError"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { setTimeout as sleep } from "node:timers/promises"
import type { Offer, Outcome, Setup } from "./backends.ts"
import { definition, request } from "./echo.ts"

class Echo extends Client.Service<Echo>()("bench/Offered", definition, { idempotent: ["echo"] }) {}

const options = JSON.parse(process.argv[2]!) as Setup & { readonly target: string }
const endpoints = options.target.split(",").length
const layer = Grpc.layer({ ...options, credentials: Credentials.insecure, drain: 0 })
const runtime = ManagedRuntime.make(Echo.layer.pipe(Layer.provideMerge(layer)))
const { echo } = await runtime.runPromise(Echo)
await runtime.runPromise(Grpc.GrpcCluster.use((cluster) => cluster.awaitReady(endpoints)))

const offered = async ({ leadMillis, millis, perSecond }: Offer): Promise<Outcome> => {
  const startedAt = performance.now()
  const latencies: Array<number> = []
  const failed: Record<string, number> = {}
  const running = new Set<Promise<void>>()
  const endsAt = startedAt + leadMillis + millis
  const halfMillis = (leadMillis + millis) / 2
  let refused = 0
  let calls = 0
  let answersInHalf = 0
  const book = (exit: Exit.Exit<unknown, unknown>, dueAt: number): void => {
    const now = performance.now()
    const answered = exit._tag === "Success"
    if (answered && now >= endsAt - halfMillis && now < endsAt) answersInHalf++
    if (dueAt < startedAt + leadMillis) return
    calls++
    if (answered) return void latencies.push(now - dueAt)
    const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
    const reason = isRpcError(error) ? error.reason : undefined
    const ours = reason !== undefined && "by" in reason && reason.by === "Us"
    if (isRpcError(error) && ours && error.progress === "NotSent") refused++
    else failed[reason?._tag ?? "?"] = (failed[reason?._tag ?? "?"] ?? 0) + 1
  }
  const total = Math.floor(((leadMillis + millis) / 1000) * perSecond)
  for (let made = 0; made < total; await sleep(1)) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * perSecond))
    for (; made < due; made++) {
      const dueAt = startedAt + (made / perSecond) * 1000
      const one = runtime.runPromiseExit(echo(request)).then((exit) => {
        running.delete(one)
        book(exit, dueAt)
      })
      running.add(one)
    }
  }
  await Promise.all(running)
  latencies.sort((a, b) => a - b)
  const at = (share: number): number => latencies[Math.floor(share * (latencies.length - 1))] ?? Number.NaN
  const answersPerSecond = (answersInHalf * 1000) / halfMillis
  return { calls, answered: latencies.length, refused, failed, answersPerSecond, p50: at(0.5), p99: at(0.99) }
}

process.once("disconnect", () => process.exit(0))
process.on("message", (offer: Offer) => void offered(offer).then((outcome) => process.send?.(outcome)))
process.send?.("ready")
await runtime.runPromise(Effect.never)
