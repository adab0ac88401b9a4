import { Event, type Policy } from "@hawser/core"
import { Client, Credentials, Grpc, type GrpcOptions, type RpcError } from "@hawser/grpc"
import { during, freeze } from "@hawser/testing/Faults"
import * as Simulation from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Clock, Effect, Exit, Layer, Semaphore } from "effect"
import { Dice } from "../core/prng.ts"
import { definition } from "./echo.ts"

class Echo extends Client.Service<Echo>()("test/Echo", definition) {}

/** Ten backends of eight slots, and a client that neither retries nor pings. */
export interface Play {
  readonly seed: number
  readonly policy: Policy.Policy
  readonly perSecond: number
  readonly seconds: number
  /** The mean of a call on a healthy backend, exponentially distributed. */
  readonly meanMillis: number
  /** The first backend takes so many times as long. Default 1. */
  readonly slowness?: number
  /** The first backend fails each call within a millisecond. */
  readonly failing?: boolean
  /** The first backend is frozen from the second to the third. */
  readonly frozen?: readonly [from: number, to: number]
  /** Calls on one connection at once, of which there is one to each backend; default: none stated. */
  readonly slots?: number
  readonly options?: Partial<GrpcOptions.GrpcOptions>
}

/** One call. */
export interface Played {
  /** When it began, in milliseconds. */
  readonly at: number
  readonly millis: number
  /** The backend it went to, from 0. */
  readonly backend: number | undefined
  readonly error: RpcError.RpcError | undefined
}

/** What came of it. */
export interface Figures {
  readonly calls: ReadonlyArray<Played>
  readonly events: ReadonlyArray<Event.Envelope>
}

const millis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
const addresses = Array.from({ length: 10 }, (_, i) => `10.0.0.${i + 1}:50051`)

/** Plays it in a world of its own. */
export const play = async (what: Play): Promise<Figures> => {
  const { failing = false, frozen, meanMillis, perSecond, policy, seconds, seed, slots, slowness = 1 } = what
  const events: Array<Event.Envelope> = []
  const calls: Array<Played> = []
  const arrivals = new Dice(seed)

  const backend = (address: string, i: number) =>
    Effect.gen(function* () {
      const dice = new Dice(seed * 100 + i)
      const slot = (yield* Semaphore.make(8)).withPermit
      const mean = meanMillis * (i === 0 ? slowness : 1)
      const say = () =>
        i === 0 && failing
          ? Effect.andThen(Effect.sleep(1), Effect.fail({ _tag: "Unavailable" } as const))
          : slot(
              Effect.as(
                Effect.suspend(() => Effect.sleep(-Math.log(1 - dice.next()) * mean)),
                String(i)
              )
            )
      yield* TestNetwork.serve(definition, { say }, { address, maxStreams: slots })
    })

  const layer = Echo.layer.pipe(
    Layer.provideMerge(
      Grpc.layer({
        target: `ipv4:${addresses}`,
        credentials: Credentials.insecure,
        retry: false,
        tracing: false,
        balancer: policy,
        connections: { max: slots === undefined ? 4 : 1 },
        drain: 0,
        ...what.options
      })
    ),
    Layer.provide(
      Layer.succeed(Event.Events, {
        publish: (envelope: Event.Envelope) => void events.push(envelope),
        listen: () => Effect.void
      })
    )
  )
  const program = Effect.gen(function* () {
    const client = yield* Echo
    yield* Effect.andThen(Grpc.GrpcCluster, (cluster) => cluster.awaitReady(10))
    if (frozen !== undefined) {
      const [from, to] = frozen
      yield* Effect.forkScoped(
        Effect.andThen(Effect.sleep(from * 1_000), during(freeze(addresses[0]!), (to - from) * 1_000))
      )
    }
    const one = Effect.gen(function* () {
      const at = yield* millis
      const exit = yield* Effect.result(client.say("ada"))
      const took = (yield* millis) - at
      const error = exit._tag === "Failure" ? (exit.failure as RpcError.RpcError) : undefined
      const where = error === undefined ? undefined : error.endpoint
      const backend =
        exit._tag === "Success" ? Number(exit.success) : where === undefined ? undefined : addresses.indexOf(where)
      calls.push({ at, millis: took, backend, error })
    })
    const startedAt = yield* millis
    let at = startedAt
    for (let n = 0; n < seconds * perSecond; n++) {
      yield* Effect.forkScoped(one)
      // As they come: independent of one another.
      at -= (Math.log(1 - arrivals.next()) * 1_000) / perSecond
      const wait = at - (yield* millis)
      if (wait > 0) yield* Effect.sleep(wait)
    }
    yield* Effect.sleep("20 seconds")
    return startedAt
  })
  const { exit } = await Simulation.run({ seed, maxSteps: 100_000_000 }, () =>
    Effect.forEach(addresses, backend, { discard: true }).pipe(
      Effect.andThen(Effect.scoped(Effect.provide(program, layer))),
      Effect.provide(TestNetwork.layer)
    )
  )
  if (Exit.isFailure(exit)) throw new Error(`seed ${seed}: ${exit.cause}`)
  return {
    calls: calls.map((call) => ({ ...call, at: call.at - exit.value })),
    events: events.map((envelope) => ({ ...envelope, monotonicMillis: envelope.monotonicMillis - exit.value }))
  }
}

/** The share of the calls that went to the first backend. */
export const shareOfFirst = (calls: ReadonlyArray<Played>): number =>
  calls.filter(({ backend }) => backend === 0).length / calls.length

/** So many of a hundred calls took no longer. */
export const percentile = (calls: ReadonlyArray<Played>, percent: number): number =>
  calls.map((call) => call.millis).sort((a, b) => a - b)[Math.floor((calls.length * percent) / 100)]!
