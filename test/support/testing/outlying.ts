/**
 * Calls at a steady rate to servers of which some misbehave, in a network in memory under virtual time.
 */
import { Event, type Policy } from "@hawser/core"
import { Client, Credentials, Grpc, type GrpcOptions, type RpcError } from "@hawser/grpc"
import type * as Faults from "@hawser/testing/Faults"
import { during } from "@hawser/testing/Faults"
import * as Simulation from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Clock, Effect, Exit, Layer, Option, Random } from "effect"
import * as Cause from "effect/Cause"
import { definition } from "./echo.ts"

class Echo extends Client.Service<Echo>()("test/Echo", definition, { idempotent: ["say"] }) {}

/** What one server does with a call. */
export interface Behaviour {
  readonly millis: number
  /** How probably it fails. */
  readonly fails?: number
}

/** What is played. */
export interface Outlying {
  readonly seed: number
  readonly servers: number
  readonly perSecond: number
  /** Milliseconds from the start. */
  readonly length: number
  /** By the number of the server, and the time since the start. */
  readonly behave: (server: number, at: number) => Behaviour
  readonly maxStreams?: number
  readonly policy?: Policy.Policy
  readonly fault?: { readonly what: Faults.Fault; readonly from: number; readonly to: number }
  readonly timeoutMillis?: number
  readonly options?: Partial<GrpcOptions.GrpcOptions>
}

/** A call, as its caller sees it. */
export interface Ended {
  readonly at: number
  readonly error: RpcError.RpcError | undefined
}

/** What came of it. */
export interface Seen {
  readonly ended: ReadonlyArray<Ended>
  /** What reached a server: when, and which. */
  readonly reached: ReadonlyArray<{ readonly at: number; readonly server: number }>
  readonly events: ReadonlyArray<Event.Envelope>
  /** The most that waited at once. */
  readonly waiting: number
}

/** The address of a server by its number, from 0. */
export const address = (server: number): string => `10.0.0.${server + 1}:50051`

const millis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

/** Plays it in a world of its own; without retries unless `options` has some. */
export const play = async (what: Outlying): Promise<Seen> => {
  const { behave, fault, length, options, perSecond, policy, seed, servers, timeoutMillis = 1_000 } = what
  const events: Array<Event.Envelope> = []
  const ended: Array<Ended> = []
  const reached: Array<{ readonly at: number; readonly server: number }> = []
  const numbers = Array.from({ length: servers }, (_, i) => i)
  let waiting = 0
  const serve = (server: number) =>
    TestNetwork.serve(
      definition,
      {
        say: (text: string) =>
          Effect.gen(function* () {
            const at = yield* millis
            reached.push({ at, server })
            const { fails = 0, millis: takes } = behave(server, at)
            yield* Effect.sleep(takes)
            if (fails > 0 && (yield* Random.next) < fails) return yield* Effect.fail({ _tag: "Unavailable" as const })
            return text
          })
      },
      { address: address(server), ...(what.maxStreams === undefined ? {} : { maxStreams: what.maxStreams }) }
    )
  const layer = Echo.layer.pipe(
    Layer.provideMerge(
      Grpc.layer({
        target: `ipv4:${numbers.map(address)}`,
        credentials: Credentials.insecure,
        retry: false,
        balancer: policy,
        drain: 0,
        ...options
      })
    ),
    Layer.provide(
      Layer.succeed(Event.Events, {
        publish: (envelope: Event.Envelope) => void events.push(envelope),
        listen: () => Effect.void
      })
    ),
    Layer.provideMerge(Layer.effectDiscard(Effect.forEach(numbers, serve, { discard: true }))),
    Layer.provideMerge(TestNetwork.layer)
  )
  const program = Effect.gen(function* () {
    const client = yield* Echo
    const cluster = yield* Grpc.GrpcCluster
    if (fault !== undefined) {
      yield* Effect.forkScoped(Effect.andThen(Effect.sleep(fault.from), during(fault.what, fault.to - fault.from)))
    }
    const one = Effect.gen(function* () {
      const at = yield* millis
      const exit = yield* Effect.exit(client.say("ada", { timeout: timeoutMillis }))
      const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
      ended.push({ at, error: error as RpcError.RpcError | undefined })
    })
    for (let n = 0; n < (length * perSecond) / 1_000; n++) {
      yield* Effect.forkScoped(one)
      waiting = Math.max(waiting, cluster.waitingUnsafe())
      yield* Effect.sleep(1_000 / perSecond)
    }
    yield* Effect.sleep(timeoutMillis + 500)
  })
  const { exit } = await Simulation.run({ seed, maxSteps: 50_000_000 }, () =>
    Effect.scoped(program).pipe(Effect.provide(layer))
  )
  if (Exit.isFailure(exit)) throw new Error(`seed ${seed}: ${Cause.pretty(exit.cause)}`)
  return { ended, reached, events, waiting }
}

/** The share of calls started in this time that failed, other than by our own refusal. */
export const failedShare = ({ ended }: Seen, from = 0, to = Infinity): number => {
  const calls = ended.filter(({ at }) => at >= from && at < to)
  const failed = calls.filter(({ error }) => error !== undefined && !isOurRefusal(error))
  return failed.length / calls.length
}

/** Refused by this client before anything was sent: the queue was full, or the deadline passed in it. */
export const isOurRefusal = ({ progress, reason }: RpcError.RpcError): boolean =>
  progress === "NotSent" && (reason._tag === "ResourceExhausted" || reason._tag === "DeadlineExceeded")

/** The share of a server among what reached any in this time. */
export const shareOf = ({ reached }: Seen, server: number, from: number, to: number): number => {
  const all = reached.filter(({ at }) => at >= from && at < to)
  return all.filter((r) => r.server === server).length / all.length
}

/** Its ejections, in order. */
export const ejections = ({ events }: Seen, server: number) =>
  events.flatMap(({ event, monotonicMillis }) =>
    event._tag === "Ejected" && event.endpoint === address(server) ? [{ ...event, at: monotonicMillis }] : []
  )
