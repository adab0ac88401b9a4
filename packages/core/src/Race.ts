/**
 * Dials the addresses of one endpoint against each other (gRFC A61).
 *
 * One address after another, IPv6 and IPv4 in turns, 250 ms apart or as soon as the one before has failed. The first to be ready wins, and the
 * others are closed before anybody hears of it. Racing is one dial: it never leaves two connections.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { ConnectError } from "./ConnectError.ts"
import type { Endpoint } from "./Endpoint.ts"
import type { Connector, Session } from "./Session.ts"

/** Milliseconds between two starts (A61, from RFC 8305). */
const staggerMillis = 250

const family = (address: string): "IPv6" | "IPv4" | "Other" =>
  address.startsWith("[") ? "IPv6" : /^\d+\.\d+\.\d+\.\d+:/.test(address) ? "IPv4" : "Other"

/**
 * Addresses in the order in which they are dialled: families in turns, beginning with that of the first, each in its own order
 * (gRFC A61, from RFC 8305): where one family does not work at all, it costs one start.
 */
export const interleaved = (addresses: ReadonlyArray<string>): ReadonlyArray<string> => {
  const byFamily = new Map<string, Array<string>>()
  for (const address of addresses) {
    const one = byFamily.get(family(address))
    if (one === undefined) byFamily.set(family(address), [address])
    else one.push(address)
  }
  const families = [...byFamily.values()]
  const longest = Math.max(...families.map((one) => one.length))
  return Array.from({ length: longest }, (_, i) => families.flatMap((one) => one.slice(i, i + 1))).flat()
}

/**
 * A connector for endpoints of many addresses from one that dials the first address it is given.
 *
 * **Details**: fails with the error of the attempt that failed last.
 */
export const addresses =
  <C, R>(connector: Connector<C, R>): Connector<C, R> =>
  (endpoint) =>
    endpoint.addresses.length === 1 ? connector(endpoint) : race(connector, endpoint)

const race = Effect.fnUntraced(function* <C, R>(
  connector: Connector<C, R>,
  endpoint: Endpoint
): Effect.fn.Return<Session<C>, ConnectError, R | Scope.Scope> {
  const parent = yield* Effect.scope
  const won = yield* Deferred.make<Session<C>, ConnectError>()
  const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
  let left = endpoint.addresses.length

  const attempt = (address: string, failed: Deferred.Deferred<void>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.fork(parent)
        const exit = yield* Effect.exit(
          restore(
            Scope.provide(
              Effect.suspend(() => connector({ ...endpoint, addresses: [address] })),
              scope
            )
          )
        )
        left--
        if (Exit.isSuccess(exit) && (yield* Deferred.succeed(won, exit.value))) return
        yield* Scope.close(scope, Exit.void)
        if (Exit.isFailure(exit)) {
          if (left === 0) yield* Deferred.failCause(won, exit.cause)
          yield* Deferred.succeed(failed, undefined)
        }
      })
    )

  const starts = Effect.gen(function* () {
    for (const address of interleaved(endpoint.addresses)) {
      const failed = yield* Deferred.make<void>()
      fibers.push(yield* Effect.forkChild(attempt(address, failed)))
      yield* Effect.raceFirst(Deferred.await(failed), Effect.sleep(staggerMillis))
    }
    return yield* Effect.never
  })
  return yield* Effect.raceFirst(Deferred.await(won), starts).pipe(
    Effect.ensuring(Effect.suspend(() => Fiber.interruptAll(fibers)))
  )
})
