/**
 * The client of a run, as its settings say.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Backoff from "@hawser/core/Backoff"
import * as PeakEwma from "@hawser/core/PeakEwma"
import * as RetryBudget from "@hawser/core/RetryBudget"
import * as RoundRobin from "@hawser/core/RoundRobin"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import * as HealthCheck from "@hawser/grpc/HealthCheck"
import * as Retry from "@hawser/grpc/Retry"
import { address } from "./faults.ts"
import type { Ledger } from "./ledger.ts"
import type { Settings } from "./script.ts"
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

/** Channel and cluster: the real ones, watched. */
export const grpc = (settings: Settings, watch: Watch, ledger: Ledger) =>
  Grpc.layer({
    target: `ipv4:${Array.from({ length: settings.hosts }, (_, host) => address(host)).join(",")}`,
    credentials: Credentials.insecure,
    connections: { min: settings.min, max: settings.max, connectTimeout: 300 },
    queue: { max: settings.maxWaiters, timeout: settings.maxWait },
    silence: settings.silence ? { atLeast: 100 } : false,
    balancer: watch.policy(settings.roundRobin ? RoundRobin.policy : PeakEwma.policy),
    deadline: 3_000,
    retry:
      settings.attempts === 1
        ? false
        : Retry.make({
            maxAttempts: settings.attempts,
            budget: RetryBudget.make({ minPerSecond: settings.reserve }),
            perAttempt: settings.perAttempt === 0 ? undefined : settings.perAttempt
          }),
    perAttempt: ledger.attempts,
    reconnect: counted(Backoff.exponential({ initial: 20, multiplier: 1.6, max: 400 }), () => watch.restarted()),
    drain: settings.drain,
    health: healthOf(settings)
  })
