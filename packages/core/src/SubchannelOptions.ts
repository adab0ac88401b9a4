/**
 * What the subchannels of a cluster have in common.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Schedule from "effect/Schedule"
import type { ConnectError } from "./ConnectError.ts"
import type { MethodEstimates } from "./Estimate.ts"
import type { Event } from "./Event.ts"
import type { HealthChecks } from "./HealthGate.ts"
import type { Connector } from "./Session.ts"

/** What subchannels share with their cluster. */
export interface SubchannelOptions<C> {
  readonly connector: Connector<C>
  readonly connectTimeout: Duration.Duration
  readonly reconnect: Schedule.Schedule<unknown, ConnectError>
  /** The configured limit of borrows per connection; `Infinity` for none. */
  readonly maxStreams: number
  readonly methods: MethodEstimates
  /** For how many milliseconds the next connection is to be used; default: until it ends. */
  readonly lifetime?: () => number
  readonly now: () => number
  readonly publish: (event: Event) => void
  /** Forks into the cluster's scope. */
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** What decides whether a connection lends; `undefined`: every one that is open does. */
  readonly health?: HealthChecks<C> | undefined
  /** The next connection number, unique within the cluster. */
  readonly nextId: () => number
}
