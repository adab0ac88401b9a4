import * as Scope from "effect/Scope"
import type { Connectivity } from "@hawser/core/Connectivity"
import type { Demand } from "@hawser/core/Demand"
import { MethodEstimates } from "@hawser/core/Estimate"
import { Full, type Lease, Pending, type Refusal } from "@hawser/core/Lease"
import { LiveConnection } from "@hawser/core/LiveConnection"
import { type Snapshot, UpstreamBase } from "@hawser/core/Upstream"
import { endpoint } from "./parts.ts"
import { ScriptedSession } from "./ScriptedSession.ts"

/** A clock that a test sets. */
export interface Time {
  now: number
}

/** An upstream with one real connection, whose state and room a test sets. */
export class StubUpstream extends UpstreamBase<ScriptedSession, string> {
  readonly live: LiveConnection<ScriptedSession>
  readonly session: ScriptedSession
  readonly name: string
  aside = false
  error = "down"
  /** How often it was asked. */
  asked = 0
  /** How often it lent. */
  lent = 0
  private state: Connectivity

  constructor(name: string, time: Time, limit = Infinity, state: Connectivity = "Ready") {
    super()
    this.name = name
    this.state = state
    this.session = new ScriptedSession(name, limit, time.now)
    this.live = new LiveConnection({
      endpoint: endpoint(name),
      id: `${name}#1`,
      session: this.session,
      scope: Scope.makeUnsafe(),
      owner: { returned: () => this.changed(), changedAt: () => this.changed() },
      methods: new MethodEstimates(),
      maxStreams: Infinity,
      now: () => time.now
    })
    this.live.follow()
  }
  lease(demand: Demand): Lease<ScriptedSession> | Refusal<string> {
    this.asked++
    if (this.state === "Shutdown") return { _tag: "Closed", error: "closed" }
    if (this.state === "TransientFailure") return { _tag: "Failing", error: this.error }
    if (this.state !== "Ready") return Pending
    if (!this.live.hasRoom()) return Full
    const lease = this.live.lease(demand)
    if (lease._tag === "Lease") this.lent++
    return lease
  }
  connectivity(): Connectivity {
    return this.state
  }
  override penalised(): boolean {
    return this.aside
  }
  load(): number {
    return this.live.inFlight
  }
  override oldestSince(): number {
    return this.live.oldest?.startedAt ?? Infinity
  }
  snapshot(): Snapshot {
    return {
      kind: "stub",
      name: this.name,
      connectivity: this.state,
      inFlight: this.load(),
      details: {},
      children: []
    }
  }

  /** Changes the state, and says so. */
  become(state: Connectivity): void {
    this.state = state
    this.changed()
  }
  /** Puts it aside, or takes it back, and says so. */
  putAside(aside: boolean): void {
    this.aside = aside
    this.changed()
  }
}
