/**
 * Several resolvers as one, each with a place in the order in which they are used.
 *
 * They stay independent: one that fails, or never answers, takes nothing away from the others.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { ConnectError } from "./ConnectError.ts"
import type { Endpoint } from "./Endpoint.ts"
import * as EndpointSet from "./EndpointSet.ts"
import { Issues } from "./OptionsError.ts"
import * as Outbox from "./Outbox.ts"
import { monotonicMillis } from "./Time.ts"
import type { Resolver, Update } from "./Watch.ts"

/** A resolver, and where it stands. */
export interface Placed {
  readonly resolver: Resolver
  /** For all of its endpoints, 0 to 127; `Own`: each keeps the priority that it has. */
  readonly priority: number | "Own"
}

/** How long later resolvers wait for those before them, when the first set is made. */
const patienceMillis = 1_000

/** What one of them said last. */
interface Part {
  readonly placed: Placed
  endpoints: ReadonlyArray<Endpoint> | undefined
  /** Set while it fails. */
  failure: { readonly error: ConnectError; readonly until: number } | undefined
  answered: boolean
}

/**
 * The endpoints of all, where those of the first resolver have priority 0, those of the second 1, and so on, unless a place
 * says otherwise.
 *
 * **When to use**: for a backup in another region, or a fixed set for when a registry is down.
 *
 * **Details**: an endpoint of several resolvers has the lowest of its priorities. What one resolver fails to find out
 * changes nothing for the others; it counts as a failure when all of them fail. The first set waits a second for resolvers
 * that stand before one that has answered. Throws an `OptionsError` for no resolvers, more than 128, or a bad priority.
 */
export const merge = (resolvers: ReadonlyArray<Resolver | Placed>): Resolver => {
  const issues = new Issues()
  issues.check(resolvers.length >= 1 && resolvers.length <= 128, "resolvers", "1 to 128 of them", resolvers.length)
  const placed = resolvers.map((one, i): Placed => ("resolver" in one ? one : { resolver: one, priority: i }))
  placed.forEach(({ priority }, i) => {
    const legal = priority === "Own" || (Number.isInteger(priority) && priority >= 0 && priority <= 127)
    issues.check(legal, `resolvers[${i}].priority`, 'an integer from 0 to 127, or "Own"', priority)
  })
  issues.throwIfAny()
  const name = placed.map(({ resolver }) => resolver.name).join(" + ")
  const open = Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const now = () => monotonicMillis(clock)
    const outbox = yield* Outbox.make()
    const parts = placed.map((one): Part => ({
      placed: one,
      endpoints: undefined,
      failure: undefined,
      answered: false
    }))
    let waiting = true
    const publish = (): void => {
      if (waiting && !parts.every(({ answered }) => answered)) {
        // Nobody before the first who has a set is still expected.
        const first = parts.findIndex(({ endpoints }) => endpoints !== undefined)
        if (first < 0 || parts.slice(0, first).some(({ answered }) => !answered)) return
      }
      const failing = parts.flatMap(({ failure }) => (failure === undefined ? [] : [failure]))
      const sets = parts.flatMap(({ endpoints, placed }) => (endpoints === undefined ? [] : [{ endpoints, placed }]))
      if (sets.length > 0) {
        waiting = false
        const all = sets.flatMap(({ endpoints, placed }) => endpoints.map((one) => at(one, placed.priority)))
        outbox.set(EndpointSet.unite(all), undefined)
      }
      if (failing.length < parts.length) return
      const last = failing.reduce((a, b) => (b.until > a.until ? b : a))
      outbox.failed(last.error, sets.length === 0 ? 0 : Math.max(1, last.until - now()))
    }
    const refreshes: Array<() => void> = []
    for (const part of parts) {
      const watch = yield* part.placed.resolver.open
      refreshes.push(watch.refresh)
      yield* Effect.forkScoped(
        Stream.runForEach(watch.updates, (update) =>
          Effect.sync(() => {
            take(part, update, now())
            publish()
          })
        )
      )
    }
    yield* Effect.forkScoped(
      Effect.delay(
        Effect.sync(() => {
          waiting = false
          if (parts.some(({ answered }) => answered)) publish()
        }),
        patienceMillis
      )
    )
    return { updates: outbox.updates, refresh: () => refreshes.forEach((refresh) => refresh()) }
  })
  return { name, open }
}

const take = (part: Part, update: Update, now: number): void => {
  part.answered = true
  if (update._tag === "Endpoints") {
    part.endpoints = update.endpoints
    part.failure = undefined
  } else {
    part.failure = { error: update.error, until: now + update.keptForMillis }
    if (update.keptForMillis === 0) part.endpoints = undefined
  }
}

const at = (endpoint: Endpoint, priority: number | "Own"): Endpoint =>
  priority === "Own" || priority === endpoint.priority ? endpoint : { ...endpoint, priority }
