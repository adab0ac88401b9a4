import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Backoff from "@hawser/core/Backoff"
import type { Borrow } from "@hawser/core/Borrow"
import type { ConnectError } from "@hawser/core/ConnectError"
import type { Affinity, Priority } from "@hawser/core/Demand"
import { type Endpoint, makeUnsafe } from "@hawser/core/Endpoint"
import { MethodEstimates } from "@hawser/core/Estimate"
import type { Lease, Refusal } from "@hawser/core/Lease"
import type { PoolOptions } from "@hawser/core/Pool"
import type { Connector } from "@hawser/core/Session"
import { monotonicMillis } from "@hawser/core/Time"
import { Recorder } from "./Recorder.ts"
import { ScriptedConnector } from "./ScriptedConnector.ts"
import type { ScriptedSession } from "./ScriptedSession.ts"

/** An endpoint at one or more addresses. */
export const endpoint = (...addresses: ReadonlyArray<string>): Endpoint => makeUnsafe({ addresses })

/** What a subchannel or a pool needs, over a scripted connector. */
export interface Parts {
  readonly connector: ScriptedConnector
  readonly recorder: Recorder
  readonly now: () => number
  readonly options: PoolOptions<ScriptedSession>
}

/** What may differ from the defaults. */
export interface PartsOptions {
  readonly min?: number
  readonly max?: number
  readonly maxStreams?: number
  readonly lifetime?: () => number
  readonly connectTimeout?: Duration.Input
  readonly reconnect?: Schedule.Schedule<unknown, ConnectError>
  readonly connect?: Connector<ScriptedSession>
}

/** The surroundings of a subchannel or a pool, without a cluster. */
export const parts = Effect.fnUntraced(function* (
  options: PartsOptions = {}
): Effect.fn.Return<Parts, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  const connector = new ScriptedConnector(clock)
  const recorder = new Recorder()
  const now = () => monotonicMillis(clock)
  let connections = 0
  let seq = 0
  return {
    connector,
    recorder,
    now,
    options: {
      connector: options.connect ?? connector.connect,
      connectTimeout: Duration.fromInputUnsafe(options.connectTimeout ?? "20 seconds"),
      reconnect: options.reconnect ?? Backoff.connection,
      maxStreams: options.maxStreams ?? Infinity,
      methods: new MethodEstimates(),
      ...(options.lifetime === undefined ? {} : { lifetime: options.lifetime }),
      now,
      publish: (event) =>
        recorder.publish({ seq: seq++, cluster: "test", monotonicMillis: now(), wallMillis: now(), event }),
      run,
      nextId: () => ++connections,
      min: options.min ?? 1,
      max: options.max ?? 4
    }
  }
})

/** Lets every fiber that can run do so, without moving the clock. */
export const settle: Effect.Effect<void> = Effect.forEach(Array.from({ length: 8 }), () => Effect.yieldNow, {
  discard: true
})

/** The lease, or a failed test. */
export const leased = <C, E>(out: Lease<C> | Refusal<E>): Lease<C> => {
  if (out._tag === "Lease") return out
  throw new Error(`expected a lease, got ${out._tag}`)
}

/** A borrow that writes down what it is told. */
export class Waiter<C, E> implements Borrow<C, E> {
  readonly priority: Priority
  readonly deadline: number
  readonly waitForReady: boolean
  readonly affinity: Affinity | undefined
  readonly method: string | undefined
  readonly avoid: ReadonlySet<string> | undefined
  readonly name: string
  lease: Lease<C> | undefined = undefined
  error: E | undefined = undefined
  /** How often it was told anything: never more than once. */
  told = 0
  lostTimes = 0
  private readonly log: Array<string> | undefined

  constructor(name: string, log?: Array<string>, demand: Partial<Borrow<C, E>> = {}) {
    this.name = name
    this.log = log
    this.priority = demand.priority ?? 1
    this.deadline = demand.deadline ?? Infinity
    this.waitForReady = demand.waitForReady ?? false
    this.affinity = demand.affinity
    this.method = demand.method
    this.avoid = demand.avoid
  }
  granted(lease: Lease<C>): void {
    this.told++
    this.lease = lease
    this.log?.push(this.name)
  }
  refused(error: E): void {
    this.told++
    this.error = error
  }
  lost(): void {
    this.lostTimes++
  }
}
