import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { name } from "@hawser/core/Endpoint"
import type { Resolver, Update } from "@hawser/core/Resolver"
import { settle } from "./parts.ts"

/** A resolver that is being watched. */
export interface Watching {
  /** Everything it said. */
  readonly updates: Array<Update>
  /** The same in words: `a b`, `kept 600000`, `gone`. */
  readonly said: () => ReadonlyArray<string>
  readonly refresh: () => void
}

/** A set as its names, a failure as what it means. */
export const words = (update: Update): string =>
  update._tag === "Endpoints"
    ? update.endpoints.map((endpoint) => name(endpoint)).join(" ")
    : update.keptForMillis > 0
      ? `kept ${update.keptForMillis}`
      : "gone"

/** Watches a resolver for as long as the scope is open. */
export const watching = (resolver: Resolver): Effect.Effect<Watching, never, Scope.Scope> =>
  Effect.gen(function* () {
    const updates: Array<Update> = []
    const watch = yield* resolver.open
    yield* Effect.forkScoped(Stream.runForEach(watch.updates, (update) => Effect.sync(() => updates.push(update))))
    yield* settle
    return { updates, said: () => updates.map(words), refresh: watch.refresh }
  })
