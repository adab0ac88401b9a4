/**
 * Books of one run: who called, what came of it, which faults were felt.
 */
import * as Effect from "effect/Effect"
import type { Call } from "@hawser/grpc/Call"
import * as Channel from "@hawser/grpc/Channel"
import { isRpcError, type RpcError } from "@hawser/grpc/RpcError"
import { refusedByGoaway } from "@hawser/grpc/Status"
import type { Felt } from "@hawser/testing/Host"
import type { World } from "@hawser/testing/Simulation"
import { Phases } from "./phases.ts"

/** What a fault is counted as. */
export type Counted =
  | Exclude<Felt, "bandwidth" | "resolution">
  | "not serving"
  | "interrupt"
  | "deadline"
  | "scope closed"

/** The books of one run, and the list of what was wrong in it. */
export class Ledger {
  readonly faults: Partial<Record<Counted, number>> = {}
  readonly outcomes: Record<string, number> = {}
  operations = 0
  inFlight = 0
  /** What must be so whenever nothing is ready to run. */
  idle: () => void = () => {}
  /** Attempts beyond the first ones. */
  again = 0
  /** Middleware that counts them. */
  readonly attempts = Channel.intercept(
    <I, O, A>(call: Call<I, O>, next: (call: Call<I, O>) => Effect.Effect<A, RpcError>) => {
      if (call.attempt > 1) this.again++
      return Effect.tapError(next(call), (error) => Effect.sync(() => this.refused(call, error)))
    }
  )
  /** First attempts that a goodbye refused: they are sent again without the budget, as gRFC A6 has it. */
  spared = 0
  /** How often a handler began on a call. */
  readonly began = new Map<number, number>()
  /** What was seen of the attempts of calls. */
  readonly phases = new Phases()
  private readonly world: World
  private readonly problems: Set<string>
  /** What was felt of a host since its latest fault began. */
  private readonly known = new Set<string>()

  constructor(world: World, problems: Set<string>) {
    this.world = world
    this.problems = problems
  }

  problem(text: string): void {
    this.problems.add(text)
  }
  private refused<I, O>(call: Call<I, O>, error: unknown): void {
    const { attempt } = call
    if (isRpcError(error)) this.phases.failed(call, error.progress)
    if (attempt === 1 && isRpcError(error) && error.reason.details === refusedByGoaway) this.spared++
  }
  count(outcome: string): void {
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1
  }
  /** A fault has begun: it may be felt once per kind from now on. */
  arm(host: string): void {
    for (const key of this.known) if (key.endsWith(host)) this.known.delete(key)
  }
  felt(felt: Counted | Felt, host: string): void {
    const key = `${felt} ${host}`
    if (this.inFlight === 0 || this.known.has(key)) return
    this.known.add(key)
    this.world.note(`felt ${key}`)
    const name = felt as Counted
    this.faults[name] = (this.faults[name] ?? 0) + 1
  }
  /** One that each call feels for itself. */
  suffered(felt: Counted): void {
    this.faults[felt] = (this.faults[felt] ?? 0) + 1
  }
}
