/**
 * Waiting until a cluster can serve.
 */
import * as Effect from "effect/Effect"
import type { Balancer } from "./Balancer.ts"
import { ConnectError } from "./ConnectError.ts"

/**
 * Succeeds when `count` endpoints are Ready. Fails for a count that can't be reached (`possible`: how many there are, if that
 * is fixed), and once all is shut down.
 */
export const awaitReady = <C>(
  balancer: Balancer<C, ConnectError>,
  target: string,
  count: number,
  possible: number = Infinity
): Effect.Effect<void, ConnectError> =>
  Effect.callback((resume) => {
    if (!Number.isInteger(count) || count < 1 || count > possible) {
      resume(
        Effect.fail(new ConnectError({ reason: { _tag: "NoEndpoints", target }, cause: impossible(count, possible) }))
      )
      return
    }
    const look = () => {
      if (balancer.ready().length >= count) resume(Effect.void)
      else if (balancer.connectivity() === "Shutdown") {
        resume(Effect.fail(new ConnectError({ reason: { _tag: "Closed" } })))
      } else return false
      return true
    }
    if (look()) return
    const unsubscribe = balancer.subscribe(() => {
      if (look()) unsubscribe()
    })
    return Effect.sync(unsubscribe)
  })

const impossible = (count: number, possible: number) =>
  new RangeError(
    `awaitReady: expected an integer from 1${possible === Infinity ? "" : ` to ${possible}`}, got ${count}`
  )
