/**
 * Calls on one connection, for its health check: beside the queue, the balancer, retries and all counting.
 *
 * What a probe has in common with other calls is what they need to get through: the bridge, the guard of plaintext, and the
 * credentials of the channel.
 */
import type { Subject, Verdict } from "@hawser/core/Health"
import type { Lease } from "@hawser/core/Lease"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Bridge from "./Bridge.ts"
import type { Channel } from "./Channel.ts"
import type { Connection } from "./Connection.ts"
import type { ServingStatus } from "./HealthMessages.ts"
import type { RpcError } from "./RpcError.ts"

/**
 * What every call of the channel goes through on its way to the wire: call credentials, and the guard of plaintext. Set by
 * `Grpc.layer` for the probes of its connections.
 */
export const Through: Context.Reference<(bridge: Channel) => Channel> = Context.Reference<(bridge: Channel) => Channel>(
  "hawser/HealthCheck/Through",
  { defaultValue: () => (bridge) => bridge }
)

/** Requests are a name. */
const maxSendBytes = 8_192

/** A channel to the peer of one connection. */
export const channelOf = (subject: Subject<Connection>): Effect.Effect<Channel> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const through = yield* Through
    const now = () => monotonicMillis(clock)
    const lease: Lease<Connection> = {
      _tag: "Lease",
      connection: subject.connection,
      endpoint: subject.endpoint,
      id: subject.id,
      startedAt: now(),
      responded: () => {},
      release: () => {},
      observe: () => {}
    }
    const borrowUnsafe = (borrow: { readonly granted: (lease: Lease<Connection>) => void }) => {
      borrow.granted(lease)
      return undefined
    }
    return through(Bridge.make({ borrowUnsafe, maxSendBytes, now }))
  })

/** What a status says of a connection: all but SERVING is bad. */
export const verdictOf = (status: ServingStatus): Verdict =>
  status === "SERVING" ? { _tag: "Healthy" } : { _tag: "Unhealthy", said: status }

/** What the end of a probe says. */
export const failed = (what: "Check" | "Watch", error: RpcError | undefined): Verdict => ({
  _tag: "Unhealthy",
  said: `${what} ended with ${error?.reason._tag ?? "OK"}`,
  cause: error
})

/** A17: who has no health service is healthy. Said to the log once for each cluster. */
export const unsupported = (target: string): (() => Effect.Effect<Verdict>) => {
  let logged = false
  const said = "the server has no health service"
  return () => {
    const verdict: Verdict = { _tag: "Unsupported", said }
    if (logged) return Effect.succeed(verdict)
    logged = true
    return Effect.as(Effect.logError(`${target}: ${said}; its connections count as healthy`), verdict)
  }
}
