/**
 * What a service config says of methods, as middleware: what concerns a call as a whole, and how it is sent again.
 */
import type { RetryBudget } from "@hawser/core/RetryBudget"
import * as RetryThrottle from "@hawser/core/RetryThrottle"
import * as Effect from "effect/Effect"
import type { Call } from "./Call.ts"
import * as Channel from "./Channel.ts"
import * as Deadline from "./Deadline.ts"
import * as Hedge from "./Hedge.ts"
import type { Method } from "./Method.ts"
import * as Retry from "./Retry.ts"
import type { RpcError } from "./RpcError.ts"
import { type Decoded, type MethodConfig, nothing } from "./ServiceConfigDecode.ts"
import { explained, limited, type Sizes } from "./ServiceConfigLimits.ts"

type ForMethod = (path: string) => MethodConfig

/** How the methods of one config are sent again. */
export interface Policies {
  readonly retryOf: (path: string) => Retry.RetryPolicy | undefined
  readonly hedgeOf: (path: string) => Hedge.Hedge | undefined
}

/** Policies that share one throttle, that of the config, and a budget where there is one. */
export const policies = (
  config: Pick<Decoded, "throttle">,
  forMethod: ForMethod,
  budget: RetryBudget | false = false
): Policies => {
  const throttle = config.throttle && RetryThrottle.make(config.throttle)
  const retryOf = remembered((own: MethodConfig) => own.retry && Retry.a6({ ...own.retry, throttle, budget }))
  const hedgeOf = remembered((own: MethodConfig) => own.hedge && Hedge.a6({ ...own.hedge, throttle, budget }))
  return { retryOf: (path) => retryOf(forMethod(path)), hedgeOf: (path) => hedgeOf(forMethod(path)) }
}

/**
 * Middleware for calls as a whole: timeout, `waitForReady`, sizes.
 *
 * **Details**: `sizes` holds for methods of which the config says nothing. Sizes are told apart from broken codecs by
 * `ServiceConfigLimits.explained`, which belongs below whatever sends again.
 */
export const prepare = <R>(
  forMethod: ForMethod,
  self: Channel.Channel.With<RpcError, R>,
  sizes: Sizes = {}
): Channel.Channel.With<RpcError, R> => {
  const methodsOf = remembered((own: MethodConfig) => methodOf(own, sizes))
  const prepared = <I, O, A>(call: Call<I, O>, next: (call: Call<I, O>) => Effect.Effect<A, RpcError, R>) => {
    const own = forMethod(call.method.path)
    const method = methodsOf(own)(call.method)
    if (own === nothing) return next(method === call.method ? call : { ...call, method })
    return Effect.withFiber<A, RpcError, R>((fiber) => {
      const { timeoutMillis = Infinity, waitForReady } = own
      // In this order NaN stays NaN, which the deadline below refuses.
      const said = call.deadline ?? Infinity
      const latest = timeoutMillis === Infinity ? Infinity : Deadline.nowUnsafe(fiber) + timeoutMillis
      return next({
        ...call,
        method,
        deadline: latest < said ? latest : call.deadline,
        // Whatever the application says goes before the config.
        waitForReady: call.waitForReady ?? waitForReady
      })
    })
  }
  return Channel.intercept(self, prepared)
}

/** Wraps a channel in all of it. One throttle is shared by all calls through it. */
export const intercept = <R>(
  config: Pick<Decoded, "throttle">,
  forMethod: ForMethod,
  self: Channel.Channel.With<RpcError, R>
): Channel.Channel.With<RpcError, R> => {
  const { hedgeOf, retryOf } = policies(config, forMethod)
  const below = explained(self)
  const retried = remembered((policy: Retry.RetryPolicy) => Retry.intercept(policy)(below))
  const hedged = remembered((policy: Hedge.Hedge) => Hedge.intercept(policy)(below))
  const by = (path: string): Channel.Channel.With<RpcError, R> => {
    const hedge = hedgeOf(path)
    if (hedge !== undefined) return hedged(hedge)
    const retry = retryOf(path)
    return retry === undefined ? below : retried(retry)
  }
  return prepare(
    forMethod,
    Channel.make<RpcError, R>({
      unary: (call) => by(call.method.path).unary(call),
      stream: (call) => by(call.method.path).stream(call)
    })
  )
}

/** The same method for each, or one whose codecs refuse what is too large. */
const methodOf = (own: MethodConfig, sizes: Sizes): (<I, O>(method: Method<I, O>) => Method<I, O>) => {
  const { maxRequestBytes, maxResponseBytes } = own
  const request = maxRequestBytes ?? sizes.maxRequestBytes
  const response = maxResponseBytes ?? sizes.maxResponseBytes
  if (request === undefined && response === undefined) return (method) => method
  // Who compares methods finds the same one again.
  return remembered(<I, O>(method: Method<I, O>) => limited(method, own, sizes)) as <I, O>(
    method: Method<I, O>
  ) => Method<I, O>
}

/** One result for each. */
const remembered = <K extends object, A>(make: (key: K) => A): ((key: K) => A) => {
  const made = new WeakMap<K, { readonly value: A }>()
  return (key) => {
    let entry = made.get(key)
    if (entry === undefined) made.set(key, (entry = { value: make(key) }))
    return entry.value
  }
}
