import { Event, type Policy } from "@hawser/core"
import { Client, Credentials, Deadline, Grpc, type GrpcOptions } from "@hawser/grpc"
import type * as Faults from "@hawser/testing/Faults"
import { during } from "@hawser/testing/Faults"
import * as Simulation from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Clock, Effect, Exit, Layer } from "effect"
import { definition } from "./echo.ts"

class Echo extends Client.Service<Echo>()("test/Echo", definition, { idempotent: ["say"] }) {}

/** What is played: calls at a steady rate, and one fault in the middle. */
export interface Play {
  readonly seed: number
  readonly addresses: ReadonlyArray<string>
  readonly perSecond: number
  /** How long a handler takes, by the time since the start. */
  readonly serviceMillis: (at: number) => number
  readonly policy?: Policy.Policy
  /** Who ends a call that takes a second: its deadline, or an interrupt by its user. */
  readonly by: "deadline" | "interrupt"
  readonly withinMillis?: number
  readonly fault?: Faults.Fault
  /** Milliseconds from the start. */
  readonly from: number
  readonly to: number
  readonly length: number
  readonly options?: Partial<GrpcOptions.GrpcOptions>
}

/** What came of it. */
export interface Figures {
  /** Of the calls that were started while the fault held. */
  readonly calls: number
  readonly failed: number
  /** Moments at which calls that failed were started, and of those that succeeded. */
  readonly failedAt: ReadonlyArray<number>
  readonly succeededAt: ReadonlyArray<number>
  readonly events: ReadonlyArray<Event.Envelope>
  readonly count: (tag: Event.Event["_tag"]) => number
}

const millis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

/** Plays it in a world of its own, without retries: nothing but detection saves a call. */
export const play = async (what: Play): Promise<Figures> => {
  const { addresses, by, fault, from, length, options, perSecond, policy, seed, serviceMillis, to } = what
  const within = what.withinMillis ?? 1_000
  const events: Array<Event.Envelope> = []
  const failedAt: Array<number> = []
  const succeededAt: Array<number> = []
  const say = (text: string) => Effect.flatMap(millis, (at) => Effect.as(Effect.sleep(serviceMillis(at)), text))
  const layer = Echo.layer.pipe(
    Layer.provide(
      Grpc.layer({
        target: `ipv4:${addresses}`,
        credentials: Credentials.insecure,
        retry: false,
        balancer: policy,
        drain: 0,
        ...(by === "interrupt" ? { deadline: Deadline.none } : {}),
        ...options
      })
    ),
    Layer.provide(
      Layer.succeed(Event.Events, {
        publish: (envelope: Event.Envelope) => void events.push(envelope),
        listen: () => Effect.void
      })
    ),
    Layer.provideMerge(TestNetwork.layerService(definition, { say }, { addresses }))
  )
  const program = Effect.gen(function* () {
    const client = yield* Echo
    const call = by === "deadline" ? client.say("ada", { timeout: within }) : Effect.timeout(client.say("ada"), within)
    if (fault !== undefined) {
      yield* Effect.forkScoped(Effect.andThen(Effect.sleep(from), during(fault, to - from)))
    }
    const one = Effect.gen(function* () {
      const at = yield* millis
      const exit = yield* Effect.exit(call)
      ;(Exit.isFailure(exit) ? failedAt : succeededAt).push(at)
    })
    for (let n = 0; n < (length * perSecond) / 1_000; n++) {
      yield* Effect.forkScoped(one)
      yield* Effect.sleep(1_000 / perSecond)
    }
    yield* Effect.sleep(within + 500)
  })
  const { exit } = await Simulation.run({ seed, maxSteps: 50_000_000 }, () =>
    Effect.scoped(program).pipe(Effect.provide(layer))
  )
  if (Exit.isFailure(exit)) throw new Error(`seed ${seed}: ${exit.cause}`)
  const during_ = (moments: ReadonlyArray<number>) => moments.filter((at) => at >= from && at < to).length
  const failed = during_(failedAt)
  return {
    calls: failed + during_(succeededAt),
    failed,
    failedAt,
    succeededAt,
    events,
    count: (tag) => events.filter(({ event }) => event._tag === tag).length
  }
}
