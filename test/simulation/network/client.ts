/**
 * The client of a run, as its settings say.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Backoff from "@hawser/core/Backoff"
import * as LeastRequest from "@hawser/core/LeastRequest"
import * as PeakEwma from "@hawser/core/PeakEwma"
import * as PickFirst from "@hawser/core/PickFirst"
import type { Policy } from "@hawser/core/Policy"
import type { Resolver } from "@hawser/core/Resolver"
import * as RetryBudget from "@hawser/core/RetryBudget"
import * as RingHash from "@hawser/core/RingHash"
import * as RoundRobin from "@hawser/core/RoundRobin"
import * as WeightedRoundRobin from "@hawser/core/WeightedRoundRobin"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import * as HealthCheck from "@hawser/grpc/HealthCheck"
import * as Hedge from "@hawser/grpc/Hedge"
import * as Retry from "@hawser/grpc/Retry"
import { address } from "./faults.ts"
import type { Ledger } from "./ledger.ts"
import type { PolicyName, Settings } from "./script.ts"
import { service } from "./service.ts"
import type { Watch } from "./watch.ts"

/** A schedule that tells whenever it starts. */
const counted = <Out, In>(schedule: Schedule.Schedule<Out, In>, started: () => void): Schedule.Schedule<Out, In> =>
  Schedule.fromStep(
    Effect.suspend(() => {
      started()
      return Schedule.toStep(schedule)
    })
  )

const healthOf = ({ health }: Settings) => {
  const every = Schedule.spaced(50)
  const backoff = Backoff.exponential({ initial: 20, multiplier: 1.6, max: 400 })
  if (health === "watch") return HealthCheck.watch(service, { backoff, every, within: 300 })
  return health === "poll" && HealthCheck.poll(service, every, { timeout: 100, unhealthyAfter: 2 })
}

const policies: Readonly<Record<PolicyName, () => Policy>> = {
  "peak EWMA": () => PeakEwma.policy,
  "round robin": () => RoundRobin.policy,
  "least request": () => LeastRequest.make(),
  "weighted round robin": () => WeightedRoundRobin.make(),
  "ring hash": () => RingHash.make(),
  "pick first": () => PickFirst.make()
}

const resending = ({ attempts, hedge, perAttempt, reserve }: Settings) => {
  const budget = RetryBudget.make({ minPerSecond: reserve })
  if (hedge > 0) return { retry: false, hedge: Hedge.make({ delay: hedge, attempts: 3, budget }) } as const
  if (attempts === 1) return { retry: false } as const
  return { retry: Retry.make({ maxAttempts: attempts, budget, perAttempt: perAttempt === 0 ? undefined : perAttempt }) }
}

/** Channel and cluster: the real ones, watched. */
export const grpc = (settings: Settings, watch: Watch, ledger: Ledger, resolver: Resolver) =>
  Grpc.layer({
    resolver: settings.moves ? resolver : undefined,
    target: `ipv4:${Array.from({ length: settings.hosts }, (_, host) => address(host)).join(",")}`,
    credentials: Credentials.insecure,
    connections: { min: settings.min, max: settings.max, connectTimeout: 300 },
    queue: { max: settings.maxWaiters, timeout: settings.maxWait },
    silence: settings.silence ? { atLeast: 100 } : false,
    balancer: watch.policy(policies[settings.policy]()),
    deadline: 3_000,
    ...resending(settings),
    perAttempt: ledger.attempts,
    reconnect: counted(Backoff.exponential({ initial: 20, multiplier: 1.6, max: 400 }), () => watch.restarts++),
    drain: settings.drain,
    health: healthOf(settings)
  })
