/**
 * Middleware that does to each call what a service config says of its method.
 */
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
import { explained, limited } from "./ServiceConfigLimits.ts"

/** What is ready for the calls that one name is for. */
interface Plan<R> {
  readonly config: MethodConfig
  readonly channel: Channel.Channel.With<RpcError, R>
  readonly methodOf: <I, O>(method: Method<I, O>) => Method<I, O>
}

/** Wraps a channel. One throttle is shared by all calls through it. */
export const intercept = <R>(
  config: Pick<Decoded, "throttle">,
  forMethod: (path: string) => MethodConfig,
  self: Channel.Channel.With<RpcError, R>
): Channel.Channel.With<RpcError, R> => {
  const throttle = config.throttle && RetryThrottle.make(config.throttle)
  const plans = new Map<MethodConfig, Plan<R>>()
  const make = (config: MethodConfig): Plan<R> => {
    const { hedge, maxRequestBytes, maxResponseBytes, retry } = config
    const isLimited = maxRequestBytes !== undefined || maxResponseBytes !== undefined
    let channel = isLimited ? explained(self) : self
    if (retry !== undefined) channel = Retry.intercept(Retry.a6({ ...retry, throttle }))(channel)
    if (hedge !== undefined) channel = Hedge.intercept(Hedge.a6({ ...hedge, throttle }))(channel)
    return { config, channel, methodOf: isLimited ? remembered(config) : (method) => method }
  }
  const planOf = (path: string): Plan<R> | undefined => {
    const config = forMethod(path)
    if (config === nothing) return undefined
    let plan = plans.get(config)
    if (plan === undefined) plans.set(config, (plan = make(config)))
    return plan
  }
  return Channel.make<RpcError, R>({
    unary: (call) => {
      const plan = planOf(call.method.path)
      return plan === undefined ? self.unary(call) : prepared(plan, call, plan.channel.unary)
    },
    stream: (call) => {
      const plan = planOf(call.method.path)
      return plan === undefined ? self.stream(call) : prepared(plan, call, plan.channel.stream)
    }
  })
}

const prepared = <I, O, A, E, R, R2>(
  { config, methodOf }: Plan<R>,
  call: Call<I, O>,
  next: (call: Call<I, O>) => Effect.Effect<A, E, R2>
): Effect.Effect<A, E, R2> =>
  Effect.withFiber((fiber) => {
    const { timeoutMillis = Infinity, waitForReady } = config
    // In this order NaN stays NaN, which the deadline below refuses.
    const own = call.deadline ?? Infinity
    const latest = timeoutMillis === Infinity ? Infinity : Deadline.nowUnsafe(fiber) + timeoutMillis
    return next({
      ...call,
      method: methodOf(call.method),
      deadline: latest < own ? latest : call.deadline,
      // Whatever the application says goes before the config.
      waitForReady: call.waitForReady ?? waitForReady
    })
  })

/** One wrapped method for each: what compares methods finds the same one again. */
const remembered = (config: MethodConfig): Plan<never>["methodOf"] => {
  const made = new WeakMap<object, object>()
  return <I, O>(method: Method<I, O>): Method<I, O> => {
    let out = made.get(method)
    if (out === undefined) made.set(method, (out = limited(method, config)))
    return out as Method<I, O>
  }
}
