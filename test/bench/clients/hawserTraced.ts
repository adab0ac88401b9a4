/** Hawser with a span for every call and every attempt, and a tracer that records them all. */
import * as Client from "@hawser/grpc/Client"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Tracer from "effect/Tracer"
import type { Connect } from "../client.ts"
import { definition } from "../echo.ts"
import { fibers } from "../fibers.ts"

class Echo extends Client.Service<Echo>()("bench/EchoTraced", definition, { idempotent: ["echo"] }) {}

const kept = 64

/** What an exporter does with spans is its own cost: this one only keeps the last few, as they are. */
class Recorded extends Tracer.NativeSpan {
  static readonly spans: Array<Recorded> = []
  static count = 0
  override end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    super.end(endTime, exit)
    Recorded.spans[Recorded.count++ % kept] = this
  }
}

export const connect: Connect = async (address) => {
  const channel = Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })
  const tracer = Layer.succeed(Tracer.Tracer, Tracer.make({ span: (options) => new Recorded(options) }))
  const runtime = ManagedRuntime.make(Echo.layer.pipe(Layer.provide(channel), Layer.merge(tracer)))
  const echo = await runtime.runPromise(Echo)
  const { run } = fibers(echo.echo, runtime.runPromise)
  return {
    run: async (lanes, meter) => {
      const before = Recorded.count
      await run(lanes, meter)
      const spans = Recorded.count - before
      if (spans !== 2 * meter.calls) throw new Error(`${spans} spans of ${meter.calls} calls`)
    }
  }
}
