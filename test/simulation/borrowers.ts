/** The three ways to borrow, as programs and protocols do it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Borrow, Waiting } from "@hawser/core/Borrow"
import type { Cluster } from "@hawser/core/Cluster"
import { ConnectError } from "@hawser/core/ConnectError"
import type { Affinity, Demand, Priority } from "@hawser/core/Demand"
import type { Lease } from "@hawser/core/Lease"
import type { Outcome } from "@hawser/core/Outcome"
import type { ScriptedCall, ScriptedSession } from "../support/core/ScriptedSession.ts"

type Session = ScriptedSession

/** A call as a protocol makes it: one object that waits in the queue, runs on the wire and gives the permit back. */
export class Call implements Borrow<Session, ConnectError>, ScriptedCall {
  readonly priority: Priority
  readonly deadline: number
  readonly waitForReady: boolean
  readonly affinity: Affinity | undefined
  readonly method: string | undefined
  readonly avoid: ReadonlySet<string> | undefined
  protected lease: Lease<Session> | undefined = undefined
  protected place: Waiting | undefined = undefined
  protected cancelled = false
  private readonly calls: Set<Call>
  private readonly problems: Set<string>
  private readonly resume: (effect: Effect.Effect<Outcome, ConnectError>) => void

  constructor(
    demand: Demand,
    calls: Set<Call>,
    problems: Set<string>,
    resume: (effect: Effect.Effect<Outcome, ConnectError>) => void
  ) {
    this.priority = demand.priority
    this.deadline = demand.deadline
    this.waitForReady = demand.waitForReady
    this.affinity = demand.affinity
    this.method = demand.method
    this.avoid = demand.avoid
    this.calls = calls
    this.problems = problems
    this.resume = resume
  }

  send(cluster: Cluster<Session, ConnectError>): void {
    this.place = cluster.borrowUnsafe(this)
  }
  granted(lease: Lease<Session>): void {
    const session = lease.connection
    if (this.cancelled) this.problems.add("sent after the interrupt")
    if (session.closed || session.over) this.problems.add("I-7 granted on a connection that has ended")
    if (session.calls.size >= session.limit()) this.problems.add("I-1 granted over the limit")
    this.lease = lease
    session.start(this)
    this.calls.add(this)
  }
  refused(error: ConnectError): void {
    this.resume(Effect.fail(error))
  }
  lost(): void {
    const error = new ConnectError({ reason: { _tag: "Reset" } })
    if (this.end("Failure", false)) this.resume(Effect.fail(error))
  }
  cut(): void {
    if (this.end("Broken", false)) this.resume(Effect.succeed("Broken"))
  }
  /** The peer answers. `twice`: a second status comes in for the same call. */
  finish(outcome: Outcome, twice: boolean): void {
    if (this.lease?.connection.frozen === true) return
    if (this.end(outcome, twice)) this.resume(Effect.succeed(outcome))
  }
  cancel(): void {
    this.cancelled = true
    this.place?.leave()
    this.end("Neutral", false)
  }

  private end(outcome: Outcome, twice: boolean): boolean {
    const { lease } = this
    if (lease === undefined) return false
    this.lease = undefined
    this.calls.delete(this)
    lease.connection.stop(this)
    lease.release(outcome)
    if (twice) lease.release("Neutral")
    return true
  }
}

/** How to borrow. A mutant replaces one of them. */
export interface Rules {
  readonly use: (
    cluster: Cluster<Session, ConnectError>,
    f: (lease: Lease<Session>) => Effect.Effect<void>,
    demand: Demand
  ) => Effect.Effect<unknown, ConnectError>
  readonly get: (
    cluster: Cluster<Session, ConnectError>,
    demand: Demand
  ) => Effect.Effect<Lease<Session>, ConnectError, Scope.Scope>
  readonly unary: (
    cluster: Cluster<Session, ConnectError>,
    demand: Demand,
    calls: Set<Call>,
    problems: Set<string>
  ) => Effect.Effect<unknown, ConnectError>
}

/** How it is done. */
export const rules: Rules = {
  use: (cluster, f, demand) => cluster.use(f, demand),
  get: (cluster, demand) => cluster.get(demand),
  unary: (cluster, demand, calls, problems) =>
    Effect.callback((resume) => {
      const call = new Call(demand, calls, problems, resume)
      call.send(cluster)
      return Effect.sync(() => call.cancel())
    })
}
