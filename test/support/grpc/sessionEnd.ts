import type { ConnectError } from "@hawser/core/ConnectError"
import type { Session } from "@hawser/core/Session"
import { Effect } from "effect"

/** Waits until a session has ended, and says why. */
export const untilEnded = (session: Session<unknown>): Effect.Effect<ConnectError> =>
  Effect.callback((resume) => {
    const look = () => {
      const error = session.ended()
      if (error !== undefined) resume(Effect.succeed(error))
    }
    session.listen(look)
    look()
    return Effect.sync(() => session.listen(undefined))
  })
